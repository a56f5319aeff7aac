//! What is of IPv6 alone in a packet?

use super::bytes::Bytes;
use super::checksum::Sum;
use super::icmp::{Error, Kind, Message};
use super::ip::{Ip, Outer, Quoted, Upper};
use super::parse::{L3, Network};
use super::wire::{
    ETHERTYPE_IPV6, Extension, ICMP_LEN, IPV6_LEN, Ipv6, Ipv6Fields, PROTO_ICMPV6, PROTO_IPV6,
    add_address, extension,
};
use crate::bound::masked;
use crate::counter::Counter;
use crate::net::{Be16, Be128, Proto};

/// What Linux sends.
const HOP_LIMIT: u8 = 64;

/// A destination cannot be reached.
const UNREACHABLE: u8 = 1;
/// A packet is too big for a link.
const TOO_BIG: u8 = 2;
/// The hop limit ran out.
const TIME_EXCEEDED: u8 = 3;
/// A header says what is not understood; the last of the errors that IPVS knows.
const PARAMETER_PROBLEM: u8 = 4;
/// The code of [`UNREACHABLE`] that there is nobody behind a port.
const PORT_UNREACHABLE: u8 = 4;

/// The most extension headers that are walked.
const EXTENSIONS: u32 = 6;

/// How far from the frame's start the transport header may be.
const FARTHEST: u32 = 255;

impl Ip for Be128 {
    type Header = Ipv6;

    const LEN: usize = IPV6_LEN;
    const ETHERTYPE: Be16 = ETHERTYPE_IPV6;
    const IN_TUNNEL: u8 = PROTO_IPV6;
    const ICMP: u8 = PROTO_ICMPV6;
    /// What fits with the two headers into the least MTU (RFC 4443 2.4).
    const QUOTE: usize = 1280 - IPV6_LEN - ICMP_LEN;
    /// RFC 8200 5.
    const LEAST_MTU: u32 = 1280;
    const ICMP_HAS_ADDRESSES: bool = true;

    #[inline(always)]
    fn addresses(ip: &Ipv6) -> Network<Self> {
        Network {
            src: ip.src(),
            dst: ip.dst(),
        }
    }

    #[inline(always)]
    fn hop_limit(ip: &Ipv6) -> u8 {
        ip.hop_limit()
    }

    #[inline(always)]
    fn traffic_class(ip: &Ipv6) -> u8 {
        ip.traffic_class()
    }

    /// Only a sender makes fragments.
    #[inline(always)]
    fn dont_fragment(_ip: &Ipv6) -> bool {
        true
    }

    #[inline(always)]
    fn is_plain(ip: &Ipv6) -> bool {
        Proto::from_number(ip.next()).is_some()
    }

    #[inline(always)]
    fn is_icmp<B: Bytes>(frame: &B) -> bool {
        Self::upper(frame).is_ok_and(|upper| upper.proto == PROTO_ICMPV6)
    }

    #[inline(always)]
    fn plain<B: Bytes>(frame: &B) -> Result<Upper, Counter> {
        let (ip, len) = whole(frame)?;
        Ok(Upper {
            proto: ip.next(),
            at: L3 + IPV6_LEN,
            len,
        })
    }

    #[inline(always)]
    fn upper<B: Bytes>(frame: &B) -> Result<Upper, Counter> {
        let (ip, len) = whole(frame)?;
        let (proto, at) = walk(frame, ip.next(), L3 + IPV6_LEN)?;
        Ok(Upper { proto, at, len })
    }

    #[inline(always)]
    fn quoted<B: Bytes>(frame: &B, at: usize) -> Option<Quoted<Self>> {
        let ip = frame.header::<Ipv6>(at)?;
        if ip.version() != 6 {
            return None;
        }
        let network = Self::addresses(ip);
        let (proto, next) = walk(frame, ip.next(), at + IPV6_LEN).ok()?;
        Some(Quoted {
            network,
            proto,
            next,
        })
    }

    #[inline(always)]
    fn sum(ip: &Ipv6) -> Sum {
        ip.sum()
    }

    #[inline(always)]
    fn count_down(ip: &mut Ipv6) {
        ip.set_hop_limit(ip.hop_limit().wrapping_sub(1));
    }

    #[inline(always)]
    fn set_src(ip: &mut Ipv6, src: Self) {
        ip.set_src(src);
    }

    #[inline(always)]
    fn set_dst(ip: &mut Ipv6, dst: Self) {
        ip.set_dst(dst);
    }

    #[inline(always)]
    fn checksum(_ip: &Ipv6) -> u16 {
        0
    }

    #[inline(always)]
    fn replace(sum: Sum, old: Self, new: Self) -> Sum {
        let ([a, b, c, d], [e, f, g, h]) = (old.0, new.0);
        sum.replace(a, e).replace(b, f).replace(c, g).replace(d, h)
    }

    #[inline(always)]
    fn pseudo(network: Network<Self>, len: u16) -> Sum {
        let sum = add_address(add_address(Sum::default(), network.src), network.dst);
        sum.add(u32::from(len).to_be())
            .add(u32::from(PROTO_ICMPV6).to_be())
    }

    #[inline(always)]
    fn error(error: Error) -> Message {
        let (kind, code, rest) = match error.kind {
            Kind::TimeExceeded => (TIME_EXCEEDED, 0, 0),
            Kind::PortUnreachable => (UNREACHABLE, PORT_UNREACHABLE, 0),
            Kind::FragmentationNeeded => (TOO_BIG, 0, u32::from(error.mtu).to_be()),
        };
        Message { kind, code, rest }
    }

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        (UNREACHABLE..=PARAMETER_PROBLEM).contains(&kind)
    }

    #[inline(always)]
    fn tells_mtu(kind: u8, _code: u8) -> bool {
        kind == TOO_BIG
    }

    /// As IPVS: no flow label, and no limit of encapsulations.
    #[inline(always)]
    fn write_tunnel(ip: &mut Ipv6, tunnel: Outer<Self>, _ident: impl FnOnce() -> Be16) {
        ip.write(Ipv6Fields {
            traffic_class: tunnel.traffic_class,
            payload_len: tunnel.len,
            next: tunnel.proto,
            hop_limit: tunnel.hop_limit,
            src: tunnel.network.src,
            dst: tunnel.network.dst,
        });
    }

    #[inline(always)]
    fn write_icmp(ip: &mut Ipv6, network: Network<Self>, len: u16, _ident: Be16) {
        ip.write(Ipv6Fields {
            traffic_class: 0,
            payload_len: len,
            next: PROTO_ICMPV6,
            hop_limit: HOP_LIMIT,
            src: network.src,
            dst: network.dst,
        });
    }
}

/// The header of a packet that lies in the frame whole, and the packet's length.
#[inline(always)]
fn whole<B: Bytes>(frame: &B) -> Result<(&Ipv6, u16), Counter> {
    let ip = frame.header::<Ipv6>(L3).ok_or(Counter::PassMalformed)?;
    let len = IPV6_LEN + usize::from(ip.payload_len().to_host());
    if ip.version() != 6 || frame.len() < L3 + len || len > usize::from(u16::MAX) {
        return Err(Counter::PassMalformed);
    }
    Ok((ip, len as u16))
}

/// What follows the extension headers from `at` on, and where. What comes behind more of them than [`EXTENSIONS`], or too far from
/// the frame's start, is as little known as what no header is known for.
#[inline(always)]
fn walk<B: Bytes>(frame: &B, first: u8, at: usize) -> Result<(u8, usize), Counter> {
    let (mut next, mut at) = (first, at as u32);
    let mut walked = 0;
    // Once more than there may be, to see what follows the last.
    while walked <= EXTENSIONS {
        if next == extension::FRAGMENT {
            return Err(Counter::PassFragment);
        }
        let is_extension = matches!(
            next,
            extension::HOP_BY_HOP
                | extension::ROUTING
                | extension::DESTINATION
                | extension::AUTHENTICATION
        );
        if !is_extension {
            return Ok((next, masked::<FARTHEST>(at) as usize));
        }
        let header = frame
            .header::<Extension>(masked::<FARTHEST>(at) as usize)
            .ok_or(Counter::PassMalformed)?;
        let len = u32::from(header.len());
        at += if next == extension::AUTHENTICATION {
            4 * (len + 2)
        } else {
            8 * (len + 1)
        };
        if at > FARTHEST {
            return Err(Counter::PassProtocol);
        }
        next = header.next();
        walked += 1;
    }
    Err(Counter::PassProtocol)
}
