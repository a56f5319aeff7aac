//! Two directors of ours on a bad cable: is there one master as soon as there can be, and no more changes than the timers imply?

use std::time::{Duration, Instant};

use lb_daemon::core::vrrp::State;
use lb_daemon::io::vrrp::{Event, Notice};

use super::netns::Host;
use super::ours::{Ours, Plan};
use super::site::*;
use super::wire::{Weather, Wire};

/// The first has priority 150 and the second 100.
struct Two {
    first: Ours,
    second: Ours,
    wire: Wire,
    // Last, so that the directors end before their hosts.
    _hosts: [Host; 2],
}

const SEED: u64 = 20_261_122;
const CUT: Weather = Weather {
    lost: 0,
    doubled: 0,
    late: Duration::ZERO,
    cut: true,
};

impl Two {
    /// Both run, and the first is master.
    async fn new(case: &Case) -> Self {
        println!("seed {SEED}");
        let hosts = [Host::new(), Host::new()];
        let wire = Wire::new(&hosts[0], &hosts[1], SEED);
        let own = [OURS, THEIRS].map(|text| text.parse().unwrap());
        for (host, addr) in hosts.iter().zip([OURS, THEIRS]) {
            host.run(&format!("ip addr add {addr}/24 dev eth0"));
        }
        let plan = |n: usize, priority| Plan {
            case,
            priority,
            extra: "",
            own: own[n],
            peer: own[1 - n],
        };
        let first = Ours::start(&hosts[0], plan(0, 150)).await;
        let second = Ours::start(&hosts[1], plan(1, 100)).await;
        let two = Self {
            first,
            second,
            wire,
            _hosts: hosts,
        };
        until("the first is master alone", 10 * SECOND, async || {
            two.settled().await
        })
        .await;
        two
    }

    async fn settled(&self) -> bool {
        self.first.is(State::Master).await
            && self.second.is(State::Backup).await
            && self.second.report().await.heard > 0
    }

    async fn masterships(&self) -> (u64, u64) {
        (
            self.first.report().await.masterships,
            self.second.report().await.masterships,
        )
    }
}

/// Whoever is not heard by the other is noticed by the other at once; nobody changes its mind, and the end of it is one
/// master within an interval.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_partition_makes_nobody_flap_and_is_noticed() {
    if skipped() {
        return;
    }
    let mut two = Two::new(&V3).await;
    // What a backup might say is not heard: nothing happens.
    two.wire.set(Weather::default(), CUT);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(two.masterships().await, (1, 0));
    assert!(two.settled().await);

    // The master is not heard: the backup takes over, which the master hears and says.
    while two.first.events.try_recv().is_ok() {}
    two.wire.set(CUT, Weather::default());
    let second_is_master = async || two.second.is(State::Master).await;
    until(
        "the second takes over",
        V3.master_down(100) + SLACK,
        second_is_master,
    )
    .await;
    let took_over = Instant::now();
    let noticed = async {
        while let Some(event) = two.first.events.recv().await {
            if let Event::Noticed {
                notice: Notice::LowerMaster(other),
                ..
            } = event
            {
                return other;
            }
        }
        panic!("it ended");
    };
    let other = tokio::time::timeout(3 * TENTH + SLACK, noticed)
        .await
        .unwrap();
    assert_eq!(other.to_string(), THEIRS);
    println!(
        "the first notices a second master after {:?}",
        took_over.elapsed()
    );
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(two.masterships().await, (1, 1), "each was made master once");

    two.wire.set(Weather::default(), Weather::default());
    let took = until("one gives way", TENTH + SLACK, async || two.settled().await).await;
    println!("one master {took:?} after the cable is whole again");
    assert_eq!(two.masterships().await, (1, 1));
}

/// A backup takes over when three advertisements in a row are lost, and gives way when it hears the next; no more often
/// than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_and_delays_make_no_more_takeovers_than_three_in_a_row() {
    if skipped() {
        return;
    }
    let case = Case {
        interval: TENTH / 2,
        ..V3
    };
    let two = Two::new(&case).await;
    let whole = 20 * SECOND;
    for (lost, late, doubled) in [(0, 20, 200), (10, 10, 0), (50, 10, 50), (200, 10, 50)] {
        let weather = Weather {
            lost,
            doubled,
            late: Duration::from_millis(late),
            cut: false,
        };
        let before = two.masterships().await;
        let clear = two.wire.tally();
        two.wire.set(weather, weather);
        tokio::time::sleep(whole).await;
        let rough = two.wire.tally();
        two.wire.set(Weather::default(), Weather::default());
        let settled = async || two.settled().await;
        let healed = until("there is one master", case.interval + SLACK, settled).await;
        let after = two.masterships().await;
        let (adverts, share) = (
            whole.as_secs_f64() / case.interval.as_secs_f64(),
            lost as f64 / 1e3,
        );
        let expected = adverts * share.powi(3) * (1.0 - share);
        let seen = after.1 - before.1;
        println!(
            "{lost} of 1000 lost, late by up to {late} ms, {doubled} of 1000 twice: {seen} takeovers in {whole:?}, \
             {expected:.1} expected; one master {healed:?} after it"
        );
        assert_eq!(after.0, before.0, "the master stays what it is");
        let came = rough.came - clear.came;
        assert!(came as f64 >= adverts / 2.0, "only {came} frames came");
        let (gone, twice) = (rough.lost - clear.lost, rough.doubled - clear.doubled);
        println!("  of {came} frames {gone} were lost, and {twice} came twice");
        let passed = came - gone;
        for (what, seen, of, share) in [
            ("lost", gone, came, lost),
            ("doubled", twice, passed, doubled),
        ] {
            let expected = of as f64 * share as f64 / 1e3;
            assert!(
                seen as f64 >= expected - 5.0 * expected.sqrt(),
                "{seen} {what}: there was no such weather"
            );
        }
        // So far from what is expected chance comes once in a million times.
        assert!(
            seen as f64 <= expected + 5.0 * expected.sqrt() + 1.0,
            "{seen} takeovers"
        );
    }
}
