//! Applying, draining and giving back.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{Load, Method, closed, real, setting};
use lb_common::net::Proto;
use lb_common::sched::Scheduler::{Rr, Wrr};

use super::fixture::*;
use crate::core::desired::{DesiredReal, DesiredService, ServiceId, VipDefault};
use crate::core::schedule::fold;
use crate::io::bpf::alloc::Block;
use crate::io::bpf::error::ApplyError;
use crate::io::bpf::family::Addr as _;
use crate::io::bpf::grace::Grace;
use crate::io::bpf::options::Hop;
use crate::io::bpf::state::State;

fn members(state: &State, vip: u8) -> Vec<(u8, u16)> {
    let seen = seen(state)
        .remove(&format!("tcp 192.0.2.{vip}:80"))
        .expect("there is such a service");
    seen.members
        .iter()
        .map(|(addr, _, weight)| (fold(addr.ip()) as u8, *weight))
        .collect()
}

#[test]
fn the_newest_real_server_comes_first_and_quiesced_ones_last() {
    let mut state = empty();
    let applied = state
        .apply(&desired(&[service(1, Rr, &[(1, 1), (2, 0), (3, 5)])]), &hop)
        .unwrap();
    assert_eq!(members(&state, 1), [(3, 5), (1, 1), (2, 0)]);
    assert_eq!(applied.added.len(), 1);
    assert!(applied.changed.is_empty() && applied.removed.is_empty());
}

#[test]
fn the_second_time_nothing_is_written() {
    let wanted = desired(&[
        service(1, Wrr, &[(1, 3), (2, 0), (3, 1)]),
        service(2, Rr, &[(1, 1)]),
    ]);
    let mut state = empty();
    assert!(state.apply(&wanted, &hop).unwrap().writes > 0);
    assert_eq!(state.apply(&wanted, &hop).unwrap(), Default::default());
    let mut state = restarted(state);
    assert_eq!(state.apply(&wanted, &hop).unwrap(), Default::default());
}

#[test]
fn a_change_of_one_service_does_not_touch_another() {
    let (one, two) = (
        service(1, Rr, &[(1, 1), (2, 1)]),
        service(2, Wrr, &[(3, 1), (4, 2)]),
    );
    let mut state = empty();
    state.apply(&desired(&[one.clone(), two]), &hop).unwrap();
    let before = state.maps.current(0).unwrap();

    let applied = state
        .apply(&desired(&[one, service(2, Wrr, &[(3, 1), (4, 3)])]), &hop)
        .unwrap();
    // Members, schedule, fallback table, generation, and the store that makes it current.
    assert_eq!(applied.writes, 5);
    assert_eq!(applied.changed.len(), 1);
    assert_eq!(state.maps.current(0).unwrap(), before);
    assert_eq!(members(&state, 2), [(4, 3), (3, 1)]);
}

#[test]
fn a_generation_is_given_back_only_after_a_grace_period() {
    let mut state = empty();
    state
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
        .unwrap();
    let first = state.maps.current(0).unwrap();
    state
        .apply(&desired(&[service(1, Rr, &[(1, 2)])]), &hop)
        .unwrap();
    let second = state.maps.current(0).unwrap();
    assert_ne!(first, second);
    assert_eq!((state.retired.len(), state.room.generations.used()), (1, 2));
    state.reap(|_| false).unwrap();
    assert_eq!((state.retired.len(), state.room.generations.used()), (0, 1));
    state
        .apply(&desired(&[service(1, Rr, &[(1, 3)])]), &hop)
        .unwrap();
    assert_eq!(state.maps.current(0).unwrap(), first);
}

#[test]
fn nothing_is_used_again_before_the_grace_period_is_over() {
    let mut state = empty();
    state.grace = Grace::of_test();
    let with = |reals: &[(u8, u16)]| desired(&[service(1, Wrr, reals)]);
    state.apply(&with(&[(1, 1), (2, 1)]), &hop).unwrap();
    let first = state.services[&0].written.clone().unwrap();
    state.apply(&with(&[(1, 1)]), &hop).unwrap();
    state.reap(|_| false).unwrap();

    let overlap = |a: Block, b: Block| a.start < b.start + b.len && b.start < a.start + a.len;
    for weight in 2..20 {
        state.apply(&with(&[(1, weight), (3, 1)]), &hop).unwrap();
        state.reap(|_| false).unwrap();
        let now = state.services[&0].written.as_ref().unwrap();
        assert_ne!(now.index, first.index);
        assert!(!overlap(now.members, first.members));
        for block in [now.schedule, now.fallback] {
            assert!(!overlap(block, first.schedule) && !overlap(block, first.fallback));
        }
        assert_ne!(
            slot(&state, 1, 3),
            1,
            "the slot of a real server that a packet may still find"
        );
    }
    assert_eq!(state.retired.len(), 19);
    // A packet that found a connection of it may be under way when the last one ends, and so another one is due.
    state.grace.pass();
    assert_eq!(state.reap(|_| false).unwrap(), 0);
    assert_eq!(state.retired.len(), 0);
    assert_eq!(state.reap(|_| false).unwrap(), 0);
    state.grace.pass();
    assert_eq!(state.reap(|_| true).unwrap(), 0, "a connection was found");
    assert_eq!(state.reap(|_| false).unwrap(), 0);
    state.grace.pass();
    assert_eq!(state.reap(|_| false).unwrap(), 1);
}

#[test]
fn a_removed_real_server_keeps_its_slot_until_its_last_connection_ends() {
    let mut state = empty();
    state
        .apply(&desired(&[service(1, Rr, &[(1, 1), (2, 1)])]), &hop)
        .unwrap();
    let slot = slot(&state, 1, 2);
    connections(&mut state, slot, 2);
    state
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
        .unwrap();
    assert_eq!(members(&state, 1), [(1, 1)]);

    assert_eq!(settle(&mut state), 0);
    let record = state.maps.real(slot).unwrap();
    assert_eq!(record.flags, real::USED | real::REMOVED);
    assert_ne!(record.dst, 0);

    connections(&mut state, slot, -2);
    assert_eq!(settle(&mut state), 1);
    assert_eq!(state.maps.real(slot).unwrap().flags, 0);
}

#[test]
fn a_real_server_that_comes_back_has_its_slot_and_connections_again() {
    let mut state = empty();
    let (both, one) = (
        desired(&[service(1, Rr, &[(1, 1), (2, 1)])]),
        desired(&[service(1, Rr, &[(1, 1)])]),
    );
    state.apply(&both, &hop).unwrap();
    let before = slot(&state, 1, 2);
    connections(&mut state, before, 2);
    state.apply(&one, &hop).unwrap();
    settle(&mut state);
    let mut state = restarted(state);
    state.apply(&both, &hop).unwrap();
    assert_eq!(slot(&state, 1, 2), before);
    assert_eq!(state.maps.load(before).unwrap().total(), 2);
    assert_eq!(state.maps.real(before).unwrap().flags, real::USED);
}

#[test]
fn a_removed_service_serves_its_connections_and_comes_back_in_its_place() {
    let mut state = empty();
    let wanted = desired(&[service(1, Rr, &[(1, 1)])]);
    state.apply(&wanted, &hop).unwrap();
    let slot = slot(&state, 1, 1);
    connections(&mut state, slot, 1);
    let applied = state.apply(&desired(&[]), &hop).unwrap();
    assert_eq!(applied.removed.len(), 1);
    assert!(seen(&state).is_empty());
    settle(&mut state);
    let mut state = restarted(state);
    settle(&mut state);
    // Packets of its connection must still get past the filter.
    assert!(!state.filter().is_empty());
    state.apply(&wanted, &hop).unwrap();
    assert_eq!(super::fixture::slot(&state, 1, 1), slot);
    assert_eq!(state.services.len(), 1);

    connections(&mut state, slot, -1);
    state.apply(&desired(&[]), &hop).unwrap();
    settle(&mut state);
    assert!(state.services.is_empty() && state.reals.is_empty());
    assert!(state.filter().is_empty());
    assert!((0..lb_common::abi::FILTER_WORDS).all(|w| state.maps.filter(w).unwrap() == 0));
}

#[test]
fn another_method_is_another_slot() {
    let mut state = empty();
    let mut wanted = service(1, Rr, &[(1, 1)]);
    state.apply(&desired(&[wanted.clone()]), &hop).unwrap();
    let dr = slot(&state, 1, 1);
    connections(&mut state, dr, 1);
    wanted.reals[0].method = Method::Nat;
    state.apply(&desired(&[wanted]), &hop).unwrap();
    let seen = seen(&state).remove("tcp 192.0.2.1:80").unwrap();
    assert_eq!(
        seen.members,
        [(SocketAddr::from(([10, 0, 0, 1], 80)), Method::Nat as u8, 1)]
    );
    assert_eq!(state.maps.real(dr).unwrap().method, Method::Dr as u8);
}

#[test]
fn addresses_that_nobody_needs_leave_the_filter_and_the_keys() {
    let mut state = empty();
    let mut nat = service(1, Rr, &[(1, 1)]);
    nat.reals[0].method = Method::Nat;
    state
        .apply(&desired(&[nat, service(2, Rr, &[(2, 1)])]), &hop)
        .unwrap();
    assert_eq!(state.maps.nat_reals().unwrap().len(), 1);
    assert_eq!(
        state.maps.settings().unwrap().flags,
        lb_common::abi::setting::HAS_NAT
    );
    state
        .apply(&desired(&[service(2, Rr, &[(2, 1)])]), &hop)
        .unwrap();
    settle(&mut state);
    assert_eq!(state.maps.nat_reals().unwrap(), []);
    assert_eq!(state.maps.settings().unwrap().flags, 0);
    seen(&state);
    let bits: u32 = (0..lb_common::abi::FILTER_WORDS)
        .map(|w| state.maps.filter(w).unwrap().count_ones())
        .sum();
    assert_eq!(bits, 1);
}

#[test]
fn equal_timeouts_share_a_profile_and_others_do_not() {
    let mut state = empty();
    let mut two = service(2, Rr, &[(2, 1)]);
    two.timeouts = timeouts(60);
    state
        .apply(
            &desired(&[
                service(1, Rr, &[(1, 1)]),
                two.clone(),
                service(3, Rr, &[(3, 1)]),
            ]),
            &hop,
        )
        .unwrap();
    assert_eq!(state.profiles.iter().flatten().count(), 2);
    let before = seen(&state);
    assert_ne!(
        before["tcp 192.0.2.1:80"].timeouts,
        before["tcp 192.0.2.2:80"].timeouts
    );

    two.timeouts = None;
    state
        .apply(&desired(&[service(1, Rr, &[(1, 1)]), two]), &hop)
        .unwrap();
    settle(&mut state);
    assert_eq!(state.profiles.iter().flatten().count(), 1);
    assert_eq!(state.maps.real(slot(&state, 2, 2)).unwrap().profile, 0);
}

#[test]
fn a_raised_threshold_relieves_a_full_real_server() {
    let mut state = empty();
    let mut wanted = service(1, Rr, &[(1, 1)]);
    wanted.reals[0].upper = 2;
    state.apply(&desired(&[wanted.clone()]), &hop).unwrap();
    let slot = slot(&state, 1, 1);
    connections(&mut state, slot, 2);
    state.maps.add_load(slot, Load::OVERLOADED).unwrap();
    wanted.reals[0].upper = 1;
    state.apply(&desired(&[wanted.clone()]), &hop).unwrap();
    assert!(state.maps.load(slot).unwrap().overloaded());
    wanted.reals[0].upper = 3;
    state.apply(&desired(&[wanted]), &hop).unwrap();
    assert!(!state.maps.load(slot).unwrap().overloaded());
    assert_eq!(state.maps.load(slot).unwrap().total(), 2);
    assert_eq!(state.maps.real(slot).unwrap().upper, 3);
}

#[test]
fn the_turn_goes_on_where_it_was() {
    let mut state = empty();
    state
        .apply(&desired(&[service(1, Rr, &[(1, 1), (2, 1), (3, 1)])]), &hop)
        .unwrap();
    // Nobody was chosen yet: after a new real server it still begins at the head.
    let index = state.maps.current(0).unwrap();
    let mut generation = state.maps.generation(index).unwrap();
    generation.turn = 2; // 3 and 2 were chosen
    state.maps.set_generation(index, &generation).unwrap();
    let mut state = restarted(state);
    state
        .apply(
            &desired(&[service(1, Rr, &[(1, 1), (2, 1), (3, 1), (4, 1)])]),
            &hop,
        )
        .unwrap();
    let generation = state
        .maps
        .generation(state.maps.current(0).unwrap())
        .unwrap();
    // 4, 3, 2, 1: after 2 it is 1's turn.
    assert_eq!((generation.turn, generation.plan.start), (3, 3));
}

#[test]
fn a_next_hop_is_written_to_every_slot_of_the_address() {
    let mut state = empty();
    state
        .apply(
            &desired(&[service(1, Rr, &[(1, 1)]), service(2, Rr, &[(1, 1)])]),
            &|_| Hop::Unresolved,
        )
        .unwrap();
    let addr = IpAddr::from([10, 0, 0, 1]);
    assert_eq!(state.real_addresses(), [addr]);
    assert_eq!(state.maps.real(0).unwrap().dst, 0);
    assert_eq!(state.set_next_hop(addr, hop(addr)).unwrap(), 2);
    assert_eq!(state.set_next_hop(addr, hop(addr)).unwrap(), 0);
    seen(&state);
    assert_eq!(state.set_next_hop(addr, Hop::Local).unwrap(), 2);
    assert_eq!(state.maps.real(0).unwrap().method, Method::Local as u8);
    state.set_next_hop(addr, hop(addr)).unwrap();
    assert_eq!(state.maps.real(0).unwrap().method, Method::Dr as u8);
    assert_eq!(state.egress.iter().filter(|i| **i != 0).count(), 1);
}

#[test]
fn a_service_of_ipv6_comes_and_goes_beside_one_of_ipv4() {
    let (vip, addr): (IpAddr, IpAddr) = (
        "2001:db8::1".parse().unwrap(),
        "fd00:10::7".parse().unwrap(),
    );
    let four = service(1, Rr, &[(1, 1)]);
    let six = DesiredService {
        scheduler: Rr,
        reals: vec![DesiredReal {
            method: Method::Nat,
            ..DesiredReal::new(addr, 80)
        }],
        ..DesiredService::new(ServiceId::new(Proto::Tcp, vip, 80))
    };
    let wanted = desired(&[four.clone(), six]);
    let mut state = empty();
    state.apply(&wanted, &hop).unwrap();
    let before = seen(&state);
    assert_eq!(
        before["tcp [2001:db8::1]:80"].members,
        [(SocketAddr::new(addr, 80), Method::Nat as u8, 1)]
    );

    let mut state = restarted(state);
    assert_eq!(seen(&state), before);
    assert_eq!(state.apply(&wanted, &hop).unwrap(), Default::default());
    assert_eq!(state.maps.settings().unwrap().flags, setting::HAS_NAT6);
    let Hop::Via(there) = hop(addr) else { panic!() };
    let src: IpAddr = "fd01:10::fd".parse().unwrap();
    let elsewhere = Hop::Via(crate::io::bpf::options::NextHop { src, ..there });
    assert_eq!(state.set_next_hop(addr, elsewhere).unwrap(), 1);
    let mut reals = state.reals.iter();
    let (slot, _) = reals.find(|(_, real)| real.addr().ip() == addr).unwrap();
    assert_eq!(state.maps.real(*slot).unwrap().tun_src6.ip(), src);

    state.apply(&desired(&[four]), &hop).unwrap();
    settle(&mut state);
    assert_eq!(state.maps.nat_reals().unwrap(), []);
    assert_eq!(state.maps.settings().unwrap().flags, 0);
    assert_eq!(seen(&state).len(), 1);
}

#[test]
fn an_inherited_next_hop_is_kept_until_another_is_known() {
    let mut state = empty();
    state
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
        .unwrap();
    let before = state.maps.real(0).unwrap();
    let mut state = restarted(state);
    let addr = IpAddr::from([10, 0, 0, 1]);
    assert_eq!(state.set_next_hop(addr, Hop::Unresolved).unwrap(), 0);
    assert_eq!(state.maps.real(0).unwrap(), before);
    assert_eq!(state.set_next_hop(addr, hop(addr)).unwrap(), 0);
    assert_eq!(state.set_next_hop(addr, Hop::Unresolved).unwrap(), 1);
    assert_eq!(state.maps.real(0).unwrap().dst, 0);
}

#[test]
fn the_next_hops_mac_is_away_while_anything_else_of_it_changes() {
    let mut state = empty();
    state
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
        .unwrap();
    let addr = IpAddr::from([10, 0, 0, 1]);
    let Hop::Via(there) = hop(addr) else { panic!() };
    let elsewhere = Hop::Via(crate::io::bpf::options::NextHop {
        ifindex: 3,
        src_mac: [2, 0, 0, 0, 1, 2],
        ..there
    });
    let old = state.maps.real(0).unwrap();
    for writes in 0.. {
        state.maps.stop_after(writes);
        let done = state.set_next_hop(addr, elsewhere).is_ok();
        let now = state.maps.real(0).unwrap();
        let (here, there) = ((old.src, old.ifindex), (now.src, now.ifindex));
        assert!(
            done || now.dst == 0 || here == there,
            "after {writes} writes: {now:?}"
        );
        if done {
            assert_eq!(now.ifindex, 3);
            assert_ne!(now.dst, 0);
            break;
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_no_trace() {
    let mut state = empty();
    let fits = desired(&[service(1, Rr, &[(1, 1)])]);
    state.apply(&fits, &hop).unwrap();
    let before = seen(&state);
    let many: Vec<(u8, u16)> = (1..=33).map(|i| (i, 1)).collect();
    let error = state
        .apply(
            &desired(&[service(1, Rr, &[(1, 1)]), service(2, Rr, &many)]),
            &hop,
        )
        .unwrap_err();
    assert!(
        matches!(error, ApplyError::TooManyReals { max: 32, .. }),
        "{error}"
    );
    assert_eq!(seen(&state), before);
    assert_eq!(
        (
            state.room.reals.used(),
            state.room.services.used(),
            state.room.generations.used()
        ),
        (1, 1, 1)
    );
    assert_eq!(state.apply(&fits, &hop).unwrap().writes, 0);

    let nine: Vec<_> = (1..=9).map(|i| service(i, Rr, &[(1, 1)])).collect();
    assert!(matches!(
        state.apply(&desired(&nine), &hop),
        Err(ApplyError::TooManyServices { max: 8, .. })
    ));
    assert_eq!(seen(&state), before);
}

#[test]
fn addresses_of_services_are_closed_and_opened_as_the_setting_says() {
    let addr = |last: u8| IpAddr::from([192, 0, 2, last]);
    let closed = |state: &State| state.maps.closed().unwrap();
    let mut wanted = desired(&[service(1, Rr, &[(1, 1)]), service(2, Rr, &[(1, 1)])]);
    let mut state = empty();
    state.apply(&wanted, &hop).unwrap();
    assert_eq!(closed(&state), []);
    wanted.forwarding.vip_default = VipDefault::Drop;
    state.apply(&wanted, &hop).unwrap();
    assert_eq!(
        closed(&state),
        [(addr(1), closed::DROP), (addr(2), closed::DROP)]
    );
    // The next daemon finds it, and has nothing to write.
    let mut state = restarted(state);
    assert_eq!(state.apply(&wanted, &hop).unwrap(), Default::default());
    wanted.forwarding.vip_default = VipDefault::Reject;
    wanted.services.pop();
    state.apply(&wanted, &hop).unwrap();
    assert_eq!(closed(&state), [(addr(1), closed::REJECT)]);
    wanted.forwarding.vip_default = VipDefault::Stack;
    state.apply(&wanted, &hop).unwrap();
    assert_eq!(closed(&state), []);
}
