//! What becomes of the pool: quorum, sorry server, slow start, damping.

use super::world::*;
use crate::core::desired::{Desired, DesiredReal, DesiredService, Scheduler};
use crate::core::health::plan::{Damping, Rules, Timing};
use crate::core::health::*;

#[test]
fn the_sorry_server_serves_while_the_quorum_is_lost_and_all_reals_leave() {
    let mut world = World::new(vec![plan(with_sorry(2, 0))]);
    world.run(SECOND);
    assert!(!world.sorry_serves());
    world.set(1, SICK);
    world.run(5 * SECOND);
    assert!(!world.sorry_serves(), "two of three are enough");
    world.set(2, SICK);
    world.run(5 * SECOND);
    assert!(world.sorry_serves());
    assert!(
        (1..=3).all(|n| world.is_out(n)),
        "real 3 is alive and leaves too"
    );
    assert!(!world.standing(3).dead);
    world.set(1, WELL);
    world.run(5 * SECOND);
    assert!(!world.sorry_serves());
    assert!(!world.is_out(1) && world.is_out(2) && !world.is_out(3));
    let wanted = [
        "down",
        "down",
        "quorum_lost",
        "sorry_in",
        "up",
        "quorum_gained",
        "sorry_out",
    ];
    assert_eq!(world.kinds(), wanted);
    assert_eq!(
        world.runs,
        ["down", "down", "quorum down", "up", "quorum up"]
    );
}

#[test]
fn without_a_sorry_server_live_reals_go_on_below_the_quorum() {
    let mut world = World::new(vec![plan(Rules {
        quorum: 3,
        ..rules()
    })]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    assert_eq!(world.kinds(), ["down", "quorum_lost"]);
    assert!(!world.is_out(2) && !world.is_out(3));
}

#[test]
fn a_service_whose_reals_all_start_down_begins_with_the_sorry_server() {
    let mut service = plan(with_sorry(1, 0));
    service.reals = vec![real_plan(
        1,
        1,
        Timing {
            initial: Verdict::Down,
            ..TIMING
        },
    )];
    let mut world = World::new(vec![service]);
    assert!(world.sorry_serves());
    world.run(5 * SECOND);
    assert!(!world.sorry_serves());
    assert_eq!(world.kinds(), ["up", "quorum_gained", "sorry_out"]);
}

#[test]
fn a_real_that_returns_starts_slowly_and_the_others_keep_their_proportions() {
    let mut service = plan(Rules {
        slow_start: Some(20 * SECOND),
        ..rules()
    });
    service.reals[1].weight = 3;
    let mut world = World::new(vec![service]);
    world.run(SECOND);
    assert_eq!(
        world.standing(1).weight,
        1,
        "no slow start at the beginning"
    );
    world.set(1, SICK);
    world.run(5 * SECOND);
    world.set(1, WELL);
    let before = world.changes.len();
    world.run(40 * SECOND);
    let weights: Vec<(u16, u16, u16)> = world.changes[before..]
        .iter()
        .map(|(_, s)| {
            let reals = &s.get(service_id()).unwrap().reals;
            (
                reals[&real(1)].weight,
                reals[&real(2)].weight,
                reals[&real(3)].weight,
            )
        })
        .collect();
    let mut wanted: Vec<_> = (1..10).map(|n| (n, 30, 10)).collect();
    wanted.push((1, 3, 1));
    assert_eq!(weights, wanted);
    let steps = world.changes[before..].windows(2).map(|w| w[1].0 - w[0].0);
    assert!(
        steps
            .clone()
            .all(|step| step.abs_diff(2 * SECOND) <= 2 * MS),
        "{:?}",
        steps.collect::<Vec<_>>()
    );
}

#[test]
fn weights_that_are_numbers_of_connections_are_not_multiplied() {
    let mut service = plan(Rules {
        slow_start: Some(20 * SECOND),
        ..rules()
    });
    service.scheduler = Scheduler::Ovf;
    service.reals[0].weight = 50;
    let mut world = World::new(vec![service]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    world.set(1, WELL);
    world.run(3 * SECOND);
    assert_eq!((world.standing(1).weight, world.standing(2).weight), (5, 1));
}

#[test]
fn a_real_that_comes_and_goes_changes_the_pool_once_in_the_holding_time() {
    let damping = Damping {
        failures: 3,
        within: 60 * SECOND,
        hold: 30 * SECOND,
    };
    let mut world = World::new(vec![plan(Rules {
        damping: Some(damping),
        ..rules()
    })]);
    // Up and down every five seconds, for ten minutes.
    for turn in 0..120 {
        world.set(1, if turn % 2 == 0 { SICK } else { WELL });
        world.run(5 * SECOND);
    }
    let moves = world
        .kinds()
        .iter()
        .filter(|k| ["up", "down"].contains(k))
        .count();
    assert_eq!(
        moves, 5,
        "three failures, two returns between them, and nothing after"
    );
    assert!(world.is_out(1));
    assert!(world.kinds().contains(&"held"));
    world.set(1, WELL);
    world.run(31 * SECOND + TIMING.interval * TIMING.rise);
    assert!(!world.is_out(1), "well for the holding time");
}

#[test]
fn standings_change_what_is_desired() {
    let mut world = World::new(vec![plan(with_sorry(1, 0))]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let desired_real = |n, weight| DesiredReal {
        weight,
        ..DesiredReal::new(real(n).ip(), 80)
    };
    let reals = vec![
        desired_real(1, 1),
        desired_real(2, 1),
        desired_real(3, 1),
        desired_real(4, 8),
    ];
    let mut desired = Desired {
        services: vec![DesiredService {
            reals,
            ..DesiredService::new(service_id())
        }],
        ..Desired::default()
    };
    world.health.standings().apply(&mut desired);
    let got: Vec<_> = desired.services[0]
        .reals
        .iter()
        .map(|r| (r.addr, r.weight, r.down))
        .collect();
    let wanted: Vec<_> = [
        (1, 1, true),
        (2, 1, false),
        (3, 1, false),
        (4, 8, false),
        (99, 1, true),
    ]
    .map(|(n, weight, down)| (real(n).ip(), weight, down))
    .into();
    assert_eq!(
        got, wanted,
        "real 4 is not known to health and stays as it is; the sorry server waits at the end"
    );
}
