//! Threads that open, touch, close, sweep and list at once: afterwards every count is exact.

use super::*;
use lb_common::{
    conn::{Meta, State},
    net::{Be16, Be32, Flow4, Proto},
    table::{Insert, Lookup, Table},
};
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicU32},
    thread,
    time::{Duration, Instant},
};

const BUCKETS: u32 = 16;
const FLOWS: u32 = 96;
const REALS: u32 = 3;

/// The parts of a flow's address all say its number, so that a torn key shows.
fn flow(n: u32) -> Flow4 {
    Flow4 {
        client: Be32::from_host(0x0A00_0000 + n),
        vip: Be32::from_host(0xCB00_0000 + n),
        client_port: Be16::from_host(1000 + n as u16),
        vip_port: Be16::from_host(2000 + n as u16),
        proto: Proto::Tcp,
    }
}

fn number(flow: &Flow4) -> u32 {
    let n = flow.client.to_host() - 0x0A00_0000;
    assert_eq!(*flow, self::flow(n), "torn");
    n
}

/// A small generator of numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % n
    }
}

struct World {
    buckets: Vec<Bucket<Host>>,
    loads: Tally,
    clock: AtomicU32,
    stop: AtomicBool,
}

impl World {
    fn table(&self) -> Table<'_, [Bucket<Host>]> {
        Table::new(&self.buckets[..], BUCKETS - 1, KEY)
    }

    fn now(&self) -> Tick {
        Tick(self.clock.load(SeqCst))
    }

    /// What a CPU does with a packet; the real server that the flow is at.
    fn packet(&self, random: &mut Random) {
        let n = random.below(FLOWS);
        let (table, now) = (self.table(), self.now());
        let (flow, place) = (flow(n), table.place(&flow(n)));
        let states = [
            State::Established,
            State::FinWait,
            State::Close,
            State::SynRecv,
        ];
        let state = states[random.below(4) as usize];
        // Like timeouts, either soon over or long: hardly two entries have the same time.
        let long = random.below(2) * random.below(1 << 24);
        let expires = now.plus(random.below(50) + long);
        match table.lookup(&flow, &place, now) {
            Lookup::Hit(hit) if random.below(8) == 0 => {
                table.remove(&hit, &self.loads);
            }
            Lookup::Hit(hit) => {
                let real = random.below(REALS);
                let rebind = random.below(4) == 0;
                let next = |meta: Meta| {
                    let meta = if rebind { meta.with_real(real) } else { meta };
                    meta.with_state(state, expires)
                };
                table.update(&hit, next, &self.loads);
            }
            Lookup::Miss { .. } => {
                let meta = Meta::new(Proto::Tcp, state, random.below(REALS), expires);
                let inserted = table.insert(&flow, &place, meta, now, spare(now), &self.loads);
                if let Insert::Done(hit) | Insert::Lost(hit) = inserted {
                    assert!(hit.meta.is_live());
                }
            }
        }
    }
}

#[test]
fn threads_lose_nothing_and_count_nothing_twice() {
    let world = World {
        buckets: buckets(BUCKETS),
        loads: Tally::new(REALS as usize),
        clock: AtomicU32::new(u32::MAX - 50),
        stop: AtomicBool::new(false),
    };
    let end = Instant::now() + Duration::from_secs(3);
    let mut rounds = 0;
    while Instant::now() < end {
        world.stop.store(false, SeqCst);
        thread::scope(|scope| {
            for cpu in 1..=3u64 {
                let world = &world;
                scope.spawn(move || {
                    let mut random = Random(cpu * 0x9E37_79B9 + rounds);
                    for _ in 0..20_000 {
                        world.packet(&mut random);
                    }
                    world.stop.store(true, SeqCst);
                });
            }
            // The daemon: time passes, entries expire and are swept and listed.
            scope.spawn(|| {
                while !world.stop.load(SeqCst) {
                    // Slow enough that no thread that waits for a core is a crashed one.
                    thread::sleep(Duration::from_millis(1));
                    world.clock.fetch_add(1, SeqCst);
                    for i in 0..BUCKETS {
                        world.table().sweep(i, world.now(), &world.loads);
                        for (flow, _) in world.table().connections(i) {
                            number(&flow);
                        }
                    }
                }
            });
        });
        check(&world);
        rounds += 1;
    }
    assert!(rounds > 3, "{rounds}");
}

fn check(world: &World) {
    let mut loads = [0u64; REALS as usize];
    let mut away = [0u32; BUCKETS as usize];
    let mut seen = HashSet::new();
    for i in 0..BUCKETS {
        for (flow, meta) in world.table().connections(i) {
            number(&flow);
            assert!(
                seen.insert(flow) || meta.is_expired(world.now()),
                "twice: {flow:?}"
            );
            loads[meta.real() as usize] += meta.load();
            let place = world.table().place(&flow);
            assert_eq!(
                i,
                if meta.in_alternate() {
                    place.alternate
                } else {
                    place.home
                }
            );
            away[place.home as usize] += u32::from(meta.in_alternate());
        }
    }
    for (real, conns) in loads.iter().enumerate() {
        assert_eq!(
            world.loads.of(real as u32).conns,
            *conns,
            "real server {real}"
        );
    }
    for (bucket, away) in world.buckets.iter().zip(away) {
        assert_eq!(bucket.lines[0].note.load(SeqCst), away);
        let busy = bucket
            .lines
            .iter()
            .flat_map(|l| &l.metas)
            .any(|m| Meta(m.load(SeqCst)).is_busy());
        assert!(!busy, "a claim left behind");
    }
}
