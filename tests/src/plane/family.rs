//! Which of the two families of addresses is a program for?

use lb_common::net::{Be32, Be128};
use lb_common::packet::Ip;
use lb_common::table::Recorded;

use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::atomic::Host;

/// A family of addresses.
pub trait Family: Ip {
    /// The program that does the work; another hands packets over to it if it is not `lb`.
    const PROGRAM: &'static str;

    /// A flow's addresses as the words that they are in the connection table.
    fn words(cells: &<Self as Recorded>::Cells<Host>) -> Vec<u64>;
}

impl Family for Be32 {
    const PROGRAM: &'static str = "lb";

    fn words(cells: &AtomicU64) -> Vec<u64> {
        vec![cells.load(Ordering::SeqCst)]
    }
}

impl Family for Be128 {
    const PROGRAM: &'static str = "lb6";

    fn words(cells: &[AtomicU64; 4]) -> Vec<u64> {
        cells
            .iter()
            .map(|cell| cell.load(Ordering::SeqCst))
            .collect()
    }
}
