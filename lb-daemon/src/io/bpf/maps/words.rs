//! Words and records in mapped memory: reading them, and writing them with a count.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::Real;

use crate::io::bpf::error::MapError;
use crate::io::bpf::region::{self, Record, Region};

/// How many writes there were, and after how many to stop.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) done: u64,
    pub(super) stop_at: Option<u64>,
}

impl Writes {
    /// Counts a write, and refuses it where a test has the writing end.
    pub(super) fn count(&mut self, map: &'static str) -> Result<(), MapError> {
        if self.stop_at.is_some_and(|stop| self.done >= stop) {
            return Err(MapError {
                action: "write",
                map,
                source: io::ErrorKind::Interrupted.into(),
            });
        }
        self.done += 1;
        Ok(())
    }
}

/// Words of [`Real`] that change while packets flow, each by one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io::bpf) enum RealWord {
    /// The next hop's MAC and egress slot.
    Destination = 0,
    /// The egress interface's MAC and MTU.
    Source = 1,
    /// Address, port, method and flags.
    Identity = 2,
    /// The director's address towards it, and its service.
    Tunnel = 3,
    /// Interface index and timeout profile.
    Egress = 4,
    /// Both thresholds.
    Thresholds = 5,
    /// The first half of the director's IPv6 address towards it.
    Tunnel6High = 10,
    /// The second half.
    Tunnel6Low = 11,
}

const _: () = {
    assert!(std::mem::offset_of!(Real, dst) == 8 * RealWord::Destination as usize);
    assert!(std::mem::offset_of!(Real, src) == 8 * RealWord::Source as usize);
    assert!(std::mem::offset_of!(Real, addr) == 8 * RealWord::Identity as usize);
    assert!(std::mem::offset_of!(Real, flags) < 8 * (RealWord::Identity as usize + 1));
    assert!(std::mem::offset_of!(Real, tun_src) == 8 * RealWord::Tunnel as usize);
    assert!(std::mem::offset_of!(Real, service) < 8 * (RealWord::Tunnel as usize + 1));
    assert!(std::mem::offset_of!(Real, ifindex) == 8 * RealWord::Egress as usize);
    assert!(std::mem::offset_of!(Real, profile) < 8 * (RealWord::Egress as usize + 1));
    assert!(std::mem::offset_of!(Real, upper) == 8 * RealWord::Thresholds as usize);
    assert!(std::mem::offset_of!(Real, tun_src6) == 8 * RealWord::Tunnel6High as usize);
    assert!(std::mem::offset_of!(Real, lower) < 8 * (RealWord::Thresholds as usize + 1));
};

/// There is no such entry.
pub(super) fn beyond(map: &'static str) -> MapError {
    MapError {
        action: "find an entry of",
        map,
        source: io::ErrorKind::InvalidInput.into(),
    }
}

/// The words of an entry.
pub(super) fn entry<'r>(
    region: &'r Region,
    index: u32,
    map: &'static str,
) -> Result<&'r [AtomicU64], MapError> {
    region.entry(index).ok_or_else(|| beyond(map))
}

/// One word of a map of words.
pub(super) fn word<'r>(
    region: &'r Region,
    at: u32,
    map: &'static str,
) -> Result<&'r AtomicU64, MapError> {
    region.word(at).ok_or_else(|| beyond(map))
}

/// Reads a record.
pub(super) fn read<T: Record>(from: &Region, index: u32, map: &'static str) -> Result<T, MapError> {
    region::load(entry(from, index, map)?).ok_or_else(|| beyond(map))
}

/// Writes a record. It counts as one write: nobody reads the record before another write makes it visible.
pub(super) fn write<T: Record>(
    writes: &mut Writes,
    to: &Region,
    index: u32,
    record: &T,
    map: &'static str,
) -> Result<(), MapError> {
    let words = entry(to, index, map)?;
    writes.count(map)?;
    for (to, from) in words.iter().zip(region::words(record)) {
        to.store(from, Ordering::Release);
    }
    Ok(())
}

/// Sets a word.
pub(super) fn store(
    writes: &mut Writes,
    word: &AtomicU64,
    value: u64,
    map: &'static str,
) -> Result<(), MapError> {
    writes.count(map)?;
    word.store(value, Ordering::Release);
    Ok(())
}

/// Sets a word that is not so already.
pub(super) fn store_if_other(
    writes: &mut Writes,
    word: &AtomicU64,
    value: u64,
    map: &'static str,
) -> Result<(), MapError> {
    if word.load(Ordering::Acquire) == value {
        Ok(())
    } else {
        store(writes, word, value, map)
    }
}
