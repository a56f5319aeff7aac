//! What lblc and lblcr remember.

use super::MAX_REALS;
use crate::net::{Be32, Be128};

/// Key of `LOCALITY4` and `LOCALITY6`, maps that drop the destinations that were not asked for the longest.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LocalityKey<A> {
    /// The service's index.
    pub service: u32,
    /// The destination address.
    pub destination: A,
}

/// Key of `LOCALITY4`.
pub type LocalityKey4 = LocalityKey<Be32>;
/// Key of `LOCALITY6`.
pub type LocalityKey6 = LocalityKey<Be128>;

/// How many real servers lblcr remembers for a destination. The kernel's sets have no limit; here the one that was
/// added first leaves a full set.
pub const LOCALITY_SET: usize = 13;

/// The real servers that serve a destination: one with lblc, a set with lblcr.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Locality {
    /// When a connection to the destination was last scheduled, in ticks, about a minute behind at most.
    pub used: u32,
    /// When the set last changed, in ticks.
    pub changed: u32,
    /// Number of real servers in the set.
    pub len: u32,
    /// The one added last first.
    pub set: [LocalityEntry; LOCALITY_SET],
}

/// A remembered real server: its slot in `REALS` in the low 17 bits, and above where it was in its service's list.
#[repr(transparent)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct LocalityEntry(pub u32);

impl LocalityEntry {
    /// The real server in a slot, at a place of the list.
    #[inline(always)]
    pub const fn new(real: u32, index: u32) -> Self {
        Self(real & MAX_REALS | index << 17)
    }

    /// The slot.
    #[inline(always)]
    pub const fn real(self) -> u32 {
        self.0 & MAX_REALS
    }

    /// Where it was in the list; it may have moved since.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 >> 17
    }
}

impl Locality {
    /// A set of one.
    #[inline(always)]
    pub fn one(entry: LocalityEntry, now: u32) -> Self {
        let mut set = [LocalityEntry(0); LOCALITY_SET];
        set[0] = entry;
        Self {
            used: now,
            changed: now,
            len: 1,
            set,
        }
    }

    /// Puts a real server in front, unless it is in the set.
    #[inline(always)]
    pub fn insert(&mut self, entry: LocalityEntry, now: u32) {
        for (i, known) in self.set.iter().enumerate() {
            if (i as u32) < self.len && known.real() == entry.real() {
                return;
            }
        }
        for i in (1..LOCALITY_SET).rev() {
            self.set[i] = self.set[i - 1];
        }
        self.set[0] = entry;
        self.len = (self.len + 1).min(LOCALITY_SET as u32);
        self.changed = now;
    }

    /// Takes out the real server at a place of the set.
    #[inline(always)]
    pub fn remove(&mut self, at: u32, now: u32) {
        for i in 1..LOCALITY_SET {
            if i as u32 > at {
                self.set[i - 1] = self.set[i];
            }
        }
        self.len = self.len.saturating_sub(1);
        self.changed = now;
    }
}
