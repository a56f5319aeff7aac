//! Random operations against a plain map: the same connections, the same counts, after each of them.

use super::*;
use lb_common::{
    conn::{Meta, Rank, State},
    net::{Be16, Be32, Flow4, Proto},
    table::{Fit, Insert, Lookup, Slot, Table},
};
use proptest::prelude::*;
use std::collections::HashMap;

const REALS: u32 = 4;

/// One of few flows, so that they meet: of one client's port to several services, of both protocols.
fn flows() -> impl Strategy<Value = Flow4> {
    (
        0u32..8,
        0u32..4,
        prop_oneof![Just(Proto::Tcp), Just(Proto::Udp)],
    )
        .prop_map(|(client, vip, proto)| Flow4 {
            client: Be32::from_host(0x0A00_0001 + client / 4),
            client_port: Be16::from_host(1000 + (client % 4) as u16),
            vip: Be32::from_host(0xCB00_7101 + vip / 2),
            vip_port: Be16::from_host(80 + (vip % 2) as u16),
            proto,
        })
}

#[derive(Clone, Debug)]
enum Op {
    /// A packet: moves its flow's entry to a state, or makes one.
    Packet {
        flow: Flow4,
        state: State,
        real: u32,
        timeout: u32,
    },
    /// A packet of a closed flow that is scheduled anew.
    Rebind {
        flow: Flow4,
        real: u32,
    },
    Remove {
        flow: Flow4,
    },
    Advance {
        ticks: u32,
    },
    Sweep {
        bucket: u32,
    },
    Cut {
        real: u32,
    },
}

fn ops() -> impl Strategy<Value = Op> {
    let states = proptest::sample::select(&State::ALL[1..]);
    prop_oneof![
        20 => (flows(), states, 0..REALS, prop_oneof![0u32..40, 0u32..20_000])
            .prop_map(|(flow, state, real, timeout)| Op::Packet { flow, state, real, timeout }),
        2 => (flows(), 0..REALS).prop_map(|(flow, real)| Op::Rebind { flow, real }),
        2 => flows().prop_map(|flow| Op::Remove { flow }),
        2 => prop_oneof![0u32..50, 0u32..5000].prop_map(|ticks| Op::Advance { ticks }),
        2 => (0u32..8).prop_map(|bucket| Op::Sweep { bucket }),
        1 => (0..REALS).prop_map(|real| Op::Cut { real }),
    ]
}

struct World {
    buckets: Vec<Bucket<Host>>,
    loads: Tally,
    now: Tick,
    /// The connections that must be there, expired ones included until somebody takes them out.
    model: HashMap<Flow4, Meta>,
}

impl World {
    fn new(buckets_log: u32, now: u32) -> Self {
        Self {
            buckets: buckets(1 << buckets_log),
            loads: Tally::new(REALS as usize),
            now: Tick(now),
            model: HashMap::new(),
        }
    }

    fn table(&self) -> Table<'_, [Bucket<Host>]> {
        Table::new(&self.buckets[..], self.buckets.len() as u32 - 1, KEY)
    }

    fn listed(&self) -> Vec<(u32, Flow4, Meta)> {
        let list = |i| {
            self.table()
                .connections(i)
                .map(move |(flow, meta)| (i, flow, meta))
        };
        (0..self.buckets.len() as u32).flat_map(list).collect()
    }

    fn expect(&self, flow: &Flow4) -> Option<Meta> {
        self.model
            .get(flow)
            .copied()
            .filter(|meta| !meta.is_expired(self.now))
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Packet {
                flow,
                state,
                real,
                timeout,
            } => self.packet(flow, state, real, timeout),
            Op::Rebind { flow, real } => {
                let place = self.table().place(&flow);
                if let Lookup::Hit(hit) = self.table().lookup(&flow, &place, self.now) {
                    let after = self
                        .table()
                        .update(&hit, |meta| meta.with_real(real), &self.loads);
                    self.model.insert(flow, after.expect("nobody else is here"));
                }
            }
            Op::Remove { flow } => {
                let place = self.table().place(&flow);
                if let Lookup::Hit(hit) = self.table().lookup(&flow, &place, self.now) {
                    assert!(self.table().remove(&hit, &self.loads));
                    self.model.remove(&flow);
                }
            }
            Op::Advance { ticks } => self.now = self.now.plus(ticks),
            Op::Sweep { bucket } => {
                let bucket = bucket % self.buckets.len() as u32;
                let held = self.table().connections(bucket).count() as u32;
                let swept = self.table().sweep(bucket, self.now, &self.loads);
                assert_eq!(swept.freed + swept.live, held);
                let left = self.listed();
                let now = self.now;
                self.model.retain(|flow, meta| {
                    !meta.is_expired(now) || left.iter().any(|l| l.1 == *flow)
                });
                assert!(
                    self.table()
                        .connections(bucket)
                        .all(|(_, meta)| !meta.is_expired(now))
                );
            }
            Op::Cut { real } => {
                for i in 0..self.buckets.len() as u32 {
                    self.table()
                        .sweep_where(i, self.now, |meta| meta.real() == real, &self.loads);
                }
                let now = self.now;
                self.model
                    .retain(|_, meta| meta.real() != real && !meta.is_expired(now));
            }
        }
    }

    fn packet(&mut self, flow: Flow4, state: State, real: u32, timeout: u32) {
        let table = self.table();
        let place = table.place(&flow);
        let (now, spare) = (self.now, spare(self.now));
        let expires = now.plus(timeout);
        match table.lookup(&flow, &place, now) {
            Lookup::Hit(hit) => {
                let next = |meta: Meta| meta.with_state(state, expires);
                let after = table
                    .update(&hit, next, &self.loads)
                    .expect("nobody else is here");
                assert_eq!(after.state(), state);
                assert!(expires.since(after.expires()).unsigned_abs() < lb_common::conn::REFRESH);
                self.model.insert(flow, after);
            }
            Lookup::Miss { .. } => {
                let before = self.listed();
                let rank = |bucket: u32| {
                    let held = table
                        .connections(bucket)
                        .map(|(_, meta)| meta.rank(now, spare));
                    let free =
                        (table.connections(bucket).count() < Slot::ALL.len()).then_some(Rank::GONE);
                    held.chain(free).min().expect("a bucket has slots")
                };
                let best = rank(place.home).min(rank(place.alternate));
                let new = Meta::new(flow.proto, state, real, expires);
                let inserted = table.insert(&flow, &place, new, now, spare, &self.loads);
                let after = self.listed();
                let gone: Vec<_> = before
                    .iter()
                    .filter(|b| !after.iter().any(|a| a.1 == b.1))
                    .collect();
                match inserted {
                    Insert::Done(_) => {
                        assert!(best < Rank::HELD);
                        // Only the flow whose slot was taken is gone; its own expired entry may be, too.
                        let others: Vec<_> = gone.iter().filter(|g| g.1 != flow).collect();
                        assert!(others.len() <= 1);
                        for other in others {
                            assert_eq!(other.2.rank(now, spare), best);
                            assert!(other.0 == place.home || other.0 == place.alternate);
                        }
                        let gone: Vec<_> = gone.iter().map(|g| g.1).collect();
                        self.model.retain(|flow, _| !gone.contains(flow));
                        let entry = after
                            .iter()
                            .find(|a| a.1 == flow)
                            .expect("it was recorded")
                            .2;
                        assert_eq!(
                            (entry.state(), entry.real(), entry.expires()),
                            (state, real, expires)
                        );
                        self.model.insert(flow, entry);
                    }
                    Insert::Contended => panic!("nobody else is here"),
                    Insert::TurnedAway => {
                        assert_eq!(best, Rank::HELD);
                        assert!(gone.is_empty());
                        if timeout > 1 {
                            let again = self.table().lookup(&flow, &place, now);
                            assert!(matches!(again, Lookup::Miss { turned_away: true }));
                        }
                    }
                    Insert::Lost(_) => panic!("lost to nobody"),
                }
            }
        }
    }

    fn check(&self) {
        let listed = self.listed();
        assert_eq!(listed.len(), self.model.len(), "an entry twice or lost");
        let mut loads = vec![0u64; REALS as usize];
        let mut away = vec![0u32; self.buckets.len()];
        for (bucket, flow, meta) in &listed {
            assert_eq!(self.model.get(flow), Some(meta), "{flow:?}");
            loads[meta.real() as usize] += meta.load();
            let place = self.table().place(flow);
            assert_eq!(
                *bucket,
                if meta.in_alternate() {
                    place.alternate
                } else {
                    place.home
                }
            );
            away[place.home as usize] += u32::from(meta.in_alternate());
        }
        for (real, conns) in loads.iter().enumerate() {
            assert_eq!(
                self.loads.of(real as u32).conns,
                *conns,
                "real server {real}"
            );
        }
        for (bucket, away) in self.buckets.iter().zip(away) {
            assert_eq!(bucket.lines[0].note.load(SeqCst), away);
        }
    }

    fn look_up(&self, flow: &Flow4) {
        let place = self.table().place(flow);
        let found = match self.table().lookup(flow, &place, self.now) {
            Lookup::Hit(hit) => Some(hit.meta),
            Lookup::Miss { .. } => None,
        };
        assert_eq!(found, self.expect(flow), "{flow:?}");
        for real in 0..REALS {
            let reply = self.table().lookup_reply(
                flow.client,
                flow.client_port,
                flow.proto,
                self.now,
                |meta, _| {
                    if meta.real() == real {
                        Fit::BEST
                    } else {
                        Fit::NONE
                    }
                },
            );
            let mut fitting = self.model.iter().filter(|(f, meta)| {
                (f.client, f.client_port, f.proto) == (flow.client, flow.client_port, flow.proto)
                    && meta.real() == real
            });
            match reply {
                Some(reply) => assert!(fitting.any(|(f, meta)| {
                    (f.vip, f.vip_port, *meta) == (reply.vip, reply.vip_port, reply.hit.meta)
                        && !meta.is_expired(self.now)
                })),
                None => assert!(fitting.all(|(_, meta)| meta.is_expired(self.now))),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_a_map_does(
        buckets_log in 1u32..4,
        now in prop_oneof![Just(0u32), Just(u32::MAX - 100), any::<u32>()],
        ops in proptest::collection::vec((ops(), flows()), 1..150),
    ) {
        let mut world = World::new(buckets_log, now);
        for (op, flow) in &ops {
            world.apply(op);
            world.check();
            world.look_up(flow);
        }
    }
}
