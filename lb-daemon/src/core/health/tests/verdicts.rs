//! When is a real server taken for dead or alive, and what follows for it?

use super::world::*;
use crate::core::health::plan::{DeadConnections, OnFailure, Rules, Timing};
use crate::core::health::*;

#[test]
fn a_failure_is_noticed_within_fall_intervals_and_a_timeout_whenever_it_happens() {
    for at in (0..1000).step_by(13) {
        let mut world = World::new(vec![plan(rules())]);
        world.run(5 * SECOND + at * MS);
        world.set(1, SILENT);
        let failed = world.at();
        world.run(5 * SECOND);
        assert!(world.is_out(1) && !world.is_out(2) && !world.is_out(3));
        let took = world.changes.last().unwrap().0 - failed;
        assert!(
            took <= TIMING.interval * TIMING.fall + TIMING.timeout,
            "{took:?}"
        );

        world.set(1, WELL);
        let mended = world.at();
        world.run(5 * SECOND);
        assert!(!world.is_out(1));
        let took = world.changes.last().unwrap().0 - mended;
        assert!(took <= TIMING.interval * TIMING.rise + 2 * MS, "{took:?}");
        assert_eq!(world.kinds(), ["down", "up"]);
        assert_eq!(world.runs, ["down", "up"]);
    }
}

#[test]
fn a_failed_probe_is_repeated_after_the_retry_time_while_the_real_is_up() {
    let mut service = plan(rules());
    let timing = Timing {
        interval: 10 * SECOND,
        retry: Some(SECOND),
        ..TIMING
    };
    service.reals = vec![real_plan(1, 1, timing)];
    let mut world = World::new(vec![service]);
    world.run(25 * SECOND);
    world.set(1, SICK);
    let first = world.probes.len();
    world.run(60 * SECOND);
    let gaps: Vec<u64> = world.probes[first..]
        .windows(2)
        .map(|w| (w[1] - w[0]).as_secs())
        .collect();
    assert_eq!(
        gaps[..5],
        [1, 1, 10, 10, 10],
        "two retries make the verdict, then the interval holds again"
    );
}

#[test]
fn every_check_must_pass() {
    let mut service = plan(rules());
    service.reals[0].checks.push(check("http", real(1), TIMING));
    let mut world = World::new(vec![service]);
    world.set_check(1, "http", SICK);
    world.run(5 * SECOND);
    assert!(world.is_out(1));
    world.set(1, SICK);
    world.run(5 * SECOND);
    world.set_check(1, "http", WELL);
    world.run(5 * SECOND);
    assert!(world.is_out(1), "the other check has gone down meanwhile");
    world.set(1, WELL);
    world.run(5 * SECOND);
    assert!(!world.is_out(1));
    let why = world.events.iter().find_map(|(_, e)| match &e.what {
        What::Down { why } => Some(why.clone()),
        _ => None,
    });
    assert_eq!(why.as_deref(), Some("http: refused"));
}

#[test]
fn a_real_that_starts_down_proves_itself_first() {
    let mut service = plan(rules());
    service.reals = vec![real_plan(
        1,
        1,
        Timing {
            initial: Verdict::Down,
            ..TIMING
        },
    )];
    let mut world = World::new(vec![service]);
    assert!(world.is_out(1));
    world.run(TIMING.interval + 2 * MS);
    assert!(!world.is_out(1));
}

#[test]
fn a_weight_of_zero_set_by_a_person_is_never_overridden() {
    let mut service = plan(rules());
    service.reals[0].weight = 0;
    let mut world = World::new(vec![service]);
    for manner in [
        Manner {
            weight: Some(50),
            ..WELL
        },
        SICK,
        WELL,
    ] {
        world.set(1, manner);
        world.run(5 * SECOND);
        assert_eq!(world.standing(1).weight, 0);
    }
}

#[test]
fn a_check_may_ask_for_a_weight_and_the_smallest_holds() {
    let mut service = plan(rules());
    service.reals[0].checks.push(check("load", real(1), TIMING));
    let mut world = World::new(vec![service]);
    world.set(
        1,
        Manner {
            weight: Some(30),
            ..WELL
        },
    );
    world.set_check(
        1,
        "load",
        Manner {
            weight: Some(7),
            ..WELL
        },
    );
    world.run(2 * SECOND);
    assert_eq!(
        world.standing(1),
        Standing {
            weight: 7,
            out: false,
            dead: false,
            reset: false,
            asked: Some(7),
        }
    );
    world.set_check(
        1,
        "load",
        Manner {
            weight: Some(0),
            ..WELL
        },
    );
    world.run(2 * SECOND);
    assert_eq!(
        world.standing(1),
        Standing {
            weight: 0,
            out: false,
            dead: false,
            reset: false,
            asked: Some(0),
        },
        "up, and drained"
    );
    world.set(1, WELL);
    world.set_check(1, "load", WELL);
    world.run(2 * SECOND);
    assert_eq!(world.standing(1).weight, 1, "the configured weight again");
}

#[test]
fn a_failure_says_nothing_about_weights() {
    let heavy = Manner {
        weight: Some(30),
        ..WELL
    };
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, heavy);
    world.run(2 * SECOND);
    assert_eq!(world.standing(1).weight, 30);
    let changes = world.changes.len();
    for manner in [SICK, heavy] {
        world.set(1, manner);
        world.run(5 * SECOND);
    }
    let told = world.changes.iter().skip(changes);
    let told: Vec<_> = told
        .map(|(_, standings)| standings.get(service_id()).unwrap().reals[&real(1)])
        .map(|standing| (standing.weight, standing.out))
        .collect();
    assert_eq!(told, [(30, true), (30, false)]);
}

#[test]
fn connections_of_a_dead_real_are_given_up_where_that_is_asked_for() {
    for (connections, on_failure, reset) in [
        (DeadConnections::Keep, OnFailure::Remove, false),
        (DeadConnections::Reset, OnFailure::Remove, true),
        (DeadConnections::Reset, OnFailure::WeightZero, true),
    ] {
        let mut world = World::new(vec![plan(Rules {
            connections,
            on_failure,
            ..rules()
        })]);
        assert!(!world.standing(1).reset);
        world.set(1, SICK);
        world.run(5 * SECOND);
        assert_eq!(world.standing(1).reset, reset);
        world.set(1, WELL);
        world.run(5 * SECOND);
        assert!(!world.standing(1).reset);
    }
}

#[test]
fn with_weight_zero_a_dead_real_stays_in_the_pool_without_new_connections() {
    let mut world = World::new(vec![plan(Rules {
        on_failure: OnFailure::WeightZero,
        ..rules()
    })]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    assert_eq!(
        world.standing(1),
        Standing {
            weight: 0,
            out: false,
            dead: true,
            reset: false,
            asked: None,
        }
    );
}
