//! A daemon that is killed at any write leaves each service as it was or as desired, and the next one mends the rest.

use std::sync::Arc;

use proptest::prelude::*;

use lb_common::abi::Method;
use lb_common::sched::Scheduler::{Rr, Wrr};

use super::fixture::*;
use crate::core::desired::{Desired, DesiredReal, DesiredService};
use crate::io::bpf::ledger;
use crate::io::bpf::report::TrafficSum;
use crate::io::bpf::state::State;
use crate::io::bpf::tables::memory::MemoryTables;

/// Between these two everything changes that can.
fn before_and_after() -> (Desired, Desired) {
    let mut nat = service(2, Wrr, &[(3, 2), (4, 1)]);
    nat.reals.iter_mut().for_each(|r| r.method = Method::Nat);
    let before = desired(&[
        service(1, Wrr, &[(1, 3), (2, 1)]),
        nat,
        service(3, Rr, &[(5, 1)]),
    ]);

    let mut changed = service(1, Rr, &[(2, 1), (6, 4)]);
    changed.reals[0].upper = 7;
    changed.timeouts = timeouts(60);
    let mut nat = service(4, Wrr, &[(3, 2), (7, 1)]);
    nat.reals[1].method = Method::Nat;
    let after = desired(&[changed, nat, service(3, Rr, &[(5, 1)])]);
    (before, after)
}

fn check_killed_at_every_write(before: &Desired, after: &Desired) -> Result<(), TestCaseError> {
    let run = |desired: &Desired, state: &mut State| state.apply(desired, &hop);
    let views = |desired: &Desired| {
        let mut state = empty();
        run(desired, &mut state).unwrap();
        seen(&state)
    };
    let (old, new) = (views(before), views(after));
    for writes in 0.. {
        let mut state = empty();
        run(before, &mut state).unwrap();
        for slot in state.reals.keys().copied().collect::<Vec<_>>() {
            connections(&mut state, slot, 1);
        }
        state.maps.stop_after(writes);
        let done = run(after, &mut state).is_ok();
        for (key, now) in seen(&state) {
            let known = [old.get(&key), new.get(&key)];
            prop_assert!(
                known.contains(&Some(&now)),
                "after {} writes {} is {:?}",
                writes,
                key,
                now
            );
        }

        let mut state = restarted(state);
        run(after, &mut state).unwrap();
        prop_assert_eq!(&seen(&state), &new, "mended after {} writes", writes);
        prop_assert_eq!(run(after, &mut state).unwrap().writes, 0);
        for slot in state.reals.keys().copied().collect::<Vec<_>>() {
            state.maps.clear_load(slot).unwrap();
        }
        settle(&mut state);
        check_nothing_is_left_over(&state, after)?;
        prop_assert_eq!(&seen(&state), &new, "settled after {} writes", writes);
        if done {
            break;
        }
    }
    Ok(())
}

fn check_nothing_is_left_over(state: &State, desired: &Desired) -> Result<(), TestCaseError> {
    let services = desired.services.len() as u32;
    prop_assert_eq!(state.room.services.used(), services);
    prop_assert_eq!(state.room.generations.used(), services);
    let reals: usize = desired.services.iter().map(|s| s.reals.len()).sum();
    prop_assert_eq!(state.room.reals.used(), reals as u32);
    prop_assert_eq!(state.reals.len(), reals);
    Ok(())
}

#[test]
fn a_change_of_everything_can_be_killed_at_every_write() {
    let (before, after) = before_and_after();
    check_killed_at_every_write(&before, &after).unwrap();
    check_killed_at_every_write(&after, &before).unwrap();
    check_killed_at_every_write(&desired(&[]), &after).unwrap();
    check_killed_at_every_write(&before, &desired(&[])).unwrap();
}

/// A real server's slot is given back three times, each time by a daemon that is killed on the way.
#[test]
fn the_traffic_of_a_service_is_neither_lost_nor_counted_twice() {
    let of = |conns| TrafficSum {
        conns,
        in_packets: 10 * conns,
        ..TrafficSum::default()
    };
    let both = desired(&[service(1, Rr, &[(1, 1), (2, 1)])]);
    let one = desired(&[service(1, Rr, &[(1, 1)])]);
    for writes in 0..40 {
        let tables = MemoryTables::default();
        let traffic = Arc::clone(&tables.traffic);
        let mut state = empty_over(tables);
        let mut total = TrafficSum::default();
        for round in 1..4 {
            state.apply(&both, &hop).unwrap();
            let slot = slot(&state, 1, 2);
            traffic.lock().unwrap().insert(slot, of(round));
            total = total.plus(of(round));
            state.apply(&one, &hop).unwrap();
            state.maps.stop_after(writes);
            let killed = (0..4).any(|_| state.reap(|_| false).is_err());
            state = restarted(state);
            let left = traffic
                .lock()
                .unwrap()
                .get(&slot)
                .copied()
                .unwrap_or_default();
            let kept = ledger::traffic(&state.maps, 0).unwrap();
            assert_eq!(
                kept.plus(left),
                total,
                "round {round}, killed after {writes} writes: {killed}"
            );
            settle(&mut state);
            assert_eq!(ledger::traffic(&state.maps, 0).unwrap(), total);
        }
    }
}

fn any_service(vip: u8) -> impl Strategy<Value = DesiredService> {
    let real = (1u8..5, 0u16..4, any::<bool>(), 0u32..2, any::<bool>());
    let reals = prop::collection::btree_map(1u8..5, real, 0..4);
    (any::<bool>(), reals, 0u64..2).prop_map(move |(wrr, reals, tcp)| DesiredService {
        timeouts: timeouts(60 + tcp),
        router: 0,
        reals: reals
            .into_iter()
            .map(|(last, (_, weight, nat, upper, down))| DesiredReal {
                method: if nat { Method::Nat } else { Method::Tun },
                upper,
                down,
                ..real_server(last, weight)
            })
            .collect(),
        ..service(vip, if wrr { Wrr } else { Rr }, &[])
    })
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let one = |vip| prop::option::of(any_service(vip));
    (one(1), one(2), one(3))
        .prop_map(|(a, b, c)| desired(&[a, b, c].into_iter().flatten().collect::<Vec<_>>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_change_can_be_killed_at_every_write(before in any_desired(), after in any_desired()) {
        check_killed_at_every_write(&before, &after)?;
    }

    #[test]
    fn any_sequence_of_changes_ends_as_desired(steps in prop::collection::vec(any_desired(), 1..12)) {
        let mut state = empty();
        for (i, wanted) in steps.iter().enumerate() {
            if state.apply(wanted, &hop).is_err() {
                settle(&mut state);
                state.apply(wanted, &hop).unwrap();
            }
            let mut fresh = empty();
            fresh.apply(wanted, &hop).unwrap();
            prop_assert_eq!(seen(&state), seen(&fresh));
            if i % 3 == 0 {
                state.reap(|_| false).unwrap();
            }
            if i % 4 == 3 {
                state = restarted(state);
            }
        }
        settle(&mut state);
        check_nothing_is_left_over(&state, &steps[steps.len() - 1])?;
    }
}
