//! Directors on a network that loses, delays, doubles and divides, on virtual time: who is master, and when.
//!
//! Every run follows from its seed. `VRRP_SEEDS=100000` runs so many, `VRRP_FIRST=N` begins with another one, and
//! `VRRP_SEED=N` runs one and prints what happens.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "vrrp_simulation/director.rs"]
mod director;
#[path = "vrrp_simulation/judge.rs"]
mod judge;
#[path = "vrrp_simulation/random.rs"]
mod random;
#[path = "vrrp_simulation/script.rs"]
mod script;
#[path = "vrrp_simulation/world.rs"]
mod world;

use std::time::Instant;

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
