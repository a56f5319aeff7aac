//! rr: each eligible real server in its turn, from the newest on; an overloaded one loses its turn.

use super::choice::{Choice, Found};
use super::pool::{Lists, Pool, Step};

#[inline(always)]
pub(super) fn choose<P: Pool>(pool: &P) -> Option<Choice> {
    let len = pool.plan().eligible_len;
    if len == 0 {
        return None;
    }
    let turn = pool.take_turn();
    let index = (turn % u64::from(len)) as u32;
    let lists = pool.lists()?;
    let member = lists.member(index);
    if !lists.load(member.real).overloaded() {
        return Some(Choice::of(index, member));
    }
    next_available(pool, turn, index, len)
}

/// The first available one after an overloaded one, and the turn moved behind it.
#[inline(always)]
fn next_available<P: Pool>(pool: &P, turn: u64, index: u32, len: u32) -> Option<Choice> {
    let search = Search {
        index,
        len,
        skipped: 0,
        found: Found::NONE,
    };
    let search = pool.repeat(len - 1, search);
    // With none available the turn stays: the same one is asked first next time.
    let next = if search.found.is_some() {
        turn + u64::from(search.skipped) + 1
    } else {
        turn
    };
    pool.move_turn(turn + 1, next);
    search.found.get()
}

#[derive(Clone, Copy)]
struct Search {
    index: u32,
    len: u32,
    skipped: u32,
    found: Found,
}

impl<P: Pool> Step<P> for Search {
    #[inline(always)]
    fn step(&mut self, pool: &P, _round: u32) -> bool {
        self.index += 1;
        if self.index >= self.len {
            self.index = 0;
        }
        self.skipped += 1;
        let Some(lists) = pool.lists() else {
            return false;
        };
        let member = lists.member(self.index);
        if lists.load(member.real).overloaded() {
            return true;
        }
        self.found.set(self.index, member);
        false
    }
}
