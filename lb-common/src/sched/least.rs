//! lc, wlc, sed, nq: the real server with the least load.

use core::marker::PhantomData;

use super::choice::Choice;
use super::pool::{CHUNK, Lists, Pool, Step};
use crate::abi::{Load, Member};
use crate::bound::unknown;

/// How much more an active connection weighs than an inactive one. With 255 an active one counts 256 times, as in
/// every stock kernel up to 2025; later stable trees make it 256 (and so 257 times).
const ACTIVE_EXTRA: u64 = 255;

/// The load that lc and wlc compare: 256 for each active connection, 1 for each inactive one.
#[inline(always)]
pub const fn overhead(load: Load) -> u64 {
    load.active() as u64 * ACTIVE_EXTRA + load.total() as u64
}

/// The same of a [`Load`]'s word, where an active connection is [`Load::ACTIVE`] beside what any is: an instruction less.
#[inline(always)]
const fn weighed(conns: u64) -> u64 {
    conns - conns / Load::ACTIVE * (Load::ACTIVE - ACTIVE_EXTRA)
}

/// The load that sed and nq compare: what the active connections would be with this one.
#[inline(always)]
pub const fn expected(load: Load) -> u64 {
    load.active() as u64 + 1
}

/// What a scheduler goes by.
pub(super) trait Rule: Copy {
    /// What is compared of a [`Load`]'s word. The mark of an overloaded one counts as 2^31 active connections: nearly always
    /// that is out at once, as most are.
    fn score(conns: u64) -> u64;

    /// The weight that it is divided by.
    #[inline(always)]
    fn weight(member: &Member) -> u64 {
        member.weight.into()
    }

    /// Whether the first one with this score is taken, whatever comes behind it.
    #[inline(always)]
    fn is_enough(_score: u64) -> bool {
        false
    }
}

/// Least connections, whatever the weights.
#[derive(Clone, Copy)]
pub(super) struct Lc;

impl Rule for Lc {
    #[inline(always)]
    fn score(conns: u64) -> u64 {
        weighed(conns)
    }

    #[inline(always)]
    fn weight(_member: &Member) -> u64 {
        1
    }
}

/// Least connections for their weight.
#[derive(Clone, Copy)]
pub(super) struct Wlc;

impl Rule for Wlc {
    #[inline(always)]
    fn score(conns: u64) -> u64 {
        weighed(conns)
    }
}

/// The shortest expected delay: active connections with this one, for their weight.
#[derive(Clone, Copy)]
pub(super) struct Sed;

impl Rule for Sed {
    #[inline(always)]
    fn score(conns: u64) -> u64 {
        conns / Load::ACTIVE + 1
    }
}

/// Never queue: the first idle one whatever its weight, else as sed.
#[derive(Clone, Copy)]
pub(super) struct Nq;

impl Rule for Nq {
    #[inline(always)]
    fn score(conns: u64) -> u64 {
        conns / Load::ACTIVE + 1
    }

    #[inline(always)]
    fn is_enough(score: u64) -> bool {
        score == Self::score(0)
    }
}

/// The least loaded of the eligible members that are not overloaded, newest first.
#[inline(always)]
pub(super) fn choose<P: Pool, R: Rule>(pool: &P, _rule: R) -> Option<Choice> {
    let len = pool.plan().eligible_len;
    let walk = Walk::<R> {
        least: Least::NONE,
        len,
        rule: PhantomData,
    };
    pool.repeat(len.div_ceil(CHUNK), walk).least.choice(pool)
}

/// Looks at a chunk of the members in each round.
#[derive(Clone, Copy)]
struct Walk<R> {
    least: Least,
    len: u32,
    rule: PhantomData<R>,
}

impl<P: Pool, R: Rule> Step<P> for Walk<R> {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        let Some(lists) = pool.lists() else {
            return false;
        };
        let first = round * CHUNK;
        let (members, left) = (lists.chunk(first), self.len.saturating_sub(first));
        // A copy stays in registers from member to member.
        let mut least = self.least;
        let mut look = |i: u32, member: &Member| {
            let weight = R::weight(member);
            let score = R::score(lists.load(member.real).conns);
            if !R::is_enough(score) && !least.is_beaten(weight, score) {
                return true;
            }
            // Few come here. Their load is read again: a register that kept it would be missed by all.
            let load = lists.load(member.real);
            if load.overloaded() {
                return true;
            }
            let score = R::score(load.conns);
            least.take(first + i, weight, score);
            !R::is_enough(score)
        };
        // Written out, each member is at a fixed distance: most of what a loop takes is to count, and to see bounds.
        macro_rules! all {
            ($($i:literal)+) => { $(look($i, &members[$i]))&&+ };
        }
        let goes_on = if left >= CHUNK {
            all!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
        } else {
            // That there are fewer than a chunk, the verifier may have forgotten: it is told in each round.
            let left = unknown(left.into(), self.least.score) as u32;
            let mut i = 0;
            while i < CHUNK && i < left && look(i, &members[(i % CHUNK) as usize]) {
                i += 1;
            }
            false
        };
        self.least = least;
        goes_on
    }
}

/// The best one seen so far, by a ratio to weight that is the smaller the better.
#[derive(Clone, Copy)]
pub(super) struct Least {
    score: u64,
    weight: u64,
    index: u32,
}

impl Least {
    /// Worse than any.
    pub(super) const NONE: Self = Self {
        score: 1,
        weight: 0,
        index: 0,
    };

    /// Takes this one if its `score / weight` is strictly smaller, so that of equals the first stays. Scores stay
    /// below 2^41 and weights below 2^16: the products fit.
    #[inline(always)]
    pub(super) fn offer(&mut self, index: u32, weight: u64, score: u64) {
        if self.is_beaten(weight, score) {
            self.take(index, weight, score);
        }
    }

    #[inline(always)]
    const fn is_beaten(&self, weight: u64, score: u64) -> bool {
        score * self.weight < self.score * weight
    }

    /// Takes this one, whatever was there.
    #[inline(always)]
    fn take(&mut self, index: u32, weight: u64, score: u64) {
        *self = Self {
            score: unknown(score, weight),
            weight: unknown(weight, score),
            index: unknown(index.into(), score) as u32,
        };
    }

    /// The one it came to.
    #[inline(always)]
    pub(super) fn choice<P: Pool>(self, pool: &P) -> Option<Choice> {
        let member = pool.lists()?.member(self.index);
        // None without weight is ever taken.
        (self.weight > 0).then_some(Choice::of(self.index, member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_word_is_compared_as_its_counts_are(active in 0u32..1 << 31, inactive in any::<u32>()) {
            let total = active.saturating_add(inactive);
            let conns = u64::from(active) * Load::ACTIVE + u64::from(total) * Load::ONE;
            prop_assert_eq!(Lc::score(conns), overhead(Load { conns }));
            prop_assert_eq!(Sed::score(conns), expected(Load { conns }));
            // Nothing overflows beside the greatest weight, and no real server that is not overloaded is out before one that is.
            let overloaded = Lc::score(conns | Load::OVERLOADED);
            prop_assert!(overloaded.checked_mul(u64::from(u16::MAX)).is_some() && overloaded > Lc::score(conns));
        }
    }
}
