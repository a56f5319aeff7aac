//! Which of the two families of addresses is a program for?

use lb_common::abi::program;
use lb_common::net::{Be32, Be128};
use lb_common::packet::Ip;
use lb_common::table::Recorded;

use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::atomic::Host;

/// A family of addresses.
pub trait Family: Ip {
    /// The programs besides `lb` that work on its packets, and where each is in `PROGRAMS`.
    const HANDED_OVER: &'static [(&'static str, u32)];

    /// A flow's addresses as the words that they are in the connection table.
    fn words(cells: &<Self as Recorded>::Cells<Host>) -> Vec<u64>;
}

impl Family for Be32 {
    const HANDED_OVER: &'static [(&'static str, u32)] = &[("fragments4", program::FRAGMENTS4)];

    fn words(cells: &AtomicU64) -> Vec<u64> {
        vec![cells.load(Ordering::SeqCst)]
    }
}

impl Family for Be128 {
    const HANDED_OVER: &'static [(&'static str, u32)] =
        &[("lb6", program::IPV6), ("fragments6", program::FRAGMENTS6)];

    fn words(cells: &[AtomicU64; 4]) -> Vec<u64> {
        cells
            .iter()
            .map(|cell| cell.load(Ordering::SeqCst))
            .collect()
    }
}
