//! lblc, lblcr: the real server that served this destination before, unless it has more than its share.
//!
//! Made for farms of transparent caches: what a cache has fetched from a destination it can serve again. The memory of
//! destinations is a map that drops those that were not asked for the longest, so it needs no sweeping.

use super::choice::{Choice, Found};
use super::least::{self, Least, Wlc, overhead};
use super::pool::{Lists, Pool, Step};
use crate::abi::{Load, Locality, LocalityEntry, seconds_to_ticks};

/// How long a destination is remembered without a connection, and how long a set of several real servers may stay
/// as it is before the most loaded one leaves it: `lblc_expiration` and `lblcr_expiration`.
const EXPIRATION: u32 = seconds_to_ticks(24 * 60 * 60);

/// How old the note of the last use may get, to spare writes.
const USE_NOTED_WITHIN: u32 = seconds_to_ticks(60);

/// One real server for each destination.
#[inline(always)]
pub(super) fn lblc<P: Pool>(pool: &P) -> Option<Choice> {
    let now = pool.now();
    if let Some(mut known) = remembered(pool, now)
        && let Some(choice) = find(pool, known.set[0])
        && choice.weight() > 0
        && !is_overloaded(pool, choice)
    {
        note_use(pool, &mut known, now);
        return Some(choice);
    }
    let choice = least::choose(pool, Wlc)?;
    pool.remember(&Locality::one(entry(choice), now));
    Some(choice)
}

/// A set of real servers for each destination, which grows when they are overloaded.
#[inline(always)]
pub(super) fn lblcr<P: Pool>(pool: &P) -> Option<Choice> {
    let now = pool.now();
    let Some(mut known) = remembered(pool, now) else {
        let choice = least::choose(pool, Wlc)?;
        pool.remember(&Locality::one(entry(choice), now));
        return Some(choice);
    };
    let range = Range::of(pool, &known)?;
    let mut changed = false;
    if known.len > 1 && is_past(now, known.changed.wrapping_add(EXPIRATION)) && range.has_most() {
        known.remove(range.most_at, now);
        changed = true;
    }
    if let Some(choice) = range.least.choice(pool)
        && !is_overloaded(pool, choice)
    {
        if changed {
            pool.remember(&known);
        } else {
            note_use(pool, &mut known, now);
        }
        return Some(choice);
    }
    let choice = least::choose(pool, Wlc)?;
    known.insert(entry(choice), now);
    known.used = now;
    pool.remember(&known);
    Some(choice)
}

/// A choice as the memory keeps it.
#[inline(always)]
fn entry(choice: Choice) -> LocalityEntry {
    LocalityEntry::new(choice.real(), choice.index())
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

/// The member that is a remembered real server: where it was, or wherever it is in the list now.
#[inline(never)]
fn find<P: Pool>(pool: &P, entry: LocalityEntry) -> Option<Choice> {
    let index = entry.index();
    let member = pool.lists()?.member(index);
    if member.real == entry.real() && index < pool.plan().members_len {
        return Some(Choice::of(index, member));
    }
    let search = Search {
        real: entry.real(),
        found: Found::NONE,
    };
    pool.repeat(pool.plan().members_len, search).found.get()
}

#[derive(Clone, Copy)]
struct Search {
    real: u32,
    found: Found,
}

impl<P: Pool> Step<P> for Search {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        let Some(lists) = pool.lists() else {
            return false;
        };
        let member = lists.member(round);
        if member.real != self.real {
            return true;
        }
        self.found.set(round, member);
        false
    }
}

/// Whether it has more active connections than its weight, and some member less than half as many as its own.
#[inline(always)]
fn is_overloaded<P: Pool>(pool: &P, choice: Choice) -> bool {
    let load = pool
        .lists()
        .map_or(Load::default(), |lists| lists.load(choice.real()));
    load.active() > choice.weight() && is_any_half_idle(pool)
}

/// Whether some member has less than half as many active connections as its weight.
#[inline(never)]
fn is_any_half_idle<P: Pool>(pool: &P) -> bool {
    let search = HalfIdle { found: Found::NONE };
    pool.repeat(pool.plan().eligible_len, search)
        .found
        .is_some()
}

#[derive(Clone, Copy)]
struct HalfIdle {
    found: Found,
}

impl<P: Pool> Step<P> for HalfIdle {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        let Some(lists) = pool.lists() else {
            return false;
        };
        let member = lists.member(round);
        let is_half_idle =
            u64::from(lists.load(member.real).active()) * 2 < u64::from(member.weight);
        if is_half_idle {
            self.found.set(round, member);
        }
        !is_half_idle
    }
}

/// The least and the most loaded of a set.
struct Range {
    least: Least,
    most_at: u32,
    most_weight: u64,
    most_score: u64,
}

impl Range {
    #[inline(always)]
    fn of<P: Pool>(pool: &P, known: &Locality) -> Option<Self> {
        let lists = pool.lists()?;
        let mut range = Self {
            least: Least::NONE,
            most_at: 0,
            most_weight: 0,
            most_score: 0,
        };
        for (at, &entry) in known.set.iter().enumerate() {
            if at as u32 >= known.len {
                break;
            }
            // Quiesced ones stay in the set, but are neither the least nor the most loaded.
            let Some(choice) = find(pool, entry) else {
                continue;
            };
            if choice.weight() == 0 {
                continue;
            }
            let load = lists.load(choice.real());
            let (weight, score) = (u64::from(choice.weight()), overhead(load));
            if !load.overloaded() {
                range.least.offer(choice.index(), weight, score);
            }
            if !range.has_most() || range.most_score * weight < score * range.most_weight {
                (range.most_at, range.most_weight, range.most_score) = (at as u32, weight, score);
            }
        }
        Some(range)
    }

    #[inline(always)]
    const fn has_most(&self) -> bool {
        self.most_weight != 0
    }
}
