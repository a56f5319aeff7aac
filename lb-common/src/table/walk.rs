//! Going through the table from user space: the sweep of expired entries, and the listing.

use super::{
    Buckets, Recorded, Table,
    bucket::{Bucket, Slot},
};
use crate::{
    conn::{Loads, Meta, Tick},
    net::Flow,
};

/// What a sweep found in a bucket.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Swept {
    /// Connections that stay.
    pub live: u32,
    /// Connections taken out.
    pub freed: u32,
}

impl<'t, B: Buckets + ?Sized> Table<'t, B> {
    /// Takes out the entries of a bucket whose time has passed.
    pub fn sweep(&self, index: u32, now: Tick, loads: &impl Loads) -> Swept {
        self.sweep_where(index, now, |_| false, loads)
    }

    /// Takes out the entries of a bucket whose time has passed, and those that `cut` names.
    pub fn sweep_where(
        &self,
        index: u32,
        now: Tick,
        cut: impl Fn(Meta) -> bool,
        loads: &impl Loads,
    ) -> Swept {
        let mut swept = Swept::default();
        let Some(bucket) = self.bucket(index) else {
            return swept;
        };
        for slot in Slot::ALL {
            let meta = bucket.meta(slot);
            let gone = if meta.is_live() {
                meta.is_expired(now) || cut(meta)
            } else {
                // A claim left behind.
                meta.is_busy() && meta.is_expired(now)
            };
            let claim = gone.then(|| self.claim(bucket, slot, meta, false, now, loads));
            match claim.flatten() {
                Some(claim) => {
                    claim.free();
                    swept.freed += u32::from(meta.is_live());
                }
                None => swept.live += u32::from(meta.is_live()),
            }
        }
        bucket.forget_turned_away(now);
        swept
    }

    /// The connections of a bucket, those included whose time has passed but that nobody has taken out yet.
    pub fn connections(
        &self,
        index: u32,
    ) -> impl Iterator<Item = (Flow<B::Addr>, Meta)> + use<'t, B> {
        self.bucket(index)
            .into_iter()
            .flat_map(|bucket| Slot::ALL.into_iter().filter_map(|slot| bucket.entry(slot)))
    }
}

impl<A: crate::atomic::Atoms, N: Recorded> Bucket<A, N> {
    /// The connection of a slot; `None` also when it is changing hands at this moment.
    fn entry(&self, slot: Slot) -> Option<(Flow<N>, Meta)> {
        let mut before = self.meta(slot);
        for _ in 0..TRIES {
            let flow = self.key(slot, before.tag()).flow(before.proto()?);
            let after = self.meta(slot);
            if before == after {
                return Some((flow, after));
            }
            before = after;
        }
        None
    }
}

/// How often an entry is read that changes meanwhile.
const TRIES: u32 = 4;
