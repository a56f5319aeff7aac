//! Do clients and real servers reach a director by its virtual MAC, and the next one by the same?

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::{Pair, Real, Vip, poll};
use tests::needs_lab;

use super::figures::{HAND_OVER, POWER_LOST, silence};
use super::{
    SOON, TENTH, answers, arp_entry, lose_power, regain_power, runs, settled, started_with,
};

const OUTSIDE: &str = "00:00:5e:00:01:33";
const INSIDE: &str = "00:00:5e:00:01:34";

/// The client and a real server know no other MAC of virtual addresses.
fn by_virtual_macs(pair: &Pair) -> Result<()> {
    for vip in [Vip::Dr, Vip::Nat] {
        let entry = arp_entry(pair, vip)?;
        ensure!(entry == OUTSIDE, "{vip:?}: the client goes to {entry}");
    }
    let entry = |real: &Real| real.host.run(&["ip", "neigh", "show", Pair::GATEWAY]);
    let entries: Vec<String> = pair.reals.iter().map(entry).collect::<Result<_>>()?;
    // Who was never asked knows none.
    let known: Vec<&String> = entries.iter().filter(|e| e.contains("lladdr")).collect();
    ensure!(
        !known.is_empty() && known.iter().all(|entry| entry.contains(INSIDE)),
        "real servers answer by {entries:?}"
    );
    Ok(())
}

#[test]
fn clients_and_real_servers_keep_the_virtual_mac_when_the_director_changes() -> Result<()> {
    needs_lab!();
    let mut pair = started_with(TENTH, "virtual_mac: true,")?;
    by_virtual_macs(&pair)?;
    for run in 0..runs() {
        let handed_over = silence(&mut pair, |pair| pair.directors[0].stop())?.longest;
        by_virtual_macs(&pair)?;
        pair.directors[0].start()?;
        settled(&pair)?;
        by_virtual_macs(&pair)?;
        let lost = silence(&mut pair, |pair| lose_power(&mut pair.directors[0]))?.longest;
        by_virtual_macs(&pair)?;
        println!(
            "run {run}, virtual MACs, advertisements every {TENTH:?}: no answer for {handed_over:.1?} when stopped and \
             {lost:.1?} when power was lost (DR, NAT)"
        );
        let soon = |silences: [Duration; 2], most: Duration| silences.iter().all(|s| *s <= most);
        ensure!(
            soon(handed_over, HAND_OVER) && soon(lost, POWER_LOST),
            "longer than that"
        );
        regain_power(&mut pair.directors[0])?;
        settled(&pair)?;
    }
    // Asked anew, each is answered by the virtual MAC.
    pair.client.ip(&["neigh flush dev eth0"])?;
    answers(&pair, Vip::Dr)?;
    answers(&pair, Vip::Nat)?;
    poll("the virtual MACs", SOON, || by_virtual_macs(&pair))
}
