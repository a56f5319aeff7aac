//! lblc, lblcr: the real server that served this destination before, unless it has more than its share.
//!
//! Made for farms of transparent caches: what a cache has fetched from a destination it can serve again. The memory of
//! destinations is a map that drops those that were not asked for the longest, so it needs no sweeping.

use super::Choice;
use super::least::{overhead, wlc};
use super::pool::{Pool, Step};
use super::scan::Least;
use crate::abi::{LOCALITY_SET, Locality, seconds_to_ticks};

/// How long a destination is remembered without a connection, and how long a set of several real servers may stay
/// as it is before the most loaded one leaves it: `lblc_expiration` and `lblcr_expiration`.
const EXPIRATION: u32 = seconds_to_ticks(24 * 60 * 60);

/// How old the note of the last use may get, to spare writes.
const USE_NOTED_WITHIN: u32 = seconds_to_ticks(60);

/// One real server for each destination.
#[inline(always)]
pub(super) fn lblc<P: Pool>(pool: &P) -> Option<Choice> {
    let now = pool.now();
    let known = remembered(pool, now);
    if let Some(mut known) = known {
        let choice = known.set.first().and_then(|&real| find(pool, real));
        if let Some(choice) = choice
            && choice.weight > 0
            && !is_overloaded(pool, choice)
        {
            note_use(pool, &mut known, now);
            return Some(choice);
        }
    }
    let choice = wlc(pool)?;
    pool.remember(&Locality::one(choice.real, now));
    Some(choice)
}

/// A set of real servers for each destination, which grows when they are overloaded.
#[inline(always)]
pub(super) fn lblcr<P: Pool>(pool: &P) -> Option<Choice> {
    let now = pool.now();
    let Some(mut known) = remembered(pool, now) else {
        let choice = wlc(pool)?;
        pool.remember(&Locality::one(choice.real, now));
        return Some(choice);
    };
    let mut range = Range {
        set: known.set,
        len: known.len,
        at: 0,
        least: Least::NONE,
        most: Most::NONE,
    };
    pool.repeat(LOCALITY_SET as u32, &mut range);
    let least = range.least.choice();

    let mut changed = false;
    if known.len > 1 && is_past(now, known.changed.wrapping_add(EXPIRATION)) && range.most.is_some()
    {
        known.remove(range.most.at, now);
        changed = true;
    }
    if let Some(choice) = least
        && !is_overloaded(pool, choice)
    {
        if changed {
            pool.remember(&known);
        } else {
            note_use(pool, &mut known, now);
        }
        return Some(choice);
    }
    let choice = wlc(pool)?;
    known.insert(choice.real, now);
    known.used = now;
    pool.remember(&known);
    Some(choice)
}

/// What is known of the destination, if it is not too old.
#[inline(always)]
fn remembered<P: Pool>(pool: &P, now: u32) -> Option<Locality> {
    let known = pool.locality()?;
    let is_fresh = known.len > 0 && !is_past(now, known.used.wrapping_add(EXPIRATION));
    is_fresh.then_some(known)
}

#[inline(always)]
fn note_use<P: Pool>(pool: &P, known: &mut Locality, now: u32) {
    if is_past(now, known.used.wrapping_add(USE_NOTED_WITHIN)) {
        known.used = now;
        pool.remember(known);
    }
}

#[inline(always)]
const fn is_past(now: u32, then: u32) -> bool {
    (now.wrapping_sub(then) as i32) > 0
}

/// The member that is this real server, wherever it is in the list now.
#[inline(always)]
fn find<P: Pool>(pool: &P, real: u32) -> Option<Choice> {
    let mut search = Search { real, found: None };
    pool.repeat(pool.plan().members_len, &mut search);
    search.found
}

struct Search {
    real: u32,
    found: Option<Choice>,
}

impl<P: Pool> Step<P> for Search {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        let member = pool.member(round);
        if member.real == self.real {
            self.found = Some(Choice::of(round, member));
            return false;
        }
        true
    }
}

/// Whether it has more active connections than its weight, and another one less than half as many as its own.
#[inline(always)]
fn is_overloaded<P: Pool>(pool: &P, choice: Choice) -> bool {
    if pool.load(choice.real).active() <= choice.weight {
        return false;
    }
    let mut search = HalfIdle(false);
    pool.repeat(pool.plan().eligible_len, &mut search);
    search.0
}

struct HalfIdle(bool);

impl<P: Pool> Step<P> for HalfIdle {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        let member = pool.member(round);
        self.0 = u64::from(pool.load(member.real).active()) * 2 < u64::from(member.weight);
        !self.0
    }
}

/// The least and the most loaded of a set.
struct Range {
    set: [u32; LOCALITY_SET],
    len: u32,
    at: u32,
    least: Least,
    most: Most,
}

/// The most loaded one so far, and its place in the set.
#[derive(Clone, Copy)]
struct Most {
    at: u32,
    weight: u64,
    score: u64,
}

impl Most {
    const NONE: Self = Self {
        at: 0,
        weight: 0,
        score: 0,
    };

    #[inline(always)]
    fn is_some(&self) -> bool {
        self.weight != 0
    }
}

impl<P: Pool> Step<P> for Range {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        if round >= self.len {
            return false;
        }
        let Some(&real) = self.set.get(round as usize) else {
            return false;
        };
        self.at = round;
        // Quiesced ones stay in the set, but are neither the least nor the most loaded.
        let Some(choice) = find(pool, real).filter(|c| c.weight > 0) else {
            return true;
        };
        let load = pool.load(real);
        let (weight, score) = (u64::from(choice.weight), overhead(load));
        if !load.overloaded() {
            self.least.offer(choice.index, real, weight, score);
        }
        if !self.most.is_some() || self.most.score * weight < score * self.most.weight {
            self.most = Most {
                at: round,
                weight,
                score,
            };
        }
        true
    }
}
