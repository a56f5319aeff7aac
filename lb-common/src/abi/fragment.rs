//! Where the fragments of a datagram go.

use crate::net::{Be32, Be128};

/// How many datagrams in fragments are remembered for each family of addresses: of more at once, those that were not asked for
/// the longest are forgotten.
pub const DATAGRAMS: u32 = 16_384;

/// For how long, in seconds: as long as Linux waits for the fragments of a datagram (`ipfrag_time`).
pub const DATAGRAM_SECONDS: u64 = 30;

/// Key of `FRAGMENTS4` and `FRAGMENTS6`: what the fragments of one datagram have in common.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DatagramKey<A> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// The identification; with IPv4 that in the low half, and above it the IP protocol number.
    pub id: u32,
}

/// Key of `FRAGMENTS4`.
pub type DatagramKey4 = DatagramKey<Be32>;
/// Key of `FRAGMENTS6`.
pub type DatagramKey6 = DatagramKey<Be128>;

/// Where the first fragment of a datagram went.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Datagram<A> {
    /// Of a reply: the address that it is to come from.
    pub vip: A,
    /// The slot of the real server that it is for, or from.
    pub slot: u32,
    /// Until when this holds, in ticks.
    pub until: u32,
    /// Bits of [`datagram`].
    pub flags: u32,
}

/// Bits of [`Datagram::flags`].
pub mod datagram {
    /// It is from a NAT real server.
    pub const REPLY: u32 = 1 << 0;
    /// Its connection is not recorded.
    pub const STATELESS: u32 = 1 << 1;
}

const _: () = {
    assert!(size_of::<DatagramKey4>() == 12 && size_of::<DatagramKey6>() == 36);
    assert!(size_of::<Datagram<Be32>>() == 16 && size_of::<Datagram<Be128>>() == 28);
};
