//! In what do IPv4 and IPv6 differ, for a packet that is balanced?

use super::bytes::Bytes;
use super::checksum::Sum;
use super::icmp::{Error, Message};
use super::parse::Network;
use super::piece::Piece;
use super::wire::Header;
use crate::abi::Configured;
use crate::counter::Counter;
use crate::net::Be16;
use crate::table::Recorded;

/// A family of addresses, and the packets that have them.
pub trait Ip: Configured + Recorded {
    /// The header, without options and extension headers.
    type Header: Header;

    /// Length of [`Header`](Self::Header).
    const LEN: usize;
    /// What an Ethernet frame says that it carries.
    const ETHERTYPE: Be16;
    /// IP protocol number of a packet of the family inside another.
    const IN_TUNNEL: u8;
    /// IP protocol number of the family's ICMP.
    const ICMP: u8;
    /// The most that an ICMP error quotes of a packet.
    const QUOTE: usize;
    /// The least MTU of a link.
    const LEAST_MTU: u32;
    /// Whether an address changes a checksum of ICMP.
    const ICMP_HAS_ADDRESSES: bool;

    /// The addresses.
    fn addresses(header: &Self::Header) -> Network<Self>;

    /// How many more hops.
    fn hop_limit(header: &Self::Header) -> u8;

    /// DSCP and ECN.
    fn traffic_class(header: &Self::Header) -> u8;

    /// Whether a router may not cut the packet into fragments.
    fn dont_fragment(header: &Self::Header) -> bool;

    /// Whether the header is the one that nearly all packets have, with the transport header right behind it.
    fn is_plain(header: &Self::Header) -> bool;

    /// Whether the packet carries ICMP.
    fn is_icmp<B: Bytes>(frame: &B) -> bool;

    /// Where the transport header is, of a packet that [`is_plain`](Self::is_plain).
    ///
    /// # Errors
    ///
    /// The counter of a packet that is left to the stack; a fragment is one.
    fn plain<B: Bytes>(frame: &B) -> Result<Upper, Counter>;

    /// Where the transport header is.
    ///
    /// # Errors
    ///
    /// The counter of a packet that is left to the stack: malformed, a fragment but the first, or with headers that are not known.
    fn upper<B: Bytes>(frame: &B) -> Result<Upper, Counter>;

    /// What is known of a packet that is a fragment; `None` of any other.
    fn piece<B: Bytes>(frame: &B) -> Option<Piece>;

    /// What is behind the quoted header at `at`; `None` for what is none, and for a fragment without the ports.
    fn quoted<B: Bytes>(frame: &B, at: usize) -> Option<Quoted<Self>>;

    /// The sum of all words of a header.
    fn sum(header: &Self::Header) -> Sum;

    /// Counts the hops down.
    fn count_down(header: &mut Self::Header);

    /// Writes another source, and the header's checksum.
    fn set_src(header: &mut Self::Header, src: Self);

    /// Writes another destination, and the header's checksum.
    fn set_dst(header: &mut Self::Header, dst: Self);

    /// The header's checksum; 0 where it has none.
    fn checksum(header: &Self::Header) -> u16;

    /// A sum in which one address is replaced by another.
    fn replace(sum: Sum, old: Self, new: Self) -> Sum;

    /// What the checksum of ICMP covers besides the message.
    fn pseudo(network: Network<Self>, len: u16) -> Sum;

    /// Type, code, and the word behind the checksum of an ICMP error.
    fn error(error: Error) -> Message;

    /// Whether ICMP messages of this type are errors about a flow.
    fn is_error(kind: u8) -> bool;

    /// Whether an ICMP error tells an MTU.
    fn tells_mtu(kind: u8, code: u8) -> bool;

    /// Writes the header of a tunnel; `ident` is asked for an identification where there may be fragments.
    fn write_tunnel(header: &mut Self::Header, tunnel: Outer<Self>, ident: impl FnOnce() -> Be16);

    /// Writes the header of an ICMP error whose message has this length.
    fn write_icmp(header: &mut Self::Header, network: Network<Self>, len: u16, ident: Be16);
}

/// Where the transport header is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upper {
    /// Its IP protocol number.
    pub proto: u8,
    /// Where it is, below 2^8.
    pub at: usize,
    /// Length of the IP packet.
    pub len: u16,
    /// It is the first fragment of a datagram, and others follow.
    pub is_piece: bool,
}

/// What a quoted IP header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted<A> {
    /// Its addresses.
    pub network: Network<A>,
    /// What is behind it.
    pub proto: u8,
    /// Where that is.
    pub next: usize,
}

/// What the header of a tunnel says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer<A> {
    /// The tunnel's ends.
    pub network: Network<A>,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// How many more hops.
    pub hop_limit: u8,
    /// Whether no router may cut it into fragments.
    pub dont_fragment: bool,
    /// Length of the packet inside.
    pub len: u16,
    /// IP protocol number of the packet inside.
    pub proto: u8,
}
