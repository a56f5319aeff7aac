use super::*;
use crate::{
    abi::Load,
    atomic::Host,
    conn::{Loads, Meta, Spare, State, Tick},
    net::{Be16, Be32, Flow4, Proto},
};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Loads by real server.
pub(super) struct Tally(Vec<AtomicU64>);

impl Tally {
    pub(super) fn new(reals: usize) -> Self {
        Self((0..reals).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn of(&self, real: u32) -> Load {
        Load {
            conns: self.0[real as usize].load(SeqCst),
        }
    }
}

impl Loads for Tally {
    fn add(&self, real: u32, change: u64) {
        self.0[real as usize].fetch_add(change, SeqCst);
    }
}

const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

fn buckets(n: usize) -> Vec<Bucket<Host>> {
    (0..n).map(|_| Bucket::empty()).collect()
}

fn flow(n: u32) -> Flow4 {
    Flow4 {
        client: Be32::from_host(0xC633_6400 | n >> 16),
        vip: Be32::from_host(0xCB00_710A),
        client_port: Be16::from_host(n as u16),
        vip_port: Be16::from_host(443),
        proto: Proto::Tcp,
    }
}

const NOW: Tick = Tick(1000);
const MINUTE: u32 = crate::abi::seconds_to_ticks(60);

fn spare(now: Tick) -> Spare {
    Spare::new(now, MINUTE, 5 * MINUTE)
}

#[test]
fn a_recorded_flow_is_found_and_counted_until_it_is_removed() {
    let buckets = buckets(4);
    let table = Table::new(&buckets[..], 3, KEY);
    let loads = Tally::new(2);
    let place = table.place(&flow(1));
    assert!(matches!(
        table.lookup(&flow(1), &place, NOW),
        Lookup::Miss { turned_away: false }
    ));
    let meta = Meta::new(Proto::Tcp, State::SynRecv, 1, NOW.plus(MINUTE));
    let Insert::Done(_) = table.insert(&flow(1), &place, meta, NOW, spare(NOW), &loads) else {
        panic!("no room in an empty table");
    };
    assert_eq!((loads.of(1).active(), loads.of(1).total()), (1, 1));
    let Lookup::Hit(hit) = table.lookup(&flow(1), &place, NOW) else {
        panic!("not found");
    };
    assert_eq!(hit.meta.real(), 1);
    assert!(table.remove(&hit, &loads));
    assert!(!table.remove(&hit, &loads));
    assert_eq!(loads.of(1).conns, 0);
    assert!(matches!(
        table.lookup(&flow(1), &place, NOW),
        Lookup::Miss { .. }
    ));
}
