//! rr: each eligible real server in its turn, from the newest on; an overloaded one loses its turn.

use super::Choice;
use super::pool::{Pool, Step};

#[inline(always)]
pub(super) fn choose<P: Pool>(pool: &P) -> Option<Choice> {
    let len = pool.plan().eligible_len;
    if len == 0 {
        return None;
    }
    let turn = pool.take_turn();
    let index = (turn % u64::from(len)) as u32;
    let member = pool.member(index);
    if !pool.load(member.real).overloaded() {
        return Some(Choice::of(index, member));
    }
    next_available(pool, turn, index, len)
}

/// The first available one after an overloaded one, and the turn moved behind it.
#[inline(always)]
fn next_available<P: Pool>(pool: &P, turn: u64, index: u32, len: u32) -> Option<Choice> {
    let mut search = Search {
        index,
        len,
        skipped: 0,
        found: None,
    };
    pool.repeat(len - 1, &mut search);
    // With none available the turn stays: the same one is asked first next time.
    let next = match search.found {
        Some(_) => turn + u64::from(search.skipped) + 1,
        None => turn,
    };
    pool.move_turn(turn + 1, next);
    search.found
}

struct Search {
    index: u32,
    len: u32,
    skipped: u32,
    found: Option<Choice>,
}

impl<P: Pool> Step<P> for Search {
    #[inline(always)]
    fn step(&mut self, pool: &P, _round: u32) -> bool {
        self.index += 1;
        if self.index >= self.len {
            self.index = 0;
        }
        self.skipped += 1;
        let member = pool.member(self.index);
        if pool.load(member.real).overloaded() {
            return true;
        }
        self.found = Some(Choice::of(self.index, member));
        false
    }
}
