//! What user space alone must remember of a service, over restarts too.
//!
//! A map like the others, but one that no program reads. A record's words:
//!
//! ```text
//! 0       the service's first virtual address and port; zero in a record that is free
//! 1       which of the two sums holds (bit 0), and the real server being folded into it (its slot + 1, from bit 32)
//! 2..7    one sum of the traffic of real servers that are gone
//! 7..12   the other
//! ```
//!
//! When a real server's slot is freed, its traffic is *folded* into the sum, so that a service's total never goes
//! back. The new sum is written aside; the store of word 1 makes it hold and says that the slot's own count is
//! now to be cleared. A daemon that is killed between the two leaves word 1 saying so, and the next one clears it.

use lb_common::abi::ServiceKey4;
use lb_common::net::{Be16, Be32};

use super::error::MapError;
use super::maps::Maps;
use super::report::TrafficSum;

const KEY: usize = 0;
const FOLD: usize = 1;
const SUMS: [usize; 2] = [2, 7];

/// The first virtual address and port of the service that a record is of.
pub(super) fn key(maps: &Maps, service: u32) -> Result<Option<ServiceKey4>, MapError> {
    let word = maps.ledger(service, KEY)?;
    Ok((word != 0).then(|| unpack(word)))
}

/// Begins a record.
pub(super) fn open(maps: &mut Maps, service: u32, key: ServiceKey4) -> Result<(), MapError> {
    maps.set_ledger(service, FOLD, 0)?;
    for word in SUMS[0]..SUMS[0] + 5 {
        maps.set_ledger(service, word, 0)?;
    }
    maps.set_ledger(service, KEY, pack(key))
}

/// Ends a record.
pub(super) fn close(maps: &mut Maps, service: u32) -> Result<(), MapError> {
    maps.set_ledger(service, KEY, 0)
}

/// The traffic of a service's real servers that are gone.
pub(super) fn traffic(maps: &Maps, service: u32) -> Result<TrafficSum, MapError> {
    let which = (maps.ledger(service, FOLD)? & 1) as usize;
    sum(maps, service, which)
}

/// Moves a real server's traffic to the sum of its service.
pub(super) fn fold(maps: &mut Maps, service: u32, slot: u32) -> Result<(), MapError> {
    let traffic = maps.traffic(slot)?;
    if traffic == TrafficSum::default() {
        return Ok(());
    }
    let which = (maps.ledger(service, FOLD)? & 1) as usize;
    let total = sum(maps, service, which)?.plus(traffic);
    let aside = 1 - which;
    for (word, value) in (SUMS[aside]..).zip(total.to_words()) {
        maps.set_ledger(service, word, value)?;
    }
    maps.set_ledger(service, FOLD, aside as u64 | (u64::from(slot) + 1) << 32)?;
    finish(maps, service)
}

/// Ends a fold that was begun.
pub(super) fn finish(maps: &mut Maps, service: u32) -> Result<(), MapError> {
    let word = maps.ledger(service, FOLD)?;
    let Some(slot) = ((word >> 32) as u32).checked_sub(1) else {
        return Ok(());
    };
    maps.clear_traffic(slot)?;
    maps.set_ledger(service, FOLD, word & 1)
}

fn sum(maps: &Maps, service: u32, which: usize) -> Result<TrafficSum, MapError> {
    let mut words = [0; 5];
    for (word, at) in words.iter_mut().zip(SUMS[which & 1]..) {
        *word = maps.ledger(service, at)?;
    }
    Ok(TrafficSum::from_words(words))
}

fn pack(key: ServiceKey4) -> u64 {
    u64::from(key.vip.0)
        | u64::from(key.port.0) << 32
        | u64::from(key.proto) << 48
        | u64::from(key.host_bits) << 56
}

fn unpack(word: u64) -> ServiceKey4 {
    ServiceKey4 {
        vip: Be32(word as u32),
        port: Be16((word >> 32) as u16),
        proto: (word >> 48) as u8,
        host_bits: (word >> 56) as u8,
    }
}
