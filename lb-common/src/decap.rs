//! Which frames does a real server take out of their tunnel?
//!
//! Only whole packets of IP in IP (RFC 2003, 2473, 4213), of either family in either, to one of its own tunnel addresses. Everything
//! else, fragments of a tunnel and IPv6 with extension headers in front of the inner packet among them, is left to the stack, whose
//! own tunnel devices do the same where there are some.

use crate::net::{Be32, Be128};
use crate::packet::checksum::Sum;
use crate::packet::parse::L3;
use crate::packet::wire::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, PROTO_IPIP,
    PROTO_IPV6,
};
use crate::packet::{Bytes, Ip, rewrite};

/// How a frame ended. The discriminant is the index in the `DECAPS` map.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decap {
    /// The outer header was taken off, and the inner packet goes to the stack.
    TakenOff,
    /// No tunnel packet to an address of ours: to the stack as it came.
    NotOurs,
    /// A tunnel packet that is a fragment, malformed, or has something else inside: to the stack as it came.
    Left,
    /// The outer header says "congestion experienced" and the inner packet cannot carry that on (RFC 6040, 4.2): dropped.
    Congested,
}

/// The number of ways a frame can end: the size of the `DECAPS` map.
pub const DECAPS: u32 = 4;

/// The ECN bits of the TOS byte: congestion experienced.
const CE: u8 = 3;

/// What the header of a tunnel says.
struct Outer {
    /// Where it ends, an address of IPv4 as the one of IPv6 that stands for it.
    dst: Be128,
    /// IP protocol number of what is inside.
    proto: u8,
    /// Where that is, below 2^8.
    inner: usize,
    /// Length of that; `None` where the header is malformed, or of a fragment.
    len: Option<usize>,
    /// DSCP and ECN.
    traffic_class: u8,
}

/// Takes a frame out of its tunnel, if it is in one to an address that `is_ours`.
#[inline(always)]
pub fn handle<B: Bytes>(frame: &mut B, is_ours: impl Fn(Be128) -> bool) -> Decap {
    match outer(frame) {
        Some(outer) if is_ours(outer.dst) => {
            if outer.proto == PROTO_IPIP {
                take_off::<Be32, B>(frame, &outer)
            } else {
                take_off::<Be128, B>(frame, &outer)
            }
        }
        _ => Decap::NotOurs,
    }
}

/// The header of a tunnel of IP in IP, if the frame has one.
#[inline(always)]
fn outer<B: Bytes>(frame: &B) -> Option<Outer> {
    let outer = match frame.header::<Ethernet>(0)?.ethertype() {
        ETHERTYPE_IPV4 => {
            let ip = frame.header::<Ipv4>(L3)?;
            let header = usize::from(ip.version_ihl() & 0x0f) * 4;
            let is_whole = ip.version_ihl() >> 4 == 4
                && header >= IPV4_LEN
                && ip.fragment().to_host() & (Ipv4::MF | Ipv4::OFFSET) == 0;
            let len = usize::from(ip.total_len().to_host()).checked_sub(header);
            Outer {
                dst: Be128::mapped(ip.dst()),
                proto: ip.proto(),
                inner: L3 + header,
                len: len.filter(|_| is_whole),
                traffic_class: ip.tos(),
            }
        }
        ETHERTYPE_IPV6 => {
            let ip = frame.header::<Ipv6>(L3)?;
            Outer {
                dst: ip.dst(),
                proto: ip.next(),
                inner: L3 + IPV6_LEN,
                len: (ip.version() == 6).then(|| ip.payload_len().to_host().into()),
                traffic_class: ip.traffic_class(),
            }
        }
        _ => return None,
    };
    matches!(outer.proto, PROTO_IPIP | PROTO_IPV6).then_some(outer)
}

#[inline(always)]
fn take_off<A: Inner, B: Bytes>(frame: &mut B, outer: &Outer) -> Decap {
    let is_congested = outer.traffic_class & CE == CE;
    let Some(inner) = frame.header_mut::<A::Header>(outer.inner) else {
        return Decap::Left;
    };
    if outer.len.is_none_or(|len| len < A::LEN) || !A::is_one(inner) {
        return Decap::Left;
    }
    if is_congested {
        if A::traffic_class(inner) & CE == 0 {
            return Decap::Congested;
        }
        A::mark_congested(inner);
    }
    match rewrite::decapsulate::<A, _>(frame, outer.inner) {
        Some(()) => Decap::TakenOff,
        None => Decap::Left,
    }
}

/// What matters of a packet's header when it comes out of a tunnel.
trait Inner: Ip {
    /// Whether it is of this family.
    fn is_one(header: &Self::Header) -> bool;

    /// Makes it say "congestion experienced".
    fn mark_congested(header: &mut Self::Header);
}

impl Inner for Be32 {
    #[inline(always)]
    fn is_one(ip: &Ipv4) -> bool {
        ip.version_ihl() >> 4 == 4
    }

    #[inline(always)]
    fn mark_congested(ip: &mut Ipv4) {
        let tos = ip.tos();
        let before = u16::from_ne_bytes([ip.version_ihl(), tos]);
        let after = u16::from_ne_bytes([ip.version_ihl(), tos | CE]);
        let sum = Sum::of_checksum(ip.checksum()).replace16(before, after);
        ip.set_tos(tos | CE);
        ip.set_checksum(sum.checksum());
    }
}

impl Inner for Be128 {
    #[inline(always)]
    fn is_one(ip: &Ipv6) -> bool {
        ip.version() == 6
    }

    #[inline(always)]
    fn mark_congested(ip: &mut Ipv6) {
        ip.mark_congested();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Be16;
    use crate::packet::Network;
    use crate::packet::SliceFrame;
    use crate::packet::build::Build;
    use crate::packet::checksum::of_bytes;
    use crate::packet::parse::Transport;
    use crate::packet::wire::MacPair;
    use proptest::prelude::*;

    const RIP: Be32 = Be32::from_host(0x0a00_0001);

    /// A SYN with this TOS byte, in a tunnel to [`RIP`], behind `ROOM` bytes.
    fn tunnelled(tos: u8) -> Vec<u8> {
        let packet = Build::tcp("198.51.100.5:1025", "203.0.113.10:80")
            .flags(2)
            .tos(tos)
            .bytes();
        let mut buffer = vec![0; IPV4_LEN];
        buffer.extend_from_slice(&packet);
        let mut frame = SliceFrame::new(&mut buffer, IPV4_LEN);
        let transport = Transport::parse::<Be32, _>(&frame).unwrap();
        let tunnel = Network {
            src: Be32::from_host(0x0a00_00fe),
            dst: RIP,
        };
        let macs = MacPair { dst: 1, src: 2 };
        rewrite::tun(&mut frame, &transport, tunnel, || Be16(7), macs).unwrap();
        frame.as_slice().to_vec()
    }

    fn ended(bytes: &mut [u8]) -> (Decap, Vec<u8>) {
        let mut frame = SliceFrame::new(bytes, 0);
        let decap = handle(&mut frame, |addr| addr == Be128::mapped(RIP));
        (decap, frame.as_slice().to_vec())
    }

    /// Writes the outer TOS byte, with the checksum.
    fn with_outer_tos(mut bytes: Vec<u8>, tos: u8) -> Vec<u8> {
        bytes[15] = tos;
        bytes[24..26].fill(0);
        let sum = of_bytes(Sum::default(), &bytes[14..34]);
        bytes[24..26].copy_from_slice(&sum.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_tunnel_to_us_is_taken_off() {
        let mut bytes = tunnelled(0);
        let inner = bytes[34..].to_vec();
        let (decap, out) = ended(&mut bytes);
        assert_eq!(decap, Decap::TakenOff);
        assert_eq!(out[14..], inner);
    }

    #[test]
    fn what_is_not_ours_stays_as_it_came() {
        let plain = Build::tcp("198.51.100.5:1025", "10.0.0.1:80").bytes();
        let mut other = tunnelled(0);
        other[33] = 9;
        for bytes in [plain, other] {
            assert_eq!(ended(&mut bytes.clone()), (Decap::NotOurs, bytes));
        }
    }

    #[test]
    fn fragments_and_other_contents_are_left_to_the_stack() {
        let patched = |at: usize, byte: u8| {
            let mut bytes = tunnelled(0);
            bytes[at] = byte;
            bytes
        };
        for bytes in [
            patched(20, 0x20),
            patched(21, 1),
            patched(34, 0x60),
            patched(14, 0x44),
            patched(17, 30),
        ] {
            assert_eq!(ended(&mut bytes.clone()), (Decap::Left, bytes));
        }
    }

    #[test]
    fn congestion_on_the_way_is_carried_on_or_the_packet_dropped() {
        let (decap, out) = ended(&mut with_outer_tos(tunnelled(2), 3));
        assert_eq!((decap, out[15] & CE), (Decap::TakenOff, CE));
        assert_eq!(of_bytes(Sum::default(), &out[14..34]), 0);
        assert_eq!(
            ended(&mut with_outer_tos(tunnelled(0), 3)).0,
            Decap::Congested
        );
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_cut_are_safe(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), cut in 0..100usize) {
            ended(&mut bytes);
            let mut bytes = tunnelled(1);
            bytes.truncate(cut);
            let before = bytes.clone();
            let (decap, out) = ended(&mut bytes);
            prop_assert!(decap == Decap::TakenOff || out == before);
        }
    }
}
