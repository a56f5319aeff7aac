//! Where a flow may be: the keyed hash.

use crate::net::{Address, Be16, Flow, Proto};

/// The places of a flow, in the order in which they are tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Index of the home bucket.
    pub home: u32,
    /// Index of the other bucket, never the home's.
    pub alternate: u32,
    /// Which line of either bucket comes first: 0 or 1.
    pub first: u32,
}

/// Any odd number without a pattern: the golden ratio's fraction.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

impl Place {
    /// The places of all flows of a client's port, under a secret key, in a table of `mask + 1` buckets (at most
    /// 2^31).
    ///
    /// Two multiplications, the first one by a secret: without the key nobody can tell which clients share a bucket.
    /// What varies most, the ends of port and address, goes into the low bits, from where a product spreads it.
    #[inline(always)]
    pub fn of<A: Address>(client: A, port: Be16, proto: Proto, mask: u32, key: [u64; 2]) -> Self {
        let word = client.mixed(key) ^ u64::from(port.to_host()) ^ (proto as u64) << 48;
        let mut x = (word ^ key[0]).wrapping_mul(key[1] | 1);
        x ^= x >> 32;
        x = x.wrapping_mul(MIX);
        x ^= x >> 29;
        let home = (x >> 32) as u32 & mask;
        let away = x as u32 & mask | 1;
        Self {
            home,
            alternate: (home ^ away) & mask,
            first: (x >> 31 & 1) as u32,
        }
    }
}

impl<B: super::Buckets + ?Sized> super::Table<'_, B> {
    /// The places of a flow.
    #[inline(always)]
    pub fn place(&self, flow: &Flow<B::Addr>) -> Place {
        self.place_of(flow.client, flow.client_port, flow.proto)
    }

    /// The places of all flows of a client's port.
    #[inline(always)]
    pub fn place_of(&self, client: B::Addr, port: Be16, proto: Proto) -> Place {
        Place::of(client, port, proto, self.mask, self.key)
    }
}
