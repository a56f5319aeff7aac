//! What is kept when the configuration changes, and over a restart?

use super::world::*;
use crate::core::health::plan::Timing;
use crate::core::health::probe::{Probe, Tcp};
use crate::core::health::*;

#[test]
fn an_unchanged_check_keeps_its_state_when_others_change() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let before = world.health.report(world.now);
    let mut changed = plan(rules());
    changed.reals.push(real_plan(4, 1, TIMING));
    changed.reals[1].weight = 9;
    world.configure(vec![changed]);
    let after = world.health.report(world.now);
    assert_eq!(before[0].reals[0], after[0].reals[0]);
    assert_eq!(before[0].reals[1].checks, after[0].reals[1].checks);
    assert!(world.is_out(1));
}

#[test]
fn a_failed_real_that_is_removed_and_added_again_starts_failed() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let mut without = plan(rules());
    without.reals.remove(0);
    world.configure(vec![without]);
    world.run(60 * SECOND);
    world.configure(vec![plan(rules())]);
    assert!(world.is_out(1));
    assert!(!world.is_out(2));
    // With its whole service.
    world.configure(vec![]);
    world.configure(vec![plan(rules())]);
    assert!(world.is_out(1) && !world.is_out(2));
    world.set(1, WELL);
    world.run(5 * SECOND);
    assert!(!world.is_out(1));
    world.configure(vec![]);
    world.configure(vec![plan(rules())]);
    assert!(
        !world.is_out(1),
        "it has recovered, and that is remembered too"
    );
}

#[test]
fn another_check_of_a_failed_real_has_to_pass_before_it_comes_in() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let mut other = plan(rules());
    other.reals[0].checks = vec![check("other", real(1), TIMING)];
    other.reals[1].checks = vec![check("other", real(2), TIMING)];
    world.configure(vec![other]);
    assert!(world.is_out(1), "not because its check has gone");
    assert!(!world.is_out(2));
    world.run(5 * SECOND);
    assert!(!world.is_out(1));
}

#[test]
fn a_check_that_asks_something_else_keeps_its_verdict() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let mut other = plan(rules());
    let mut changed = (*other.reals[0].checks[0]).clone();
    changed.probe = Probe::Tcp(Tcp {
        send: Some(b"hello".to_vec()),
        ..Tcp::default()
    });
    other.reals[0].checks = vec![Arc::new(changed)];
    world.configure(vec![other]);
    assert!(world.is_out(1));
}

#[test]
fn a_shorter_interval_holds_at_once() {
    let mut service = plan(rules());
    service.reals = vec![real_plan(
        1,
        1,
        Timing {
            interval: 600 * SECOND,
            ..TIMING
        },
    )];
    let mut world = World::new(vec![service.clone()]);
    world.run(700 * SECOND);
    let before = world.probes.len();
    service.reals = vec![real_plan(1, 1, TIMING)];
    world.configure(vec![service]);
    world.run(10 * SECOND);
    assert!(world.probes.len() - before >= 9);
}

#[test]
fn what_was_down_before_a_restart_starts_down() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(2, SICK);
    world.run(10 * SECOND);
    let memory = world.health.memory(world.now);
    assert_eq!(memory.iter().count(), 1);
    let mut other = plan(rules());
    other.reals[1].checks = vec![check("other", real(2), TIMING)];
    let other = World::with(vec![other], Settings::default(), memory.clone());
    assert!(other.is_out(2), "also if another check is asked now");
    let again = World::with(vec![plan(rules())], Settings::default(), memory);
    assert!(again.is_out(2) && !again.is_out(1) && !again.is_out(3));
    let report = again.health.report(again.now);
    assert!(
        report[0].reals[1].for_seconds >= 5.0,
        "and it is known for how long"
    );
}

#[test]
fn a_weight_that_a_check_gave_holds_after_a_restart_until_it_gives_another() {
    let mut world = World::new(vec![plan(rules())]);
    let heavy = Manner {
        weight: Some(30),
        ..WELL
    };
    world.set(1, heavy);
    world.run(2 * SECOND);
    let memory = world.health.memory(world.now);
    let mut again = World::with(vec![plan(rules())], Settings::default(), memory);
    let weights = |world: &World| {
        (1..=3)
            .map(|n| world.standing(n).weight)
            .collect::<Vec<_>>()
    };
    assert_eq!(weights(&again), [30, 1, 1]);
    again.run(2 * SECOND);
    assert_eq!(weights(&again), [1, 1, 1]);
}
