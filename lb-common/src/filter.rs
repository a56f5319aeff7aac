//! Which cells of `FILTER` does a virtual address or network take?
//!
//! An address has a cell of its own, which some others share ([`filter_cell`]). A network of 256 addresses and more is let in
//! by blocks of 256: each block has the cell of its first address, and where there are such networks, the program looks at the
//! cell of the block that a destination is in, too. So a network of 16 bits takes 256 of the 65,536 cells, not all of
//! them, and the packets of other destinations still are told apart by two bits.

use crate::abi::{FILTER_VIP, FILTER_WORDS, ServiceKey, filter_cell};
use crate::net::{Address, Be32};

/// How many trailing bits of an address do not matter within a block.
pub const BLOCK_BITS: u32 = 8;

/// Networks with more blocks than there are cells are taken for the whole of the Internet.
const MOST_BITS: u32 = 24;

/// The block that an address is in, as its first address.
#[inline(always)]
pub fn block<A: Address>(addr: A) -> A {
    addr.network(BLOCK_BITS)
}

/// The bits of a service's key to be set in `FILTER`: words, and what each must have. Of IPv6 there are single addresses only.
pub fn cells<A: Address>(key: &ServiceKey<A>) -> impl Iterator<Item = (u32, u64)> {
    let host_bits = u32::from(key.host_bits);
    let step = if host_bits < BLOCK_BITS {
        0
    } else {
        BLOCK_BITS
    };
    let is_all = host_bits > MOST_BITS;
    let (first, count) = (
        key.vip.folded().to_host(),
        1u32 << host_bits.min(MOST_BITS) >> step,
    );
    let some = (0..if is_all { 0 } else { count }).map(move |n| {
        let (word, shift) = filter_cell(Be32::from_host(first.wrapping_add(n << step)));
        (word, FILTER_VIP << shift)
    });
    const EACH_CELL: u64 = u64::MAX / 3 * FILTER_VIP;
    let all = (0..if is_all { FILTER_WORDS } else { 0 }).map(|word| (word, EACH_CELL));
    some.chain(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ServiceKey4;
    use crate::net::Be16;

    fn key(addr: [u8; 4], prefix: u8) -> ServiceKey4 {
        ServiceKey4 {
            vip: Be32::from_bytes(addr),
            port: Be16::from_host(80),
            proto: 6,
            host_bits: 32 - prefix,
        }
    }

    fn filter(key: &ServiceKey4) -> [u64; FILTER_WORDS as usize] {
        let mut filter = [0; FILTER_WORDS as usize];
        for (word, bits) in cells(key) {
            filter[word as usize] |= bits;
        }
        filter
    }

    fn has(filter: &[u64], addr: Be32) -> bool {
        let (word, shift) = filter_cell(addr);
        filter[word as usize] >> shift & FILTER_VIP != 0
    }

    #[test]
    fn each_address_of_a_network_is_let_in() {
        for prefix in [32, 30, 25, 24, 23, 16, 12, 8, 7, 0] {
            let key = key([10, 0, 0, 0], prefix);
            let filter = filter(&key);
            let size = 1u64 << (32 - prefix);
            for n in (0..size).step_by((size / 5000).max(1) as usize) {
                let addr = Be32::from_host(key.vip.to_host().wrapping_add(n as u32));
                let looked_at = if key.host_bits < 8 { addr } else { block(addr) };
                assert!(has(&filter, looked_at), "/{prefix}: {n}");
            }
        }
    }

    #[test]
    fn a_network_of_16_bits_takes_few_cells() {
        let cells = |prefix| -> u32 {
            let filter = filter(&key([10, 20, 0, 0], prefix));
            filter.iter().map(|word| word.count_ones()).sum()
        };
        assert_eq!(cells(32), 1);
        assert!((250..=256).contains(&cells(16)), "{}", cells(16));
        assert!((3800..=4096).contains(&cells(12)), "{}", cells(12));
        assert_eq!(cells(7), 65_536);
    }
}
