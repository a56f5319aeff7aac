//! What user space alone must remember of a service, over restarts too.
//!
//! A map like the others, but one that no program reads. A record's words:
//!
//! ```text
//! 0       the service's first virtual address and port; zero in a record that is free. Of IPv6, port and protocol
//! 1       which of the two sums holds (bit 0), and the real server being folded into it (its slot + 1, from bit 32)
//! 2..7    one sum of the traffic of real servers that are gone
//! 7..12   the other
//! 12..14  of IPv6, the service's first virtual address
//! ```
//!
//! When a real server's slot is freed, its traffic is *folded* into the sum, so that a service's total never goes
//! back. The new sum is written aside; the store of word 1 makes it hold and says that the slot's own count is
//! now to be cleared. A daemon that is killed between the two leaves word 1 saying so, and the next one clears it.

use std::net::IpAddr;

use super::error::MapError;
use super::family::Parts;
use super::maps::Maps;
use super::report::TrafficSum;
use super::state::{service_id, service_parts};
use crate::core::desired::ServiceId;

const KEY: usize = 0;
const FOLD: usize = 1;
const SUMS: [usize; 2] = [2, 7];
const ADDRESS6: usize = 12;

/// Set in the first word of a record of IPv6: no protocol's number has it.
const IS_IPV6: u8 = 0x80;

/// The first virtual address and port of the service that a record is of.
pub(super) fn key(maps: &Maps, service: u32) -> Result<Option<ServiceId>, MapError> {
    let word = maps.ledger(service, KEY)?;
    let halves = [
        maps.ledger(service, ADDRESS6)?,
        maps.ledger(service, ADDRESS6 + 1)?,
    ];
    Ok(service_id(unpack(word, halves)))
}

/// Begins a record.
pub(super) fn open(maps: &mut Maps, service: u32, key: ServiceId) -> Result<(), MapError> {
    maps.set_ledger(service, FOLD, 0)?;
    for word in SUMS[0]..SUMS[0] + 5 {
        maps.set_ledger(service, word, 0)?;
    }
    let (word, halves) = pack(service_parts(key));
    for (at, half) in (ADDRESS6..).zip(halves) {
        maps.set_ledger(service, at, half)?;
    }
    maps.set_ledger(service, KEY, word)
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

/// The first word of a service's record, and the two halves of an IPv6 address.
fn pack(parts: Parts) -> (u64, [u64; 2]) {
    let (low, mark, halves) = match parts.addr {
        IpAddr::V4(addr) => (addr.to_bits(), 0, [0; 2]),
        IpAddr::V6(addr) => {
            let bits = addr.to_bits();
            (0, IS_IPV6, [(bits >> 64) as u64, bits as u64])
        }
    };
    let word = u64::from(low)
        | u64::from(parts.port) << 32
        | u64::from(parts.proto | mark) << 48
        | u64::from(parts.host_bits) << 56;
    (word, halves)
}

fn unpack(word: u64, [high, low]: [u64; 2]) -> Parts {
    let proto = (word >> 48) as u8;
    let addr = if proto & IS_IPV6 == 0 {
        IpAddr::from((word as u32).to_be_bytes())
    } else {
        let bits = u128::from(high) << 64 | u128::from(low);
        IpAddr::from(bits.to_be_bytes())
    };
    Parts {
        addr,
        port: (word >> 32) as u16,
        proto: proto & !IS_IPV6,
        host_bits: (word >> 56) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_a_service_of_either_family() {
        for addr in ["192.0.2.1", "255.255.255.255", "2001:db8::1", "ffff::ffff"] {
            let parts = Parts {
                addr: addr.parse().unwrap(),
                port: 80,
                proto: 17,
                host_bits: 8,
            };
            let (word, halves) = pack(parts);
            assert_eq!(unpack(word, halves), parts);
        }
        assert_eq!(service_id(unpack(0, [0; 2])), None);
    }
}
