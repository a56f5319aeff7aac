//! Which real server owns each slot of a Maglev table?
//!
//! Filled as the kernel's mh scheduler fills its own: each real server has a permutation of all slots, drawn
//! from its address and port, and in rounds takes the next free slots of it, as many as its weight allows.

use std::net::{IpAddr, SocketAddr};

use lb_common::sched::hash::{MH_FIRST, MH_SECOND, mh_hash};

use super::cycle::gcd;

/// Sizes that the fallback table may have: primes.
pub const FALLBACK_SIZES: [u32; 5] = [251, 509, 1021, 2039, 4093];

/// How many bits of a weight a round of taking slots goes by: the kernel's for a table of 4,093 slots.
const TURN_BITS: u32 = 6;

/// A real server that takes slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) id: SocketAddr,
    /// Its index in the table; also for those that are quiesced, which keep their slots.
    pub(super) index: u16,
    /// Its last weight above zero; 0 takes no slots.
    pub(super) weight: u16,
}

/// The owners' indices, slot by slot; empty when nobody has a weight. `size` is a prime.
pub(super) fn table(size: u32, owners: &[Owner]) -> Vec<u16> {
    let step = owners.iter().fold(0, |a, o| gcd(a, u32::from(o.weight)));
    if step == 0 {
        return Vec::new();
    }
    let heaviest = owners
        .iter()
        .map(|o| u32::from(o.weight) / step)
        .max()
        .unwrap_or(1);
    let shift = (u32::BITS - heaviest.leading_zeros()).saturating_sub(TURN_BITS);
    let mut walks: Vec<Walk> = owners
        .iter()
        .filter(|o| o.weight > 0)
        .map(|o| Walk::new(size, o, ((u32::from(o.weight) / step) >> shift).max(1)))
        .collect();

    let mut slots: Vec<Option<u16>> = vec![None; size as usize];
    let mut free = slots.len();
    'filled: loop {
        for walk in &mut walks {
            for _ in 0..walk.turns {
                walk.take(&mut slots);
                free -= 1;
                if free == 0 {
                    break 'filled;
                }
            }
        }
    }
    slots.into_iter().flatten().collect()
}

/// One owner's way through its permutation.
struct Walk {
    index: u16,
    turns: u32,
    place: u32,
    skip: u32,
    size: u32,
}

impl Walk {
    fn new(size: u32, owner: &Owner, turns: u32) -> Self {
        let key = fold(owner.id.ip()).wrapping_add(u32::from(owner.id.port()));
        Self {
            index: owner.index,
            turns,
            place: mh_hash(MH_FIRST, key) % size,
            skip: mh_hash(MH_SECOND, key) % (size - 1) + 1,
            size,
        }
    }

    /// Takes the first free slot from its place on. There must be one.
    fn take(&mut self, slots: &mut [Option<u16>]) {
        while slots[self.place as usize].is_some() {
            self.place += self.skip;
            if self.place >= self.size {
                self.place -= self.size;
            }
        }
        slots[self.place as usize] = Some(self.index);
    }
}

/// An address as the kernel's hashes take it: in host order, the words of an IPv6 address folded by exclusive or.
fn fold(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let [a, b, c, d] = [96, 64, 32, 0].map(|shift| (v6.to_bits() >> shift) as u32);
            a ^ b ^ c ^ d
        }
    }
}

/// The size of a fallback table for so many members: enough slots for even shares.
pub(super) fn fallback_size(members: usize) -> u32 {
    let wanted = members as u32 * 32;
    FALLBACK_SIZES
        .into_iter()
        .find(|&size| size >= wanted)
        .unwrap_or(4093)
}
