//! twos: two drawn at random in proportion to their weights, and the less loaded of them.

use super::choice::Choice;
use super::least::overhead;
use super::pool::Pool;
use super::scan::{self, Least, Visit};
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
            drawn: [Least::NONE; 2],
        },
    );
    let [first, second] = pair.drawn;
    first.or_less(second).choice()
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
    drawn: [Least; 2],
}

impl Visit for Pair {
    #[inline(always)]
    fn visit(&mut self, index: u32, member: Member, load: Load) -> bool {
        let weight = u32::from(member.weight);
        let [a, b] = &mut self.draws;
        let [first, second] = &mut self.drawn;
        let (had_first, had_second) = (first.is_some(), second.is_some());
        if !had_first && *a <= weight {
            first.offer(index, member, weight.into(), overhead(load));
        }
        if !had_second && *b <= weight {
            second.offer(index, member, weight.into(), overhead(load));
        }
        *a = a.saturating_sub(weight);
        *b = b.saturating_sub(weight);
        !(first.is_some() && second.is_some())
    }
}
