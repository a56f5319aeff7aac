//! twos: two drawn at random in proportion to their weights, and the less loaded of them.

use super::choice::{Choice, Found};
use super::least::overhead;
use super::pool::Pool;
use super::scan::{self, Visit};
use crate::abi::{Load, Member};

#[inline(always)]
pub(super) fn choose<P: Pool>(pool: &P) -> Option<Choice> {
    let total = scan::available(pool, Total(0)).0;
    if total == 0 {
        return None;
    }
    let pair = scan::available(
        pool,
        Pair {
            draws: [draw(pool, total), draw(pool, total)],
            drawn: [Drawn::NONE; 2],
        },
    );
    let [first, second] = pair.drawn;
    first.or_less(second).found.get()
}

/// A number from 0 to `total`, both included: the one too many favours the first member a little, as in the kernel.
#[inline(always)]
fn draw<P: Pool>(pool: &P, total: u32) -> u32 {
    ((u64::from(pool.random()) * (u64::from(total) + 1)) >> 32) as u32
}

/// The sum of weights.
#[derive(Clone, Copy)]
struct Total(u32);

impl Visit for Total {
    #[inline(always)]
    fn visit(&mut self, _index: u32, member: Member, _load: Load) -> bool {
        self.0 += u32::from(member.weight);
        true
    }
}

/// Walks both draws down to their members; the same one may be drawn twice.
#[derive(Clone, Copy)]
struct Pair {
    draws: [u32; 2],
    drawn: [Drawn; 2],
}

impl Visit for Pair {
    #[inline(always)]
    fn visit(&mut self, index: u32, member: Member, load: Load) -> bool {
        let weight = u32::from(member.weight);
        let [a, b] = &mut self.draws;
        let [first, second] = &mut self.drawn;
        if !first.found.is_some() && *a <= weight {
            first.set(index, member, load);
        }
        if !second.found.is_some() && *b <= weight {
            second.set(index, member, load);
        }
        *a = a.saturating_sub(weight);
        *b = b.saturating_sub(weight);
        !(first.found.is_some() && second.found.is_some())
    }
}

/// What a draw came to.
#[derive(Clone, Copy)]
struct Drawn {
    weight: u64,
    score: u64,
    found: Found,
}

impl Drawn {
    const NONE: Self = Self {
        weight: 0,
        score: 0,
        found: Found::NONE,
    };

    #[inline(always)]
    fn set(&mut self, index: u32, member: Member, load: Load) {
        self.weight = member.weight.into();
        self.score = overhead(load);
        self.found.set(index, member);
    }

    /// The less loaded of both for its weight, the first one where they are equal.
    #[inline(always)]
    const fn or_less(self, other: Self) -> Self {
        if other.found.is_some() && other.score * self.weight < self.score * other.weight {
            other
        } else {
            self
        }
    }
}
