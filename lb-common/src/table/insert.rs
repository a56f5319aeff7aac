//! Recording a new flow.

use super::{
    Buckets, Hit, LINES, Place, Recorded, SLOTS_PER_BUCKET, Table,
    bucket::{Bucket, Key, SLOTS_PER_LINE, Slot, Slots},
    change::Claim,
};
use crate::{
    atomic::{Atoms, Word},
    conn::{Loads, Meta, Rank, Spare, Tick},
    net::{Be32, Flow},
};

/// What became of a new flow.
#[derive(Debug)]
pub enum Insert<'t, A: Atoms, N: Recorded = Be32> {
    /// It is recorded.
    Done(Hit<'t, A, N>),
    /// Another CPU recorded it at the same moment, perhaps with another real server: that entry holds.
    Lost(Hit<'t, A, N>),
    /// Its places hold only flows that must not give way. That is noted, so that lookups of its later segments say
    /// `turned_away`.
    TurnedAway,
    /// Another CPU took the slot at the same moment: another try may find one. (It is the caller's to make, since the
    /// verifier of Linux 6.1 would follow each way through two tries, a million instructions.)
    Contended,
}

/// How many other entries of the same flow an insert deals with: an expired one, and one that another CPU publishes at the
/// same moment. (What a third CPU leaves behind stays unseen until its time passes.)
const DOUBLES: usize = 2;

/// How many flows make a home bucket crowded, so that a new one goes to its alternate if there is more room.
///
/// The lower, the fuller the table can be before flows are turned away, and the more lookups touch a second
/// bucket. At two thirds full, 6 would turn away 0.8 % of the flows, and 5 % would sit in their alternate; with 5 it is 0.1 %
/// and 9 %; with 4 it is 0.02 % and 15 %.
const CROWDED: u32 = 5;

/// A slot to take: its bucket, and whether that is the alternate one.
type Chosen<'t, B> = (
    &'t Bucket<<B as Buckets>::Atoms, <B as Buckets>::Addr>,
    Slot,
    bool,
);

/// The slots of a bucket by rank.
#[derive(Clone, Copy)]
struct Choice([Slots; 3]);

impl<A: Atoms, N: Recorded> Bucket<A, N> {
    #[inline(always)]
    fn choice(&self, now: Tick, spare: Spare) -> Choice {
        let mut ranked = 0;
        let mut line = 0;
        while line < LINES {
            let mut flow = 0;
            while flow < SLOTS_PER_LINE {
                let rank = Meta(self.lines[line].metas[flow].load()).rank(now, spare);
                ranked |= 1 << (8 * rank.0 + 4 * line as u32 + flow as u32);
                flow += 1;
            }
            line += 1;
        }
        Choice([
            Slots(ranked & 0xFF),
            Slots(ranked >> 8 & 0xFF),
            Slots(ranked >> 16 & 0xFF),
        ])
    }
}

impl<'t, B: Buckets + ?Sized> Table<'t, B> {
    /// Records a flow that has no entry, with the word `new`.
    ///
    /// A free slot of its places is taken, or one whose flow has expired, is over, or has been half-open for long
    /// (`spare`), in that order.
    #[inline(always)]
    pub fn insert(
        &self,
        flow: &Flow<B::Addr>,
        place: &Place,
        new: Meta,
        now: Tick,
        spare: Spare,
        loads: &impl Loads,
    ) -> Insert<'t, B::Atoms, B::Addr> {
        let Some(home) = self.bucket(place.home) else {
            return Insert::TurnedAway;
        };
        let Some((bucket, slot, alternate)) = self.choose(home, place, now, spare) else {
            home.note_turned_away(now, new.expires());
            return Insert::TurnedAway;
        };
        let seen = bucket.meta(slot);
        if seen.rank(now, spare) != Rank::HELD
            && let Some(claim) = self.claim(bucket, slot, seen, alternate, now, loads)
            && let Some(hit) = self.publish(&claim, home, Key::of(flow), new, loads)
        {
            return self.settle(hit, home, place, now, loads);
        }
        Insert::Contended
    }

    /// Notes that a flow got no place that may live until `until`, as an insert does that finds none.
    #[inline(always)]
    pub fn turn_away(&self, place: &Place, now: Tick, until: Tick) {
        if let Some(home) = self.bucket(place.home) {
            home.note_turned_away(now, until);
        }
    }

    /// The slot to take.
    #[inline(always)]
    fn choose(
        &self,
        home: &'t Bucket<B::Atoms, B::Addr>,
        place: &Place,
        now: Tick,
        spare: Spare,
    ) -> Option<Chosen<'t, B>> {
        let Choice(here) = home.choice(now, spare);
        let room = here[0].len();
        if room > SLOTS_PER_BUCKET as u32 - CROWDED {
            return Some((home, here[0].first(place.first), false));
        }
        let alternate = self.bucket(place.alternate)?;
        let Choice(there) = alternate.choice(now, spare);
        let (bucket, slots) = if there[0].len() > room {
            (alternate, there[0])
        } else if room != 0 {
            (home, here[0])
        } else if here[1].len() != 0 {
            (home, here[1])
        } else if there[1].len() != 0 {
            (alternate, there[1])
        } else if here[2].len() != 0 {
            (home, here[2])
        } else if there[2].len() != 0 {
            (alternate, there[2])
        } else {
            return None;
        };
        Some((
            bucket,
            slots.first(place.first),
            core::ptr::eq(bucket, alternate),
        ))
    }

    /// Makes a claimed slot the flow's; `None` if the claim was so old that another CPU took it.
    #[inline(always)]
    fn publish(
        &self,
        claim: &Claim<'t, B::Atoms, B::Addr>,
        home: &Bucket<B::Atoms, B::Addr>,
        key: Key<B::Addr>,
        new: Meta,
        loads: &impl Loads,
    ) -> Option<Hit<'t, B::Atoms, B::Addr>> {
        let meta = new.placed_as(claim.busy);
        loads.add(meta.real(), meta.load());
        if meta.in_alternate() {
            home.overflow().fetch_add(1);
        }
        claim.bucket.set_key(claim.slot, key);
        if claim.bucket.swap(claim.slot, claim.busy, meta).is_err() {
            loads.add(meta.real(), meta.load().wrapping_neg());
            if meta.in_alternate() {
                home.overflow().fetch_add(u32::MAX);
            }
            return None;
        }
        Some(Hit {
            bucket: claim.bucket,
            slot: claim.slot,
            key,
            meta,
        })
    }

    /// Leaves one entry of a flow that was just published as `ours`: the first one in lookup order.
    ///
    /// Whoever else published the same flow did this too. Each publishes before it looks, so at least one of the two
    /// sees both entries; and both would leave the same one.
    #[inline(always)]
    fn settle(
        &self,
        ours: Hit<'t, B::Atoms, B::Addr>,
        home: &'t Bucket<B::Atoms, B::Addr>,
        place: &Place,
        now: Tick,
        loads: &impl Loads,
    ) -> Insert<'t, B::Atoms, B::Addr> {
        let key = ours.key;
        <B::Atoms as Atoms>::fence();
        let away = ours.meta.in_alternate();
        let mut here = home.like(key);
        let mut there = Slots::NONE;
        let mut alternate = home;
        if home.overflow().load() != 0
            && let Some(bucket) = self.bucket(place.alternate)
        {
            alternate = bucket;
            there = bucket.like(key);
        }
        if away {
            there = there.without(ours.slot);
        } else {
            here = here.without(ours.slot);
        }
        let mut doubles = 0;
        while doubles < DOUBLES && (here.0 | there.0) != 0 {
            let other_away = here.0 == 0;
            let (bucket, slots) = if other_away {
                (alternate, &mut there)
            } else {
                (home, &mut here)
            };
            let slot = slots.first(place.first);
            *slots = slots.without(slot);
            if let Some(meta) = bucket.confirm(slot, key) {
                let other = Hit {
                    bucket,
                    slot,
                    key,
                    meta,
                };
                let other_is_first = if away == other_away {
                    slot.order(place.first) < ours.slot.order(place.first)
                } else {
                    away
                };
                let other_holds = other_is_first && !meta.is_expired(now);
                let loser = if other_holds { ours } else { other };
                loser.end(home, loads);
                if other_holds {
                    return Insert::Lost(other);
                }
            }
            doubles += 1;
        }
        Insert::Done(ours)
    }
}
