//! Do IPv6 clients get through, by each method?
//!
//! The site is the two-armed one, with IPv6 beside IPv4: `fd00:1::/64` in front, `fd00:2::/64` behind, hosts numbered alike.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{HealthReport, RealReport};
use tests::lab::{Host, Real, Site, poll, port};
use tests::needs_lab;

use crate::sites::{connections, two_armed};

const DR: &str = "fd00:1::101";
const NAT: &str = "fd00:1::103";
const LOCAL: &str = "fd00:1::104";

/// Gives a host an address.
fn add(host: &Host, address: &str, interface: &str) -> Result<()> {
    host.ip(&[&format!("address add {address} dev {interface} nodad")])
}

/// The IPv6 address of a real server.
fn address(index: usize) -> String {
    format!("fd00:2::{}", 11 + index)
}

/// Gives every host of a site its IPv6 addresses and routes.
fn with_ipv6(site: &Site) -> Result<()> {
    let director = site.director.host();
    let reals = site.reals.iter().map(|real| &real.host);
    for host in [&site.client, &site.router, director]
        .into_iter()
        .chain(reals)
    {
        host.set(&[
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/all/disable_ipv6", "0"),
        ])?;
    }
    for (host, interface, address) in [
        (&site.client, "eth0", "fd00:1::10/64"),
        (&site.router, "front", "fd00:1::254/64"),
        (&site.router, "back", "fd00:2::254/64"),
        (director, "eth0", "fd00:1::1/64"),
        (director, "eth1", "fd00:2::1/64"),
    ] {
        add(host, address, interface)?;
    }
    for vip in [DR, NAT, LOCAL] {
        add(director, &format!("{vip}/128"), "eth0")?;
    }
    for host in [&site.router, director] {
        host.set(&[("ipv6/conf/all/forwarding", "1")])?;
    }
    for (index, real) in site.reals.iter().enumerate() {
        add(&real.host, &format!("{}/64", address(index)), "eth0")?;
        add(&real.host, &format!("{DR}/128"), "lo")?;
        real.host.ip(&[
            "route add default via fd00:2::1",
            "route add default via fd00:2::254 table 100",
        ])?;
        // In a batch, rules are of IPv4 only.
        let rule = ["ip", "-6", "rule", "add", "from", DR, "lookup", "100"];
        real.host.run(&rule)?;
    }
    Ok(())
}

/// A service of each method, the real servers of two of them probed.
fn configuration(reals: &[Real]) -> String {
    let mut text = "interfaces: [eth0, eth1]\nconnections: {max: 20000}\nservices:\n".to_owned();
    for (name, vip, method, port) in [
        ("dr", DR, "dr", port::WEB),
        ("nat", NAT, "nat", port::NAT_WEB),
    ] {
        let reals: Vec<String> = (0..reals.len())
            .map(|index| format!("\"[{}]:{port}\"", address(index)))
            .collect();
        writeln!(
            text,
            "  - name: {name}\n    protocol: tcp\n    address: \"[{vip}]:80\"\n    scheduler: rr\n    method: {method}\n    \
             health: {{tcp: {{}}, interval: 1s, timeout: 500ms}}\n    reals:"
        )
        .expect("a string takes everything");
        for real in reals {
            writeln!(text, "      - {{address: {real}}}").expect("a string takes everything");
        }
    }
    text.push_str(&format!(
        "  - name: local\n    protocol: tcp\n    address: \"[{LOCAL}]:80\"\n    scheduler: rr\n    method: dr\n    \
         reals:\n      - {{address: \"[fd00:1::1]:80\"}}\n"
    ));
    text
}

/// Starts lbd, and waits until the probes of all real servers have come through.
fn balance(site: &mut Site) -> Result<()> {
    site.balance(&configuration(&site.reals))?;
    for name in ["dr", "nat"] {
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
    needs_lab!();
    let mut site = two_armed(2)?;
    with_ipv6(&site)?;
    site.serve_locally()?;
    balance(&mut site)?;
    for (name, vip) in [("dr", DR), ("nat", NAT)] {
        let answers = site.client.curl(&format!("http://[{vip}]/"), 40)?;
        ensure!(answers.failures.is_empty(), "{name}: {answers:?}");
        for real in &site.reals {
            let count = answers.from(real.host.name());
            ensure!(count == 20, "{name}: {answers:?}");
        }
    }
    let answers = site.client.curl(&format!("http://[{LOCAL}]/"), 10)?;
    ensure!(
        answers.from(site.director.host().name()) == 10,
        "{answers:?}"
    );

    let listed = connections(&site, &["-t", &format!("[{NAT}]:80")])?;
    ensure!(listed.len() >= 40, "{} connections", listed.len());
    ensure!(
        listed.iter().all(|c| c.client.starts_with("[fd00:1::10]:")
            && c.vip == format!("[{NAT}]:80")
            && c.real.starts_with("[fd00:2::1")),
        "{listed:?}"
    );
    let text = site.director.lbctl(&["list"])?;
    ensure!(text.contains(&format!("[{DR}]:80")), "{text}");
    ensure!(text.contains(&format!("[{}]:80", address(0))), "{text}");
    Ok(())
}

#[test]
fn ipv6_connections_go_on_through_a_restart_of_the_daemon() -> Result<()> {
    needs_lab!();
    let mut site = two_armed(1)?;
    with_ipv6(&site)?;
    balance(&mut site)?;
    // A connection of each method that stays open all the time.
    let mut open = Vec::new();
    for vip in [DR, NAT] {
        let address = format!("[{vip}]:80").parse::<SocketAddr>()?;
        open.push((vip, site.client.visit(address, None)?));
    }
    let mut goes_on = |when: &str| -> Result<()> {
        for (vip, visit) in &mut open {
            let name = visit.ask().with_context(|| format!("{vip}, {when}"))?;
            ensure!(name == "r1", "{vip}, {when}: {name}");
        }
        let answers = site.client.curl(&format!("http://[{NAT}]/"), 5)?;
        ensure!(answers.from("r1") == 5, "{when}: {answers:?}");
        Ok(())
    };
    goes_on("before")?;
    site.director.kill()?;
    goes_on("without a daemon")?;
    site.director.start()?;
    let listed = connections(&site, &["-t", &format!("[{NAT}]:80")])?;
    ensure!(listed.len() >= 10, "{} connections", listed.len());
    goes_on("with its successor")
}
