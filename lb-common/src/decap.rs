//! Which frames does a real server take out of their tunnel?
//!
//! Only whole IP-in-IP packets (RFC 2003) to one of its own tunnel addresses, with IPv4 inside. Everything else, fragments of
//! a tunnel among them, is left to the stack, whose own `ipip` device does the same where there is one.

use crate::net::Be32;
use crate::packet::checksum::Sum;
use crate::packet::parse::L3;
use crate::packet::wire::{IPV4_LEN, Ipv4, PROTO_IPIP};
use crate::packet::{Bytes, Network, rewrite};

/// How a frame ended. The discriminant is the index in the `DECAPS` map.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decap {
    /// The outer header was taken off, and the inner packet goes to the stack.
    TakenOff,
    /// No tunnel packet to an address of ours: to the stack as it came.
    NotOurs,
    /// A tunnel packet that is a fragment, malformed, or not IPv4 inside: to the stack as it came.
    Left,
    /// The outer header says "congestion experienced" and the inner packet cannot carry that on (RFC 6040, 4.2): dropped.
    Congested,
}

/// The number of ways a frame can end: the size of the `DECAPS` map.
pub const DECAPS: u32 = 4;

/// The ECN bits of the TOS byte: congestion experienced.
const CE: u8 = 3;

/// Takes a frame out of its tunnel, if it is in one to an address that `is_ours`.
#[inline(always)]
pub fn handle<B: Bytes>(frame: &mut B, is_ours: impl Fn(Be32) -> bool) -> Decap {
    let Ok(outer) = Network::<Be32>::parse(frame) else {
        return Decap::NotOurs;
    };
    let Some(ip) = frame.header::<Ipv4>(L3) else {
        return Decap::NotOurs;
    };
    if ip.proto() != PROTO_IPIP || !is_ours(outer.dst) {
        return Decap::NotOurs;
    }
    let header = usize::from(ip.version_ihl() & 0x0f) * 4;
    let whole = ip.version_ihl() >> 4 == 4
        && header >= IPV4_LEN
        && ip.fragment().to_host() & (Ipv4::MF | Ipv4::OFFSET) == 0
        && usize::from(ip.total_len().to_host()) >= header + IPV4_LEN;
    let congested = ip.tos() & CE == CE;
    if !whole {
        return Decap::Left;
    }
    let at = L3 + header;
    let Some(inner) = frame.header_mut::<Ipv4>(at) else {
        return Decap::Left;
    };
    if inner.version_ihl() >> 4 != 4 {
        return Decap::Left;
    }
    if congested && !mark_congested(inner) {
        return Decap::Congested;
    }
    match rewrite::decapsulate::<Be32, _>(frame, at) {
        Some(()) => Decap::TakenOff,
        None => Decap::Left,
    }
}

/// Carries "congestion experienced" on to the inner header, if its sender understands it.
#[inline(always)]
fn mark_congested(ip: &mut Ipv4) -> bool {
    let tos = ip.tos();
    if tos & CE == 0 {
        return false;
    }
    let before = u16::from_ne_bytes([ip.version_ihl(), tos]);
    let after = u16::from_ne_bytes([ip.version_ihl(), tos | CE]);
    let sum = Sum::of_checksum(ip.checksum()).replace16(before, after);
    ip.set_tos(tos | CE);
    ip.set_checksum(sum.checksum());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Be16;
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
        let decap = handle(&mut frame, |addr| addr == RIP);
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
