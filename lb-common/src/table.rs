//! The connection table: which real server each flow goes to, in which state it is, until when.
//!
//! An array of [`Bucket`]s that the kernel and user space both map, changed with atomic instructions only; there is no
//! lock, and no CPU ever waits for another.
//!
//! # Where a flow is
//!
//! A keyed hash of the *client's* address, port and protocol names a home bucket of two lines, three flows
//! each, which of the two is tried first, and an alternate bucket for when the home is full ([`Place`]). A real server's
//! reply names the client too, so the one entry serves both directions of NAT. The home bucket counts the flows that
//! sit in their alternate: as long as it has none, which is usual, a miss touches one bucket.
//!
//! # How an entry changes
//!
//! All of an entry but its key is one word, [`Meta`](crate::conn::Meta).
//!
//! - *Insert*: claim a slot that is free, or whose flow may give way
//!   ([`Rank`](crate::conn::Rank)), by compare-and-swap to a *busy* word; write the key; publish the word; then look for
//!   the same flow elsewhere in its places. Two CPUs that insert one flow at once cannot both miss each other, and the
//!   entry that comes later in lookup order is taken out.
//! - *Read*: the word, the key, the word again. A word counts its slot's uses, so equal words mean that the key was whole.
//! - *Change, remove, sweep*: compare-and-swap of the word as read.
//!
//! Whoever wins a swap reports the change to [`Loads`](crate::conn::Loads), so counts are exact however many CPUs
//! are at it. What must never be seen too low (a load, the count of flows in the alternate) is raised before
//! a flow is published and lowered after it is gone.

mod bucket;
mod change;
mod find;
mod insert;
mod pair;
mod place;
mod walk;

pub use bucket::{Bucket, LINES, Line, SLOTS_PER_BUCKET, SLOTS_PER_LINE, Slot};
pub use find::{Fit, Hit, Lookup, Reply};
pub use insert::Insert;
pub use pair::Recorded;
pub use place::Place;
pub use walk::Swept;

use crate::atomic::Atoms;

/// Where the buckets are: a BPF array map, its memory mapping, or a slice.
pub trait Buckets {
    /// The kind of atomic words the buckets are made of.
    type Atoms: Atoms;

    /// The family of addresses of the flows in them.
    type Addr: Recorded;

    /// The bucket of an index; `None` past the end.
    fn bucket(&self, index: u32) -> Option<&Bucket<Self::Atoms, Self::Addr>>;
}

impl<A: Atoms, N: Recorded> Buckets for [Bucket<A, N>] {
    type Atoms = A;
    type Addr = N;

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&Bucket<A, N>> {
        self.get(index as usize)
    }
}

/// A connection table: its buckets and its hash.
#[derive(Debug)]
pub struct Table<'t, B: ?Sized> {
    buckets: &'t B,
    mask: u32,
    key: [u64; 2],
}

impl<B: ?Sized> Clone for Table<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: ?Sized> Copy for Table<'_, B> {}

impl<'t, B: Buckets + ?Sized> Table<'t, B> {
    /// The table of `buckets`, whose number is `mask + 1`, a power of two and at least two, under the secret `key`.
    #[inline(always)]
    pub const fn new(buckets: &'t B, mask: u32, key: [u64; 2]) -> Self {
        Self { buckets, mask, key }
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&'t Bucket<B::Atoms, B::Addr>> {
        self.buckets.bucket(index)
    }
}
