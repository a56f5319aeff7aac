//! Which ICMP error tells a sender that its packet goes no further?
//!
//! The offending frame itself becomes the error: cut to what is quoted, grown in front by an IP and an ICMP header, its
//! Ethernet addresses exchanged. The bytes are those of Linux: with IPv4 TOS 0xc0 (network control), TTL 64, no DF, a quote that
//! fills at most 576 bytes; with IPv6 no traffic class and one that fills at most 1280.

use super::bytes::Bytes;
use super::checksum::Sum;
use super::ip::Ip;
use super::parse::{L3, Network};
use super::wire::{Byte, Ethernet, ICMP_LEN, Icmp, Word32};
use crate::net::Be16;

/// What is wrong with a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// There is nobody to serve it.
    PortUnreachable,
    /// Its port is of no service. To a segment the answer is no ICMP error but a [reset](super::reset).
    PortClosed,
    /// Its TTL ran out.
    TimeExceeded,
    /// It does not fit into packets of a size on its way, and is not to be fragmented.
    FragmentationNeeded,
}

/// What the sender of a packet is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// What is wrong.
    pub kind: Kind,
    /// The most that fits, where size is wrong; else zero.
    pub mtu: u16,
}

impl Error {
    /// The TTL ran out.
    pub const TIME_EXCEEDED: Self = Self {
        kind: Kind::TimeExceeded,
        mtu: 0,
    };
    /// There is nobody to serve the packet.
    pub const PORT_UNREACHABLE: Self = Self {
        kind: Kind::PortUnreachable,
        mtu: 0,
    };

    /// The port is of no service.
    pub const PORT_CLOSED: Self = Self {
        kind: Kind::PortClosed,
        mtu: 0,
    };

    /// The packet is larger than `mtu`.
    #[inline(always)]
    pub const fn fragmentation_needed(mtu: u16) -> Self {
        Self {
            kind: Kind::FragmentationNeeded,
            mtu,
        }
    }
}

/// What an ICMP header says, without its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The word behind the checksum, as it stands in the packet.
    pub rest: u32,
}

/// Turns a frame whose IP packet has length `len` into an error to its sender, from the address it was sent to.
///
/// With [`Kind::FragmentationNeeded`] the quote shows the TTL counted down: IPVS finds the size wrong only after that.
///
/// `None` where the frame is not what was parsed, or has no room; it is then to be dropped.
pub fn reply<A: Ip, B: Bytes>(frame: &mut B, len: u16, error: Error, id: Be16) -> Option<()> {
    let ip = frame.header_mut::<A::Header>(L3)?;
    if error.kind == Kind::FragmentationNeeded {
        A::count_down(ip);
    }
    let Network { src, dst } = A::addresses(ip);
    let network = Network { src: dst, dst: src };
    let macs = frame.header::<Ethernet>(0)?.macs().swapped();
    let quote = usize::from(len).min(A::QUOTE);
    let surplus = frame.len().checked_sub(L3 + quote)?;
    if surplus > 0 {
        frame.cut_end(surplus as u16)?;
    }
    frame.grow_front((A::LEN + ICMP_LEN) as u16)?;

    let Message { kind, code, rest } = A::error(error);
    let len = (ICMP_LEN + quote) as u16;
    let sum = sum_quote::<A, B>(frame, quote, A::pseudo(network, len));
    frame
        .header_mut::<Icmp>(L3 + A::LEN)?
        .write(kind, code, rest, sum);
    A::write_icmp(frame.header_mut::<A::Header>(L3)?, network, len, id);
    frame.header_mut::<Ethernet>(0)?.write(macs, A::ETHERTYPE);
    Some(())
}

/// A sum with that of the quoted bytes, which are the frame's last.
#[inline(always)]
fn sum_quote<A: Ip, B: Bytes>(frame: &B, quote: usize, sum: Sum) -> Sum {
    let mut sum = sum;
    let mut at = L3 + A::LEN + ICMP_LEN;
    for _ in 0..A::QUOTE / size_of::<Word32>() {
        let Some(word) = frame.header::<Word32>(at) else {
            break;
        };
        sum = sum.add(word.word());
        at += size_of::<Word32>();
    }
    for i in 0..quote % size_of::<Word32>() {
        let Some(byte) = frame.header::<Byte>(at + i) else {
            break;
        };
        let pair = if i % 2 == 0 {
            [byte.byte(), 0]
        } else {
            [0, byte.byte()]
        };
        sum = sum.add(u16::from_ne_bytes(pair).into());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Be32;
    use crate::packet::build::{Build, checksums_hold};
    use crate::packet::bytes::SliceFrame;
    use proptest::prelude::*;

    fn answer(bytes: &[u8], error: Error) -> Vec<u8> {
        let mut buffer = [&[0u8; 64][..], bytes].concat();
        let mut frame = SliceFrame::new(&mut buffer, 64);
        let len = u16::from_be_bytes([bytes[16], bytes[17]]);
        reply::<Be32, _>(&mut frame, len, error, Be16::from_host(0x7761)).unwrap();
        frame.as_slice().to_vec()
    }

    #[test]
    fn padding_of_a_short_frame_is_not_quoted() {
        let mut bytes = Build::udp("198.51.100.5:1025", "203.0.113.10:53")
            .payload(b"x")
            .bytes();
        bytes.resize(60, 0xee);
        let out = answer(&bytes, Error::PORT_UNREACHABLE);
        assert_eq!(out.len(), 14 + 28 + 29);
        assert!(checksums_hold(&out));
    }

    proptest! {
        #[test]
        fn every_error_has_right_checksums_and_quotes_the_packet(
            payload in proptest::collection::vec(any::<u8>(), 0..1400), ttl in 1u8.., mtu: u16, which in 0usize..3,
        ) {
            let bytes = Build::udp("198.51.100.5:1025", "203.0.113.10:53").ttl(ttl).payload(&payload).bytes();
            let error = [Error::TIME_EXCEEDED, Error::PORT_UNREACHABLE, Error::fragmentation_needed(mtu)][which];
            let out = answer(&bytes, error);
            prop_assert!(checksums_hold(&out));
            let quote = (bytes.len() - 14).min(548);
            prop_assert_eq!(out.len(), 14 + 28 + quote);
            if which < 2 {
                prop_assert_eq!(&out[42..], &bytes[14..14 + quote]);
            } else {
                prop_assert_eq!(out[42 + 8], ttl - 1);
            }
            prop_assert_eq!(&out[..12], &[&bytes[6..12], &bytes[..6]].concat()[..]);
            prop_assert_eq!(&out[26..34], &[&bytes[30..34], &bytes[26..30]].concat()[..]);
        }
    }
}
