//! Does a director on a stock kernel balance, and survive its daemon?
//!
//! `cargo xtask test --level vm` runs this on the oldest kernel that we support, in a virtual machine. Its real servers are as an
//! operator of LVS has them: nothing of ours runs there, the kernel's own device `tunl0` ends the tunnels.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{HealthReport, Place, Service, Stats, Status};
use tests::lab::{Arms, Layout, Real, Site, Vip, poll, port};
use tests::needs_lab;

/// Requests to each service.
const COUNT: u32 = 12;

/// Each forwarding method, the address of its service, and the port of its real servers.
const METHODS: [(&str, Vip, u16); 3] = [
    ("dr", Vip::Dr, port::WEB),
    ("tun", Vip::Tun, port::WEB),
    ("nat", Vip::Nat, port::NAT_WEB),
];

/// The verifier's limit is a million instructions. What the same program takes differs between kernels.
const MOST_INSTRUCTIONS: u32 = 900_000;

#[test]
fn a_director_balances_by_each_method_and_its_successor_adopts_what_is_there() -> Result<()> {
    needs_lab!();
    let Some(mut site) = site()? else {
        return Ok(());
    };
    site.director.configure(&configuration(&site.reals))?;
    let took = site.director.start()?;
    println!(
        "lbd answered after {took:.1?}; the verifier followed {} instructions",
        verified()?
    );
    let status: Status = site.director.ask(&["status"])?;
    ensure!(
        status.interfaces.len() == 2
            && status
                .interfaces
                .iter()
                .all(|interface| interface.mode == "native"),
        "{status:?}"
    );

    each_method_delivers(&site)?;
    let before = scheduled(&site)?;
    site.director.kill()?;
    each_method_delivers(&site).context("while no daemon runs")?;
    let took = site.director.start()?;
    println!("its successor answered after {took:.1?}");
    let after = scheduled(&site)?;
    let requests = u64::from(COUNT) * METHODS.len() as u64;
    ensure!(
        (before, after) == (requests, 2 * requests),
        "{before} connections were scheduled, then {after}"
    );
    each_method_delivers(&site).context("by the successor")?;

    let services: Vec<Service> = site.director.ask(&["list"])?;
    ensure!(services.len() == METHODS.len(), "{services:?}");
    let conns = site.director.lbctl(&["conns"])?;
    for (method, vip, _) in METHODS {
        ensure!(
            conns.contains(&vip.web().to_string()),
            "{method}: no connection is listed\n{conns}"
        );
    }
    print!("{}", site.director.lbctl(&["list"])?);

    site.director.kill()?;
    site.director.set_options(&["--log-packets"]);
    site.director.start()?;
    println!(
        "of the edition that logs, the verifier followed {} instructions",
        verified()?
    );
    each_method_delivers(&site).context("with each packet in the log")?;
    poll("a packet to be logged", Duration::from_secs(2), || {
        let log = site.director.log();
        ensure!(log.contains("forwarded_tun"), "{log}");
        Ok(())
    })?;
    site.director.lbctl(&["detach"]).map(drop)
}

#[test]
fn a_broken_tunnel_of_the_kernel_is_found_out_by_a_check_via_the_vip() -> Result<()> {
    needs_lab!();
    let Some(mut site) = site()? else {
        return Ok(());
    };
    site.balance(&format!(
        "interfaces: [eth0, eth1]\nconnections: {{max: 20000}}\nservices:\n  - {{name: tun, address: \"{}\", scheduler: rr, \
         method: tun, health: {{http: /healthz, via: vip, interval: 2s, timeout: 1s, initial: down}}, reals: [{}, {}]}}\n",
        Vip::Tun.web(),
        site.reals[0].address,
        site.reals[1].address,
    ))?;
    let until = |wanted: [Place; 2]| {
        poll("the checks to find out", Duration::from_secs(15), || {
            let report: HealthReport = site.director.ask(&["health"])?;
            let reals = report.services.iter().flat_map(|service| &service.reals);
            let places: Vec<Place> = reals.map(|real| real.place).collect();
            ensure!(places == wanted, "{report:?}");
            Ok(())
        })
    };
    until([Place::Up, Place::Up])?;
    site.reals[0].break_tunnel()?;
    until([Place::Down, Place::Up])?;
    let own = format!("http://{}/healthz", site.reals[0].address);
    site.director.host().run(&["curl", "-sf", &own])?;
    let answers = site.client.curl(&Vip::Tun.url("/"), COUNT)?;
    ensure!(answers.from("r2") == u64::from(COUNT), "{answers:?}");
    site.reals[0].prepare(&[Vip::Dr, Vip::Tun], "tun")?;
    until([Place::Up, Place::Up])
}

/// A director, and two real servers where the kernel ends tunnels; `None` where it cannot.
fn site() -> Result<Option<Site>> {
    if !load_module("ipip")? {
        println!("SKIP: this kernel has no module `ipip`");
        return Ok(None);
    }
    let site = Site::new(Layout {
        arms: Arms::Two,
        reals: 2,
        far: 0,
    })?;
    for real in &site.reals {
        ends_tunnels_by_the_kernel(real)?;
    }
    Ok(Some(site))
}

/// Real servers answer in turn.
fn each_method_delivers(site: &Site) -> Result<()> {
    for (method, vip, _) in METHODS {
        let web = site.client.curl(&vip.url("/"), COUNT)?;
        let share = u64::from(COUNT) / site.reals.len() as u64;
        ensure!(
            site.reals
                .iter()
                .all(|real| web.from(real.host.name()) == share),
            "{method}: {web:?}"
        );
    }
    Ok(())
}

/// An error unless `lbctl backend prepare` has chosen the kernel's device for tunnels, and nothing of ours.
fn ends_tunnels_by_the_kernel(real: &Real) -> Result<()> {
    let checked = real.backend(&["check"])?;
    ensure!(checked.contains("tunl0: up"), "{checked}");
    let link = real.host.run(&["ip", "link", "show", "dev", "eth0"])?;
    ensure!(!link.contains("xdp"), "a program of ours is there: {link}");
    Ok(())
}

fn configuration(reals: &[Real]) -> String {
    let mut text = String::from("interfaces: [eth0, eth1]\nconnections: {max: 20000}\nservices:\n");
    for (method, vip, port) in METHODS {
        let reals: Vec<String> = reals
            .iter()
            .map(|real| format!("\"{}:{port}\"", real.address))
            .collect();
        text += &format!(
            "  - {{name: {method}, address: \"{}\", scheduler: rr, method: {method}, reals: [{}]}}\n",
            vip.web(),
            reals.join(", ")
        );
    }
    text
}

/// Connections scheduled so far.
fn scheduled(site: &Site) -> Result<u64> {
    let stats: Stats = site.director.ask(&["stats"])?;
    Ok(stats.totals.conns)
}

/// How many instructions the verifier followed through the program that was loaded last.
fn verified() -> Result<u32> {
    let mut last = None;
    for program in aya::programs::loaded_programs() {
        let program = program.context("cannot list the programs in the kernel")?;
        if program.name() == b"lb" {
            last = program.verified_instruction_count();
        }
    }
    let count = last.context("the kernel has no program `lb`")?;
    ensure!(
        (1..MOST_INSTRUCTIONS).contains(&count),
        "the verifier followed {count} instructions"
    );
    Ok(count)
}

/// Load a module of the kernel, if there is one.
fn load_module(name: &str) -> Result<bool> {
    let modprobe = Command::new("modprobe").args(["--quiet", name]).status();
    Ok(modprobe.context("cannot run modprobe")?.success())
}
