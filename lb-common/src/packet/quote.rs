//! Which packet does an ICMP error tell of?
//!
//! An error quotes the IP header of the packet that it is about and at least eight bytes behind that (RFC 792), so it names the
//! flow. Where the packet was in a tunnel of ours, what the tunnel carried is quoted too, by routers that quote more than they must
//! (RFC 1812 4.3.2.3).

use super::bytes::Bytes;
use super::checksum::Sum;
use super::icmp::{HEADERS, TOS, TTL};
use super::parse::L3;
use super::rewrite::{
    Endpoint, Onward, Translate, ports_with_destination, ports_with_source, set_ethernet,
    set_network,
};
use super::wire::{
    ETHERTYPE_IPV4, Ethernet, ICMP_LEN, IPV4_LEN, Icmp, Ipv4, Ipv4Fields, MacPair, PROTO_ICMP,
    PROTO_IPIP, Word32,
};
use crate::net::{Be16, Be32, Proto};
use crate::packet::Network;

/// A destination cannot be reached.
const UNREACHABLE: u8 = 3;
/// Send less (deprecated, RFC 6633).
const SOURCE_QUENCH: u8 = 4;
/// The TTL ran out.
const TIME_EXCEEDED: u8 = 11;
/// The code of [`UNREACHABLE`] that tells of a packet too big.
const FRAGMENTATION_NEEDED: u8 = 4;
/// The least MTU of a link (RFC 791).
const LEAST_MTU: u32 = 68;

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Its addresses.
    pub network: Network,
    /// Its ports as they stand in it, the source port in the first two bytes.
    pub ports: u32,
    /// Its protocol.
    pub proto: Proto,
    /// Length of the IP packet that the error is.
    pub len: u16,
    /// Where the ICMP header is.
    pub icmp: u8,
    /// Where its IP header is: behind that of a tunnel, if it was in one.
    pub l3: u8,
    /// Where its ports are.
    pub l4: u8,
}

/// What an error says of a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct TunnelError {
    /// The tunnel's ends.
    pub ends: Network,
    /// The sum of its header.
    header: Sum,
    kind: u8,
    code: u8,
    checksum: u16,
    rest: u32,
}

/// What one of the quoted IP headers says.
struct Quoted {
    network: Network,
    proto: u8,
    next: usize,
}

impl Quoted {
    /// The header at `at`; `None` for what is none, and for a fragment without the ports.
    #[inline(always)]
    fn parse<B: Bytes>(frame: &B, at: usize) -> Option<Self> {
        let ip = frame.header::<Ipv4>(at)?;
        let ihl = usize::from(ip.version_ihl() & 0x0f) * 4;
        let is_first = ip.fragment().to_host() & Ipv4::OFFSET == 0;
        (ip.version_ihl() >> 4 == 4 && ihl >= IPV4_LEN && is_first).then(|| Self {
            network: Network {
                src: ip.src(),
                dst: ip.dst(),
            },
            proto: ip.proto(),
            next: at + ihl,
        })
    }
}

impl Quote {
    /// What a frame quotes, if it is an ICMP error about a TCP segment or a UDP datagram: destination unreachable, source quench
    /// or time exceeded, the ones that IPVS knows.
    #[inline(always)]
    pub fn parse<B: Bytes>(frame: &B) -> Option<Self> {
        let ip = frame.header::<Ipv4>(L3)?;
        let len = ip.total_len().to_host();
        let is_whole = ip.fragment().to_host() & (Ipv4::MF | Ipv4::OFFSET) == 0;
        let outer = Quoted::parse(frame, L3)?;
        if outer.proto != PROTO_ICMP || !is_whole || frame.len() < L3 + usize::from(len) {
            return None;
        }
        let icmp = outer.next;
        let kind = frame.header::<Icmp>(icmp)?.kind();
        if !matches!(kind, UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED) {
            return None;
        }
        let mut l3 = icmp + ICMP_LEN;
        let mut quoted = Quoted::parse(frame, l3)?;
        let mut sender = quoted.network.src;
        if quoted.proto == PROTO_IPIP {
            // Our own tunnels have no options.
            if quoted.next != l3 + IPV4_LEN {
                return None;
            }
            sender = quoted.network.src;
            l3 = quoted.next;
            quoted = Quoted::parse(frame, l3)?;
        }
        // An error is for the sender of what it quotes.
        let l4 = quoted.next;
        let ports = frame.header::<Word32>(l4)?.word();
        if sender.0 != outer.network.dst.0 || L3 + usize::from(len) < l4 + size_of::<Word32>() {
            return None;
        }
        Some(Self {
            network: quoted.network,
            ports,
            proto: Proto::from_number(quoted.proto)?,
            len,
            icmp: icmp as u8,
            l3: l3 as u8,
            l4: l4 as u8,
        })
    }

    /// Whether the quoted packet was in a tunnel.
    #[inline(always)]
    pub const fn is_tunnelled(&self) -> bool {
        self.l3 as usize != self.icmp as usize + ICMP_LEN
    }

    /// The error as it is told of the tunnel that the quoted packet was in.
    #[inline(always)]
    pub fn tunnel<B: Bytes>(&self, frame: &B) -> Option<TunnelError> {
        let at = usize::from(self.icmp);
        let icmp = frame.header::<Icmp>(at)?;
        let ip = frame.header::<Ipv4>(at + ICMP_LEN)?;
        Some(TunnelError {
            ends: Network {
                src: ip.src(),
                dst: ip.dst(),
            },
            header: ip.sum(),
            kind: icmp.kind(),
            code: icmp.code(),
            checksum: icmp.checksum(),
            rest: icmp.rest(),
        })
    }

    /// The port that the quoted packet came from.
    #[inline(always)]
    pub const fn source_port(&self) -> Be16 {
        let [a, b, ..] = self.ports.to_ne_bytes();
        Be16(u16::from_ne_bytes([a, b]))
    }

    /// The port that the quoted packet was for.
    #[inline(always)]
    pub const fn destination_port(&self) -> Be16 {
        let [.., c, d] = self.ports.to_ne_bytes();
        Be16(u16::from_ne_bytes([c, d]))
    }

    /// Writes the quoted ports, and what the change of them and of a quoted address makes of the checksums of the quoted header and of
    /// the message. The quoted transport checksum stays, as with IPVS: mostly what it covers is cut off.
    #[inline(always)]
    fn set_quoted<B: Bytes>(
        &self,
        frame: &mut B,
        checksum: u16,
        old: Be32,
        new: Be32,
        ports: u32,
    ) -> Option<()> {
        let quoted = frame.header_mut::<Ipv4>(self.l3.into())?;
        let before = quoted.checksum();
        let after = Sum::of_checksum(before).replace(old.0, new.0).checksum();
        quoted.set_checksum(after);
        frame.header_mut::<Word32>(self.l4.into())?.set_word(ports);
        let icmp = frame.header_mut::<Icmp>(self.icmp.into())?;
        let checksum = Sum::of_checksum(checksum)
            .replace(old.0, new.0)
            .replace16(before, after)
            .replace(self.ports, ports)
            .checksum();
        icmp.set_checksum(checksum);
        Some(())
    }

    /// Makes of an error about a tunnel the error that tells the tunnelled packet's sender the same: from whom that packet was for,
    /// without the tunnel's header in the quote, and with room for it in the MTU.
    ///
    /// The checksum is what the change makes of it, so that of a damaged message is as wrong as before.
    #[inline(always)]
    pub fn without_tunnel<B: Bytes>(
        &self,
        frame: &mut B,
        error: &TunnelError,
        macs: MacPair,
        id: Be16,
    ) -> Option<()> {
        let TunnelError {
            kind, code, rest, ..
        } = *error;
        let told = if kind == UNREACHABLE && code == FRAGMENTATION_NEEDED {
            less_a_header(rest)
        } else {
            rest
        };
        let sum = Sum::of_checksum(error.checksum)
            .replace(rest, told)
            .without(error.header);
        let surplus = usize::from(self.l3).checked_sub(L3 + HEADERS)? as u16;
        let total_len = self.len.checked_sub(surplus)?;
        frame.cut_front(surplus)?;

        let icmp = frame.header_mut::<Icmp>(L3 + IPV4_LEN)?;
        icmp.set_kind(kind);
        icmp.set_code(code);
        icmp.set_checksum(sum.checksum());
        icmp.set_rest(told);
        frame.header_mut::<Ipv4>(L3)?.write(Ipv4Fields {
            tos: TOS,
            total_len,
            id,
            dont_fragment: false,
            ttl: TTL,
            proto: PROTO_ICMP,
            src: self.network.dst,
            dst: self.network.src,
        });
        frame.header_mut::<Ethernet>(0)?.write(macs, ETHERTYPE_IPV4);
        Some(())
    }
}

impl Translate for Quote {
    /// NAT towards a real server, whose packet came from `real` before it came from the virtual service.
    #[inline(always)]
    fn nat_destination<B: Bytes>(
        &self,
        frame: &mut B,
        real: Endpoint,
        onward: Onward,
    ) -> Option<()> {
        let checksum = frame.header::<Icmp>(self.icmp.into())?.checksum();
        let ip = frame.header_mut::<Ipv4>(L3)?;
        let old = ip.dst();
        ip.set_dst(real.addr);
        set_network(ip, old, real.addr, onward);
        let quoted = frame.header_mut::<Ipv4>(self.l3.into())?;
        quoted.set_src(real.addr);
        let ports = ports_with_source(self.ports, real.port);
        self.set_quoted(frame, checksum, self.network.src, real.addr, ports)?;
        set_ethernet(frame, onward)
    }

    /// NAT towards a client, who sent the packet to `vip` before it went to the real server.
    #[inline(always)]
    fn nat_source<B: Bytes>(&self, frame: &mut B, vip: Endpoint, onward: Onward) -> Option<()> {
        let checksum = frame.header::<Icmp>(self.icmp.into())?.checksum();
        let ip = frame.header_mut::<Ipv4>(L3)?;
        let old = ip.src();
        ip.set_src(vip.addr);
        set_network(ip, old, vip.addr, onward);
        let quoted = frame.header_mut::<Ipv4>(self.l3.into())?;
        quoted.set_dst(vip.addr);
        let ports = ports_with_destination(self.ports, vip.port);
        self.set_quoted(frame, checksum, self.network.dst, vip.addr, ports)?;
        set_ethernet(frame, onward)
    }
}

/// The word of an error that tells an MTU, for packets that a tunnel makes longer.
#[inline(always)]
const fn less_a_header(rest: u32) -> u32 {
    let mtu = u32::from_be(rest) & 0xffff;
    if mtu > LEAST_MTU + IPV4_LEN as u32 {
        (mtu - IPV4_LEN as u32).to_be()
    } else {
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build::{Build, checksums_hold};
    use crate::packet::bytes::SliceFrame;
    use crate::packet::icmp::{self, Error};
    use proptest::prelude::*;

    const CLIENT: &str = "198.51.100.5:1025";
    const VIP: &str = "203.0.113.10:80";
    const RIP: &str = "10.0.0.1:8080";

    /// An error about a packet, told to its sender.
    fn error_about(packet: &Build) -> Vec<u8> {
        let bytes = packet.bytes();
        let mut buffer = [&[0u8; 64][..], &bytes].concat();
        let mut frame = SliceFrame::new(&mut buffer, 64);
        let len = (bytes.len() - L3) as u16;
        icmp::reply(&mut frame, len, Error::TIME_EXCEEDED, Be16(0)).unwrap();
        frame.as_slice().to_vec()
    }

    fn endpoint(text: &str) -> Endpoint {
        let socket: std::net::SocketAddrV4 = text.parse().unwrap();
        Endpoint {
            addr: Be32::from_bytes(socket.ip().octets()),
            port: Be16::from_host(socket.port()),
        }
    }

    #[test]
    fn the_flow_of_a_quoted_packet_is_read() {
        let mut bytes = error_about(&Build::udp(VIP, CLIENT).options(&[1; 8]));
        let quote = Quote::parse(&SliceFrame::new(&mut bytes, 0)).unwrap();
        assert_eq!(quote.network.src.to_bytes(), [203, 0, 113, 10]);
        assert_eq!(quote.source_port().to_host(), 80);
        assert_eq!(quote.destination_port().to_host(), 1025);
        assert_eq!((quote.proto, quote.is_tunnelled()), (Proto::Udp, false));
    }

    proptest! {
        #[test]
        fn nat_makes_of_a_quote_what_the_other_end_knows(payload in proptest::collection::vec(any::<u8>(), 0..700), options in 0usize..=10) {
            let build = |build: Build| build.without_checksum().options(&vec![1; options * 4]).payload(&payload);
            let onward = Onward::Send(MacPair::default());
            for (before, after, is_source) in [
                (build(Build::udp(VIP, CLIENT)), build(Build::udp(RIP, CLIENT)), true),
                (build(Build::udp(CLIENT, RIP)), build(Build::udp(CLIENT, VIP)), false),
            ] {
                let mut bytes = error_about(&before);
                let mut frame = SliceFrame::new(&mut bytes, 0);
                let quote = Quote::parse(&frame).unwrap();
                if is_source {
                    quote.nat_destination(&mut frame, endpoint(RIP), onward).unwrap();
                } else {
                    quote.nat_source(&mut frame, endpoint(VIP), onward).unwrap();
                }
                prop_assert!(checksums_hold(&bytes));
                prop_assert_eq!(&bytes[42..], &error_about(&after)[42..]);
            }
        }

        #[test]
        fn any_error_is_read_within_its_bounds(changes in proptest::collection::vec((14usize..82, any::<u8>()), 0..5), cut in 0usize..90) {
            let mut bytes = error_about(&Build::tcp(VIP, CLIENT).payload(&[0x61; 8]));
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            bytes.truncate(cut);
            let len = bytes.len();
            let mut frame = SliceFrame::new(&mut bytes, 0);
            if let Some(quote) = Quote::parse(&frame) {
                prop_assert!(usize::from(quote.l4) + 4 <= len);
                if let Some(error) = quote.tunnel(&frame) {
                    let _ = quote.without_tunnel(&mut frame, &error, MacPair::default(), Be16(0));
                }
            }
        }
    }
}
