//! Changing and removing an entry that was found.

use super::{
    Buckets, Hit, Table,
    bucket::{Bucket, Slot},
};
use crate::{
    atomic::{Atoms, Word},
    conn::{Loads, Meta},
};

/// How often a change is tried while other CPUs change the same entry. Each failure is another's success.
///
/// Loops that the kernel's verifier follows count in 64 bits: it loses a 32-bit counter that shares a slot of the stack.
const TRIES: usize = 4;

impl<'t, B: Buckets + ?Sized> Table<'t, B> {
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
        hit: &Hit<'t, B::Atoms>,
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
                Err(found) if found.is_same(seen) => seen = found,
                Err(_) => return None,
            }
            tries += 1;
        }
        Some(seen)
    }

    /// Changes the word of a connection that stays.
    #[inline(always)]
    fn change(
        &self,
        bucket: &Bucket<B::Atoms>,
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
    pub fn remove(&self, hit: &Hit<'t, B::Atoms>, loads: &impl Loads) -> bool {
        let Some(proto) = hit.meta.proto() else {
            return false;
        };
        let (client, port) = hit.bucket.client_of(hit.slot);
        self.bucket(self.place_of(client, port, proto).home)
            .is_some_and(|home| hit.end(home, loads))
    }

    /// Ends the connection in a slot, if there is one, by changing its word from `old` to `new`, a free or a busy one.
    #[inline(always)]
    pub(super) fn take_out(
        &self,
        bucket: &Bucket<B::Atoms>,
        slot: Slot,
        old: Meta,
        new: Meta,
        loads: &impl Loads,
    ) -> Result<(), Meta> {
        // The key is whole if the swap succeeds, for then nobody else has claimed the slot.
        let (client, port) = bucket.client_of(slot);
        bucket.swap(slot, old, new)?;
        if let Some(proto) = old.proto() {
            loads.add(old.real(), old.load().wrapping_neg());
            if old.in_alternate()
                && let Some(home) = self.bucket(self.place_of(client, port, proto).home)
            {
                home.overflow().fetch_add(u32::MAX);
            }
        }
        Ok(())
    }
}

impl<A: Atoms> Hit<'_, A> {
    /// Takes an entry out whose home bucket is `home`; whether it was this call that did.
    #[inline(always)]
    pub(super) fn end(&self, home: &Bucket<A>, loads: &impl Loads) -> bool {
        let mut seen = self.meta;
        let mut tries = 0;
        while tries < TRIES {
            match self.bucket.swap(self.slot, seen, seen.freed()) {
                Ok(()) => {
                    loads.add(seen.real(), seen.load().wrapping_neg());
                    if seen.in_alternate() {
                        home.overflow().fetch_add(u32::MAX);
                    }
                    return true;
                }
                Err(found) if found.is_same(seen) => seen = found,
                Err(_) => return false,
            }
            tries += 1;
        }
        false
    }
}
