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

/// The load that sed and nq compare: what the active connections would be with this one.
#[inline(always)]
pub const fn expected(load: Load) -> u64 {
    load.active() as u64 + 1
}

/// What a scheduler goes by.
pub(super) trait Rule: Copy {
    /// The load that is compared.
    fn score(load: Load) -> u64;

    /// The weight that it is divided by.
    #[inline(always)]
    fn weight(member: &Member) -> u64 {
        member.weight.into()
    }

    /// Whether the first one that is like this is taken, whatever comes behind it.
    #[inline(always)]
    fn is_enough(_load: Load) -> bool {
        false
    }
}

/// Least connections, whatever the weights.
#[derive(Clone, Copy)]
pub(super) struct Lc;

impl Rule for Lc {
    #[inline(always)]
    fn score(load: Load) -> u64 {
        overhead(load)
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
    fn score(load: Load) -> u64 {
        overhead(load)
    }
}

/// The shortest expected delay: active connections with this one, for their weight.
#[derive(Clone, Copy)]
pub(super) struct Sed;

impl Rule for Sed {
    #[inline(always)]
    fn score(load: Load) -> u64 {
        expected(load)
    }
}

/// Never queue: the first idle one whatever its weight, else as sed.
#[derive(Clone, Copy)]
pub(super) struct Nq;

impl Rule for Nq {
    #[inline(always)]
    fn score(load: Load) -> u64 {
        expected(load)
    }

    #[inline(always)]
    fn is_enough(load: Load) -> bool {
        load.active() == 0
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
            let load = lists.load(member.real);
            if load.overloaded() {
                return true;
            }
            let (weight, score) = (R::weight(member), R::score(load));
            if R::is_enough(load) {
                least.take(first + i, weight, score);
                return false;
            }
            least.offer(first + i, weight, score);
            true
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
        if score * self.weight < self.score * weight {
            self.take(index, weight, score);
        }
    }

    /// Takes this one, whatever was there.
    #[inline(always)]
    fn take(&mut self, index: u32, weight: u64, score: u64) {
        *self = Self {
            score,
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
