//! The connection table: single cases, a model, threads, and how full it gets.

mod fill;
mod model;
mod stress;
mod unit;

use lb_common::{
    abi::{Load, seconds_to_ticks},
    atomic::Host,
    conn::{Loads, Spare, Tick},
    table::Bucket,
};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Loads by real server.
struct Tally(Vec<AtomicU64>);

impl Tally {
    fn new(reals: usize) -> Self {
        Self((0..reals).map(|_| AtomicU64::new(0)).collect())
    }

    fn of(&self, real: u32) -> Load {
        Load {
            conns: self.0[real as usize].load(SeqCst),
        }
    }
}

impl Loads for Tally {
    fn add(&self, real: u32, change: u64) {
        let before = Load {
            conns: self.0[real as usize].fetch_add(change, SeqCst),
        };
        let after = Load {
            conns: before.conns.wrapping_add(change),
        };
        assert!(
            after.active() <= after.total() && !after.overloaded(),
            "{before:?} to {after:?}"
        );
    }
}

const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

fn buckets(n: u32) -> Vec<Bucket<Host>> {
    (0..n).map(|_| Bucket::empty()).collect()
}

/// Timeouts in ticks that the tests run under.
const SYN_RECV: u32 = seconds_to_ticks(60);
const ESTABLISHED: u32 = seconds_to_ticks(900);
const CLOSE: u32 = seconds_to_ticks(10);
const UDP: u32 = seconds_to_ticks(300);

fn spare(now: Tick) -> Spare {
    Spare::new(now, SYN_RECV, UDP)
}
