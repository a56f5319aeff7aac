//! Does lbd refuse to start where it cannot do its work, say why, and leave everything as it was?

use std::time::Duration;

use anyhow::{Result, ensure};
use aya::maps::{Array, Map, MapData};
use lb_common::abi::{ABI, Settings, map};
use tests::lab::{Arms, Layout, Site, Vip, poll};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};

/// A site with a valid configuration, where lbd does not run.
fn site() -> Result<Site> {
    let site = Site::new(Layout {
        arms: Arms::Two,
        reals: 1,
        far: 1,
    })?;
    site.director.configure(
        Configuration::new(Arms::Two)
            .with(Method::Dr, &site.reals)
            .text(),
    )?;
    Ok(site)
}

/// Run lbd, possibly by way of `wrapper`: it must end by itself, unsuccessfully, with words that contain all of `words`
/// and a hint, and leave no program, pin or socket.
fn refuses(site: &Site, wrapper: &[&str], words: &[&str]) -> Result<()> {
    let said = ends(site, wrapper, words)?;
    let links = site.director.host().run(&["ip", "link", "show"])?;
    ensure!(
        !links.contains("prog/xdp") || said.contains("already"),
        "a program was attached:\n{links}"
    );
    let paths = site.director.paths();
    let pins = std::fs::read_dir(&paths.pins)
        .map(Iterator::count)
        .unwrap_or(0);
    ensure!(
        pins == 0,
        "{pins} pins were left in {}",
        paths.pins.display()
    );
    ensure!(
        !paths.socket.exists(),
        "{} was left",
        paths.socket.display()
    );
    Ok(())
}

fn ends(site: &Site, wrapper: &[&str], words: &[&str]) -> Result<String> {
    let line = site.director.command_line()?;
    let line: Vec<&str> = wrapper
        .iter()
        .copied()
        .chain(line.iter().map(String::as_str))
        .collect();
    let mut lbd = site.director.host().start("refused", &line)?;
    let status = poll("lbd to refuse", Duration::from_secs(5), || {
        anyhow::Context::context(lbd.ended()?, "it runs")
    });
    let said = lbd.output();
    let status = status.map_err(|error| anyhow::anyhow!("{error:#}\n{said}"))?;
    ensure!(status.code() == Some(1), "lbd ended with {status}:\n{said}");
    for word in words {
        ensure!(said.contains(word), "`{word}` is missing in:\n{said}");
    }
    ensure!(said.contains("hint:"), "there is no hint in:\n{said}");
    Ok(said)
}

#[test]
fn without_root_or_a_capability() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    // nobody may not even look into the folders of the lab: what is refused must be refused before.
    refuses(
        &site,
        &[
            "setpriv",
            "--reuid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ],
        &["CAP_BPF", "root"],
    )?;
    for (capability, name) in [("net_admin", "CAP_NET_ADMIN"), ("net_raw", "CAP_NET_RAW")] {
        let without = format!("--bounding-set=-{capability}");
        let inheritable = format!("--inh-caps=-{capability}");
        refuses(&site, &["setpriv", &without, &inheritable], &[name])?;
    }
    Ok(())
}

#[test]
fn beside_another_lbd() -> Result<()> {
    needs_lab!(beside others);
    let mut site = site()?;
    site.director.start()?;
    let pid = site.director.pid()?.to_string();
    ends(&site, &[], &["another lbd", &pid])?;
    // The first one is not disturbed.
    ensure!(site.client.curl(&Vip::Dr.url("/"), 5)?.total() == 5);
    site.director.lbctl(&["status"])?;
    Ok(())
}

#[test]
fn where_another_xdp_program_runs() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let other = site.lab().bpffs().join("pass").display().to_string();
    // The second of two interfaces: nothing may be left on the first.
    site.director
        .host()
        .run(&["ip", "link", "set", "dev", "eth1", "xdp", "pinned", &other])?;
    refuses(&site, &[], &["eth1", "pass", "already"])?;
    let first = site
        .director
        .host()
        .run(&["ip", "link", "show", "dev", "eth0"])?;
    ensure!(!first.contains("xdp"), "eth0 has a program:\n{first}");
    Ok(())
}

#[test]
fn over_pinned_maps_of_another_layout() -> Result<()> {
    needs_lab!(beside others);
    let mut site = site()?;
    site.director.start()?;
    site.director.kill()?;
    let abi = another_abi(&site)?;
    ends(&site, &[], &["ABI", &abi.to_string()])?;
    // What is pinned goes on forwarding.
    ensure!(site.client.curl(&Vip::Dr.url("/"), 5)?.total() == 5);
    Ok(())
}

#[test]
fn with_a_configuration_that_cannot_work_here() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let good = Configuration::new(Arms::Two)
        .with(Method::Dr, &site.reals)
        .text()
        .to_owned();
    site.director.configure(&good.replace("eth1", "eth7"))?;
    refuses(&site, &[], &["eth7"])?;
    site.director.configure(
        Configuration::new(Arms::Two)
            .with(Method::Dr, &site.far)
            .text(),
    )?;
    refuses(&site, &[], &["10.0.3.11", "tun"])?;
    site.director
        .configure(&good.replace("scheduler: wrr", "schedular: wrr"))?;
    refuses(&site, &[], &["schedular", "scheduler", "lbd.yaml:"])?;
    Ok(())
}

#[test]
fn a_real_server_that_direct_routing_cannot_reach() -> Result<()> {
    needs_lab!(beside others);
    let mut site = site()?;
    site.director.start()?;
    let (service, far) = (Vip::Dr.web().to_string(), site.far[0].address.to_string());
    let refusal = site
        .director
        .lbctl(&["add-real", "-t", &service, "-r", &far, "-g"]);
    let said = refusal.map_or_else(
        |error| format!("{error:#}"),
        |said| format!("accepted: {said}"),
    );
    ensure!(said.contains("hint:") && said.contains("tun"), "{said}");
    ensure!(
        site.client.curl(&Vip::Dr.url("/"), 4)?.from("r1") == 4,
        "the refused one took part"
    );
    Ok(())
}

/// Give the pinned maps another layout's number.
fn another_abi(site: &Site) -> Result<u32> {
    let map = MapData::from_pin(site.director.paths().pins.join("maps").join(map::SETTINGS))?;
    let mut settings: Array<_, [u8; size_of::<Settings>()]> = Map::Array(map).try_into()?;
    let mut bytes = settings.get(&0, 0)?;
    let abi = ABI + 1000;
    bytes[..4].copy_from_slice(&abi.to_ne_bytes());
    settings.set(0, bytes, 0)?;
    Ok(abi)
}
