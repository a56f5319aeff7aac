//! The connection table under every interleaving of two CPUs that matters.
//!
//! The model checker runs each case with all orders of their atomic accesses that need at most so many preemptions, and
//! with all values that the memory model lets a load see.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p lb-common --release --target-dir target/loom loom
//! ```
#![cfg(loom)]

use lb_common::{
    abi::{Load, seconds_to_ticks},
    atomic::{Atoms, Word},
    conn::{Loads, Meta, REFRESH, Spare, State, Tick},
    net::{Be16, Be32, Flow4, Proto},
    table::{Bucket, Fit, Hit, Insert, Lookup, Table},
};
use loom::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::*, fence},
    },
    thread,
};
use std::{collections::HashSet, sync::atomic::AtomicUsize};

/// The model checker's atomics.
struct Loom;

impl Atoms for Loom {
    type U64 = Word64;
    type U32 = Word32;

    fn fence() {
        fence(SeqCst);
    }
}

struct Word64(AtomicU64);
struct Word32(AtomicU32);

macro_rules! word {
    ($word:ty, $atomic:ty, $value:ty) => {
        impl Word<$value> for $word {
            fn new(value: $value) -> Self {
                Self(<$atomic>::new(value))
            }

            fn load(&self) -> $value {
                self.0.load(Acquire)
            }

            fn store(&self, value: $value) {
                self.0.store(value, Release);
            }

            fn swap(&self, value: $value) -> $value {
                self.0.swap(value, AcqRel)
            }

            fn compare_exchange(&self, current: $value, new: $value) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, AcqRel, Acquire)
            }

            fn fetch_add(&self, value: $value) -> $value {
                self.0.fetch_add(value, AcqRel)
            }
        }
    };
}

word!(Word64, AtomicU64, u64);
word!(Word32, AtomicU32, u32);

const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
const NOW: Tick = Tick(1_000_000);
const LONG: u32 = seconds_to_ticks(900);

/// A table of two buckets: each is the other's alternate.
struct World {
    buckets: Vec<Bucket<Loom>>,
    loads: Tally,
}

struct Tally(Vec<AtomicU64>);

impl Loads for Tally {
    fn add(&self, real: u32, change: u64) {
        let before = self.0[real as usize].fetch_add(change, AcqRel);
        let after = Load {
            conns: before.wrapping_add(change),
        };
        assert!(
            after.active().max(after.total()) < 100 && !after.overloaded(),
            "below zero"
        );
    }
}

/// Flows whose home is bucket 0 and whose first line is line 0, by number; every part of the address differs.
fn flow(n: u32) -> Flow4 {
    let candidate = |n: u32| Flow4 {
        client: Be32::from_host(0x0A00_0000 + n),
        vip: Be32::from_host(0xCB00_0000 + n),
        client_port: Be16::from_host(1000 + n as u16),
        vip_port: Be16::from_host(2000 + n as u16),
        proto: Proto::Tcp,
    };
    let at_first = |flow: &Flow4| {
        let place = lb_common::table::Place::of(flow.client, flow.client_port, flow.proto, 1, KEY);
        (place.home, place.first) == (0, 0)
    };
    (0..)
        .map(candidate)
        .filter(at_first)
        .nth(n as usize)
        .expect("every fourth fits")
}

fn spare() -> Spare {
    Spare::new(NOW, seconds_to_ticks(60), LONG)
}

impl World {
    fn new() -> Self {
        Self {
            buckets: (0..2).map(|_| Bucket::empty()).collect(),
            loads: Tally((0..4).map(|_| AtomicU64::new(0)).collect()),
        }
    }

    fn table(&self) -> Table<'_, [Bucket<Loom>]> {
        Table::new(&self.buckets[..], 1, KEY)
    }

    fn insert(&self, n: u32, state: State, real: u32, expires: Tick) -> Insert<'_, Loom> {
        let place = self.table().place(&flow(n));
        let meta = Meta::new(Proto::Tcp, state, real, expires);
        let insert = || {
            self.table()
                .insert(&flow(n), &place, meta, NOW, spare(), &self.loads)
        };
        match insert() {
            Insert::Contended => insert(),
            inserted => inserted,
        }
    }

    fn find(&self, flow: &Flow4, now: Tick) -> Option<Hit<'_, Loom>> {
        match self.table().lookup(flow, &self.table().place(flow), now) {
            Lookup::Hit(hit) => Some(hit),
            Lookup::Miss { .. } => None,
        }
    }

    /// A packet of a flow: its real server, whether or not the flow was known.
    fn packet(&self, n: u32, real: u32) -> Option<u32> {
        if let Some(hit) = self.find(&flow(n), NOW) {
            return Some(hit.meta.real());
        }
        match self.insert(n, State::Established, real, NOW.plus(LONG)) {
            Insert::Done(hit) | Insert::Lost(hit) => Some(hit.meta.real()),
            Insert::TurnedAway | Insert::Contended => None,
        }
    }

    /// Established connections, numbers from 100 on, at real server 3.
    fn fill(&self, n: u32) {
        for n in 100..100 + n {
            assert!(matches!(
                self.insert(n, State::Established, 3, NOW.plus(LONG)),
                Insert::Done(_)
            ));
        }
    }

    /// Every connection once, counted once, found by lookup; no claim and no count left behind.
    fn check(&self) -> Vec<(Flow4, Meta)> {
        let entries: Vec<_> = (0..2).flat_map(|i| self.table().connections(i)).collect();
        let mut loads = vec![0; self.loads.0.len()];
        let mut away = 0;
        let mut seen = HashSet::new();
        for (flow, meta) in &entries {
            assert!(seen.insert(*flow), "an entry twice");
            loads[meta.real() as usize] += meta.load();
            away += u32::from(meta.in_alternate());
            if !meta.is_expired(NOW) {
                assert_eq!(
                    self.find(flow, NOW).map(|hit| hit.meta),
                    Some(*meta),
                    "not found"
                );
            }
        }
        for (load, counted) in loads.iter().zip(&self.loads.0) {
            assert_eq!(*load, counted.load(Acquire), "a count lost or doubled");
        }
        assert_eq!(
            self.buckets[0].lines[0].note.load(),
            away,
            "the home's count of those away"
        );
        assert_eq!(self.buckets[1].lines[0].note.load(), 0);
        for line in self.buckets.iter().flat_map(|bucket| &bucket.lines) {
            assert!(
                line.metas.iter().all(|meta| !Meta(meta.load()).is_busy()),
                "a claim left behind"
            );
        }
        entries
    }
}

/// Runs two CPUs on a world in every way, then checks the world.
fn model(
    world: impl Fn() -> World + Sync + Send + 'static,
    one: impl Fn(&World) + Sync + Send + Copy + 'static,
    other: impl Fn(&World) + Sync + Send + Copy + 'static,
    then: impl Fn(&World, &[(Flow4, Meta)]) + Sync + Send + 'static,
) {
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check({
        let runs = runs.clone();
        move || {
            runs.fetch_add(1, Relaxed);
            let world = Arc::new(world());
            let there = thread::spawn({
                let world = world.clone();
                move || other(&world)
            });
            one(&world);
            there.join().expect("it ends");
            let entries = world.check();
            then(&world, &entries);
        }
    });
    let runs = runs.load(Relaxed);
    println!("{runs} runs");
    assert!(runs > 10, "the two never met");
}

mod loom_model {
    use super::*;

    /// With so many connections there before: none; so many that one CPU's claim crowds the home; so many that both go to
    /// the alternate; and one place in all.
    #[test]
    fn two_inserters_of_one_flow_leave_one_entry() {
        for there_before in [0, 4, 5] {
            model(
                move || {
                    let world = World::new();
                    world.fill(there_before);
                    world
                },
                |world| assert!(world.packet(1, 0).is_some()),
                |world| assert!(world.packet(1, 1).is_some()),
                move |_, entries| assert_eq!(entries.len(), there_before as usize + 1),
            );
        }
    }

    #[test]
    fn two_inserters_of_two_flows_for_one_slot_end_its_connection_once() {
        model(
            || {
                let world = World::new();
                world.fill(11);
                world.insert(50, State::Close, 2, NOW.plus(LONG));
                world
            },
            |world| _ = world.packet(1, 0),
            |world| _ = world.packet(2, 1),
            |world, entries| {
                let new = entries
                    .iter()
                    .filter(|(flow, _)| [super::flow(1), super::flow(2)].contains(flow));
                assert_eq!((entries.len(), new.count()), (12, 1));
                assert_eq!(world.loads.0[2].load(Acquire), 0);
            },
        );
    }

    /// The expired connection sits in its alternate bucket, so its home must be told once.
    #[test]
    fn an_inserter_and_the_sweeper_end_an_expired_connection_once() {
        model(
            || {
                let world = World::new();
                world.fill(11);
                world.insert(50, State::Established, 2, Tick(NOW.0 - REFRESH));
                world
            },
            // While the sweeper holds the only slot there is no place.
            |world| _ = world.packet(1, 0),
            |world| {
                for i in 0..2 {
                    world.table().sweep(i, NOW, &world.loads);
                }
            },
            |world, entries| {
                assert!(entries.len() >= 11);
                assert_eq!(world.loads.0[2].load(Acquire), 0);
            },
        );
    }

    /// The flow's own entry has expired: it is replaced while the sweeper takes it out.
    #[test]
    fn a_flow_comes_back_while_its_expired_entry_is_swept() {
        model(
            || {
                let world = World::new();
                world.fill(2);
                world.insert(1, State::Established, 2, Tick(NOW.0 - REFRESH));
                world
            },
            |world| assert_eq!(world.packet(1, 0), Some(0)),
            |world| _ = world.table().sweep(0, NOW, &world.loads),
            |_, entries| {
                assert!(
                    entries
                        .iter()
                        .any(|(f, meta)| *f == flow(1) && meta.real() == 0)
                )
            },
        );
    }

    /// A reset meets a SYN that schedules the closed flow anew.
    #[test]
    fn close_and_reuse_of_one_flow_leave_one_count() {
        model(
            || {
                let world = World::new();
                world.insert(1, State::TimeWait, 0, NOW.plus(LONG));
                world
            },
            |world| {
                let hit = world.find(&flow(1), NOW).expect("it stays");
                let close = |meta: Meta| meta.with_state(State::Close, NOW.plus(100));
                assert!(world.table().update(&hit, close, &world.loads).is_some());
            },
            |world| {
                let hit = world.find(&flow(1), NOW).expect("it stays");
                let reuse =
                    |meta: Meta| meta.with_real(1).with_state(State::SynRecv, NOW.plus(200));
                assert!(world.table().update(&hit, reuse, &world.loads).is_some());
            },
            |_, entries| assert_eq!((entries.len(), entries[0].1.real()), (1, 1)),
        );
    }

    /// A late segment of a closed flow meets another flow that takes its slot.
    #[test]
    fn a_change_never_reaches_the_next_flow_in_the_slot() {
        model(
            || {
                let world = World::new();
                world.fill(11);
                world.insert(50, State::TimeWait, 0, NOW.plus(LONG));
                world
            },
            |world| {
                if let Some(hit) = world.find(&flow(50), NOW) {
                    assert_eq!(hit.meta.real(), 0, "torn");
                    let close = |meta: Meta| meta.with_state(State::Close, NOW.plus(100));
                    world.table().update(&hit, close, &world.loads);
                }
            },
            |world| _ = world.packet(1, 1),
            |_, entries| {
                for (found, meta) in entries {
                    let expected = match *found {
                        f if f == flow(1) => (1, State::Established),
                        f if f == flow(50) => (0, State::Close),
                        _ => (3, State::Established),
                    };
                    assert_eq!((meta.real(), meta.state()), expected);
                }
            },
        );
    }

    /// A packet that came just in time refreshes an entry whose time, by the sweeper's clock, has passed.
    #[test]
    fn refresh_and_sweep_leave_a_whole_entry_or_none() {
        model(
            || {
                let world = World::new();
                world.insert(1, State::Established, 0, NOW);
                world
            },
            |world| {
                if let Some(hit) = world.find(&flow(1), NOW) {
                    let refresh = |meta: Meta| meta.with_state(State::FinWait, NOW.plus(LONG));
                    world.table().update(&hit, refresh, &world.loads);
                }
            },
            |world| _ = world.table().sweep(0, NOW.plus(REFRESH), &world.loads),
            |_, entries| {
                assert!(
                    entries
                        .iter()
                        .all(|(_, meta)| meta.state() == State::FinWait)
                )
            },
        );
    }

    /// The flows of the next two: one client's port, so that they have the same places, and two services.
    fn old_and_new() -> (Flow4, Flow4) {
        let (old, other) = (flow(1), flow(2));
        (
            old,
            Flow4 {
                client: old.client,
                client_port: old.client_port,
                ..other
            },
        )
    }

    /// One slot goes from one flow to another.
    fn replace(world: &World) {
        let (old, new) = old_and_new();
        let hit = world.find(&old, NOW).expect("it is there");
        assert!(world.table().remove(&hit, &world.loads));
        let meta = Meta::new(Proto::Tcp, State::Close, 1, NOW.plus(LONG));
        world.table().insert(
            &new,
            &world.table().place(&new),
            meta,
            NOW,
            spare(),
            &world.loads,
        );
    }

    fn world_of_old() -> World {
        let world = World::new();
        world.insert(1, State::Close, 0, NOW.plus(LONG));
        world
    }

    #[test]
    fn a_reader_never_sees_half_of_two_flows() {
        model(
            world_of_old,
            replace,
            |world| {
                let (old, new) = old_and_new();
                let mixed = Flow4 {
                    vip: new.vip,
                    ..old
                };
                assert!(world.find(&mixed, NOW).is_none(), "torn");
                assert!(
                    world.find(&new, NOW).is_none_or(|hit| hit.meta.real() == 1),
                    "torn"
                );
            },
            |_, entries| assert_eq!(entries.len(), 1),
        );
    }

    #[test]
    fn a_reply_never_gets_the_service_of_another_flow() {
        model(
            world_of_old,
            replace,
            |world| {
                let (old, new) = old_and_new();
                let reply = |real| {
                    let table = world.table();
                    table.lookup_reply(
                        old.client,
                        old.client_port,
                        Proto::Tcp,
                        NOW,
                        move |meta, _| {
                            if meta.real() == real {
                                Fit::BEST
                            } else {
                                Fit::NONE
                            }
                        },
                    )
                };
                assert!(reply(0).is_none_or(|reply| reply.vip == old.vip), "torn");
                assert!(reply(1).is_none_or(|reply| reply.vip == new.vip), "torn");
            },
            |_, entries| assert_eq!(entries.len(), 1),
        );
    }

    #[test]
    fn two_who_remove_an_entry_count_it_once() {
        let remove = |world: &World| {
            if let Some(hit) = world.find(&flow(1), NOW) {
                world.table().remove(&hit, &world.loads);
            }
        };
        model(
            || {
                let world = World::new();
                world.fill(5);
                world.insert(1, State::Established, 0, NOW.plus(LONG));
                world
            },
            remove,
            remove,
            |_, entries| assert_eq!(entries.len(), 5),
        );
    }
}
