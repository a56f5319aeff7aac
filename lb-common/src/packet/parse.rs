//! What is this packet?
//!
//! In two steps: [`Network`] is enough to tell packets of no concern, [`Transport`] names the flow. Both are
//! small values that later stages read. What only one of these needs (TTL, TOS, DF) it reads itself: carried along, it
//! would cost more than that.

use super::bytes::Bytes;
use super::ip::{Ip, Upper};
use super::wire::{ETH_LEN, Ethernet, Tcp, Udp};
use crate::bound::masked;
use crate::counter::Counter;
use crate::net::{Be32, Proto};

/// Where the IP header is.
pub const L3: usize = ETH_LEN;

/// What the network header says.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network<A = Be32> {
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
}

impl<A: Ip> Network<A> {
    /// The addresses of an IP packet of the family.
    ///
    /// # Errors
    ///
    /// The counter of a packet that is left to the stack: of another protocol, or too short to be.
    #[inline(always)]
    pub fn parse<B: Bytes>(frame: &B) -> Result<Self, Counter> {
        let Some(ip) = frame.header::<A::Header>(L3) else {
            return Err(match frame.header::<Ethernet>(0) {
                Some(eth) if eth.ethertype() == A::ETHERTYPE => Counter::PassMalformed,
                _ => Counter::PassNotIp,
            });
        };
        let eth = frame.header::<Ethernet>(0).ok_or(Counter::PassMalformed)?;
        if eth.ethertype() != A::ETHERTYPE {
            return Err(Counter::PassNotIp);
        }
        Ok(A::addresses(ip))
    }
}

/// Whether a packet has the IP header that nearly all have: one without options or extensions.
#[inline(always)]
pub fn is_plain<A: Ip, B: Bytes>(frame: &B) -> bool {
    frame
        .header::<A::Header>(L3)
        .is_some_and(|ip| A::is_plain(ip))
}

/// What the network and transport headers say of a TCP segment or UDP datagram, of which this is all, or the first fragment.
///
/// Each field has as many bits as the machine adds at once, lest the compiler pack them into words and unpack them wherever they are
/// handed on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport {
    /// Source and destination port as they stand in the packet, the source port in the first two bytes.
    pub ports: u32,
    /// Length of the IP packet, below 2^16.
    pub len: u32,
    /// Bits of [`tcp_flag`](super::wire::tcp_flag); 0 with UDP.
    pub tcp_flags: u32,
    /// Where the transport header is, below 2^8.
    pub l4: u32,
    /// The protocol.
    pub proto: Proto,
    /// It is the first fragment of a datagram, and others follow.
    pub is_piece: bool,
}

impl Transport {
    /// That of no packet.
    pub const NONE: Self = Self {
        ports: 0,
        len: 0,
        tcp_flags: 0,
        l4: 0,
        proto: Proto::Tcp,
        is_piece: false,
    };

    /// Where the transport header is, as an offset that the verifier can see to be one.
    #[inline(always)]
    pub(super) fn l4(&self) -> usize {
        masked::<0xff>(self.l4) as usize
    }

    /// The transport header behind an IP header that [`Network::parse`] found.
    ///
    /// # Errors
    ///
    /// The counter of a packet that goes no further here: malformed, of another protocol, or a fragment without this header.
    #[inline(always)]
    pub fn parse<A: Ip, B: Bytes>(frame: &B) -> Result<Self, Counter> {
        Self::behind(frame, A::upper(frame)?)
    }

    /// The same of a packet that [`is_plain`].
    ///
    /// # Errors
    ///
    /// As of [`parse`](Self::parse), and of any fragment.
    #[inline(always)]
    pub fn parse_plain<A: Ip, B: Bytes>(frame: &B) -> Result<Self, Counter> {
        Self::behind(frame, A::plain(frame)?)
    }

    #[inline(always)]
    fn behind<B: Bytes>(frame: &B, upper: Upper) -> Result<Self, Counter> {
        let Upper {
            at: l4,
            len,
            is_piece,
            ..
        } = upper;
        let proto = Proto::from_number(upper.proto).ok_or(Counter::PassProtocol)?;
        let short = if is_piece {
            Counter::DropTinyFragment
        } else {
            Counter::PassMalformed
        };
        let (ports, tcp_flags, l4_len) = match proto {
            Proto::Tcp => {
                let tcp = frame.header::<Tcp>(l4).ok_or(short)?;
                (tcp.ports(), tcp.flags().into(), size_of::<Tcp>())
            }
            Proto::Udp => {
                let udp = frame.header::<Udp>(l4).ok_or(short)?;
                (udp.ports(), 0, size_of::<Udp>())
            }
        };
        if L3 + usize::from(len) < l4 + l4_len {
            return Err(short);
        }
        Ok(Self {
            proto,
            ports,
            tcp_flags,
            l4: l4 as u32,
            len: len.into(),
            is_piece,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build::Build;
    use crate::packet::testing::{self, refused_wherever_cut};
    use proptest::prelude::*;

    fn parse(bytes: &mut [u8]) -> Result<(Network, Transport), Counter> {
        testing::parse(bytes)
    }

    #[test]
    fn a_segment_is_read_as_it_stands() {
        let mut bytes = Build::tcp("198.51.100.5:1025", "203.0.113.10:80")
            .flags(0x12)
            .ttl(17)
            .tos(3)
            .payload(b"hello")
            .bytes();
        let (network, transport) = parse(&mut bytes).unwrap();
        assert_eq!(network.src.to_bytes(), [198, 51, 100, 5]);
        assert_eq!(network.dst.to_bytes(), [203, 0, 113, 10]);
        assert_eq!(transport.ports.to_ne_bytes(), [4, 1, 0, 80]);
        assert_eq!((transport.proto, transport.tcp_flags), (Proto::Tcp, 0x12));
        assert_eq!((transport.l4, transport.len), (34, 45));
    }

    #[test]
    fn options_move_the_transport_header() {
        let mut bytes = Build::udp("198.51.100.5:1025", "203.0.113.10:53")
            .options(&[1; 40])
            .bytes();
        assert_eq!(parse(&mut bytes).unwrap().1.l4, 14 + 60);
    }

    #[test]
    fn what_is_left_to_the_stack_has_its_counter() {
        let tcp = || Build::tcp("198.51.100.5:1025", "203.0.113.10:80");
        let mut arp = tcp().bytes();
        arp[12..14].copy_from_slice(&[8, 6]);
        let patched = |at: usize, byte: u8| {
            let mut bytes = tcp().bytes();
            bytes[at] = byte;
            bytes
        };
        for (name, mut bytes, counter) in [
            ("arp", arp, Counter::PassNotIp),
            (
                "no whole Ethernet header",
                tcp().bytes()[..13].to_vec(),
                Counter::PassNotIp,
            ),
            (
                "first fragment without the whole TCP header",
                [&patched(20, 0x20)[..16], &[0, 36], &patched(20, 0x20)[18..]].concat(),
                Counter::DropTinyFragment,
            ),
            ("last fragment", patched(21, 1), Counter::PassFragment),
            ("icmp", patched(23, 1), Counter::PassProtocol),
            ("version 6", patched(14, 0x65), Counter::PassMalformed),
            (
                "header length 16",
                patched(14, 0x44),
                Counter::PassMalformed,
            ),
            (
                "header length beyond the packet",
                patched(14, 0x4f),
                Counter::PassMalformed,
            ),
            (
                "total length above the frame's",
                patched(17, 41),
                Counter::PassMalformed,
            ),
            (
                "total length without the whole TCP header",
                patched(17, 39),
                Counter::PassMalformed,
            ),
        ] {
            assert_eq!(parse(&mut bytes), Err(counter), "{name}");
        }
    }

    #[test]
    fn a_packet_cut_at_any_length_is_refused() {
        for whole in [
            Build::tcp("198.51.100.5:1025", "203.0.113.10:80")
                .options(&[1; 8])
                .payload(b"data")
                .bytes(),
            Build::udp("198.51.100.5:1025", "203.0.113.10:53")
                .payload(b"data")
                .bytes(),
        ] {
            refused_wherever_cut::<Be32>(&whole);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&mut bytes);
        }

        #[test]
        fn a_mutated_packet_parses_within_its_bounds(changes in proptest::collection::vec((0usize..54, any::<u8>()), 1..6)) {
            let mut bytes = Build::tcp("198.51.100.5:1025", "203.0.113.10:80").payload(&[0x61; 60]).bytes();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let len = bytes.len();
            if let Ok((_, transport)) = parse(&mut bytes) {
                prop_assert!(transport.l4 as usize + 8 <= len);
                prop_assert!(L3 + transport.len as usize <= len);
            }
        }
    }
}
