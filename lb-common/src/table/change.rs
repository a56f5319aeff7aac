//! Changing and removing an entry that was found.

use super::{
    Buckets, Hit, Recorded, Table,
    bucket::{Bucket, Key, Slot},
};
use crate::{
    atomic::{Atoms, Word},
    conn::{Loads, Meta, Tick},
};

/// How often a change is tried while other CPUs change the same entry. Each failure is another's success.
///
/// Loops that the kernel's verifier follows count in 64 bits: it loses a 32-bit counter that shares a slot of the stack.
const TRIES: usize = 4;

impl<'t, B: Buckets + ?Sized> Table<'t, B> {
    /// Lets an entry go on in another state until another time, if it counts the same there; whether it does. Where it does
    /// not, or another CPU has changed the entry meanwhile, [`update`](Self::update) is to see to it.
    ///
    /// This is what nearly every packet needs, in as few instructions as can be.
    #[inline(always)]
    pub fn renew(&self, hit: &Hit<'t, B::Atoms, B::Addr>, to: Meta) -> bool {
        !hit.meta.is_worth(to)
            || hit.meta.counts_as(to) && hit.bucket.swap(hit.slot, hit.meta, to).is_ok()
    }

    /// Changes an entry to what `next` makes of its word, with the expiry that a packet now gives it.
    ///
    /// Nothing is written when only the time of expiry moves, and by less than
    /// [`REFRESH`](crate::conn::REFRESH). `next` may be asked again when another CPU has changed the entry meanwhile. It
    /// may change the state, the time of expiry, the flags and the real server; it may not end the entry.
    ///
    /// The word that holds now; `None` when the entry is gone.
    #[inline(always)]
    pub fn update(
        &self,
        hit: &Hit<'t, B::Atoms, B::Addr>,
        next: impl Fn(Meta) -> Meta,
        loads: &impl Loads,
    ) -> Option<Meta> {
        let mut seen = hit.meta;
        let mut tries = 0;
        while tries < TRIES {
            let to = next(seen).placed_as(seen);
            if !seen.is_worth(to) {
                return Some(seen);
            }
            match self.change(hit.bucket, hit.slot, seen, to, loads) {
                Ok(()) => return Some(to),
                Err(_) => seen = hit.bucket.confirm(hit.slot, hit.key)?,
            }
            tries += 1;
        }
        Some(seen)
    }

    /// Changes the word of a connection that stays.
    #[inline(always)]
    fn change(
        &self,
        bucket: &Bucket<B::Atoms, B::Addr>,
        slot: Slot,
        old: Meta,
        new: Meta,
        loads: &impl Loads,
    ) -> Result<(), Meta> {
        let (more, less) = if old.real() == new.real() {
            (
                new.load().saturating_sub(old.load()),
                old.load().saturating_sub(new.load()),
            )
        } else {
            (new.load(), old.load())
        };
        if more != 0 {
            loads.add(new.real(), more);
        }
        let swapped = bucket.swap(slot, old, new);
        let (real, less) = if swapped.is_ok() {
            (old.real(), less)
        } else {
            (new.real(), more)
        };
        if less != 0 {
            loads.add(real, less.wrapping_neg());
        }
        swapped
    }

    /// Takes an entry out; whether it was this call that did.
    #[inline(always)]
    pub fn remove(&self, hit: &Hit<'t, B::Atoms, B::Addr>, loads: &impl Loads) -> bool {
        self.home_of(hit.key, hit.meta)
            .is_some_and(|home| hit.end(home, loads))
    }

    /// Claims a slot whose word is `old`, and ends the connection that it holds, if any.
    ///
    /// The claim comes first: nobody else writes the key then, so the home that is told is the connection's.
    #[inline(always)]
    pub(super) fn claim(
        &self,
        bucket: &'t Bucket<B::Atoms, B::Addr>,
        slot: Slot,
        old: Meta,
        alternate: bool,
        now: Tick,
        loads: &impl Loads,
    ) -> Option<Claim<'t, B::Atoms, B::Addr>> {
        let busy = old.claimed(now.plus(CLAIM), alternate);
        bucket.swap(slot, old, busy).ok()?;
        if old.is_live() {
            loads.add(old.real(), old.load().wrapping_neg());
            if old.in_alternate()
                && let Some(home) = self.home_of(bucket.key(slot, old.tag()), old)
            {
                home.overflow().fetch_add(u32::MAX);
            }
        }
        Some(Claim { bucket, slot, busy })
    }

    #[inline(always)]
    fn home_of(&self, key: Key<B::Addr>, meta: Meta) -> Option<&'t Bucket<B::Atoms, B::Addr>> {
        let (client, port) = key.client();
        self.bucket(self.place_of(client, port, meta.proto()?).home)
    }
}

/// For how long a claim is believed, in ticks (16 seconds): a claim takes nanoseconds, so only a crash leaves one behind.
const CLAIM: u32 = crate::abi::seconds_to_ticks(16);

/// A slot that this CPU has claimed.
pub(super) struct Claim<'t, A: Atoms, N: Recorded> {
    pub(super) bucket: &'t Bucket<A, N>,
    pub(super) slot: Slot,
    pub(super) busy: Meta,
}

impl<A: Atoms, N: Recorded> Claim<'_, A, N> {
    /// Leaves the slot free.
    pub(super) fn free(self) {
        // Fails only if the claim was so old that another CPU took it.
        let _ = self.bucket.swap(self.slot, self.busy, self.busy.freed());
    }
}

impl<A: Atoms, N: Recorded> Hit<'_, A, N> {
    /// Takes an entry out whose home bucket is `home`; whether it was this call that did.
    #[inline(always)]
    pub(super) fn end(&self, home: &Bucket<A, N>, loads: &impl Loads) -> bool {
        let mut seen = self.meta;
        let mut tries = 0;
        while tries < TRIES {
            if self.bucket.swap(self.slot, seen, seen.freed()).is_ok() {
                loads.add(seen.real(), seen.load().wrapping_neg());
                if seen.in_alternate() {
                    home.overflow().fetch_add(u32::MAX);
                }
                return true;
            }
            let Some(found) = self.bucket.confirm(self.slot, self.key) else {
                return false;
            };
            seen = found;
            tries += 1;
        }
        false
    }
}
