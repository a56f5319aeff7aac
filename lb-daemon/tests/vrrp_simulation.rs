//! Directors on a network that loses, delays, doubles and divides, on virtual time: who is master, and when.
//!
//! Every run follows from its seed. `VRRP_SEEDS=100000` runs so many, `VRRP_FIRST=N` begins with another one, and
//! `VRRP_SEED=N` runs one and prints what happens. `VRRP_ADVERTS=400000000` has so many advertisements at each rate of losses.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "vrrp_simulation/director.rs"]
mod director;
#[path = "vrrp_simulation/judge.rs"]
mod judge;
#[path = "vrrp_simulation/losses.rs"]
mod losses;
#[path = "vrrp_simulation/random.rs"]
mod random;
#[path = "vrrp_simulation/script.rs"]
mod script;
#[path = "vrrp_simulation/world.rs"]
mod world;

use std::time::Instant;

use lb_daemon::core::vrrp::Interval;
use losses::Pair;
use world::World;

fn setting(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().expect("a number"))
}

#[test]
fn there_is_one_master_and_soon_whatever_the_network_does() {
    if let Some(seed) = setting("VRRP_SEED") {
        let mut world = World::new(seed, true);
        world
            .run()
            .unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        return;
    }
    let seeds = setting("VRRP_SEEDS").unwrap_or(if cfg!(debug_assertions) { 300 } else { 100_000 });
    let first = setting("VRRP_FIRST").unwrap_or(0);
    let start = Instant::now();
    let mut sum = judge::Sum::default();
    for seed in first..first + seeds {
        let mut world = World::new(seed, false);
        match world.run() {
            Ok(()) => sum.add(world.judge()),
            Err(wrong) => panic!(
                "seed {seed}: {wrong}\nreplay: VRRP_SEED={seed} cargo test -p lb-daemon --test vrrp_simulation -- \
                 --nocapture"
            ),
        }
    }
    println!("{seeds} seeds in {:.1?}: {sum}", start.elapsed());
    // What never happened was not tested.
    assert!(
        sum.takeovers > seeds / 20 && sum.handovers > seeds / 20,
        "{sum}"
    );
}

/// With as many losses as networks have that anybody would use, and with more, at both intervals: no backup takes over that
/// has not missed as many in a row as it may.
#[test]
fn false_takeovers_are_as_many_as_the_timers_imply() {
    let most = setting("VRRP_ADVERTS").unwrap_or(if cfg!(debug_assertions) {
        60_000
    } else {
        20_000_000
    });
    for (centis, misses) in [(10, 3), (100, 3), (10, 5)] {
        for lost in [10, 20, 50, 100, 200] {
            let mut pair = Pair::new(Interval::centis(centis).unwrap(), misses, lost, lost);
            // No more than it takes to see some thousand.
            while most > pair.adverts() && pair.expected() < 5_000.0 {
                pair.run(most.min(10_000));
            }
            println!("{pair}");
            pair.judge();
        }
    }
}
