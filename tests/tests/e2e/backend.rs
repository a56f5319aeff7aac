//! Do real servers serve by what `lbctl backend prepare` sets, and by nothing else?

use anyhow::{Result, ensure};
use tests::lab::{Real, Site, Vip};
use tests::needs_lab;

use crate::sites::{of_all_methods, two_armed};

/// Everything of a host that a preparation could change.
const STATE: [&[&str]; 6] = [
    &["ip", "-details", "address", "show"],
    &["ip", "route", "show", "table", "all"],
    &["ip", "rule", "show"],
    &["ip", "-6", "route", "show", "table", "all"],
    &["sh", "-c", "grep -r . /proc/sys/net/ipv4/conf | sort"],
    &[
        "sh",
        "-c",
        "grep -r . /proc/sys/net/ipv6/conf | grep -v stable_secret | sort",
    ],
];

#[test]
fn direct_routing_and_tunnels_work_by_what_prepare_sets_and_end_with_undo() -> Result<()> {
    needs_lab!(beside others);
    let site = of_all_methods(1)?;
    let real = site.reals.first().expect("it has one");
    for method in ["dr", "tun"] {
        real.backend(&["undo"])?;
        let before = state(real)?;
        for vip in [Vip::Dr, Vip::Tun] {
            ensure!(
                is_silent(&site, vip)?,
                "{vip:?} is served by a real server that nobody has prepared"
            );
        }
        ensure!(!is_silent(&site, Vip::Nat)?, "nat needs no preparation");

        // A tunnel needs all that direct routing does, and something at its end.
        real.prepare(&[Vip::Dr, Vip::Tun], method)?;
        ensure!(
            !is_silent(&site, Vip::Dr)?,
            "prepared for {method}, it does not serve by dr"
        );
        ensure!(
            is_silent(&site, Vip::Tun)? == (method == "dr"),
            "prepared for {method}, it {} by tun",
            if method == "dr" {
                "serves"
            } else {
                "does not serve"
            }
        );
        undo_leaves_nothing(real, &before)?;
        ensure!(is_silent(&site, Vip::Dr)?, "it serves after undo");
        real.prepare(&[Vip::Dr, Vip::Tun], "tun")?;
    }
    Ok(())
}

#[test]
fn ipv6_by_direct_routing_and_nat_works_by_what_prepare_sets_and_ends_with_undo() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(1)?;
    site.add_ipv6()?;
    let real = site.reals.first().expect("it has one");
    real.host.ip(&["route del default via fd00:2::1"])?;
    real.backend(&["undo"])?;
    let configuration = format!(
        "interfaces: [eth0, eth1]\nconnections: {{max: 20000}}\nservices:\n  \
         - {{name: dr, address: \"{0}\", method: dr, scheduler: rr, reals: [\"[{2}]:80\"]}}\n  \
         - {{name: nat, address: \"{1}\", method: nat, scheduler: rr, reals: [\"[{2}]:8080\"]}}\n",
        web6(Vip::Dr),
        web6(Vip::Nat),
        real.address6()
    );
    site.balance(&configuration)?;
    let real = site.reals.first().expect("it has one");
    let before = state(real)?;
    let [dr, nat] = [Vip::Dr, Vip::Nat].map(web6);
    for url in [&dr, &nat] {
        ensure!(
            nobody_serves(&site, url)?,
            "{url} is served by nobody's doing"
        );
    }
    let vip = Vip::Dr.address6().to_string();
    let by_dr = ["--vip", &vip, "--method", "dr", "--interface", "eth0"];
    let by_nat = [
        "--method",
        "nat",
        "--interface",
        "eth0",
        "--gateway",
        "fd00:2::1",
    ];
    for (role, served, silent) in [(by_dr, &dr, &nat), (by_nat, &nat, &dr)] {
        real.backend(&[&["prepare"], &role[..]].concat())?;
        ensure!(
            !nobody_serves(&site, served)?,
            "{role:?} does not serve {served}"
        );
        ensure!(
            nobody_serves(&site, silent)?,
            "{role:?} serves {silent}, too"
        );
        undo_leaves_nothing(real, &before)?;
        ensure!(nobody_serves(&site, served)?, "it serves after undo");
    }
    Ok(())
}

/// Where a service of the web is.
fn web6(vip: Vip) -> String {
    format!("[{}]:80", vip.address6())
}

/// Whether nobody answers at a VIP.
fn is_silent(site: &Site, vip: Vip) -> Result<bool> {
    nobody_serves(site, &vip.web().to_string())
}

/// Whether nobody answers at an address, asked twice: the first packet may be lost while neighbours are looked for.
fn nobody_serves(site: &Site, address: &str) -> Result<bool> {
    let url = format!("http://{address}/");
    let words = [
        "curl",
        "--silent",
        "--fail",
        "--max-time",
        "1",
        "--globoff",
        &url,
    ];
    let ask = || -> Result<bool> { Ok(site.client.command(&words).output()?.status.success()) };
    Ok(!ask()? && !ask()?)
}

/// Whether a host is prepared well, and then by `undo` as it was before.
fn undo_leaves_nothing(real: &Real, before: &str) -> Result<()> {
    real.backend(&["check"])?;
    real.backend(&["undo"])?;
    let after = state(real)?;
    ensure!(
        after == before,
        "undo leaves something\n{}",
        difference(before, &after)
    );
    Ok(())
}

fn state(real: &Real) -> Result<String> {
    STATE.iter().map(|words| real.host.run(words)).collect()
}

fn difference(before: &str, after: &str) -> String {
    let only = |one: &str, other: &str, mark: char| -> String {
        let gone = |line: &&str| !other.lines().any(|o| o == *line);
        one.lines()
            .filter(gone)
            .map(|line| format!("{mark} {line}\n"))
            .collect()
    };
    only(before, after, '-') + &only(after, before, '+')
}
