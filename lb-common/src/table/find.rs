//! Finding a flow.

use super::{
    Buckets, Place, Recorded, Table,
    bucket::{Bucket, Key, Line, SLOTS_PER_LINE, Slot, Slots, lowest},
};
use crate::{
    atomic::{Atoms, Word},
    conn::{Meta, Tick, is_zero},
    net::{Be16, Be32, Flow, Proto},
};

/// An entry as it was found.
#[derive(Debug)]
pub struct Hit<'t, A: Atoms, N: Recorded = Be32> {
    pub(super) bucket: &'t Bucket<A, N>,
    pub(super) slot: Slot,
    pub(super) key: Key<N>,
    /// Its word when it was found.
    pub meta: Meta,
}

impl<A: Atoms, N: Recorded> Clone for Hit<'_, A, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Atoms, N: Recorded> Copy for Hit<'_, A, N> {}

/// What a lookup finds.
#[derive(Debug)]
pub enum Lookup<'t, A: Atoms, N: Recorded = Be32> {
    /// The flow's entry, not expired.
    Hit(Hit<'t, A, N>),
    /// The flow has none.
    Miss {
        /// A flow that belongs here was turned away and may still be under way: a segment of no connection may be its.
        turned_away: bool,
    },
}

/// The connection that a reply belongs to.
#[derive(Debug)]
pub struct Reply<'t, A: Atoms, N: Recorded = Be32> {
    /// Its entry.
    pub hit: Hit<'t, A, N>,
    /// The virtual address, that the reply must come from.
    pub vip: N,
    /// The virtual service's port.
    pub vip_port: Be16,
}

/// How well an entry fits a reply: more is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fit(pub u32);

impl Fit {
    /// The reply is not its.
    pub const NONE: Self = Self(0);
    /// No other is looked for.
    pub const BEST: Self = Self(u32::MAX);
}

/// The best place so far of an entry that a reply may belong to: in the order of [`Fit`]. One word, for the BPF stack is small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Best(u64);

impl Best {
    const NONE: Self = Self(0);

    #[inline(always)]
    const fn new(fit: Fit, line: u32, flow: u32) -> Self {
        Self((fit.0 as u64) << 32 | (line << 2 | flow) as u64)
    }

    #[inline(always)]
    const fn fit(self) -> Fit {
        Fit((self.0 >> 32) as u32)
    }

    #[inline(always)]
    const fn slot(self) -> Slot {
        Slot::new(self.0 as u32 >> 2 & 1, self.0 as u32 & 3)
    }
}

/// The part of a flow that a reply names.
#[derive(Clone, Copy)]
struct Client<N> {
    addr: N,
    port: Be16,
    tag: u32,
}

impl<A: Atoms, N: Recorded> Line<A, N> {
    /// The word of a flow if it is `key`, whole.
    #[inline(always)]
    fn confirm(&self, flow: usize, key: Key<N>) -> Option<Meta> {
        let before = Meta(self.metas[flow].load());
        let addrs = N::load(&self.addrs[flow]);
        let ports = self.ports[flow].load();
        let after = Meta(self.metas[flow].load());
        let whole = before.tag() == key.tag && before.is_same(after);
        (whole && N::is_same(addrs, key.addrs) && ports == key.ports).then_some(after)
    }

    /// Which of the three flows look like `key`.
    #[inline(always)]
    fn like(&self, key: Key<N>) -> u32 {
        let mut found = 0;
        let mut i = 0;
        while i < SLOTS_PER_LINE {
            let tag = Meta(self.metas[i].load()).tag() ^ key.tag;
            let addrs = N::difference(N::load(&self.addrs[i]), key.addrs);
            let ports = self.ports[i].load() ^ key.ports;
            found |= is_zero(addrs | ports | tag) << i;
            i += 1;
        }
        found
    }

    /// Which of the three flows look like one of this client's port, with whatever service.
    #[inline(always)]
    fn like_client(&self, client: Client<N>) -> u32 {
        let mut found = 0;
        let mut i = 0;
        while i < SLOTS_PER_LINE {
            let tag = Meta(self.metas[i].load()).tag() ^ client.tag;
            let addr = N::client_difference(N::load(&self.addrs[i]), client.addr);
            let port = (self.ports[i].load() ^ u32::from(client.port.0)) & 0xFFFF;
            found |= is_zero(tag | addr | port) << i;
            i += 1;
        }
        found
    }
}

impl<A: Atoms, N: Recorded> Bucket<A, N> {
    /// Which slots look like `key`.
    #[inline(always)]
    pub(super) fn like(&self, key: Key<N>) -> Slots {
        Slots(self.lines[0].like(key) | self.lines[1].like(key) << 4)
    }

    /// The word of a slot if it holds `key`, whole.
    #[inline(always)]
    pub(super) fn confirm(&self, slot: Slot, key: Key<N>) -> Option<Meta> {
        self.lines[slot.line()].confirm(slot.flow(), key)
    }

    /// The first entry of `key` in lookup order, expired or not.
    #[inline(always)]
    fn find(&self, first: u32, key: Key<N>) -> Option<(Slot, Meta)> {
        // Not a loop: the verifier could not tell that it ends, as it does not know `first`.
        match self.find_in(first & 1, key) {
            None => self.find_in(first & 1 ^ 1, key),
            found => found,
        }
    }

    /// The ports come first: they alone tell nearly all flows of a bucket apart.
    #[inline(always)]
    fn find_in(&self, line: u32, key: Key<N>) -> Option<(Slot, Meta)> {
        let flows = &self.lines[line as usize & 1];
        let mut flow = 0;
        while flow < SLOTS_PER_LINE {
            if flows.ports[flow].load() == key.ports
                && let Some(meta) = flows.confirm(flow, key)
            {
                return Some((Slot::new(line, flow as u32), meta));
            }
            flow += 1;
        }
        None
    }

    /// Where the connection lies that a reply fits best.
    #[inline(always)]
    fn find_reply(
        &self,
        first: u32,
        client: Client<N>,
        now: Tick,
        fit: &impl Fn(Meta, Be16) -> Fit,
    ) -> Best {
        let best = self.find_reply_in(first & 1, client, now, fit);
        if best.fit() == Fit::BEST {
            return best;
        }
        best.max(self.find_reply_in(first & 1 ^ 1, client, now, fit))
    }

    #[inline(always)]
    fn find_reply_in(
        &self,
        line: u32,
        client: Client<N>,
        now: Tick,
        fit: &impl Fn(Meta, Be16) -> Fit,
    ) -> Best {
        let mut like = self.lines[line as usize & 1].like_client(client);
        let mut best = Best::NONE;
        let mut tries = 0;
        while like != 0 && tries < SLOTS_PER_LINE && best.fit() < Fit::BEST {
            let flow = lowest(like);
            like &= !(1 << flow);
            tries += 1;
            let slot = Slot::new(line, flow);
            let meta = self.meta(slot);
            if !meta.is_expired(now) {
                let (_, vip_port) = self.key(slot, client.tag).service();
                best = best.max(Best::new(fit(meta, vip_port), line, flow));
            }
        }
        best
    }

    /// The entry in a slot if it is one of this client's port, whole.
    #[inline(always)]
    fn of_client(&self, slot: Slot, client: Client<N>) -> Option<(Meta, Key<N>)> {
        let before = self.meta(slot);
        let key = self.key(slot, client.tag);
        let after = self.meta(slot);
        let whole = before.tag() == client.tag && before.is_same(after);
        (whole && key.client() == (client.addr, client.port)).then_some((after, key))
    }
}

impl<'t, B: Buckets + ?Sized> Table<'t, B> {
    /// The entry of a flow that a client's packet names.
    ///
    /// An expired entry is as good as gone.
    #[inline(always)]
    pub fn lookup(
        &self,
        flow: &Flow<B::Addr>,
        place: &Place,
        now: Tick,
    ) -> Lookup<'t, B::Atoms, B::Addr> {
        let key = Key::of(flow);
        let Some(home) = self.bucket(place.home) else {
            return Lookup::Miss { turned_away: false };
        };
        if let Some((slot, meta)) = home.find(place.first, key)
            && !meta.is_expired(now)
        {
            return Lookup::Hit(Hit {
                bucket: home,
                slot,
                key,
                meta,
            });
        }
        if home.overflow().load() != 0
            && let Some(bucket) = self.bucket(place.alternate)
            && let Some((slot, meta)) = bucket.find(place.first, key)
            && !meta.is_expired(now)
        {
            return Lookup::Hit(Hit {
                bucket,
                slot,
                key,
                meta,
            });
        }
        Lookup::Miss {
            turned_away: home.turned_away(now),
        }
    }

    /// Whether a flow of this client's port was turned away that may still be under way.
    #[inline(always)]
    pub fn turned_away(&self, client: B::Addr, port: Be16, proto: Proto, now: Tick) -> bool {
        let home = self.place_of(client, port, proto).home;
        self.bucket(home)
            .is_some_and(|bucket| bucket.turned_away(now))
    }

    /// The connection of a packet that a real server sends to `client` and `port`: of those that are not expired the one that it
    /// fits best, as `fit` says of an entry and its virtual port. A client that uses one port for several services may have several.
    #[inline(always)]
    pub fn lookup_reply(
        &self,
        client: B::Addr,
        port: Be16,
        proto: Proto,
        now: Tick,
        fit: impl Fn(Meta, Be16) -> Fit,
    ) -> Option<Reply<'t, B::Atoms, B::Addr>> {
        let place = self.place_of(client, port, proto);
        let wanted = Client {
            addr: client,
            port,
            tag: Meta::tag_of(proto),
        };
        let mut bucket = self.bucket(place.home)?;
        let mut best = bucket.find_reply(place.first, wanted, now, &fit);
        if best.fit() < Fit::BEST && bucket.overflow().load() != 0 {
            let alternate = self.bucket(place.alternate)?;
            let other = alternate.find_reply(place.first, wanted, now, &fit);
            if other.fit() > best.fit() {
                bucket = alternate;
                best = other;
            }
        }
        if best.fit() == Fit::NONE {
            return None;
        }
        // Another flow may have taken the place since.
        let slot = best.slot();
        let (meta, key) = bucket.of_client(slot, wanted)?;
        let (vip, vip_port) = key.service();
        if meta.is_expired(now) || fit(meta, vip_port) == Fit::NONE {
            return None;
        }
        let hit = Hit {
            bucket,
            slot,
            key,
            meta,
        };
        Some(Reply { hit, vip, vip_port })
    }
}
