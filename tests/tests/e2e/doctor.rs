//! Does `lbctl doctor` find what breaks forwarding, and nothing where all is well?

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lb_daemon::api::types::{Diagnosis, Finding, Standing};
use tests::lab::{Arms, Host, Layout, Site, Vip, poll, program};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};
use crate::sites::of_all_methods;

/// What the doctor says, and whether it is content.
pub(crate) struct Visit {
    found: Diagnosis,
    status: i32,
    text: String,
}

/// Asks the doctor on the director: the exit status, and what it says.
fn ask(site: &Site, more: &[&str]) -> Result<(i32, String)> {
    let paths = site.director.paths();
    let line = format!(
        "{} --socket {} doctor --state-dir {} --config {} --pin-dir {}",
        program("lbctl")?,
        paths.socket.display(),
        paths.state.display(),
        paths.configuration.display(),
        paths.pins.display()
    );
    let words: Vec<&str> = line.split(' ').chain(more.iter().copied()).collect();
    let output = site.director.host().command(&words).output()?;
    let said = String::from_utf8(output.stdout)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(error.is_empty(), "{error}");
    Ok((output.status.code().context("it was killed")?, said))
}

/// Has the doctor look.
pub(crate) fn doctor(site: &Site) -> Result<Visit> {
    let (status, text) = ask(site, &["--json"])?;
    let found = serde_json::from_str(&text).with_context(|| text.clone())?;
    Ok(Visit {
        found,
        status,
        text,
    })
}

impl Visit {
    /// What it finds by one check.
    pub(crate) fn of(&self, check: &str, standing: Standing) -> Vec<&Finding> {
        let its = |f: &&Finding| f.check.name() == check && f.standing == standing;
        self.found.findings.iter().filter(its).collect()
    }

    /// The only thing that is wrong.
    fn only(&self, check: &str) -> Result<&Finding> {
        let bad: Vec<_> = self.bad().collect();
        match bad.as_slice() {
            [one] if one.check.name() == check => {
                ensure!(self.status == 1 && !self.found.well, "{}", self.text);
                Ok(one)
            }
            _ => bail!("{check} should be wrong, and nothing else:\n{}", self.text),
        }
    }

    fn bad(&self) -> impl Iterator<Item = &Finding> {
        let bad = |f: &&Finding| f.standing == Standing::Bad;
        self.found.findings.iter().filter(bad)
    }

    pub(crate) fn is_well(&self) -> Result<()> {
        ensure!(self.bad().count() == 0 && self.status == 0, "{}", self.text);
        Ok(())
    }
}

/// The doctor finds one thing wrong, with a part of what it is and of what shows it, and with the command, if one is given.
pub(crate) fn finds(
    site: &Site,
    check: &str,
    [what, evidence]: [&str; 2],
    command: Option<&str>,
) -> Result<()> {
    let visit = doctor(site)?;
    let found = visit.only(check)?;
    ensure!(
        found.what.contains(what)
            && found.evidence.contains(evidence)
            && (command.is_none() || found.command.as_deref() == command),
        "{found:?}"
    );
    Ok(())
}

#[test]
fn a_site_where_all_is_well_is_well_and_each_thing_that_breaks_is_named() -> Result<()> {
    needs_lab!(beside others);
    let mut site = of_all_methods(2)?;
    let visit = doctor(&site)?;
    visit.is_well()?;
    let (_, text) = ask(&site, &["--all"])?;
    ensure!(text.contains("nothing is wrong"), "{text}");
    for line in text.lines().filter(|line| !line.contains("hint:")) {
        ensure!(line.chars().count() <= 80, "too long: {line}");
    }
    for (check, count) in [
        ("daemon", 1),
        ("kernel", 1),
        ("capabilities", 1),
        ("bpffs", 1),
        ("connections", 1),
        ("forwarding", 1),
        ("interface", 2),
        ("xdp", 2),
        ("offloads", 2),
        ("rp-filter", 2),
        ("vip", 3),
        ("arp", 3),
        ("neighbour", 2),
        ("on-link", 2),
        // Of each method a web and a DNS service.
        ("probe", 12),
        ("nat-return", 2),
    ] {
        let good = visit.of(check, Standing::Good);
        ensure!(good.len() == count, "{check}: {good:?}");
    }
    // A full packet does not fit into a tunnel where all MTUs are the same.
    ensure!(
        visit.of("tunnel-mtu", Standing::Advice).len() == 2,
        "{}",
        visit.text
    );

    let director = site.director.host().clone();
    let r2 = site.reals.get(1).context("it has two")?.host.clone();
    director.ip(&["address del 10.0.1.101/32 dev eth0"])?;
    let mends = Some("ip address add 10.0.1.101/32 dev eth0");
    finds(&site, "vip", ["", ""], mends)?;
    director.ip(&["address add 10.0.1.101/32 dev eth0"])?;

    // The real server sends its replies past the director.
    r2.ip(&["route replace default via 10.0.2.254"])?;
    let mends = Some("on 10.0.2.12: lbctl backend prepare --method nat --gateway 10.0.2.1");
    finds(&site, "nat-return", ["10.0.2.12", ""], mends)?;
    r2.ip(&["route replace default via 10.0.2.1"])?;

    // Packets between that and what the interface says get lost on the way.
    r2.ip(&["link set eth0 mtu 1400"])?;
    let says = ["10.0.2.12", "1400 bytes arrive"];
    finds(&site, "tunnel-mtu", says, None)?;
    r2.ip(&["link set eth0 mtu 1500"])?;

    director.set(&[("ipv4/ip_forward", "0")])?;
    finds(&site, "forwarding", ["", ""], None)?;
    director.set(&[("ipv4/ip_forward", "1")])?;

    // The default route leaves by eth1.
    director.set(&[("ipv4/conf/eth0/rp_filter", "1")])?;
    let mends = Some("sysctl -w net.ipv4.conf.eth0.rp_filter=2");
    finds(&site, "rp-filter", ["", ""], mends)?;
    director.set(&[("ipv4/conf/eth0/rp_filter", "0")])?;

    // What is in the kernel goes on, and so does the doctor.
    site.director.kill()?;
    let visit = doctor(&site)?;
    visit.only("daemon")?;
    ensure!(
        !visit.found.daemon && ask(&site, &[])?.1.contains("this was looked at from here"),
        "{}",
        visit.text
    );
    ensure!(
        visit.of("probe", Standing::Good).len() == 12,
        "{}",
        visit.text
    );
    ensure!(
        visit.of("connections", Standing::Unknown).len() == 1,
        "{}",
        visit.text
    );

    site.director.start()?;
    doctor(&site)?.is_well()
}

#[test]
fn a_real_server_that_serves_no_vip_and_one_that_is_gone_are_named() -> Result<()> {
    needs_lab!(beside others);
    let site = of_all_methods(2)?;
    let r1 = site.reals.first().context("it has two")?;
    r1.backend(&["undo"])?;
    let visit = doctor(&site)?;
    // The web service by dr and the one by tun; datagrams that nobody answers tell nothing without a check.
    let bad: Vec<_> = visit.bad().collect();
    ensure!(
        bad.len() == 2
            && bad
                .iter()
                .all(|f| f.check.name() == "probe" && f.what.contains("10.0.2.11")),
        "{}",
        visit.text
    );
    let has = |command: &str| bad.iter().any(|f| f.command.as_deref() == Some(command));
    ensure!(
        has("on 10.0.2.11: lbctl backend check --vip 10.0.1.101 --method dr")
            && has("on 10.0.2.11: lbctl backend check --vip 10.0.1.102 --method tun"),
        "{bad:?}"
    );
    r1.prepare(&[Vip::Dr, Vip::Tun], "tun")?;
    doctor(&site)?.is_well()?;

    r1.host.ip(&["link set eth0 down"])?;
    let visit = poll(
        "the real server to be missed",
        Duration::from_secs(10),
        || {
            let visit = doctor(&site)?;
            let gone = visit.bad().any(|f| f.check.name() == "neighbour");
            ensure!(gone, "{}", visit.text);
            Ok(visit)
        },
    )?;
    ensure!(
        visit.bad().all(|f| f.what.contains("10.0.2.11")),
        "{}",
        visit.text
    );
    Ok(())
}

/// The ARP problem: a real server that has the VIP and tells of it takes the clients from the director.
#[test]
fn a_real_server_that_answers_arp_for_the_vip_is_named_until_it_is_prepared() -> Result<()> {
    needs_lab!(beside others);
    let mut site = Site::new(Layout {
        arms: Arms::One,
        reals: 2,
        far: 0,
    })?;
    let configuration = Configuration::new(Arms::One).with(Method::Dr, &site.reals);
    site.balance(configuration.text())?;
    let neighbour = site.lab().host("neighbour")?;
    site.lab()
        .connect(&neighbour, "eth0", "front", "10.0.1.20/24")?;
    doctor(&site)?.is_well()?;

    let real = site.reals.get(1).context("it has two")?;
    let (director, other) = (site.director.host().mac("eth0")?, real.host.mac("eth0")?);
    fetches(&neighbour)?;
    ensure!(
        believes(&neighbour, &director)?,
        "the client does not know the director"
    );
    real.backend(&["undo"])?;
    real.host.ip(&["address add 10.0.1.101/32 dev lo"])?;
    // Its replies come from the VIP, and so do the questions that it asks for the client's MAC.
    let flips = || -> Result<()> {
        real.host.ip(&["neigh flush dev eth0"])?;
        let _ = fetches(&neighbour);
        asks_as_the_vip(&real.host);
        ensure!(
            believes(&neighbour, &other)?,
            "the client still knows the director"
        );
        Ok(())
    };
    poll(
        "the client's ARP entry to flip",
        Duration::from_secs(10),
        flips,
    )?;

    let visit = doctor(&site)?;
    let found = visit.only("arp")?;
    ensure!(
        found.what == "real server 10.0.1.12 answers ARP for VIP 10.0.1.101"
            && found.evidence.contains(&other)
            && found.command.as_deref()
                == Some("on 10.0.1.12: lbctl backend prepare --vip 10.0.1.101 --method dr"),
        "{found:?}"
    );
    ensure!(visit.text.contains(&other), "{}", visit.text);

    real.prepare(&[Vip::Dr], "dr")?;
    doctor(&site)?.is_well()?;
    neighbour.ip(&["neigh flush dev eth0"])?;
    let asks = || -> Result<()> {
        asks_as_the_vip(&real.host);
        fetches(&neighbour)
    };
    for _ in 0..5 {
        asks()?;
        ensure!(
            believes(&neighbour, &director)?,
            "the client's entry flipped again"
        );
    }
    Ok(())
}

/// Has a client fetch a page of the VIP.
fn fetches(client: &Host) -> Result<()> {
    let url = Vip::Dr.url("/");
    client.run(&["curl", "--silent", "--fail", "--max-time", "1", &url])?;
    Ok(())
}

/// Has a real server look for the client's MAC, for a packet whose source is the VIP.
fn asks_as_the_vip(real: &Host) {
    let url = "http://10.0.1.20/";
    // Nothing is served there.
    let _ = real.run(&[
        "curl",
        "--silent",
        "--max-time",
        "1",
        "--interface",
        "10.0.1.101",
        url,
    ]);
}

/// Whether the VIP is at this MAC, as a client knows it.
fn believes(client: &Host, mac: &str) -> Result<bool> {
    let entry = client.run(&["ip", "neigh", "show", "10.0.1.101"])?;
    Ok(entry.contains(mac))
}
