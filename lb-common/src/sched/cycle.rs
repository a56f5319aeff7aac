//! How a wrr schedule lies in words of `SLOTS`, and how a turn is found in it.
//!
//! The kernel's wrr goes down the weights in steps of their greatest common divisor, and at each level gives one
//! connection to every real server that weighs as much. Written out, the cycle has `sum(W) / gcd` places, up
//! to 67 million for 1,024 real servers. But between two neighbouring weights each level is the same list,
//! so the cycle is kept as *segments*: a run of equal levels, and the list they repeat.
//!
//! ```text
//! word 0                 cycle length (32 bits) | shift of the guide (16) | number of segments (16)
//! words 1, 2             first segment: first place (32) | first slot of its list (32); list length (32) | weight (32)
//!    …                   further segments, by place
//! then, four to a word   the guide: for each 2^shift places, the segment of the first of them; and the last segment
//!                        the lists: indices of members
//! ```
//!
//! A place is found by the guide in about one step, whatever the number of segments.

use super::pool::{Pool, Step};

/// The head of a wrr schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cycle {
    /// Places in the cycle: `sum(W) / gcd`.
    pub length: u32,
    /// The guide has an entry for each `1 << shift` places.
    pub shift: u32,
    /// Number of segments: of distinct weights above zero.
    pub segments: u32,
}

/// A run of levels at which the same real servers are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its first place in the cycle.
    pub first: u32,
    /// The slot where its list begins.
    pub list: u32,
    /// The length of its list.
    pub len: u32,
    /// The weight of its first level; every member of its list weighs at least as much.
    pub weight: u32,
}

/// Steps that a binary search over the most segments takes.
const SEARCH_STEPS: u32 = 11;

impl Cycle {
    /// The cycle of the pool's plan.
    #[inline(always)]
    pub(super) fn read<P: Pool>(pool: &P) -> Self {
        Self::from_word(pool.word(pool.plan().slots_off))
    }

    /// From the first word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            length: word as u32,
            shift: (word >> 32) as u32 & 31,
            segments: (word >> 48) as u32,
        }
    }

    /// The first word.
    pub const fn to_word(self) -> u64 {
        self.length as u64 | (self.shift as u64) << 32 | (self.segments as u64) << 48
    }

    /// The turn that stands for the head of the list at the highest level, where a failure that follows right on a
    /// change leads to. No other way leads to it but billions of choices.
    #[inline(always)]
    pub const fn top_turn(self) -> u64 {
        (self.length as u64) << 32
    }

    /// The slot where the guide begins.
    #[inline(always)]
    pub const fn guide(self) -> u32 {
        (1 + 2 * self.segments) * 4
    }

    /// The number of the segment that a place is in.
    #[inline(always)]
    pub(super) fn segment_of<P: Pool>(self, pool: &P, place: u32) -> u32 {
        let base = pool.plan().slots_off;
        let entry = self.guide() + (place >> self.shift);
        let search = Bisection {
            place,
            low: pool.slot(base, entry),
            high: pool.slot(base, entry + 1),
        };
        if search.low >= search.high {
            return search.low;
        }
        pool.repeat(SEARCH_STEPS, search).low
    }

    /// The first place behind a segment.
    #[inline(always)]
    pub(super) fn end_of<P: Pool>(self, pool: &P, number: u32) -> u32 {
        if number + 1 < self.segments {
            Segment::first(pool, number + 1)
        } else {
            self.length
        }
    }
}

/// Finds the segment of a place among those from `low` to `high`.
#[derive(Clone, Copy)]
struct Bisection {
    place: u32,
    low: u32,
    high: u32,
}

impl<P: Pool> Step<P> for Bisection {
    #[inline(always)]
    fn step(&mut self, pool: &P, _round: u32) -> bool {
        if self.low >= self.high {
            return false;
        }
        let middle = (self.low + self.high).div_ceil(2);
        if Segment::first(pool, middle) <= self.place {
            self.low = middle;
        } else {
            self.high = middle - 1;
        }
        true
    }
}

impl Segment {
    /// The segment of a number.
    #[inline(always)]
    pub(super) fn read<P: Pool>(pool: &P, segment: u32) -> Self {
        let at = pool.plan().slots_off + 1 + 2 * segment;
        Self::from_words([pool.word(at), pool.word(at + 1)])
    }

    /// The member whose turn a place of this segment is.
    #[inline(always)]
    pub(super) fn member_at<P: Pool>(self, pool: &P, place: u32) -> u32 {
        let in_level = place.wrapping_sub(self.first) % self.len.max(1);
        pool.slot(pool.plan().slots_off, self.list.wrapping_add(in_level))
    }

    /// The first place of the segment of a number.
    #[inline(always)]
    fn first<P: Pool>(pool: &P, segment: u32) -> u32 {
        pool.word(pool.plan().slots_off + 1 + 2 * segment) as u32
    }

    /// From its two words.
    #[inline(always)]
    pub const fn from_words([place, list]: [u64; 2]) -> Self {
        Self {
            first: place as u32,
            list: (place >> 32) as u32,
            len: list as u32,
            weight: (list >> 32) as u32,
        }
    }

    /// Its two words.
    pub const fn to_words(self) -> [u64; 2] {
        [
            self.first as u64 | (self.list as u64) << 32,
            self.len as u64 | (self.weight as u64) << 32,
        ]
    }
}
