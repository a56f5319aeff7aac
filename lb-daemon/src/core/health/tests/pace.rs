//! When is a probe sent, and how many at once?

use std::collections::BTreeMap;

use super::world::*;
use crate::core::health::plan::Timing;
use crate::core::health::*;

#[test]
fn first_probes_are_spread_and_a_single_one_goes_at_once() {
    let mut service = plan(rules());
    service.reals.truncate(1);
    let mut world = World::new(vec![service]);
    world.run(MS);
    assert_eq!(world.probes, [Duration::ZERO]);

    let mut many = plan(rules());
    many.reals = (0..2000u16).map(|n| real_plan_at(n, TIMING)).collect();
    let mut world = World::new(vec![many]);
    world.run(10 * SECOND);
    let mut per_50ms = BTreeMap::<u128, usize>::new();
    for at in &world.probes {
        *per_50ms.entry(at.as_millis() / 50).or_default() += 1;
    }
    let most = per_50ms.values().max().unwrap();
    assert!(
        *most < 160,
        "2000 a second are 100 in 50 ms, and {most} were seen"
    );
}

fn real_plan_at(n: u16, timing: Timing) -> RealPlan {
    let [a, b] = n.to_be_bytes();
    let id = SocketAddr::from(([10, 1, a, b], 80));
    RealPlan {
        id,
        weight: 1,
        checks: vec![check("tcp", id, timing)],
        on_up: None,
        on_down: None,
    }
}

#[test]
fn probes_on_their_way_are_bounded_and_nobody_starves() {
    let mut many = plan(rules());
    let mut world;
    many.reals = (0..500u16).map(|n| real_plan_at(n, TIMING)).collect();
    world = World::with(
        vec![many.clone()],
        Settings { in_flight: 50 },
        Memory::default(),
    );
    for real in &many.reals {
        world.manners.insert((real.id, "tcp".into()), SILENT);
    }
    // 50 slots of half a second each make 100 probes a second: a round takes five seconds.
    world.run(30 * SECOND);
    assert_eq!(world.most_in_flight, 50);
    assert!(
        world.latest > 3 * SECOND,
        "they are late, and it is known: {:?}",
        world.latest
    );
    let report = world.health.report(world.now);
    let failures: Vec<u64> = report[0]
        .reals
        .iter()
        .map(|r| r.checks[0].failures)
        .collect();
    assert!(failures.iter().all(|n| (4..=7).contains(n)), "{failures:?}");
}

/// One real server that answers so late; how much later than due its probes started within ten seconds.
fn latest(timing: Timing, takes: Duration) -> Duration {
    let mut service = plan(rules());
    service.reals = vec![real_plan_at(1, timing)];
    let at = service.reals[0].id;
    let mut world = World::new(vec![service]);
    let manner = Manner { takes, ..SILENT };
    world.manners.insert((at, "tcp".into()), manner);
    world.run(10 * SECOND);
    world.latest
}

#[test]
fn a_probe_whose_predecessor_was_heard_too_late_is_late() {
    assert_eq!(latest(TIMING, 500 * MS), Duration::ZERO);
    assert_eq!(latest(TIMING, 1700 * MS), 700 * MS);
}

#[test]
fn a_retry_is_not_late_because_the_failure_took_longer_than_it_waits() {
    let timing = Timing {
        retry: Some(100 * MS),
        fall: 100,
        ..TIMING
    };
    assert_eq!(latest(timing, 500 * MS), Duration::ZERO);
}

#[test]
fn an_answer_to_a_check_that_is_gone_finds_nobody_and_frees_its_place() {
    let mut world = World::with(
        vec![plan(rules())],
        Settings { in_flight: 1 },
        Memory::default(),
    );
    for n in 1..=3 {
        world.set(n, SILENT);
    }
    world.run(20 * MS);
    assert_eq!(world.health.in_flight(), 1);
    world.configure(vec![]);
    assert_eq!(world.health.in_flight(), 1, "it is on its way still");
    world.run(SECOND);
    assert_eq!(world.health.in_flight(), 0);
    assert!(world.events.is_empty());
}
