//! wrr: the kernel's bursts, heaviest real servers first (A A A B A B C, not interleaved), overloaded ones left out.
//!
//! The kernel keeps a pointer into its list and a current weight. Here both are one number, the place in the
//! [`Cycle`]: so any number of CPUs share the state by one atomic addition.

use super::Choice;
use super::cycle::{Cycle, Segment};
use super::pool::{Pool, Step};

#[inline(always)]
pub(super) fn choose<P: Pool>(pool: &P) -> Option<Choice> {
    let cycle = Cycle::read(pool);
    if pool.plan().eligible_len == 0 || cycle.length == 0 {
        return None;
    }
    let turn = pool.take_turn();
    let place = (turn % u64::from(cycle.length)) as u32;
    let segment = cycle.segment_of(pool, place);
    let (index, _) = member_at(pool, segment, place);
    let member = pool.member(index);
    if !pool.load(member.real).overloaded() {
        return Some(Choice::of(index, member));
    }
    next_available(pool, cycle, turn, place, segment)
}

/// Which member a place is, and how many places its level has from there on.
#[inline(always)]
fn member_at<P: Pool>(pool: &P, segment: u32, place: u32) -> (u32, u32) {
    let segment = Segment::read(pool, segment);
    let len = segment.len.max(1);
    let in_level = place.wrapping_sub(segment.first) % len;
    (
        pool.slot(pool.plan().slots_off, segment.list + in_level),
        len - in_level,
    )
}

/// The first available member after a place whose member is overloaded, and the turn moved behind it.
///
/// Levels above the heaviest available weight have nobody to serve, and there may be 65,534 of them: they are jumped
/// over. From there on each level has somebody, so two lists at most are walked.
#[inline(always)]
fn next_available<P: Pool>(
    pool: &P,
    cycle: Cycle,
    turn: u64,
    place: u32,
    segment: u32,
) -> Option<Choice> {
    let mut heaviest = Heaviest {
        index: 0,
        weight: 0,
    };
    pool.repeat(pool.plan().eligible_len, &mut heaviest);
    if heaviest.weight == 0 {
        pool.move_turn(turn + 1, turn_after_failure(pool, cycle, turn, place));
        return None;
    }
    let served_from = cycle.segment_for_weight(pool, heaviest.weight);
    let jump_to = Segment::read(pool, served_from).first;

    let round = turn - u64::from(place);
    let mut walk = Walk {
        place,
        slot: 0,
        found: None,
    };
    let mut base = round;
    if segment >= served_from {
        // The rest of this level, then the next one: which may be in another segment, or in the next cycle.
        let current = Segment::read(pool, segment);
        let (_, left) = member_at(pool, segment, place);
        walk.slot = current.list + current.len - left;
        pool.repeat(left, &mut walk);
        if walk.found.is_none() {
            if walk.place >= cycle.length {
                base += u64::from(cycle.length);
                walk.place = jump_to;
            }
            let next = Segment::read(pool, cycle.segment_of(pool, walk.place));
            walk.slot = next.list;
            pool.repeat(next.len, &mut walk);
        }
    } else {
        walk.place = jump_to;
        let next = Segment::read(pool, served_from);
        walk.slot = next.list;
        pool.repeat(next.len, &mut walk);
    }
    if walk.found.is_some() {
        pool.move_turn(turn + 1, base + u64::from(walk.place) + 1);
    }
    walk.found
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

/// Finds the heaviest member that is not overloaded.
struct Heaviest {
    index: u32,
    weight: u32,
}

impl<P: Pool> Step<P> for Heaviest {
    #[inline(always)]
    fn step(&mut self, pool: &P, _round: u32) -> bool {
        let member = pool.member(self.index);
        self.index += 1;
        let weight = u32::from(member.weight);
        if weight > self.weight && !pool.load(member.real).overloaded() {
            self.weight = weight;
        }
        true
    }
}

/// Walks one level's list for a member that is not overloaded.
struct Walk {
    place: u32,
    slot: u32,
    found: Option<Choice>,
}

impl<P: Pool> Step<P> for Walk {
    #[inline(always)]
    fn step(&mut self, pool: &P, _round: u32) -> bool {
        let index = pool.slot(pool.plan().slots_off, self.slot);
        let member = pool.member(index);
        if !pool.load(member.real).overloaded() {
            self.found = Some(Choice::of(index, member));
            return false;
        }
        self.slot += 1;
        self.place += 1;
        true
    }
}
