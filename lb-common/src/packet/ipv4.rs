//! What is of IPv4 alone in a packet?

use super::bytes::Bytes;
use super::checksum::Sum;
use super::icmp::{Error, Kind, Message};
use super::ip::{Ip, Outer, Quoted, Upper};
use super::parse::{L3, Network};
use super::piece::Piece;
use super::wire::{ETHERTYPE_IPV4, ICMP_LEN, IPV4_LEN, Ipv4, Ipv4Fields, PROTO_ICMP, PROTO_IPIP};
use crate::counter::Counter;
use crate::net::{Be16, Be32};

/// DSCP CS6 (RFC 1812 4.3.2.5).
const TOS: u8 = 0xc0;
/// What Linux sends.
const TTL: u8 = 64;

/// A destination cannot be reached.
const UNREACHABLE: u8 = 3;
/// Send less (deprecated, RFC 6633).
const SOURCE_QUENCH: u8 = 4;
/// The TTL ran out.
const TIME_EXCEEDED: u8 = 11;
/// The code of [`UNREACHABLE`] that there is nobody behind a port.
const PORT_UNREACHABLE: u8 = 3;
/// The code of [`UNREACHABLE`] that tells of a packet too big.
const FRAGMENTATION_NEEDED: u8 = 4;

impl Ip for Be32 {
    type Header = Ipv4;

    const LEN: usize = IPV4_LEN;
    const ETHERTYPE: Be16 = ETHERTYPE_IPV4;
    const IN_TUNNEL: u8 = PROTO_IPIP;
    const ICMP: u8 = PROTO_ICMP;
    /// 576 bytes less the two headers (RFC 1812 4.3.2.3).
    const QUOTE: usize = 576 - IPV4_LEN - ICMP_LEN;
    /// RFC 791.
    const LEAST_MTU: u32 = 68;
    const ICMP_HAS_ADDRESSES: bool = false;

    #[inline(always)]
    fn addresses(ip: &Ipv4) -> Network {
        Network {
            src: ip.src(),
            dst: ip.dst(),
        }
    }

    #[inline(always)]
    fn hop_limit(ip: &Ipv4) -> u8 {
        ip.ttl()
    }

    #[inline(always)]
    fn traffic_class(ip: &Ipv4) -> u8 {
        ip.tos()
    }

    #[inline(always)]
    fn dont_fragment(ip: &Ipv4) -> bool {
        ip.dont_fragment()
    }

    #[inline(always)]
    fn is_plain(ip: &Ipv4) -> bool {
        ip.version_ihl() == 0x45
    }

    #[inline(always)]
    fn is_icmp<B: Bytes>(frame: &B) -> bool {
        frame
            .header::<Ipv4>(L3)
            .is_some_and(|ip| ip.proto() == PROTO_ICMP)
    }

    #[inline(always)]
    fn plain<B: Bytes>(frame: &B) -> Result<Upper, Counter> {
        upper_unless(frame, Ipv4::MF | Ipv4::OFFSET)
    }

    #[inline(always)]
    fn upper<B: Bytes>(frame: &B) -> Result<Upper, Counter> {
        upper_unless(frame, Ipv4::OFFSET)
    }

    #[inline(always)]
    fn piece<B: Bytes>(frame: &B) -> Option<Piece> {
        let Whole { ip, len, .. } = whole(frame).ok()?;
        let fragment = ip.fragment().to_host();
        if fragment & (Ipv4::MF | Ipv4::OFFSET) == 0 {
            return None;
        }
        Some(Piece {
            id: u32::from(ip.id().to_host()) | u32::from(ip.proto()) << 16,
            offset: (fragment & Ipv4::OFFSET) << 3,
            proto: ip.proto(),
            len,
        })
    }

    #[inline(always)]
    fn quoted<B: Bytes>(frame: &B, at: usize) -> Option<Quoted<Self>> {
        let ip = frame.header::<Ipv4>(at)?;
        let ihl = usize::from(ip.version_ihl() & 0x0f) * 4;
        let is_first = ip.fragment().to_host() & Ipv4::OFFSET == 0;
        (ip.version_ihl() >> 4 == 4 && ihl >= IPV4_LEN && is_first).then(|| Quoted {
            network: Self::addresses(ip),
            proto: ip.proto(),
            next: at + ihl,
        })
    }

    #[inline(always)]
    fn sum(ip: &Ipv4) -> Sum {
        ip.sum()
    }

    #[inline(always)]
    fn count_down(ip: &mut Ipv4) {
        ip.decrement_ttl();
    }

    #[inline(always)]
    fn set_src(ip: &mut Ipv4, src: Self) {
        let sum = Sum::of_checksum(ip.checksum()).replace(ip.src().0, src.0);
        ip.set_checksum(sum.checksum());
        ip.set_src(src);
    }

    #[inline(always)]
    fn set_dst(ip: &mut Ipv4, dst: Self) {
        let sum = Sum::of_checksum(ip.checksum()).replace(ip.dst().0, dst.0);
        ip.set_checksum(sum.checksum());
        ip.set_dst(dst);
    }

    #[inline(always)]
    fn checksum(ip: &Ipv4) -> u16 {
        ip.checksum()
    }

    #[inline(always)]
    fn replace(sum: Sum, old: Self, new: Self) -> Sum {
        sum.replace(old.0, new.0)
    }

    #[inline(always)]
    fn pseudo(_network: Network, _len: u16) -> Sum {
        Sum::default()
    }

    #[inline(always)]
    fn error(error: Error) -> Message {
        let (kind, code, rest) = match error.kind {
            Kind::TimeExceeded => (TIME_EXCEEDED, 0, 0),
            Kind::PortUnreachable | Kind::PortClosed => (UNREACHABLE, PORT_UNREACHABLE, 0),
            Kind::FragmentationNeeded => {
                let mtu = u32::from(error.mtu).to_be();
                (UNREACHABLE, FRAGMENTATION_NEEDED, mtu)
            }
        };
        Message { kind, code, rest }
    }

    /// The ones that IPVS knows.
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(kind, UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED)
    }

    #[inline(always)]
    fn tells_mtu(kind: u8, code: u8) -> bool {
        kind == UNREACHABLE && code == FRAGMENTATION_NEEDED
    }

    #[inline(always)]
    fn write_tunnel(ip: &mut Ipv4, tunnel: Outer<Self>, ident: impl FnOnce() -> Be16) {
        ip.write(Ipv4Fields {
            tos: tunnel.traffic_class,
            total_len: tunnel.len.wrapping_add(IPV4_LEN as u16),
            id: if tunnel.dont_fragment {
                Be16(0)
            } else {
                ident()
            },
            dont_fragment: tunnel.dont_fragment,
            ttl: tunnel.hop_limit,
            proto: tunnel.proto,
            src: tunnel.network.src,
            dst: tunnel.network.dst,
        });
    }

    #[inline(always)]
    fn write_icmp(ip: &mut Ipv4, network: Network, len: u16, ident: Be16) {
        ip.write(Ipv4Fields {
            tos: TOS,
            total_len: len.wrapping_add(IPV4_LEN as u16),
            id: ident,
            dont_fragment: false,
            ttl: TTL,
            proto: PROTO_ICMP,
            src: network.src,
            dst: network.dst,
        });
    }
}

/// The header of a packet that lies in the frame whole.
struct Whole<'f> {
    ip: &'f Ipv4,
    /// Length of the header with its options.
    ihl: usize,
    /// Length of the packet.
    len: u16,
}

#[inline(always)]
fn whole<B: Bytes>(frame: &B) -> Result<Whole<'_>, Counter> {
    let ip = frame.header::<Ipv4>(L3).ok_or(Counter::PassMalformed)?;
    let len = ip.total_len().to_host();
    let ihl = usize::from(ip.version_ihl() & 0x0f) * 4;
    if ip.version_ihl() >> 4 != 4 || ihl < IPV4_LEN || !frame.reaches(L3 + usize::from(len)) {
        return Err(Counter::PassMalformed);
    }
    Ok(Whole { ip, ihl, len })
}

/// Where the transport header is, unless the packet is a fragment with one of these bits.
#[inline(always)]
fn upper_unless<B: Bytes>(frame: &B, fragment: u16) -> Result<Upper, Counter> {
    let Whole { ip, ihl, len } = whole(frame)?;
    let bits = ip.fragment().to_host();
    if bits & fragment != 0 {
        return Err(Counter::PassFragment);
    }
    Ok(Upper {
        proto: ip.proto(),
        at: L3 + ihl,
        len,
        is_piece: bits & Ipv4::MF != 0,
    })
}
