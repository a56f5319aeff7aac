//! Maps in ordinary memory, and what a packet would see in them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lb_common::abi::{FILTER_REAL, FILTER_VIP, Load, Method, Timeouts, filter_cell, real};
use lb_common::net::Proto;
use lb_common::sched::Scheduler;

use crate::core::desired::{self, Desired, DesiredReal, DesiredService, ServiceId};
use crate::io::bpf::family::{endpoint_of, folded};
use crate::io::bpf::grace::Grace;
use crate::io::bpf::layout::layouts;
use crate::io::bpf::maps::Maps;
use crate::io::bpf::options::{Capacity, Hop, NextHop};
use crate::io::bpf::region::Region;
use crate::io::bpf::state::State;
use crate::io::bpf::tables::memory::MemoryTables;

pub(super) const SMALL: Capacity = Capacity {
    connections: 100,
    reals: 32,
    services: 8,
};

/// Empty maps.
pub(super) fn empty() -> State {
    empty_over(MemoryTables::default())
}

/// Empty maps, over these tables.
pub(super) fn empty_over(tables: MemoryTables) -> State {
    let layouts = layouts(SMALL);
    let open = |l: &crate::io::bpf::layout::Layout| {
        Ok(Region::in_memory(l.shape.entries, l.shape.value_size).unwrap())
    };
    let maps = Maps::new(&layouts, open, Box::new(tables)).unwrap();
    State::adopt(maps, Grace::of_nobody()).unwrap()
}

/// What the next daemon makes of what this one left.
pub(super) fn restarted(state: State) -> State {
    let State { mut maps, .. } = state;
    maps.stop_after(u64::MAX / 2);
    State::adopt(maps, Grace::of_nobody()).unwrap()
}

/// Everything is one hop away.
pub(super) fn hop(addr: IpAddr) -> Hop {
    let (last, src) = match addr {
        IpAddr::V4(addr) => (addr.octets()[3], [10, 0, 0, 254].into()),
        IpAddr::V6(addr) => (addr.octets()[15], "fd00:10::fe".parse().unwrap()),
    };
    Hop::Via(NextHop {
        ifindex: 2,
        mac: [2, 0, 0, 0, 0, last],
        src_mac: [2, 0, 0, 0, 1, 1],
        mtu: 1500,
        src,
    })
}

/// A service with real servers given by the last byte of their address, and weight.
pub(super) fn service(vip: u8, scheduler: Scheduler, reals: &[(u8, u16)]) -> DesiredService {
    let id = ServiceId::new(Proto::Tcp, Ipv4Addr::new(192, 0, 2, vip), 80);
    DesiredService {
        name: format!("s{vip}"),
        scheduler,
        reals: reals
            .iter()
            .map(|(last, weight)| real_server(*last, *weight))
            .collect(),
        ..DesiredService::new(id)
    }
}

pub(super) fn real_server(last: u8, weight: u16) -> DesiredReal {
    DesiredReal {
        weight,
        ..DesiredReal::new(Ipv4Addr::new(10, 0, 0, last).into(), 80)
    }
}

pub(super) fn desired(services: &[DesiredService]) -> Desired {
    Desired {
        services: services.to_vec(),
        ..Desired::default()
    }
}

pub(super) fn timeouts(tcp: u64) -> Option<desired::Timeouts> {
    Some(desired::Timeouts {
        tcp: Duration::from_secs(tcp),
        ..desired::Timeouts::default()
    })
}

/// What a packet of a new connection finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub scheduler: Scheduler,
    pub flags: u16,
    pub timeouts: Timeouts,
    /// Address, method and weight, in the map's order.
    pub members: Vec<(SocketAddr, u8, u16)>,
}

/// What packets find in the maps, by virtual address and port; checks on the way whatever must always hold.
pub(super) fn seen(state: &State) -> BTreeMap<String, Seen> {
    let maps = &state.maps;
    let mut all = BTreeMap::new();
    for (key, service) in maps.service_keys().unwrap() {
        let plan = maps
            .generation(maps.current(service).unwrap())
            .unwrap()
            .plan;
        assert_eq!(plan.service, service, "the generation is another service's");
        assert!(
            passes(state, key.addr, FILTER_VIP),
            "the filter stops {:?}",
            key.addr
        );
        let members = maps.members(plan.members_off, plan.members_len).unwrap();
        let members = members.iter().map(|m| {
            let record = maps.real(m.real).unwrap();
            assert!(record.flags & real::USED != 0, "a member's slot is free");
            assert_eq!(record.service, service, "a member is another service's");
            assert!(record.dst != 0, "a member has no next hop");
            if record.method == Method::Nat as u8 {
                assert!(
                    passes(state, endpoint_of(&record).ip(), FILTER_REAL),
                    "the filter stops replies"
                );
                let known = maps.nat_reals().unwrap();
                assert!(
                    known
                        .iter()
                        .any(|(source, _)| source.addr == endpoint_of(&record))
                );
            }
            (endpoint_of(&record), record.method, m.weight)
        });
        let seen = Seen {
            scheduler: Scheduler::from_number(plan.scheduler).unwrap(),
            flags: plan.flags,
            timeouts: maps.timeouts(plan.profile).unwrap(),
            members: members.collect(),
        };
        all.insert(key.to_string(), seen);
    }
    all
}

fn passes(state: &State, addr: IpAddr, bit: u64) -> bool {
    let (word, shift) = filter_cell(folded(addr));
    state.maps.filter(word).unwrap() >> shift & bit != 0
}

/// The slot of a real server, by the last byte of its address.
pub(super) fn slot(state: &State, vip: u8, last: u8) -> u32 {
    let of = |r: &crate::io::bpf::state::RealServer| {
        let service = &state.services[&r.record.service];
        service.key.addr == Ipv4Addr::new(192, 0, 2, vip)
            && r.addr().ip() == Ipv4Addr::new(10, 0, 0, last)
    };
    let mut slots = state
        .reals
        .iter()
        .filter(|(_, r)| of(r))
        .map(|(slot, _)| *slot);
    let slot = slots.next().expect("there is such a real server");
    assert_eq!(slots.next(), None, "and only one");
    slot
}

/// Has connections begin (or, below zero, end) at a real server.
pub(super) fn connections(state: &mut State, slot: u32, change: i64) {
    state
        .maps
        .add_load(
            slot,
            (change * (Load::ONE + Load::ACTIVE) as i64).cast_unsigned(),
        )
        .unwrap();
}

/// Gives everything back that can be.
pub(super) fn settle(state: &mut State) -> u32 {
    (0..4).map(|_| state.reap(|_| false).unwrap()).sum()
}
