//! Which packet does an ICMP error tell of?
//!
//! An error quotes the IP header of the packet that it is about and at least eight bytes behind that (RFC 792), so it names the
//! flow. Where the packet was in a tunnel of ours, what the tunnel carried is quoted too, by routers that quote more than they must
//! (RFC 1812 4.3.2.3).

use super::bytes::Bytes;
use super::checksum::Sum;
use super::icmp::Message;
use super::ip::Ip;
use super::parse::L3;
use super::rewrite::{
    Endpoint, Onward, Translate, count_down, ports_with_destination, ports_with_source,
    set_ethernet,
};
use super::wire::{Ethernet, ICMP_LEN, Icmp, MacPair, Word32};
use crate::net::{Be16, Proto};
use crate::packet::Network;

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quote<A> {
    /// Its addresses.
    pub network: Network<A>,
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
pub struct TunnelError<A> {
    /// The tunnel's ends.
    pub ends: Network<A>,
    /// Between whom the error went.
    told: Network<A>,
    /// The sum of the tunnel's header.
    header: Sum,
    message: Message,
    checksum: u16,
}

impl<A: Ip> Quote<A> {
    /// What a frame quotes, if it is an ICMP error about a TCP segment or a UDP datagram, of the ones that IPVS knows: with IPv4
    /// destination unreachable, source quench and time exceeded, with IPv6 the four that there are.
    #[inline(always)]
    pub fn parse<B: Bytes>(frame: &B) -> Option<Self> {
        let outer = A::upper(frame).ok()?;
        let to = A::addresses(frame.header::<A::Header>(L3)?).dst;
        let icmp = outer.at;
        if outer.is_piece
            || outer.proto != A::ICMP
            || !A::is_error(frame.header::<Icmp>(icmp)?.kind())
        {
            return None;
        }
        let mut l3 = icmp + ICMP_LEN;
        let mut quoted = A::quoted(frame, l3)?;
        // An error is for the sender of what it quotes.
        let sender = quoted.network.src;
        if quoted.proto == A::IN_TUNNEL {
            // Our own tunnels have no options.
            if quoted.next != l3 + A::LEN {
                return None;
            }
            l3 = quoted.next;
            quoted = A::quoted(frame, l3)?;
        }
        let l4 = quoted.next;
        let ports = frame.header::<Word32>(l4)?.word();
        if sender != to || L3 + usize::from(outer.len) < l4 + size_of::<Word32>() {
            return None;
        }
        Some(Self {
            network: quoted.network,
            ports,
            proto: Proto::from_number(quoted.proto)?,
            len: outer.len,
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
    pub fn tunnel<B: Bytes>(&self, frame: &B) -> Option<TunnelError<A>> {
        let at = usize::from(self.icmp);
        let told = A::addresses(frame.header::<A::Header>(L3)?);
        let icmp = frame.header::<Icmp>(at)?;
        let ip = frame.header::<A::Header>(at + ICMP_LEN)?;
        Some(TunnelError {
            ends: A::addresses(ip),
            told,
            header: A::sum(ip),
            message: Message {
                kind: icmp.kind(),
                code: icmp.code(),
                rest: icmp.rest(),
            },
            checksum: icmp.checksum(),
        })
    }

    /// Length of the ICMP message, in an IP packet of length `len`.
    #[inline(always)]
    const fn message_len(&self, len: u16) -> u16 {
        len.wrapping_sub((self.icmp as u16).wrapping_sub(L3 as u16))
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

    /// Writes the quoted ports, and what the change of them and of addresses makes of the checksum of the message. The quoted
    /// transport checksum stays, as with IPVS: mostly what it covers is cut off.
    #[inline(always)]
    fn set_quoted<B: Bytes>(&self, frame: &mut B, sum: Sum, ports: u32) -> Option<()> {
        frame.header_mut::<Word32>(self.l4.into())?.set_word(ports);
        let checksum = sum.replace(self.ports, ports).checksum();
        frame
            .header_mut::<Icmp>(self.icmp.into())?
            .set_checksum(checksum);
        Some(())
    }

    /// The sum of the message, if its own addresses count, after one of them was replaced.
    #[inline(always)]
    fn sum_without<B: Bytes>(&self, frame: &B, old: A, new: A) -> Option<Sum> {
        let sum = Sum::of_checksum(frame.header::<Icmp>(self.icmp.into())?.checksum());
        Some(if A::ICMP_HAS_ADDRESSES {
            A::replace(sum, old, new)
        } else {
            sum
        })
    }

    /// Makes of an error about a tunnel the error that tells the tunnelled packet's sender the same: from whom that packet was for,
    /// without the tunnel's header in the quote, and with room for it in the MTU.
    ///
    /// The checksum is what the change makes of it, so that of a damaged message is as wrong as before.
    #[inline(always)]
    pub fn without_tunnel<B: Bytes>(
        &self,
        frame: &mut B,
        error: &TunnelError<A>,
        macs: MacPair,
        id: Be16,
    ) -> Option<()> {
        let Message { kind, code, rest } = error.message;
        let told = if A::tells_mtu(kind, code) {
            less_a_header::<A>(rest)
        } else {
            rest
        };
        let surplus = usize::from(self.l3).checked_sub(L3 + A::LEN + ICMP_LEN)? as u16;
        let before = self.message_len(self.len);
        let after = before.checked_sub(A::LEN as u16)?;
        let network = Network {
            src: self.network.dst,
            dst: self.network.src,
        };
        let mut sum = Sum::of_checksum(error.checksum)
            .replace(rest, told)
            .without(error.header);
        if A::ICMP_HAS_ADDRESSES {
            sum = sum
                .without(A::pseudo(error.told, before))
                .with(A::pseudo(network, after));
        }
        frame.cut_front(surplus)?;

        let icmp = frame.header_mut::<Icmp>(L3 + A::LEN)?;
        icmp.set_kind(kind);
        icmp.set_code(code);
        icmp.set_checksum(sum.checksum());
        icmp.set_rest(told);
        A::write_icmp(frame.header_mut::<A::Header>(L3)?, network, after, id);
        frame.header_mut::<Ethernet>(0)?.write(macs, A::ETHERTYPE);
        Some(())
    }
}

impl<A: Ip> Translate<A> for Quote<A> {
    /// NAT towards a real server, whose packet came from `real` before it came from the virtual service.
    #[inline(always)]
    fn nat_destination<B: Bytes>(
        &self,
        frame: &mut B,
        real: Endpoint<A>,
        onward: Onward,
    ) -> Option<()> {
        let ip = frame.header_mut::<A::Header>(L3)?;
        let old = A::addresses(ip).dst;
        A::set_dst(ip, real.addr);
        count_down::<A>(ip, onward);
        let sum = self.sum_without(frame, old, real.addr)?;
        let quoted = frame.header_mut::<A::Header>(self.l3.into())?;
        let before = A::checksum(quoted);
        A::set_src(quoted, real.addr);
        let sum =
            A::replace(sum, self.network.src, real.addr).replace16(before, A::checksum(quoted));
        self.set_quoted(frame, sum, ports_with_source(self.ports, real.port))?;
        set_ethernet(frame, onward)
    }

    /// NAT towards a client, who sent the packet to `vip` before it went to the real server.
    #[inline(always)]
    fn nat_source<B: Bytes>(&self, frame: &mut B, vip: Endpoint<A>, onward: Onward) -> Option<()> {
        let ip = frame.header_mut::<A::Header>(L3)?;
        let old = A::addresses(ip).src;
        A::set_src(ip, vip.addr);
        count_down::<A>(ip, onward);
        let sum = self.sum_without(frame, old, vip.addr)?;
        let quoted = frame.header_mut::<A::Header>(self.l3.into())?;
        let before = A::checksum(quoted);
        A::set_dst(quoted, vip.addr);
        let sum =
            A::replace(sum, self.network.dst, vip.addr).replace16(before, A::checksum(quoted));
        self.set_quoted(frame, sum, ports_with_destination(self.ports, vip.port))?;
        set_ethernet(frame, onward)
    }
}

/// The word of an error that tells an MTU, for packets that a tunnel makes longer.
#[inline(always)]
fn less_a_header<A: Ip>(rest: u32) -> u32 {
    let mtu = u32::from_be(rest) & 0xffff;
    if mtu > A::LEAST_MTU {
        mtu.saturating_sub(A::LEN as u32).max(A::LEAST_MTU).to_be()
    } else {
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Be32;
    use crate::packet::build::Build;
    use crate::packet::bytes::SliceFrame;
    use crate::packet::icmp::Error;
    use crate::packet::testing::{error_about, quote_is_within_bounds, quotes_are_translated};
    use proptest::prelude::*;

    const CLIENT: &str = "198.51.100.5:1025";
    const VIP: &str = "203.0.113.10:80";
    const RIP: &str = "10.0.0.1:8080";

    #[test]
    fn the_flow_of_a_quoted_packet_is_read() {
        let packet = Build::udp(VIP, CLIENT).options(&[1; 8]);
        let mut bytes = error_about::<Be32>(&packet, Error::TIME_EXCEEDED);
        let quote = Quote::<Be32>::parse(&SliceFrame::new(&mut bytes, 0)).unwrap();
        assert_eq!(quote.network.src.to_bytes(), [203, 0, 113, 10]);
        assert_eq!(quote.source_port().to_host(), 80);
        assert_eq!(quote.destination_port().to_host(), 1025);
        assert_eq!((quote.proto, quote.is_tunnelled()), (Proto::Udp, false));
    }

    proptest! {
        #[test]
        fn nat_makes_of_a_quote_what_the_other_end_knows(payload in proptest::collection::vec(any::<u8>(), 0..700), options in 0usize..=10) {
            quotes_are_translated::<Be32>([CLIENT, VIP, RIP], |build| {
                build.without_checksum().options(&vec![1; options * 4]).payload(&payload)
            });
        }

        #[test]
        fn any_error_is_read_within_its_bounds(changes in proptest::collection::vec((14usize..82, any::<u8>()), 0..5), cut in 0usize..90) {
            let packet = Build::tcp(VIP, CLIENT).payload(&[0x61; 8]);
            let mut bytes = error_about::<Be32>(&packet, Error::TIME_EXCEEDED);
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            bytes.truncate(cut);
            quote_is_within_bounds::<Be32>(&mut bytes);
        }
    }
}
