//! Do IPv6 clients get through, by each method?

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{HealthReport, Place, RealReport, Standing};
use tests::lab::{Real, Site, Vip, poll, port};
use tests::needs_lab;

use crate::doctor::doctor;
use crate::sites::{connections, two_armed};

/// A two-armed site with IPv6, its real servers prepared for direct routing and tunnels.
fn with_ipv6(reals: u8) -> Result<Site> {
    let site = two_armed(reals)?;
    site.add_ipv6()?;
    for real in &site.reals {
        real.prepare_for([Vip::Dr, Vip::Tun].map(|vip| vip.address6().into()), "tun")?;
    }
    Ok(site)
}

/// Where a service of the web is.
fn web(vip: Vip) -> String {
    format!("[{}]:80", vip.address6())
}

/// A service of each method, the real servers probed but where that is the director.
fn configuration(reals: &[Real]) -> String {
    let mut text = "interfaces: [eth0, eth1]\nconnections: {max: 20000}\nservices:\n".to_owned();
    for (name, vip, method, port) in [
        ("dr", Vip::Dr, "dr", port::WEB),
        ("tun", Vip::Tun, "tun", port::WEB),
        ("nat", Vip::Nat, "nat", port::NAT_WEB),
    ] {
        let vip = web(vip);
        let reals: Vec<String> = reals
            .iter()
            .map(|real| format!("\"[{}]:{port}\"", real.address6()))
            .collect();
        writeln!(
            text,
            "  - name: {name}\n    protocol: tcp\n    address: \"{vip}\"\n    scheduler: rr\n    method: {method}\n    \
             health: {{tcp: {{}}, interval: 1s, timeout: 500ms}}\n    reals:"
        )
        .expect("a string takes everything");
        for real in reals {
            writeln!(text, "      - {{address: {real}}}").expect("a string takes everything");
        }
    }
    text.push_str(&format!(
        "  - name: local\n    protocol: tcp\n    address: \"{}\"\n    scheduler: rr\n    method: dr\n    \
         reals:\n      - {{address: \"[fd00:1::1]:80\"}}\n",
        web(Vip::Local)
    ));
    text
}

/// Starts lbd, and waits until the probes of all real servers have come through.
fn balance(site: &mut Site) -> Result<()> {
    site.balance(&configuration(&site.reals))?;
    for name in ["dr", "tun", "nat"] {
        poll(
            "the real servers to be found well",
            Duration::from_secs(10),
            || {
                // They are taken for up before there is an answer.
                let report: HealthReport = site.director.ask(&["health", "--service", name])?;
                let reals = report.services.iter().flat_map(|service| &service.reals);
                let well = |real: &&RealReport| real.checks.iter().any(|check| check.passes > 0);
                ensure!(reals.filter(well).count() == site.reals.len(), "{report:?}");
                Ok(())
            },
        )?;
    }
    Ok(())
}

#[test]
fn requests_over_ipv6_come_through_by_each_method() -> Result<()> {
    needs_lab!(beside others);
    let mut site = with_ipv6(2)?;
    site.serve_locally()?;
    balance(&mut site)?;
    for (name, vip) in [("dr", Vip::Dr), ("tun", Vip::Tun), ("nat", Vip::Nat)] {
        let answers = site.client.curl(&format!("http://{}/", web(vip)), 40)?;
        ensure!(answers.failures.is_empty(), "{name}: {answers:?}");
        for real in &site.reals {
            let count = answers.from(real.host.name());
            ensure!(count == 20, "{name}: {answers:?}");
        }
    }
    let answers = site
        .client
        .curl(&format!("http://{}/", web(Vip::Local)), 10)?;
    ensure!(
        answers.from(site.director.host().name()) == 10,
        "{answers:?}"
    );

    let listed = connections(&site, &["-t", &web(Vip::Nat)])?;
    ensure!(listed.len() >= 40, "{} connections", listed.len());
    ensure!(
        listed.iter().all(|c| c.client.starts_with("[fd00:1::10]:")
            && c.vip == web(Vip::Nat)
            && c.real.starts_with("[fd00:2::1")),
        "{listed:?}"
    );
    let text = site.director.lbctl(&["list"])?;
    ensure!(text.contains(&web(Vip::Dr)), "{text}");
    ensure!(
        text.contains(&format!("[{}]:80", site.reals[0].address6())),
        "{text}"
    );
    Ok(())
}

#[test]
fn ipv6_connections_go_on_through_a_restart_of_the_daemon() -> Result<()> {
    needs_lab!(beside others);
    let mut site = with_ipv6(1)?;
    balance(&mut site)?;
    // A connection of each method that stays open all the time.
    let mut open = Vec::new();
    for vip in [Vip::Dr, Vip::Tun, Vip::Nat] {
        let address = SocketAddr::new(vip.address6().into(), 80);
        open.push((address, site.client.visit(address, None)?));
    }
    let mut goes_on = |when: &str| -> Result<()> {
        for (vip, visit) in &mut open {
            let name = visit.ask().with_context(|| format!("{vip}, {when}"))?;
            ensure!(name == "r1", "{vip}, {when}: {name}");
        }
        let answers = site.client.curl(&format!("http://{}/", web(Vip::Nat)), 5)?;
        ensure!(answers.from("r1") == 5, "{when}: {answers:?}");
        Ok(())
    };
    goes_on("before")?;
    site.director.kill()?;
    goes_on("without a daemon")?;
    site.director.start()?;
    let listed = connections(&site, &["-t", &web(Vip::Nat)])?;
    ensure!(listed.len() >= 10, "{} connections", listed.len());
    goes_on("with its successor")
}

#[test]
fn a_real_server_without_its_ipv6_vip_is_found_out_by_a_check_via_the_vip_and_by_the_doctor()
-> Result<()> {
    needs_lab!();
    let mut site = with_ipv6(2)?;
    let vip = Vip::Dr.address6();
    let mut text = "interfaces: [eth0, eth1]\nconnections: {max: 20000}\nservices:\n".to_owned();
    for (name, protocol, port, asked) in [
        ("web", "tcp", port::WEB, "http: /healthz"),
        (
            "names",
            "udp",
            port::DNS,
            "dns: {name: who.lab, record: TXT}",
        ),
    ] {
        let reals = [0, 1].map(|index: usize| site.reals[index].address6());
        writeln!(
            text,
            "  - {{name: {name}, protocol: {protocol}, address: \"[{vip}]:{port}\", method: dr, scheduler: rr, \
             health: {{{asked}, via: vip, interval: 500ms, timeout: 400ms, rise: 1, fall: 2, initial: down}}, \
             reals: [\"[{}]:{port}\", \"[{}]:{port}\"]}}",
            reals[0], reals[1]
        )
        .expect("a string takes everything");
    }
    site.balance(&text)?;
    // The real servers of both services, in turn.
    let until = |wanted: [Place; 2]| {
        poll("the checks to find out", Duration::from_secs(10), || {
            let report: HealthReport = site.director.ask(&["health"])?;
            for service in &report.services {
                let places: Vec<Place> = service.reals.iter().map(|real| real.place).collect();
                ensure!(places == wanted, "{report:?}");
            }
            ensure!(report.services.len() == 2, "{report:?}");
            Ok(())
        })
    };
    until([Place::Up, Place::Up])?;
    ensure!(doctor(&site)?.of("probe", Standing::Good).len() == 4);

    let real = &site.reals[0];
    real.host.ip(&[&format!("address del {vip}/128 dev lo")])?;
    until([Place::Down, Place::Up])?;
    // At its own address it answers all the same.
    let own = format!("http://[{}]/healthz", real.address6());
    let director = site.director.host();
    director.run(&["curl", "--silent", "--fail", "--globoff", &own])?;
    let answers = site.client.curl(&format!("http://{}/", web(Vip::Dr)), 20)?;
    ensure!(answers.from("r2") == 20, "{answers:?}");
    let visit = doctor(&site)?;
    let found = visit.of("probe", Standing::Bad);
    let command = format!(
        "on {}: lbctl backend check --vip {vip} --method dr",
        real.address6()
    );
    ensure!(
        found.len() == 2 && found[0].command.as_ref() == Some(&command),
        "{found:?}"
    );

    real.prepare_for([vip.into()], "dr")?;
    until([Place::Up, Place::Up])
}
