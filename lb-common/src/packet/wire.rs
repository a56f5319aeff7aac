//! What do the headers look like on the wire?
//!
//! A header is a view of bytes at any address; its fields are words that are copied out and in, one instruction each.

use super::checksum::Sum;
use super::word::Word;
use crate::net::{Be16, Be32, Be128};

/// Length of an Ethernet header.
pub const ETH_LEN: usize = 14;
/// Length of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Length of an IPv6 header.
pub const IPV6_LEN: usize = 40;
/// Length of a TCP header without options.
pub const TCP_LEN: usize = 20;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;

/// Length of an ICMP header.
pub const ICMP_LEN: usize = 8;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: Be16 = Be16::from_host(0x0800);

/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: Be16 = Be16::from_host(0x86dd);

/// IP protocol number of ICMP.
pub const PROTO_ICMP: u8 = 1;
/// IP protocol number of IPv4 in a tunnel.
pub const PROTO_IPIP: u8 = 4;
/// IP protocol number of IPv6 in a tunnel.
pub const PROTO_IPV6: u8 = 41;
/// IP protocol number of ICMPv6.
pub const PROTO_ICMPV6: u8 = 58;

/// Extension headers of IPv6, by their number as the next header.
pub mod extension {
    /// For every router on the way.
    pub const HOP_BY_HOP: u8 = 0;
    /// By way of other hosts.
    pub const ROUTING: u8 = 43;
    /// A fragment.
    pub const FRAGMENT: u8 = 44;
    /// An authentication header: its length is in other units.
    pub const AUTHENTICATION: u8 = 51;
    /// For the destination.
    pub const DESTINATION: u8 = 60;
}

/// Flags of the 13th byte of a TCP header.
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 1 << 0;
    /// Opens a connection.
    pub const SYN: u8 = 1 << 1;
    /// Breaks a connection off.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 1 << 4;
}

/// A header that may be laid over any bytes of its size.
///
/// # Safety
///
/// An implementor is `repr(transparent)` over an array of bytes.
pub unsafe trait Header {
    /// The header that `bytes` are, if their number is right.
    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Option<&Self>
    where
        Self: Sized,
    {
        // SAFETY: the length is checked, and by the trait's contract any bytes at any address will do.
        (bytes.len() == size_of::<Self>()).then(|| unsafe { &*bytes.as_ptr().cast() })
    }

    /// The header that `bytes` are, for writing, if their number is right.
    #[inline(always)]
    fn from_bytes_mut(bytes: &mut [u8]) -> Option<&mut Self>
    where
        Self: Sized,
    {
        // SAFETY: as above, before and after writing.
        (bytes.len() == size_of::<Self>()).then(|| unsafe { &mut *bytes.as_mut_ptr().cast() })
    }
}

/// Whether a field lies within its header.
const fn fits(at: usize, size: usize, len: usize) -> bool {
    at + size <= len
}

macro_rules! headers {
    ($($(#[$meta:meta])* $name:ident [$len:expr] { $($(#[$about:meta])* $field:ident, $set:ident: $word:ty = $at:literal;)+ })+) => {
        $(
            $(#[$meta])*
            #[repr(transparent)]
            #[derive(Debug)]
            pub struct $name([u8; $len]);

            // SAFETY: transparent over an array of bytes.
            unsafe impl Header for $name {}

            impl $name {
                $(
                    $(#[$about])*
                    #[inline(always)]
                    pub fn $field(&self) -> $word {
                        const { assert!(fits($at, size_of::<$word>(), $len)) };
                        // SAFETY: the field lies within the header.
                        unsafe { Word::load::<$at>(self.0.as_ptr()) }
                    }

                    $(#[$about])*
                    #[inline(always)]
                    pub fn $set(&mut self, value: $word) {
                        const { assert!(fits($at, size_of::<$word>(), $len)) };
                        // SAFETY: the field lies within the header.
                        unsafe { Word::store::<$at>(value, self.0.as_mut_ptr()) }
                    }
                )+
            }
        )+
    };
}

headers! {
    /// Ethernet.
    ///
    /// The two addresses are read and written as two words: see [`MacPair`].
    Ethernet [ETH_LEN] {
        /// The destination in the low 48 bits, byte 0 lowest, and the first two bytes of the source.
        dst_src, set_dst_src: u64 = 0;
        /// The last four bytes of the source.
        src_rest, set_src_rest: u32 = 8;
        /// What the frame carries.
        ethertype, set_ethertype: Be16 = 12;
    }

    /// IPv4, without its options.
    Ipv4 [IPV4_LEN] {
        /// The first four bytes: version and header length, TOS, total length.
        start, set_start: u32 = 0;
        /// Version in the high four bits, header length in 32-bit words in the low four.
        version_ihl, set_version_ihl: u8 = 0;
        /// DSCP in the high six bits, ECN in the low two.
        tos, set_tos: u8 = 1;
        /// Length of header and payload.
        total_len, set_total_len: Be16 = 2;
        /// Identification of the datagram.
        id, set_id: Be16 = 4;
        /// Identification, and what [`fragment`](Self::fragment) is.
        id_fragment, set_id_fragment: u32 = 4;
        /// DF, MF and the fragment offset.
        fragment, set_fragment: Be16 = 6;
        /// TTL, protocol and checksum.
        ttl_proto_checksum, set_ttl_proto_checksum: u32 = 8;
        /// How many more hops.
        ttl, set_ttl: u8 = 8;
        /// What the datagram carries.
        proto, set_proto: u8 = 9;
        /// Checksum of the header.
        checksum, set_checksum: u16 = 10;
        /// Source.
        src, set_src: Be32 = 12;
        /// Destination.
        dst, set_dst: Be32 = 16;
    }

    /// IPv6.
    Ipv6 [IPV6_LEN] {
        /// Version, traffic class and flow label.
        start, set_start: u32 = 0;
        /// Length of all that follows.
        payload_len, set_payload_len: Be16 = 4;
        /// What follows.
        next, set_next: u8 = 6;
        /// How many more hops.
        hop_limit, set_hop_limit: u8 = 7;
        /// Source.
        src, set_src: Be128 = 8;
        /// Destination.
        dst, set_dst: Be128 = 24;
    }

    /// The beginning of an extension header of IPv6.
    Extension [2] {
        /// What follows it.
        next, set_next: u8 = 0;
        /// How long it is, in units of eight bytes, without the first eight.
        units, set_units: u8 = 1;
    }

    /// The extension header of an IPv6 fragment.
    Fragment [8] {
        /// What follows it.
        next, set_next: u8 = 0;
        /// Where its data begins in the datagram, in bytes, and in the lowest bit whether more fragments follow.
        offset_more, set_offset_more: Be16 = 2;
        /// Identification of the datagram, as it stands in the packet.
        id, set_id: u32 = 4;
    }

    /// TCP, without its options.
    Tcp [TCP_LEN] {
        /// Source port in the first two bytes, destination port in the next.
        ports, set_ports: u32 = 0;
        /// Where its first byte of data is in the stream, as it stands in the packet.
        sequence, set_sequence: u32 = 4;
        /// Up to where the sender has received the other stream, as it stands in the packet.
        acknowledged, set_acknowledged: u32 = 8;
        /// Length of the header, flags and window.
        start, set_start: u32 = 12;
        /// Length of the header in 32-bit words, in the high four bits.
        offset, set_offset: u8 = 12;
        /// Bits of [`tcp_flag`].
        flags, set_flags: u8 = 13;
        /// Checksum of pseudo-header, header and data.
        checksum, set_checksum: u16 = 16;
        /// Where urgent data ends.
        urgent, set_urgent: u16 = 18;
    }

    /// UDP.
    Udp [UDP_LEN] {
        /// Source port in the first two bytes, destination port in the next.
        ports, set_ports: u32 = 0;
        /// Checksum of pseudo-header, header and data; zero is none.
        checksum, set_checksum: u16 = 6;
    }

    /// ICMP.
    Icmp [ICMP_LEN] {
        /// Type, code and checksum.
        start, set_start: u32 = 0;
        /// What is told.
        kind, set_kind: u8 = 0;
        /// What is told of it in particular.
        code, set_code: u8 = 1;
        /// Checksum of the whole message.
        checksum, set_checksum: u16 = 2;
        /// Depends on the type.
        rest, set_rest: u32 = 4;
    }

    /// Four bytes of anything.
    Word32 [4] {
        /// The bytes as they stand.
        word, set_word: u32 = 0;
    }

    /// One byte of anything.
    Byte [1] {
        /// The byte.
        byte, set_byte: u8 = 0;
    }
}

/// What an IPv4 header without options says, apart from its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Fields {
    /// DSCP and ECN.
    pub tos: u8,
    /// Length of header and payload.
    pub total_len: u16,
    /// Identification.
    pub id: Be16,
    /// Whether DF is set.
    pub dont_fragment: bool,
    /// How many more hops.
    pub ttl: u8,
    /// What the datagram carries.
    pub proto: u8,
    /// Source.
    pub src: Be32,
    /// Destination.
    pub dst: Be32,
}

impl Ipv4 {
    /// "Don't fragment".
    pub const DF: u16 = 0x4000;
    /// More fragments follow.
    pub const MF: u16 = 0x2000;
    /// The fragment offset's bits.
    pub const OFFSET: u16 = 0x1fff;

    /// Whether "don't fragment" is set.
    #[inline(always)]
    pub fn dont_fragment(&self) -> bool {
        self.fragment().0 & Self::DF.to_be() != 0
    }

    /// Writes all of the header, with its checksum.
    #[inline(always)]
    pub fn write(&mut self, fields: Ipv4Fields) {
        let start = [0x45, fields.tos];
        let start = words(u16::from_ne_bytes(start), fields.total_len.to_be());
        let fragment = if fields.dont_fragment { Self::DF } else { 0 };
        let id_fragment = words(fields.id.0, fragment.to_be());
        let ttl_proto = u16::from_ne_bytes([fields.ttl, fields.proto]);
        let checksum = Sum::default()
            .add(start)
            .add(id_fragment)
            .add(ttl_proto.into())
            .add(fields.src.0)
            .add(fields.dst.0)
            .checksum();
        self.set_start(start);
        self.set_id_fragment(id_fragment);
        self.set_ttl_proto_checksum(words(ttl_proto, checksum));
        self.set_src(fields.src);
        self.set_dst(fields.dst);
    }

    /// The sum of its words.
    #[inline(always)]
    pub fn sum(&self) -> Sum {
        Sum::default()
            .add(self.start())
            .add(self.id_fragment())
            .add(self.ttl_proto_checksum())
            .add(self.src().0)
            .add(self.dst().0)
    }

    /// Counts the TTL down, and the checksum with it.
    #[inline(always)]
    pub fn decrement_ttl(&mut self) {
        let checksum = Sum::of_checksum(self.checksum())
            .ttl_decremented()
            .checksum();
        self.set_ttl(self.ttl().wrapping_sub(1));
        self.set_checksum(checksum);
    }
}

/// What an IPv6 header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Fields {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Length of all that follows.
    pub payload_len: u16,
    /// What follows.
    pub next: u8,
    /// How many more hops.
    pub hop_limit: u8,
    /// Source.
    pub src: Be128,
    /// Destination.
    pub dst: Be128,
}

impl Ipv6 {
    /// DSCP in the high six bits, ECN in the low two.
    #[inline(always)]
    pub fn traffic_class(&self) -> u8 {
        (u32::from_be(self.start()) >> 20) as u8
    }

    /// Makes it say "congestion experienced" (RFC 3168, 5).
    #[inline(always)]
    pub fn mark_congested(&mut self) {
        self.set_start(self.start() | (3_u32 << 20).to_be());
    }

    /// The version, which is 6.
    #[inline(always)]
    pub fn version(&self) -> u8 {
        (u32::from_be(self.start()) >> 28) as u8
    }

    /// Writes all of the header, with no flow label.
    #[inline(always)]
    pub fn write(&mut self, fields: Ipv6Fields) {
        self.set_start((6 << 28 | u32::from(fields.traffic_class) << 20).to_be());
        self.set_payload_len(Be16::from_host(fields.payload_len));
        self.set_next(fields.next);
        self.set_hop_limit(fields.hop_limit);
        self.set_src(fields.src);
        self.set_dst(fields.dst);
    }

    /// The sum of its words.
    #[inline(always)]
    pub fn sum(&self) -> Sum {
        let rest = words(
            self.payload_len().0,
            u16::from_ne_bytes([self.next(), self.hop_limit()]),
        );
        add_address(
            add_address(Sum::default().add(self.start()).add(rest), self.src()),
            self.dst(),
        )
    }
}

/// A sum with the words of an address.
#[inline(always)]
pub(super) const fn add_address(sum: Sum, addr: Be128) -> Sum {
    let [a, b, c, d] = addr.0;
    sum.add(a).add(b).add(c).add(d)
}

impl Icmp {
    /// Writes all of the header; `checksum` is told the sum of its words.
    #[inline(always)]
    pub fn write(&mut self, kind: u8, code: u8, rest: u32, rest_of_message: Sum) {
        let kind_code = u16::from_ne_bytes([kind, code]);
        let checksum = rest_of_message.add(kind_code.into()).add(rest).checksum();
        self.set_start(words(kind_code, checksum));
        self.set_rest(rest);
    }
}

/// A word of the two 16-bit words that follow each other in a packet.
#[inline(always)]
const fn words(first: u16, second: u16) -> u32 {
    let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

/// The low 48 bits of a word that holds a MAC.
pub const MAC_MASK: u64 = (1 << 48) - 1;

/// The two addresses of an Ethernet header, each in the low 48 bits of a word, byte 0 lowest.
///
/// Two stores write both; six-byte arrays would be copied in smaller pieces.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct MacPair {
    /// To whom.
    pub dst: u64,
    /// From whom.
    pub src: u64,
}

impl MacPair {
    /// The pair with the roles changed.
    #[inline(always)]
    pub const fn swapped(self) -> Self {
        Self {
            dst: self.src,
            src: self.dst,
        }
    }
}

impl Ethernet {
    /// The two addresses.
    #[inline(always)]
    pub fn macs(&self) -> MacPair {
        let (low, high) = (u64::from_le(self.dst_src()), u32::from_le(self.src_rest()));
        MacPair {
            dst: low & MAC_MASK,
            src: (low >> 48) | u64::from(high) << 16,
        }
    }

    /// The destination alone.
    #[inline(always)]
    pub fn dst(&self) -> u64 {
        u64::from_le(self.dst_src()) & MAC_MASK
    }

    /// Writes the two addresses, and leaves the EtherType.
    #[inline(always)]
    pub fn set_macs(&mut self, macs: MacPair) {
        self.set_dst_src((macs.dst & MAC_MASK | macs.src << 48).to_le());
        self.set_src_rest(((macs.src >> 16) as u32).to_le());
    }

    /// Writes all of the header.
    #[inline(always)]
    pub fn write(&mut self, macs: MacPair, ethertype: Be16) {
        self.set_macs(macs);
        self.set_ethertype(ethertype);
    }
}

/// A MAC as the word that [`MacPair`] and the maps hold.
#[inline(always)]
pub const fn mac_word(mac: [u8; 6]) -> u64 {
    u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0])
}

/// The six bytes of a MAC word.
#[inline(always)]
pub const fn mac_bytes(word: u64) -> [u8; 6] {
    let b = word.to_le_bytes();
    [b[0], b[1], b[2], b[3], b[4], b[5]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_stand_in_the_frame_in_their_order() {
        let macs = MacPair {
            dst: mac_word([1, 2, 3, 4, 5, 6]),
            src: mac_word([7, 8, 9, 10, 11, 12]),
        };
        let mut bytes = [0u8; ETH_LEN];
        let eth = Ethernet::from_bytes_mut(&mut bytes).unwrap();
        eth.write(macs, ETHERTYPE_IPV4);
        assert_eq!(eth.macs(), macs);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0]);
        Ethernet::from_bytes_mut(&mut bytes)
            .unwrap()
            .set_macs(macs.swapped());
        assert_eq!(bytes, [7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 8, 0]);
        assert_eq!(mac_bytes(macs.dst), [1, 2, 3, 4, 5, 6]);
    }
}
