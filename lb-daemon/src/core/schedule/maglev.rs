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

/// Each owner takes a slot whenever it has less than its share of those taken so far, until it has its share of all.
pub(super) fn by_weight(size: u32, owners: &[Owner]) -> Vec<u16> {
    let takers: Vec<&Owner> = owners.iter().filter(|o| o.weight > 0).collect();
    let heaviest = takers.iter().map(|o| u64::from(o.weight)).max();
    let Some(heaviest) = heaviest else {
        return Vec::new();
    };
    let mut table = Table::new(size);
    let mut takers: Vec<(Walk, u64, u64, u32)> = takers
        .iter()
        .zip(shares(size, &takers))
        .map(|(o, share)| (Walk::new(size, o), u64::from(o.weight), 0, share))
        .collect();
    for round in 1.. {
        for (walk, weight, due, left) in &mut takers {
            if *left > 0 && round * *weight >= *due {
                *due += heaviest;
                *left -= 1;
                if table.give_next(walk) {
                    return table.into_slots();
                }
            }
        }
    }
    Vec::new()
}

/// How many slots each taker has in the end: as many as its weight says, rounded up or down, and at least one. All of them
/// together have all slots, of which there must be as many as takers.
fn shares(size: u32, takers: &[&Owner]) -> Vec<u32> {
    let sum: u64 = takers.iter().map(|o| u64::from(o.weight)).sum();
    // Who is due less than one slot gets one, and the others share what remains.
    let light = |o: &Owner| u64::from(o.weight) * u64::from(size) < sum;
    let (lights, light_sum) = takers
        .iter()
        .filter(|o| light(o))
        .fold((0, 0), |(n, sum), o| (n + 1, sum + u64::from(o.weight)));
    let (slots, sum) = (u64::from(size) - lights, sum - light_sum);
    let mut passed = 0;
    takers
        .iter()
        .map(|o| {
            if light(o) {
                return 1;
            }
            // What rounding leaves over goes to the next one, so that nothing remains.
            let before = passed * slots / sum;
            passed += u64::from(o.weight);
            (passed * slots / sum - before) as u32
        })
        .collect()
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

    /// How many slots each owner has.
    fn counts(slots: &[u16], owners: usize) -> Vec<u32> {
        let mut counts = vec![0; owners];
        for &slot in slots {
            counts[usize::from(slot)] += 1;
        }
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// A share is right to a slot, which is within one percent where it is 100 slots or more.
        #[test]
        fn shares_are_as_the_weights(
            weights in (1..=100u16, 1..=655usize)
                .prop_flat_map(|(heaviest, owners)| prop::collection::vec(1..=heaviest, 1..=owners))
        ) {
            let slots = MhTable::Fine.slots(&owners(&weights));
            let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            for (&weight, got) in weights.iter().zip(counts(&slots, weights.len())) {
                let wanted = f64::from(weight) / sum * slots.len() as f64;
                let most = if wanted < 100.0 { 1.0 } else { wanted * 0.01 };
                prop_assert!((f64::from(got) - wanted).abs() <= most, "{got}, not {wanted}");
            }
        }

        /// However little its weight is beside that of others, everyone has a slot, and each slot has somebody.
        #[test]
        fn everyone_has_a_slot(weights in prop::collection::vec(prop_oneof![1..10u16, 60_000u16..], 1..=1024)) {
            let slots = by_weight(4093, &owners(&weights));
            prop_assert_eq!(slots.len(), 4093);
            prop_assert!(!counts(&slots, weights.len()).contains(&0));
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
