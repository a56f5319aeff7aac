//! wrr: the kernel's bursts, heaviest real servers first (A A A B A B C, not interleaved), overloaded ones left out.
//!
//! The kernel keeps a pointer into its list and a current weight. Here both are one number, the place in the
//! [`Cycle`]: so any number of CPUs share the state by one atomic addition.

use super::choice::{Choice, Found};
use super::cycle::{Cycle, Segment};
use super::pool::{Lists, Pool, Step};
use super::scan::{self, Visit};
use crate::abi::{Load, Member};

#[inline(always)]
pub(super) fn choose<P: Pool>(pool: &P) -> Option<Choice> {
    let cycle = Cycle::read(pool);
    if pool.plan().eligible_len == 0 || cycle.length == 0 {
        return None;
    }
    let turn = pool.take_turn();
    let place = (turn % u64::from(cycle.length)) as u32;
    let number = cycle.segment_of(pool, place);
    let index = Segment::read(pool, number).member_at(pool, place);
    let lists = pool.lists()?;
    let member = lists.member(index);
    if !lists.load(member.real).overloaded() {
        return Some(Choice::of(index, member));
    }
    next_available(pool, cycle, turn, place, number)
}

/// The first available member after a place whose member is overloaded, and the turn moved behind it.
///
/// Levels above the heaviest available weight have nobody to serve, and there may be 65,534 of them: they are jumped
/// over. From there on each level has somebody, so two lists at most are walked.
#[inline(never)]
fn next_available<P: Pool>(
    pool: &P,
    cycle: Cycle,
    turn: u64,
    place: u32,
    number: u32,
) -> Option<Choice> {
    let heaviest = scan::available(pool, Heaviest(0)).0;
    if heaviest == 0 {
        pool.move_turn(turn + 1, turn_after_failure(pool, cycle, turn, place));
        return None;
    }
    let served = FirstServed {
        weight: heaviest,
        number: 0,
    };
    let served = pool.repeat(cycle.segments, served);

    let mut walk = Walk {
        cycle,
        from: served.number,
        number,
        segment: Segment::read(pool, number),
        end: cycle.end_of(pool, number),
        place,
        round: turn - u64::from(place),
        found: Found::NONE,
    };
    if number < served.number {
        walk.enter(pool, served.number);
    }
    let walk = pool.repeat(2 * pool.plan().eligible_len, walk);
    if walk.found.is_some() {
        pool.move_turn(turn + 1, walk.round + u64::from(walk.place) + 1);
    }
    walk.found.get()
}

/// Where the kernel's state is when every real server was found overloaded: behind the one that was served last if
/// that was at the lowest level, else at the head of the list and the highest level.
#[inline(always)]
fn turn_after_failure<P: Pool>(pool: &P, cycle: Cycle, turn: u64, place: u32) -> u64 {
    let top = cycle.top_turn();
    if turn == u64::from(pool.plan().start) || turn == top {
        return top;
    }
    let last = place.checked_sub(1).unwrap_or(cycle.length - 1);
    let lowest_level = cycle.length.saturating_sub(pool.plan().eligible_len);
    // The lowest level is the last one of the cycle and is walked but once, so behind its last one is where it is.
    if last < lowest_level { top } else { turn }
}

/// The heaviest weight that is available.
#[derive(Clone, Copy)]
struct Heaviest(u32);

impl Visit for Heaviest {
    #[inline(always)]
    fn visit(&mut self, _index: u32, member: Member, _load: Load) -> bool {
        self.0 = self.0.max(member.weight.into());
        true
    }
}

/// Finds the first segment whose list has a weight.
#[derive(Clone, Copy)]
struct FirstServed {
    weight: u32,
    number: u32,
}

impl<P: Pool> Step<P> for FirstServed {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        self.number = round;
        Segment::read(pool, round).weight > self.weight
    }
}

/// Walks places for a member that is not overloaded.
#[derive(Clone, Copy)]
struct Walk {
    cycle: Cycle,
    /// The first segment that is worth walking.
    from: u32,
    /// The segment walked now, and where it ends.
    number: u32,
    segment: Segment,
    end: u32,
    /// The place walked now, and the turn of the first place of its cycle.
    place: u32,
    round: u64,
    found: Found,
}

impl Walk {
    /// Goes to the beginning of a segment.
    #[inline(always)]
    fn enter<P: Pool>(&mut self, pool: &P, number: u32) {
        self.number = number;
        self.segment = Segment::read(pool, number);
        self.end = self.cycle.end_of(pool, number);
        self.place = self.segment.first;
    }
}

impl<P: Pool> Step<P> for Walk {
    #[inline(always)]
    fn step(&mut self, pool: &P, _round: u32) -> bool {
        let Some(lists) = pool.lists() else {
            return false;
        };
        let index = self.segment.member_at(pool, self.place);
        let member = lists.member(index);
        if !lists.load(member.real).overloaded() {
            self.found.set(index, member);
            return false;
        }
        self.place += 1;
        if self.place >= self.end {
            let next = self.number + 1;
            if next < self.cycle.segments {
                self.enter(pool, next);
            } else {
                self.round += u64::from(self.cycle.length);
                self.enter(pool, self.from);
            }
        }
        true
    }
}
