//! Which ICMP error tells a sender that its packet goes no further?
//!
//! The offending frame itself becomes the error: cut to what is quoted, grown in front by an IPv4 and an ICMP header, its
//! Ethernet addresses exchanged. The bytes are those of Linux: TOS 0xc0 (network control), TTL 64, no DF, a quote that
//! fills at most 576 bytes.

use super::bytes::Bytes;
use super::checksum::Sum;
use super::parse::L3;
use super::rewrite::with_checksum;
use super::wire::{Byte, ETHERTYPE_IPV4, Ethernet, IPV4_LEN, Icmp, Ipv4, PROTO_ICMP, Word32};
use crate::net::{Be16, Be32};

/// The most of the offending packet that is quoted: 576 bytes less the two headers (RFC 1812 4.3.2.3).
pub const QUOTE: usize = 548;
/// Length of the headers in front of the quote.
const HEADERS: usize = IPV4_LEN + size_of::<Icmp>();
/// DSCP CS6 (RFC 1812 4.3.2.5).
const TOS: u8 = 0xc0;
/// What Linux sends.
const TTL: u8 = 64;

/// What is wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// Its TTL ran out.
    TimeExceeded,
    /// There is nobody to serve it.
    PortUnreachable,
    /// It does not fit into packets of this size on its way, and may not be fragmented.
    FragmentationNeeded {
        /// The most that fits.
        mtu: u16,
    },
}

impl Error {
    /// Type, code, and the word behind the checksum as it stands in the packet.
    #[inline(always)]
    const fn fields(self) -> (u8, u8, u32) {
        match self {
            Self::TimeExceeded => (11, 0, 0),
            Self::PortUnreachable => (3, 3, 0),
            Self::FragmentationNeeded { mtu } => (3, 4, (mtu as u32).to_be()),
        }
    }
}

/// Turns a frame whose IP packet has length `len` into an error to its sender, from the address it was sent to.
///
/// With [`Error::FragmentationNeeded`] the quote shows the TTL counted down: IPVS finds the size wrong only after that.
///
/// `None` where the frame is not what was parsed, or has no room; it is then to be dropped.
pub fn reply<B: Bytes>(frame: &mut B, len: u16, error: Error, id: Be16) -> Option<()> {
    let ip = frame.header_mut::<Ipv4>(L3)?;
    if let Error::FragmentationNeeded { .. } = error {
        ip.checksum = Sum::of_checksum(ip.checksum).ttl_decremented().checksum();
        ip.ttl = ip.ttl.wrapping_sub(1);
    }
    let (sender, from) = (ip.src, ip.dst);
    let macs = frame.header::<Ethernet>(0)?.macs().swapped();
    let quote = usize::from(len).min(QUOTE);
    let surplus = frame.len().checked_sub(L3 + quote)?;
    if surplus > 0 {
        frame.cut_end(surplus as u16)?;
    }
    frame.grow_front(HEADERS as u16)?;

    let (kind, code, rest) = error.fields();
    let icmp = Icmp {
        kind,
        code,
        checksum: 0,
        rest,
    };
    let sum = Sum::default()
        .add(u16::from_ne_bytes([kind, code]).into())
        .add(rest);
    let checksum = sum_quote(frame, sum, quote).checksum();
    *frame.header_mut::<Icmp>(L3 + IPV4_LEN)? = Icmp { checksum, ..icmp };
    *frame.header_mut::<Ipv4>(L3)? = with_checksum(Ipv4 {
        version_ihl: 0x45,
        tos: TOS,
        total_len: Be16::from_host((HEADERS + quote) as u16),
        id,
        fragment: Be16(0),
        ttl: TTL,
        proto: PROTO_ICMP,
        checksum: 0,
        src: from,
        dst: Be32(sender.0),
    });
    *frame.header_mut::<Ethernet>(0)? = Ethernet::new(macs, ETHERTYPE_IPV4);
    Some(())
}

/// Adds the quoted bytes, which are the frame's last.
#[inline(always)]
fn sum_quote<B: Bytes>(frame: &B, mut sum: Sum, quote: usize) -> Sum {
    let mut at = L3 + HEADERS;
    for _ in 0..QUOTE / size_of::<Word32>() {
        let Some(word) = frame.header::<Word32>(at) else {
            break;
        };
        sum = sum.add(word.word);
        at += size_of::<Word32>();
    }
    for i in 0..quote % size_of::<Word32>() {
        let Some(byte) = frame.header::<Byte>(at + i) else {
            break;
        };
        let pair = if i % 2 == 0 {
            [byte.byte, 0]
        } else {
            [0, byte.byte]
        };
        sum = sum.add(u16::from_ne_bytes(pair).into());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build::{Build, checksums_hold};
    use crate::packet::bytes::SliceFrame;
    use proptest::prelude::*;

    fn answer(bytes: &[u8], error: Error) -> Vec<u8> {
        let mut buffer = [&[0u8; 64][..], bytes].concat();
        let mut frame = SliceFrame::new(&mut buffer, 64);
        let len = u16::from_be_bytes([bytes[16], bytes[17]]);
        reply(&mut frame, len, error, Be16::from_host(0x7761)).unwrap();
        frame.as_slice().to_vec()
    }

    #[test]
    fn padding_of_a_short_frame_is_not_quoted() {
        let mut bytes = Build::udp("198.51.100.5:1025", "203.0.113.10:53")
            .payload(b"x")
            .bytes();
        bytes.resize(60, 0xee);
        let out = answer(&bytes, Error::PortUnreachable);
        assert_eq!(out.len(), 14 + 28 + 29);
        assert!(checksums_hold(&out));
    }

    proptest! {
        #[test]
        fn every_error_has_right_checksums_and_quotes_the_packet(
            payload in proptest::collection::vec(any::<u8>(), 0..1400), ttl in 1u8.., mtu: u16, which in 0usize..3,
        ) {
            let bytes = Build::udp("198.51.100.5:1025", "203.0.113.10:53").ttl(ttl).payload(&payload).bytes();
            let error = [Error::TimeExceeded, Error::PortUnreachable, Error::FragmentationNeeded { mtu }][which];
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
