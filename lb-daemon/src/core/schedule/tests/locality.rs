//! What lblc and lblcr remember, and for how long.

use lb_common::abi::{LOCALITY_SET, Load, seconds_to_ticks};
use lb_common::sched::{Request, Scheduler, choose};

use super::super::{Course, Model};
use super::entry;

const REQUEST: Request = Request {
    client: 1,
    destination: 2,
    client_port: 3,
};
const DAY: u64 = 24 * 60 * 60;

fn model(scheduler: Scheduler, weights: &[u16]) -> Model {
    let entries = (0u8..).zip(weights).map(|(n, &w)| entry(n, w)).collect();
    let layout = Course::default().next(scheduler, entries, 0);
    Model::new(scheduler, 0, layout, vec![Load::default(); weights.len()])
}

fn active(n: u32) -> Load {
    Load {
        conns: u64::from(n) * (Load::ONE + Load::ACTIVE),
    }
}

fn chosen(model: &Model) -> u32 {
    choose(model, &REQUEST).unwrap().real()
}

fn set(model: &Model) -> Vec<u32> {
    let known = model.locality.get().unwrap();
    known.set[..known.len as usize]
        .iter()
        .map(|entry| entry.real())
        .collect()
}

#[test]
fn a_destination_stays_until_its_real_server_is_overloaded_and_another_half_idle() {
    for scheduler in [Scheduler::Lblc, Scheduler::Lblcr] {
        let mut model = model(scheduler, &[4, 4, 4]);
        assert_eq!(chosen(&model), 0);
        model.loads = vec![active(4), active(0), active(0)];
        assert_eq!(chosen(&model), 0, "as many as its weight is not too many");
        model.loads = vec![active(5), active(2), active(2)];
        assert_eq!(chosen(&model), 0, "half its weight is not half idle");
        model.loads = vec![active(5), active(2), active(1)];
        assert_eq!(chosen(&model), 2);
        model.loads = vec![active(0), active(2), active(1)];
        let expected = if scheduler == Scheduler::Lblc { 2 } else { 0 };
        assert_eq!(
            chosen(&model),
            expected,
            "lblcr has both in its set, lblc forgot the first"
        );
    }
}

#[test]
fn a_destination_is_forgotten_after_a_day() {
    for scheduler in [Scheduler::Lblc, Scheduler::Lblcr] {
        let mut model = model(scheduler, &[1, 1]);
        assert_eq!(chosen(&model), 0);
        model.loads = vec![active(1), active(0)];
        model.now = seconds_to_ticks(DAY - 60);
        assert_eq!(chosen(&model), 0);
        model.now += seconds_to_ticks(DAY - 60);
        assert_eq!(chosen(&model), 0, "a connection keeps it for another day");
        model.now += seconds_to_ticks(DAY + 1);
        assert_eq!(chosen(&model), 1);
    }
}

#[test]
fn a_set_that_stays_as_it_is_for_a_day_loses_its_most_loaded() {
    let mut model = model(Scheduler::Lblcr, &[2, 2, 2]);
    assert_eq!(chosen(&model), 0);
    model.loads = vec![active(3), active(0), active(0)];
    assert_eq!(chosen(&model), 1);
    assert_eq!(set(&model), [1, 0]);
    model.loads = vec![active(1), active(0), active(0)];
    for _ in 0..25 {
        model.now += seconds_to_ticks(60 * 60);
        assert_eq!(chosen(&model), 1);
    }
    assert_eq!(set(&model), [1]);
    model.now += seconds_to_ticks(DAY / 2);
    chosen(&model);
    model.now += seconds_to_ticks(DAY / 2 + 60);
    chosen(&model);
    assert_eq!(set(&model), [1], "the last one stays");
}

#[test]
fn a_removed_real_server_is_not_looked_for() {
    for scheduler in [Scheduler::Lblc, Scheduler::Lblcr] {
        let before = model(scheduler, &[1, 1, 1]);
        assert_eq!(chosen(&before), 0);
        let entries = vec![entry(1, 1), entry(2, 1)];
        let layout = Course::default().next(scheduler, entries, 0);
        let after = Model::new(scheduler, 0, layout, vec![Load::default(); 3]);
        after.locality.set(before.locality.get());
        assert_eq!(chosen(&after), 1);
        assert!(set(&after).contains(&1));
    }
}

#[test]
fn a_full_set_drops_the_one_that_was_added_first() {
    let weights = vec![2; LOCALITY_SET + 2];
    let mut model = model(Scheduler::Lblcr, &weights);
    for n in 0..weights.len() {
        assert_eq!(chosen(&model) as usize, n);
        model.loads[n] = active(5);
    }
    let newest_first: Vec<u32> = (2..weights.len() as u32).rev().collect();
    assert_eq!(set(&model), newest_first);
}
