//! Finding a flow.

use super::{
    Buckets, Place, Table,
    bucket::{Bucket, Key, Line, SLOTS_PER_LINE, Slot, Slots, lowest},
};
use crate::{
    atomic::{Atoms, Word},
    conn::{Meta, Tick, is_zero},
    net::{Be16, Be32, Flow4, Proto},
};

/// An entry as it was found.
#[derive(Debug)]
pub struct Hit<'t, A: Atoms> {
    pub(super) bucket: &'t Bucket<A>,
    pub(super) slot: Slot,
    pub(super) key: Key,
    /// Its word when it was found.
    pub meta: Meta,
}

impl<A: Atoms> Clone for Hit<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Atoms> Copy for Hit<'_, A> {}

/// What a lookup finds.
#[derive(Debug)]
pub enum Lookup<'t, A: Atoms> {
    /// The flow's entry, not expired.
    Hit(Hit<'t, A>),
    /// The flow has none.
    Miss {
        /// A flow that belongs here was turned away and may still be under way: a segment of no connection may be its.
        turned_away: bool,
    },
}

/// The connection that a reply belongs to.
#[derive(Debug)]
pub struct Reply<'t, A: Atoms> {
    /// Its entry.
    pub hit: Hit<'t, A>,
    /// The virtual address, that the reply must come from.
    pub vip: Be32,
    /// The virtual service's port.
    pub vip_port: Be16,
}

/// The part of a flow that a reply names.
#[derive(Clone, Copy)]
struct Client {
    addr: Be32,
    port: Be16,
    tag: u32,
}

impl<A: Atoms> Line<A> {
    /// Which of the three flows look like `key`: a bit for each.
    ///
    /// All three are compared, without a branch: which of them it is cannot be predicted, and a wrong guess costs more
    /// than the comparisons.
    #[inline(always)]
    fn like(&self, key: Key) -> u32 {
        let mut found = 0;
        let mut i = 0;
        while i < SLOTS_PER_LINE {
            let tag = Meta(self.metas[i].load()).tag() ^ key.tag;
            let client = self.client[i].load() ^ key.client;
            let vip = self.vip[i].load() ^ key.vip;
            let ports = self.ports[i].load() ^ key.ports;
            found |= is_zero(tag | client | vip | ports) << i;
            i += 1;
        }
        found
    }

    /// Which of the three flows look like one of this client's port, with whatever service.
    #[inline(always)]
    fn like_client(&self, client: Client) -> u32 {
        let mut found = 0;
        let mut i = 0;
        while i < SLOTS_PER_LINE {
            let tag = Meta(self.metas[i].load()).tag() ^ client.tag;
            let addr = self.client[i].load() ^ client.addr.0;
            let port = (self.ports[i].load() ^ u32::from(client.port.0)) & 0xFFFF;
            found |= is_zero(tag | addr | port) << i;
            i += 1;
        }
        found
    }
}

impl<A: Atoms> Bucket<A> {
    /// Which slots look like `key`.
    #[inline(always)]
    pub(super) fn like(&self, key: Key) -> Slots {
        Slots(self.lines[0].like(key) | self.lines[1].like(key) << 4)
    }

    /// The word of a slot if it holds `key`, whole.
    #[inline(always)]
    pub(super) fn confirm(&self, slot: Slot, key: Key) -> Option<Meta> {
        let line = &self.lines[slot.line()];
        let flow = slot.flow();
        let before = Meta(line.metas[flow].load());
        let client = line.client[flow].load() ^ key.client;
        let vip = line.vip[flow].load() ^ key.vip;
        let ports = line.ports[flow].load() ^ key.ports;
        let after = Meta(line.metas[flow].load());
        let whole = before.tag() == key.tag && before.is_same(after);
        (whole && client | vip | ports == 0).then_some(after)
    }

    /// The first entry of `key` in lookup order, expired or not.
    #[inline(always)]
    fn find(&self, first: u32, key: Key) -> Option<(Slot, Meta)> {
        // Not a loop: the verifier could not tell that it ends, as it does not know `first`.
        match self.find_in(first & 1, key) {
            None => self.find_in(first & 1 ^ 1, key),
            found => found,
        }
    }

    #[inline(always)]
    fn find_in(&self, line: u32, key: Key) -> Option<(Slot, Meta)> {
        let like = self.lines[line as usize & 1].like(key);
        if like == 0 {
            return None;
        }
        let slot = Slot::new(line, lowest(like));
        Some((slot, self.confirm(slot, key)?))
    }

    /// The connection here that a reply belongs to.
    #[inline(always)]
    fn find_reply(
        &self,
        first: u32,
        client: Client,
        now: Tick,
        is_source: &impl Fn(u32, Be16) -> bool,
    ) -> Option<(Slot, Meta, Key)> {
        match self.find_reply_in(first & 1, client, now, is_source) {
            None => self.find_reply_in(first & 1 ^ 1, client, now, is_source),
            found => found,
        }
    }

    #[inline(always)]
    fn find_reply_in(
        &self,
        line: u32,
        client: Client,
        now: Tick,
        is_source: &impl Fn(u32, Be16) -> bool,
    ) -> Option<(Slot, Meta, Key)> {
        let mut like = self.lines[line as usize & 1].like_client(client);
        let mut tries = 0;
        while like != 0 && tries < SLOTS_PER_LINE {
            let flow = lowest(like);
            like &= !(1 << flow);
            tries += 1;
            let slot = Slot::new(line, flow);
            let before = self.meta(slot);
            let key = self.key(slot, client.tag);
            let after = self.meta(slot);
            let whole = before.tag() == client.tag && before.is_same(after);
            let fits =
                whole && key.client() == (client.addr, client.port) && !after.is_expired(now);
            if fits && is_source(after.real(), key.service().1) {
                return Some((slot, after, key));
            }
        }
        None
    }
}

impl<'t, B: Buckets + ?Sized> Table<'t, B> {
    /// The entry of a flow that a client's packet names.
    ///
    /// An expired entry is as good as gone.
    #[inline(always)]
    pub fn lookup(&self, flow: &Flow4, place: &Place, now: Tick) -> Lookup<'t, B::Atoms> {
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
    pub fn turned_away(&self, client: Be32, port: Be16, proto: Proto, now: Tick) -> bool {
        let home = self.place_of(client, port, proto).home;
        self.bucket(home)
            .is_some_and(|bucket| bucket.turned_away(now))
    }

    /// The connection of a packet that a real server sends to `client` and `port`. `is_source` says of a real server's
    /// slot, and the connection's virtual port, whether it is the packet's source: the address and the port are its own, and
    /// its method is NAT.
    #[inline(always)]
    pub fn lookup_reply(
        &self,
        client: Be32,
        port: Be16,
        proto: Proto,
        now: Tick,
        is_source: impl Fn(u32, Be16) -> bool,
    ) -> Option<Reply<'t, B::Atoms>> {
        let place = self.place_of(client, port, proto);
        let wanted = Client {
            addr: client,
            port,
            tag: Meta::tag_of(proto),
        };
        let home = self.bucket(place.home)?;
        let mut bucket = home;
        let mut found = home.find_reply(place.first, wanted, now, &is_source);
        if found.is_none() && home.overflow().load() != 0 {
            bucket = self.bucket(place.alternate)?;
            found = bucket.find_reply(place.first, wanted, now, &is_source);
        }
        let (slot, meta, key) = found?;
        let (vip, vip_port) = key.service();
        let hit = Hit {
            bucket,
            slot,
            key,
            meta,
        };
        Some(Reply { hit, vip, vip_port })
    }
}
