//! Which real server owns each slot of a Maglev table?
//!
//! Each real server has a permutation of all slots, drawn from its address and port, and in its turn takes the next
//! free slot of it. So when one goes, its slots are shared out, and hardly any other changes hands.

use std::net::{IpAddr, SocketAddr};

use lb_common::sched::hash::{MH_FIRST, MH_SECOND, mh_hash};

use super::cycle::gcd;

/// Sizes that the fallback table may have: primes.
const FALLBACK_SIZES: [u32; 5] = [251, 509, 1021, 2039, 4093];

/// How mh's table is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MhTable {
    /// 65,537 slots, each real server's share of them as its weight is, to a slot.
    #[default]
    Fine,
    /// As the stock kernel's: 4,093 slots, and of each weight the six highest bits of the heaviest count.
    Kernel,
}

impl MhTable {
    /// The number of slots, a prime.
    pub const fn size(self) -> u32 {
        match self {
            Self::Fine => 65_537,
            Self::Kernel => 4093,
        }
    }

    /// The owners' indices, slot by slot; empty when nobody has a weight.
    pub(super) fn slots(self, owners: &[Owner]) -> Vec<u16> {
        match self {
            Self::Fine => by_weight(self.size(), owners),
            Self::Kernel => in_bursts(self.size(), owners),
        }
    }
}

/// How many bits of a weight count in the kernel's table of 4,093 slots.
const KERNEL_WEIGHT_BITS: u32 = 6;

/// A real server that takes slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) id: SocketAddr,
    /// Its index in the table; also for those that are quiesced, which keep their slots.
    pub(super) index: u16,
    /// Its last weight above zero; 0 takes no slots.
    pub(super) weight: u16,
}

/// Each owner takes a slot whenever it has less than its share of those taken so far.
pub(super) fn by_weight(size: u32, owners: &[Owner]) -> Vec<u16> {
    let heaviest = owners
        .iter()
        .map(|o| u64::from(o.weight))
        .max()
        .unwrap_or(0);
    let mut table = Table::new(size);
    if heaviest == 0 {
        return Vec::new();
    }
    let takers = owners.iter().filter(|o| o.weight > 0);
    let mut takers: Vec<(Walk, u64, u64)> = takers
        .map(|o| (Walk::new(size, o), u64::from(o.weight), 0))
        .collect();
    for round in 1.. {
        for (walk, weight, due) in &mut takers {
            if round * *weight >= *due {
                *due += heaviest;
                if table.give_next(walk) {
                    return table.into_slots();
                }
            }
        }
    }
    Vec::new()
}

/// As the kernel fills its table: in rounds, each owner taking as many slots in a row as its weight in steps.
pub(super) fn in_bursts(size: u32, owners: &[Owner]) -> Vec<u16> {
    let step = owners.iter().fold(0, |a, o| gcd(a, u32::from(o.weight)));
    if step == 0 {
        return Vec::new();
    }
    let in_steps = |o: &Owner| u32::from(o.weight) / step;
    let heaviest = owners.iter().map(in_steps).max().unwrap_or(1);
    let shift = (u32::BITS - heaviest.leading_zeros()).saturating_sub(KERNEL_WEIGHT_BITS);
    let takers = owners.iter().filter(|o| o.weight > 0);
    let mut takers: Vec<(Walk, u32)> = takers
        .map(|o| (Walk::new(size, o), (in_steps(o) >> shift).max(1)))
        .collect();
    let mut table = Table::new(size);
    loop {
        for (walk, turns) in &mut takers {
            for _ in 0..*turns {
                if table.give_next(walk) {
                    return table.into_slots();
                }
            }
        }
    }
}

/// The slots given so far.
struct Table {
    slots: Vec<Option<u16>>,
    free: u32,
}

impl Table {
    fn new(size: u32) -> Self {
        Self {
            slots: vec![None; size as usize],
            free: size,
        }
    }

    /// Gives an owner the next free slot of its permutation; there must be one. `true` when it was the last.
    fn give_next(&mut self, walk: &mut Walk) -> bool {
        let size = self.slots.len() as u32;
        while self.slots[walk.place as usize].is_some() {
            walk.place += walk.skip;
            if walk.place >= size {
                walk.place -= size;
            }
        }
        self.slots[walk.place as usize] = Some(walk.index);
        self.free -= 1;
        self.free == 0
    }

    fn into_slots(self) -> Vec<u16> {
        self.slots.into_iter().flatten().collect()
    }
}

/// One owner's way through its permutation.
struct Walk {
    index: u16,
    place: u32,
    skip: u32,
}

impl Walk {
    fn new(size: u32, owner: &Owner) -> Self {
        let key = fold(owner.id.ip()).wrapping_add(u32::from(owner.id.port()));
        Self {
            index: owner.index,
            place: mh_hash(MH_FIRST, key) % size,
            skip: mh_hash(MH_SECOND, key) % (size - 1) + 1,
        }
    }
}

/// An address as the kernel's hashes take it: in host order, the words of an IPv6 address folded by exclusive or.
pub fn fold(addr: IpAddr) -> u32 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owners(weights: &[u16]) -> Vec<Owner> {
        (0u16..)
            .zip(weights)
            .map(|(index, &weight)| Owner {
                id: SocketAddr::from(([10, 1, (index >> 8) as u8, index as u8], 80)),
                index,
                weight,
            })
            .collect()
    }

    fn count(slots: &[u16], owner: usize) -> usize {
        slots.iter().filter(|&&s| usize::from(s) == owner).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// With 100 slots or more for each, a share is within one percent.
        #[test]
        fn shares_are_as_the_weights(weights in prop::collection::vec(1..100u16, 1..60)) {
            let slots = MhTable::Fine.slots(&owners(&weights));
            let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            for (i, &weight) in weights.iter().enumerate() {
                let wanted = f64::from(weight) / sum * slots.len() as f64;
                let got = count(&slots, i) as f64;
                prop_assert!((got - wanted).abs() <= (wanted * 0.01).max(1.5), "{weights:?}: {i} has {got}, not {wanted}");
            }
        }
    }

    #[test]
    fn removing_one_of_ten_moves_at_most_one_percent_of_the_others() {
        let ten = owners(&[1; 10]);
        let before = MhTable::Fine.slots(&ten);
        for gone in 0..10 {
            let nine: Vec<Owner> = ten.iter().copied().filter(|o| o.index != gone).collect();
            let after = MhTable::Fine.slots(&nine);
            let others = before.iter().filter(|&&s| s != gone).count();
            let moved = before
                .iter()
                .zip(&after)
                .filter(|&(&b, &a)| b != gone && b != a)
                .count();
            assert!(
                moved * 100 <= others,
                "without {gone}, {moved} of {others} moved"
            );
        }
    }

    #[test]
    fn nobody_with_a_weight_makes_no_table() {
        for table in [MhTable::Fine, MhTable::Kernel] {
            assert!(table.slots(&owners(&[])).is_empty());
            assert!(table.slots(&owners(&[0, 0])).is_empty());
            assert_eq!(
                table.slots(&owners(&[0, 1])),
                vec![1; table.size() as usize]
            );
        }
    }
}
