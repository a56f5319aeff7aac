//! What is of IPv6 alone in a packet?

use super::bytes::Bytes;
use super::checksum::Sum;
use super::icmp::{Error, Kind, Message};
use super::ip::{Ip, Outer, Quoted, Upper};
use super::parse::{L3, Network};
use super::piece::Piece;
use super::wire::{
    ETHERTYPE_IPV6, Extension, Fragment, ICMP_LEN, IPV6_LEN, Ipv6, Ipv6Fields, PROTO_ICMPV6,
    PROTO_IPV6, add_address, extension,
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

/// The bits of a fragment's header that say where its data begins, in bytes.
const OFFSET: u16 = 0xfff8;
/// The bit that says that more fragments follow.
const MORE: u16 = 1;

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
            is_piece: false,
        })
    }

    #[inline(always)]
    fn upper<B: Bytes>(frame: &B) -> Result<Upper, Counter> {
        let (ip, len) = whole(frame)?;
        let Walked {
            next: proto,
            at,
            is_piece,
        } = walk::<false, _>(frame, ip.next(), L3 + IPV6_LEN)?;
        Ok(Upper {
            proto,
            at,
            len,
            is_piece,
        })
    }

    #[inline(always)]
    fn piece<B: Bytes>(frame: &B) -> Option<Piece> {
        let (ip, len) = whole(frame).ok()?;
        let Walked { next, at, .. } = walk::<true, _>(frame, ip.next(), L3 + IPV6_LEN).ok()?;
        if next != extension::FRAGMENT {
            return None;
        }
        let fragment = frame.header::<Fragment>(at)?;
        Some(Piece {
            id: fragment.id(),
            offset: fragment.offset_more().to_host() & OFFSET,
            proto: fragment.next(),
            len,
        })
    }

    #[inline(always)]
    fn quoted<B: Bytes>(frame: &B, at: usize) -> Option<Quoted<Self>> {
        let ip = frame.header::<Ipv6>(at)?;
        if ip.version() != 6 {
            return None;
        }
        let network = Self::addresses(ip);
        let walked = walk::<false, _>(frame, ip.next(), at + IPV6_LEN).ok()?;
        Some(Quoted {
            network,
            proto: walked.next,
            next: walked.at,
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
            Kind::PortUnreachable | Kind::PortClosed => (UNREACHABLE, PORT_UNREACHABLE, 0),
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
    if ip.version() != 6 || !frame.reaches(L3 + len) || len > usize::from(u16::MAX) {
        return Err(Counter::PassMalformed);
    }
    Ok((ip, len as u16))
}

/// What follows extension headers.
struct Walked {
    /// What it is.
    next: u8,
    /// Where it is.
    at: usize,
    /// One of the headers was that of a datagram's first fragment, which others follow.
    is_piece: bool,
}

/// What follows the extension headers from `at` on, or, where `TO_FRAGMENT`, those before the one of a fragment. What comes behind
/// more of them than [`EXTENSIONS`], or too far from the frame's start, is as little known as what no header is known for.
#[inline(always)]
fn walk<const TO_FRAGMENT: bool, B: Bytes>(
    frame: &B,
    first: u8,
    at: usize,
) -> Result<Walked, Counter> {
    let (mut next, mut at) = (first, at as u32);
    let (mut walked, mut is_piece) = (0, false);
    // Once more than there may be, to see what follows the last.
    while walked <= EXTENSIONS {
        if at > FARTHEST {
            return Err(Counter::PassProtocol);
        }
        let is_extension = matches!(
            next,
            extension::HOP_BY_HOP
                | extension::ROUTING
                | extension::DESTINATION
                | extension::AUTHENTICATION
        );
        let is_fragment = next == extension::FRAGMENT;
        if TO_FRAGMENT && is_fragment || !is_extension && !is_fragment {
            return Ok(Walked {
                next,
                at: masked::<FARTHEST>(at) as usize,
                is_piece,
            });
        }
        if is_fragment {
            let fragment = frame
                .header::<Fragment>(masked::<FARTHEST>(at) as usize)
                .ok_or(Counter::PassMalformed)?;
            let offset_more = fragment.offset_more().to_host();
            if offset_more & OFFSET != 0 {
                return Err(Counter::PassFragment);
            }
            is_piece |= offset_more & MORE != 0;
        }
        let header = frame
            .header::<Extension>(masked::<FARTHEST>(at) as usize)
            .ok_or(Counter::PassMalformed)?;
        let units = u32::from(header.units());
        at += if next == extension::AUTHENTICATION {
            4 * (units + 2)
        } else if is_fragment {
            // It has no length: what is read as that is reserved.
            8
        } else {
            8 * (units + 1)
        };
        next = header.next();
        walked += 1;
    }
    Err(Counter::PassProtocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build::{Build, checksums_hold};
    use crate::packet::parse::Transport;
    use crate::packet::quote::Quote;
    use crate::packet::rewrite::{self, Endpoint, Onward, Translate};
    use crate::packet::testing::{
        MACS, ROOM, endpoint, error_about, quote_is_within_bounds, quotes_are_translated,
        refused_wherever_cut, rewritten,
    };
    use crate::packet::{SliceFrame, icmp, testing};
    use proptest::prelude::*;
    use std::net::{Ipv6Addr, SocketAddr};

    const CLIENT: &str = "[2001:db8:c::5]:1025";
    const VIP: &str = "[2001:db8:f::10]:80";
    const RIP: &str = "[fd00:10::1]:8080";
    /// Eight bytes of padding, as the options of a header.
    const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];

    fn parse(bytes: &mut [u8]) -> Result<(Network<Be128>, Transport), Counter> {
        testing::parse(bytes)
    }

    #[test]
    fn a_segment_is_read_as_it_stands() {
        let mut bytes = Build::tcp(CLIENT, VIP)
            .flags(0x12)
            .payload(b"hello")
            .bytes();
        let (network, transport) = parse(&mut bytes).unwrap();
        assert_eq!(network.src, endpoint::<Be128>(CLIENT).addr);
        assert_eq!(network.dst, endpoint::<Be128>(VIP).addr);
        assert_eq!(transport.ports.to_ne_bytes(), [4, 1, 0, 80]);
        assert_eq!((transport.proto, transport.tcp_flags), (Proto::Tcp, 0x12));
        assert_eq!((transport.l4, transport.len), (54, 65));
    }

    #[test]
    fn as_many_extension_headers_are_walked_as_may_be() {
        for many in 0..=8 {
            let kinds = [
                extension::HOP_BY_HOP,
                extension::DESTINATION,
                extension::ROUTING,
            ];
            let headers: Vec<(u8, &[u8])> = (0..many).map(|n| (kinds[n % 3], PADDING)).collect();
            let mut bytes = Build::udp(CLIENT, VIP).extensions(&headers).bytes();
            let at = parse(&mut bytes).map(|(_, transport)| transport.l4);
            let expected = if many <= EXTENSIONS as usize {
                Ok(54 + 8 * many as u32)
            } else {
                Err(Counter::PassProtocol)
            };
            assert_eq!(at, expected, "{many}");
        }
    }

    #[test]
    fn what_is_left_to_the_stack_has_its_counter() {
        let with = |number: u8, bytes: &[u8]| {
            Build::tcp(CLIENT, VIP)
                .extensions(&[(number, bytes)])
                .bytes()
        };
        let patched = |at: usize, byte: u8| {
            let mut bytes = Build::tcp(CLIENT, VIP).bytes();
            bytes[at] = byte;
            bytes
        };
        let far = [&[31][..], &[0; 254]].concat();
        for (name, mut bytes, counter) in [
            (
                "a later fragment",
                with(extension::FRAGMENT, &[0, 0, 8, 0, 0, 0, 7]),
                Counter::PassFragment,
            ),
            (
                "an unknown header",
                with(135, PADDING),
                Counter::PassProtocol,
            ),
            ("no next header", patched(20, 59), Counter::PassProtocol),
            ("ICMPv6", patched(20, 58), Counter::PassProtocol),
            (
                "beyond 255 bytes",
                with(extension::DESTINATION, &far),
                Counter::PassProtocol,
            ),
            ("version 4", patched(14, 0x45), Counter::PassMalformed),
            (
                "longer than the frame",
                patched(19, 21),
                Counter::PassMalformed,
            ),
            (
                "shorter than the TCP header",
                patched(19, 19),
                Counter::PassMalformed,
            ),
            ("IPv4", patched(12, 8), Counter::PassNotIp),
        ] {
            assert_eq!(parse(&mut bytes), Err(counter), "{name}");
        }
        // Its length is in units of four bytes.
        let mut authenticated = with(extension::AUTHENTICATION, &[2; 15]);
        assert_eq!(parse(&mut authenticated).unwrap().1.l4, 54 + 16);
        // That of a fragment has none: what would be it is reserved. All of a datagram may be in one (RFC 6946).
        for (more, is_piece) in [(0, false), (1, true)] {
            let mut first = with(extension::FRAGMENT, &[0xff, 0, more, 0, 0, 0, 7]);
            let transport = parse(&mut first).unwrap().1;
            assert_eq!((transport.l4, transport.is_piece), (54 + 8, is_piece));
        }
    }

    #[test]
    fn a_packet_cut_at_any_length_is_refused() {
        let whole = Build::tcp(CLIENT, VIP)
            .extensions(&[(extension::DESTINATION, PADDING)])
            .payload(b"data")
            .bytes();
        refused_wherever_cut::<Be128>(&whole);
    }

    #[test]
    fn a_quote_is_read_whose_transport_header_is_not_too_far() {
        for units in 0..=23_u8 {
            let packet = Build::udp(CLIENT, VIP);
            let mut bytes = error_about::<Be128>(&packet, Error::TIME_EXCEEDED);
            let mut header = vec![0; 8 * (usize::from(units) + 1)];
            (header[0], header[1]) = (PROTO_ICMPV6, units);
            bytes[19] += header.len() as u8;
            bytes[20] = extension::DESTINATION;
            bytes.splice(54..54, header);
            let quote = Quote::<Be128>::parse(&SliceFrame::new(&mut bytes, 0));
            let at = 110 + 8 * u32::from(units);
            assert_eq!(
                quote.map(|quote| u32::from(quote.l4)),
                (at <= FARTHEST).then_some(at),
                "{units}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_change_of_a_packet_parses_within_its_bounds(
            changes in proptest::collection::vec((12usize..80, any::<u8>()), 0..8), headers in 0usize..7,
        ) {
            let headers: Vec<(u8, &[u8])> = vec![(extension::DESTINATION, PADDING); headers];
            let mut bytes = Build::tcp(CLIENT, VIP).extensions(&headers).payload(&[0x61; 60]).bytes();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let len = bytes.len();
            if let Ok((_, transport)) = parse(&mut bytes) {
                prop_assert!(transport.l4 as usize + 8 <= len && transport.l4 <= FARTHEST);
                prop_assert!(L3 + transport.len as usize <= len);
            }
        }

        #[test]
        fn every_rewrite_leaves_right_checksums(
            tcp: bool, src: u128, dst: u128, port: u16, class: u8, hops in 2u8.., send: bool, headers in 0usize..=6,
            payload in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let socket = |addr: u128, port| SocketAddr::new(Ipv6Addr::from(addr).into(), port);
            let build = if tcp { Build::tcp_from } else { Build::udp_from };
            let headers: Vec<(u8, &[u8])> = vec![(extension::DESTINATION, PADDING); headers];
            let packet = build(socket(src, 1025), socket(dst, 80)).tos(class).ttl(hops).extensions(&headers).payload(&payload);
            let bytes = packet.bytes();
            prop_assert!(checksums_hold(&bytes));

            let dr = rewritten::<Be128>(&bytes, |f, _| rewrite::dr::<Be128, _>(f, MACS));
            prop_assert!(checksums_hold(&dr));
            prop_assert_eq!(dr[21], hops - 1);

            let ends = Network { src: endpoint::<Be128>(VIP).addr, dst: endpoint::<Be128>(RIP).addr };
            let tun = rewritten::<Be128>(&bytes, |f, t| rewrite::tun(f, t, ends, || Be16(0), MACS));
            prop_assert!(checksums_hold(&tun));
            prop_assert_eq!(&tun[54..], &dr[14..]);
            prop_assert_eq!(tun[20], PROTO_IPV6);

            let onward = if send { Onward::Send(MACS) } else { Onward::Stack };
            let to = Endpoint { port: Be16::from_host(port), ..endpoint::<Be128>(RIP) };
            let there = rewritten::<Be128>(&bytes, |f, t| t.nat_destination(f, to, onward));
            let back = rewritten::<Be128>(&bytes, |f, t| t.nat_source(f, to, onward));
            for out in [there, back] {
                prop_assert!(checksums_hold(&out));
                prop_assert_eq!(out[21], hops - u8::from(send));
            }
        }

        #[test]
        fn every_error_has_right_checksums_and_quotes_the_packet(
            payload in proptest::collection::vec(any::<u8>(), 0..1400), mtu: u16, which in 0usize..3,
        ) {
            let packet = Build::udp(CLIENT, VIP).payload(&payload);
            let errors = [Error::TIME_EXCEEDED, Error::PORT_UNREACHABLE, Error::fragmentation_needed(mtu)];
            let out = error_about::<Be128>(&packet, errors[which]);
            prop_assert!(checksums_hold(&out));
            let bytes = packet.bytes();
            let quote = (bytes.len() - L3).min(1232);
            prop_assert_eq!(out.len(), L3 + 48 + quote);
            prop_assert_eq!(out[54], [3, 1, 2][which]);
            prop_assert_eq!(&out[L3 + 48 + 8..], &bytes[L3 + 8..L3 + quote]);
        }

        #[test]
        fn nat_makes_of_a_quote_what_the_other_end_knows(payload in proptest::collection::vec(any::<u8>(), 0..700)) {
            quotes_are_translated::<Be128>([CLIENT, VIP, RIP], |build| build.without_checksum().payload(&payload));
        }

        #[test]
        fn any_error_is_read_within_its_bounds(
            changes in proptest::collection::vec((14usize..122, any::<u8>()), 0..5), headers in 0usize..3, cut in 0usize..150,
        ) {
            let headers: Vec<(u8, &[u8])> = vec![(extension::DESTINATION, PADDING); headers];
            let packet = Build::tcp(VIP, CLIENT).extensions(&headers).payload(&[0x61; 8]);
            let mut bytes = error_about::<Be128>(&packet, Error::TIME_EXCEEDED);
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            bytes.truncate(cut);
            quote_is_within_bounds::<Be128>(&mut bytes);
        }

        #[test]
        fn an_error_about_a_tunnel_becomes_one_about_what_was_in_it(
            payload in proptest::collection::vec(any::<u8>(), 0..700), mtu in 0u16..2000,
        ) {
            let inner = Build::udp(CLIENT, VIP).payload(&payload).bytes();
            let ends = Network { src: endpoint::<Be128>(VIP).addr, dst: endpoint::<Be128>(RIP).addr };
            let tunnelled = rewritten::<Be128>(&inner, |f, t| rewrite::tun(f, t, ends, || Be16(0), MACS));
            let mut buffer = [&[0u8; ROOM][..], &tunnelled].concat();
            let mut frame = SliceFrame::new(&mut buffer, ROOM);
            let len = (tunnelled.len() - L3) as u16;
            icmp::reply::<Be128, _>(&mut frame, len, Error::fragmentation_needed(mtu), Be16(0)).unwrap();
            prop_assert!(checksums_hold(frame.as_slice()));

            let quote = Quote::<Be128>::parse(&frame).unwrap();
            let error = quote.tunnel(&frame).unwrap();
            prop_assert_eq!(error.ends, ends);
            quote.without_tunnel(&mut frame, &error, MACS, Be16(0)).unwrap();
            let out = frame.as_slice();
            prop_assert!(checksums_hold(out));
            prop_assert_eq!(&out[22..38], &endpoint::<Be128>(VIP).addr.to_bytes());
            prop_assert_eq!(&out[38..54], &endpoint::<Be128>(CLIENT).addr.to_bytes());
            let told = u32::from_be_bytes([out[58], out[59], out[60], out[61]]);
            let expected = if mtu > 1280 { (mtu - 40).max(1280) } else { mtu };
            prop_assert_eq!(told, u32::from(expected));
            prop_assert_eq!(&out[62 + 8..], &inner[L3 + 8..][..out.len() - 70]);
        }
    }
}
