//! Do real servers serve by what `lbctl backend prepare` sets, and by nothing else?

use anyhow::{Result, ensure};
use tests::lab::{Real, Site, Vip};
use tests::needs_lab;

use crate::sites::of_all_methods;

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
    needs_lab!();
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
        real.backend(&["check"])?;

        real.backend(&["undo"])?;
        let after = state(real)?;
        ensure!(
            after == before,
            "undo leaves something\n{}",
            difference(&before, &after)
        );
        ensure!(is_silent(&site, Vip::Dr)?, "it serves after undo");
        real.prepare(&[Vip::Dr, Vip::Tun], "tun")?;
    }
    Ok(())
}

/// Whether nobody answers at a VIP, asked twice: the first packet may be lost while neighbours are looked for.
fn is_silent(site: &Site, vip: Vip) -> Result<bool> {
    let url = vip.url("/");
    let words = ["curl", "--silent", "--fail", "--max-time", "1", &url];
    let ask = || -> Result<bool> { Ok(site.client.command(&words).output()?.status.success()) };
    Ok(!ask()? && !ask()?)
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
