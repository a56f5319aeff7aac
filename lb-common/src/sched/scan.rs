//! Walks over all eligible members, a chunk of them in each round of the loop.

use super::choice::{Choice, Found};
use super::pool::{Lists, Pool, Step};
use crate::abi::{Load, Member};

/// Members in a round: a round costs a call and two look-ups, a member a few instructions.
const CHUNK: u32 = 16;

/// What a walk over the eligible members does with each of them that is not overloaded.
pub(super) trait Visit: Copy {
    /// Sees one member; `false` ends the walk.
    fn visit(&mut self, index: u32, member: Member, load: Load) -> bool;
}

/// Visits the eligible members that are not overloaded, newest first.
#[inline(always)]
pub(super) fn available<P: Pool, V: Visit>(pool: &P, visit: V) -> V {
    let len = pool.plan().eligible_len;
    pool.repeat(len.div_ceil(CHUNK), Walk { visit, len }).visit
}

#[derive(Clone, Copy)]
struct Walk<V> {
    visit: V,
    len: u32,
}

impl<P: Pool, V: Visit> Step<P> for Walk<V> {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        let Some(lists) = pool.lists() else {
            return false;
        };
        // A copy stays in registers from member to member.
        let (mut visit, len) = (self.visit, self.len);
        let first = round * CHUNK;
        let mut goes_on = true;
        for i in 0..CHUNK {
            let index = first + i;
            if index >= len {
                goes_on = false;
                break;
            }
            let member = lists.member(index);
            let load = lists.load(member.real);
            if !load.overloaded() && !visit.visit(index, member, load) {
                goes_on = false;
                break;
            }
        }
        self.visit = visit;
        goes_on
    }
}

/// The best one seen so far, by a ratio to weight that is the smaller the better.
#[derive(Clone, Copy)]
pub(super) struct Least {
    score: u64,
    weight: u64,
    found: Found,
}

impl Least {
    /// Worse than any.
    pub(super) const NONE: Self = Self {
        score: 1,
        weight: 0,
        found: Found::NONE,
    };

    /// Takes this one if its `score / weight` is strictly smaller, so that of equals the first stays. Scores stay
    /// below 2^41 and weights below 2^16: the products fit.
    #[inline(always)]
    pub(super) fn offer(&mut self, index: u32, member: Member, weight: u64, score: u64) {
        if score * self.weight < self.score * weight {
            self.score = score;
            self.weight = weight;
            self.found.set(index, member);
        }
    }

    /// The same of a member that was found already.
    #[inline(always)]
    pub(super) fn offer_choice(&mut self, choice: Choice, weight: u64, score: u64) {
        if score * self.weight < self.score * weight {
            *self = Self {
                score,
                weight,
                found: Found::from(Some(choice)),
            };
        }
    }

    /// Whether there is one.
    #[inline(always)]
    pub(super) const fn is_some(&self) -> bool {
        self.found.is_some()
    }

    /// The less loaded of two that were found, the first one where both are equal.
    #[inline(always)]
    pub(super) const fn or_less(self, other: Self) -> Self {
        if other.is_some() && other.score * self.weight < self.score * other.weight {
            other
        } else {
            self
        }
    }

    /// The one it came to.
    #[inline(always)]
    pub(super) const fn choice(self) -> Option<Choice> {
        self.found.get()
    }
}
