//! Walks over all eligible members, a chunk of them in each round of the loop.

use super::Choice;
use super::pool::{Pool, Step};
use crate::abi::{Load, Member};

/// Members in a round: a round costs a call, a member a few instructions.
const CHUNK: u32 = 16;

/// What a walk over the eligible members does with each of them that is not overloaded.
pub(super) trait Visit {
    /// Sees one member; `false` ends the walk.
    fn visit(&mut self, index: u32, member: Member, load: Load) -> bool;
}

/// Visits the eligible members that are not overloaded, newest first.
#[inline(always)]
pub(super) fn available<P: Pool, V: Visit>(pool: &P, visit: V) -> V {
    let len = pool.plan().eligible_len;
    let mut walk = Walk { visit, len };
    pool.repeat(len.div_ceil(CHUNK), &mut walk);
    walk.visit
}

struct Walk<V> {
    visit: V,
    len: u32,
}

impl<P: Pool, V: Visit> Step<P> for Walk<V> {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        let first = round * CHUNK;
        for i in 0..CHUNK {
            let index = first + i;
            if index >= self.len {
                return false;
            }
            let member = pool.member(index);
            let load = pool.load(member.real);
            if !load.overloaded() && !self.visit.visit(index, member, load) {
                return false;
            }
        }
        true
    }
}

/// The best one seen so far, by a ratio to weight that is the smaller the better.
#[derive(Clone, Copy)]
pub(super) struct Least {
    index: u32,
    real: u32,
    weight: u64,
    score: u64,
}

impl Least {
    /// Worse than any.
    pub(super) const NONE: Self = Self {
        index: 0,
        real: 0,
        weight: 0,
        score: 1,
    };

    /// Takes this one if its `score / weight` is strictly smaller, so that of equals the first stays. Scores stay
    /// below 2^41 and weights below 2^16: the products fit.
    #[inline(always)]
    pub(super) fn offer(&mut self, index: u32, real: u32, weight: u64, score: u64) {
        if score * self.weight < self.score * weight {
            *self = Self {
                index,
                real,
                weight,
                score,
            };
        }
    }

    /// Takes another one that was found, if it is strictly better.
    #[inline(always)]
    pub(super) fn replace_if_better(&mut self, other: Self) {
        if other.is_some() {
            self.offer(other.index, other.real, other.weight, other.score);
        }
    }

    /// Whether there is one.
    #[inline(always)]
    pub(super) fn is_some(&self) -> bool {
        self.weight != 0
    }

    /// The one it came to.
    #[inline(always)]
    pub(super) fn choice(self) -> Option<Choice> {
        self.is_some().then_some(Choice {
            index: self.index,
            real: self.real,
            weight: self.weight as u32,
        })
    }
}
