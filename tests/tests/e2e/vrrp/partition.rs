//! What becomes of two masters when their network is whole again?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::lab::{Pair, Vip, poll};
use tests::needs_lab;

use super::{SOON, answers, arp_entry, is, router, runs, settled, started};

const INTERVAL: Duration = Duration::from_secs(1);

/// While the directors do not hear each other both are master, and clients go where they were told last. Within one interval
/// of hearing each other there is one, and clients go to it.
#[test]
fn within_one_interval_after_a_partition_there_is_one_master_and_clients_go_to_it() -> Result<()> {
    needs_lab!();
    let pair = started(INTERVAL)?;
    let [first, second] = &pair.directors;
    let [mac, other] = [first, second].map(|d| d.host().mac("eth0"));
    let (mac, other) = (mac?, other?);
    for run in 0..runs() {
        pair.divide(true)?;
        poll("both to be master", SOON, || {
            is(first, "outside", "master")?;
            is(second, "outside", "master")
        })?;
        client_goes_to(&pair, &other, SOON)?;
        let before = router(first, "outside")?.masterships;
        pair.divide(false)?;
        let healed = Instant::now();
        poll("the second to give way", INTERVAL, || {
            is(second, "outside", "backup")?;
            is(second, "inside", "backup")
        })?;
        let took = healed.elapsed();
        client_goes_to(&pair, &mac, INTERVAL)?;
        let client = healed.elapsed();
        println!(
            "run {run}: one master {took:.1?} after the partition, the client's ARP entries right after {client:.1?}; \
             at most {INTERVAL:?} allowed"
        );
        ensure!(took <= INTERVAL && client <= INTERVAL, "later than that");
        // It was master all the time, and announced itself all the same.
        let after = router(first, "outside")?;
        ensure!(after.state == "master" && after.masterships == before);
        answers(&pair, Vip::Dr)?;
        settled(&pair)?;
    }
    Ok(())
}

/// Waits until the client reaches each VIP by a director's MAC.
fn client_goes_to(pair: &Pair, mac: &str, within: Duration) -> Result<()> {
    for vip in [Vip::Dr, Vip::Nat] {
        poll("the client to go to the master", within, || {
            let entry = arp_entry(pair, vip)?;
            ensure!(entry == mac, "{vip:?}: it goes to {entry}");
            Ok(())
        })?;
    }
    Ok(())
}
