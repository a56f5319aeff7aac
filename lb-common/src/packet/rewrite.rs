//! How does a packet change on its way to a real server, and back?
//!
//! Every function counts the TTL down by one, as IPVS does in each method; the caller has seen that it is above 1. Each returns
//! `None` where the frame is not what [`parse`](super::parse) found or has no room, and the packet is then to be dropped.

use super::bytes::Bytes;
use super::checksum::Sum;
use super::ip::{Ip, Outer};
use super::parse::{L3, Network, Transport};
use super::wire::{Ethernet, MacPair, Tcp, Udp};
use crate::net::{Be16, Proto};

/// The ECN bits of the TOS byte.
const ECN: u8 = 3;
/// ECN "capable, first codepoint": what an outer header says for an inner "congestion experienced".
const ECT_0: u8 = 2;

/// Direct routing: the frame goes to the real server as it is.
#[inline(always)]
pub fn dr<A: Ip, B: Bytes>(frame: &mut B, macs: MacPair) -> Option<()> {
    A::count_down(frame.header_mut::<A::Header>(L3)?);
    frame.header_mut::<Ethernet>(0)?.set_macs(macs);
    Some(())
}

/// IP-in-IP: the packet goes inside another one, between the ends of `tunnel`.
///
/// `id` is asked for the identification of an outer packet that may be fragmented; where it may not, zero is sent.
///
/// The outer header says what IPVS says: TOS with "congestion experienced" as ECT(0) (RFC 3168 9.1.1), DF and the TTL of the inner.
#[inline(always)]
pub fn tun<A: Ip, B: Bytes>(
    frame: &mut B,
    packet: &Transport,
    tunnel: Network<A>,
    id: impl FnOnce() -> Be16,
    macs: MacPair,
) -> Option<()> {
    let ip = frame.header_mut::<A::Header>(L3)?;
    let class = A::traffic_class(ip);
    let outer = Outer {
        network: tunnel,
        traffic_class: if class & ECN == ECN {
            class & !ECN | ECT_0
        } else {
            class
        },
        hop_limit: A::hop_limit(ip).wrapping_sub(1),
        dont_fragment: A::dont_fragment(ip),
        len: packet.len as u16,
        proto: A::IN_TUNNEL,
    };
    A::count_down(ip);
    frame.grow_front(A::LEN as u16)?;
    A::write_tunnel(frame.header_mut::<A::Header>(L3)?, outer, id);
    frame.header_mut::<Ethernet>(0)?.write(macs, A::ETHERTYPE);
    Some(())
}

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint<A> {
    /// The address.
    pub addr: A,
    /// The port.
    pub port: Be16,
}

/// Whether a packet that NAT changed leaves here or goes to the director's own stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Onward {
    /// It leaves with these addresses, its TTL counted down.
    Send(MacPair),
    /// The stack routes it, and counts the TTL down itself.
    Stack,
}

/// What NAT changes in a packet, whatever it is.
pub trait Translate<A: Ip> {
    /// Towards a real server: the destination becomes `to`.
    fn nat_destination<B: Bytes>(
        &self,
        frame: &mut B,
        to: Endpoint<A>,
        onward: Onward,
    ) -> Option<()>;

    /// Towards a client: the source becomes `from`, the virtual service.
    fn nat_source<B: Bytes>(&self, frame: &mut B, from: Endpoint<A>, onward: Onward) -> Option<()>;
}

/// A UDP checksum of zero (none) stays zero.
impl<A: Ip> Translate<A> for Transport {
    #[inline(always)]
    fn nat_destination<B: Bytes>(
        &self,
        frame: &mut B,
        to: Endpoint<A>,
        onward: Onward,
    ) -> Option<()> {
        let ip = frame.header_mut::<A::Header>(L3)?;
        let old = A::addresses(ip).dst;
        A::set_dst(ip, to.addr);
        count_down::<A>(ip, onward);
        let ports = ports_with_destination(self.ports, to.port);
        set_transport(frame, self, ports, old, to.addr)?;
        set_ethernet(frame, onward)
    }

    #[inline(always)]
    fn nat_source<B: Bytes>(&self, frame: &mut B, from: Endpoint<A>, onward: Onward) -> Option<()> {
        let ip = frame.header_mut::<A::Header>(L3)?;
        let old = A::addresses(ip).src;
        A::set_src(ip, from.addr);
        count_down::<A>(ip, onward);
        let ports = ports_with_source(self.ports, from.port);
        set_transport(frame, self, ports, old, from.addr)?;
        set_ethernet(frame, onward)
    }
}

/// Takes the outer header of a tunnel off, whose inner packet is of the family and at `inner`.
///
/// The Ethernet addresses stay, as the packet goes on to this host's own stack.
#[inline(always)]
pub fn decapsulate<A: Ip, B: Bytes>(frame: &mut B, inner: usize) -> Option<()> {
    let macs = frame.header::<Ethernet>(0)?.macs();
    frame.cut_front((inner - L3) as u16)?;
    frame.header_mut::<Ethernet>(0)?.write(macs, A::ETHERTYPE);
    Some(())
}

/// Counts the hops of a packet down that leaves here.
#[inline(always)]
pub(super) fn count_down<A: Ip>(ip: &mut A::Header, onward: Onward) {
    if let Onward::Send(_) = onward {
        A::count_down(ip);
    }
}

/// Writes the Ethernet addresses, if the packet leaves here.
#[inline(always)]
pub(super) fn set_ethernet<B: Bytes>(frame: &mut B, onward: Onward) -> Option<()> {
    if let Onward::Send(macs) = onward {
        frame.header_mut::<Ethernet>(0)?.set_macs(macs);
    }
    Some(())
}

/// Writes the ports, and the transport checksum for the change of them and of one address.
#[inline(always)]
fn set_transport<A: Ip, B: Bytes>(
    frame: &mut B,
    packet: &Transport,
    ports: u32,
    old: A,
    new: A,
) -> Option<()> {
    let changed = |checksum| {
        A::replace(Sum::of_checksum(checksum), old, new)
            .replace(packet.ports, ports)
            .checksum()
    };
    match packet.proto {
        Proto::Tcp => {
            let tcp = frame.header_mut::<Tcp>(packet.l4())?;
            let checksum = changed(tcp.checksum());
            tcp.set_ports(ports);
            tcp.set_checksum(checksum);
        }
        Proto::Udp => {
            let udp = frame.header_mut::<Udp>(packet.l4())?;
            let checksum = match (udp.checksum(), changed(udp.checksum())) {
                (0, _) => 0,
                // Zero would say that there is no checksum (RFC 768).
                (_, 0) => 0xffff,
                (_, sum) => sum,
            };
            udp.set_ports(ports);
            udp.set_checksum(checksum);
        }
    }
    Some(())
}

/// The ports word with another destination port.
#[inline(always)]
pub(super) const fn ports_with_destination(ports: u32, port: Be16) -> u32 {
    let [a, b, ..] = ports.to_ne_bytes();
    let [c, d] = port.0.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// The ports word with another source port.
#[inline(always)]
pub(super) const fn ports_with_source(ports: u32, port: Be16) -> u32 {
    let [_, _, c, d] = ports.to_ne_bytes();
    let [a, b] = port.0.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Be32;
    use crate::packet::build::{Build, checksums_hold};
    use crate::packet::bytes::SliceFrame;
    use crate::packet::testing::{MACS, rewritten};
    use crate::packet::wire::IPV4_LEN;
    use proptest::prelude::*;

    fn endpoint(addr: u32, port: u16) -> Endpoint<Be32> {
        Endpoint {
            addr: Be32::from_host(addr),
            port: Be16::from_host(port),
        }
    }

    prop_compose! {
        fn any_packet()(tcp: bool, src: u32, dst: u32, sport: u16, dport: u16, ttl in 2u8.., tos: u8, id: u16, df: bool, no_sum: bool,
            options in 0usize..=10, payload in proptest::collection::vec(any::<u8>(), 0..80)) -> Vec<u8> {
            let build = if tcp { Build::tcp_between(src, sport, dst, dport) } else { Build::udp_between(src, sport, dst, dport) };
            let build = build.ttl(ttl).tos(tos).id(id).dont_fragment(df).options(&vec![1; options * 4]).payload(&payload);
            if no_sum && !tcp { build.without_checksum().bytes() } else { build.bytes() }
        }
    }

    proptest! {
        #[test]
        fn every_rewrite_leaves_right_checksums(bytes in any_packet(), addr: u32, port: u16, send: bool) {
            let onward = if send { Onward::Send(MACS) } else { Onward::Stack };
            prop_assert!(checksums_hold(&bytes));
            let zero = bytes[23] == 17 && Transport::parse::<Be32, _>(&SliceFrame::new(&mut bytes.clone(), 0)).is_ok_and(|t| bytes[t.l4() + 6..][..2] == [0, 0]);

            let dr = rewritten::<Be32>(&bytes, |f, _| dr::<Be32, _>(f, MACS));
            prop_assert!(checksums_hold(&dr));
            prop_assert_eq!(dr[22], bytes[22] - 1);

            let tunnel = Network { src: Be32(1), dst: Be32(addr) };
            let tun = rewritten::<Be32>(&bytes, |f, t| tun(f, t, tunnel, || Be16(port), MACS));
            prop_assert!(checksums_hold(&tun));
            prop_assert_eq!(&tun[34..], &dr[14..]);

            for out in [
                rewritten::<Be32>(&bytes, |f, t| t.nat_destination(f, endpoint(addr, port), onward)),
                rewritten::<Be32>(&bytes, |f, t| t.nat_source(f, endpoint(addr, port), onward)),
            ] {
                prop_assert!(checksums_hold(&out));
                prop_assert_eq!(out[22], bytes[22] - u8::from(send));
                let udp = usize::from(out[14] & 15) * 4 + 14;
                prop_assert_eq!(zero, out[23] == 17 && out[udp + 6..][..2] == [0, 0]);
            }
        }

        #[test]
        fn decapsulation_undoes_the_tunnel(bytes in any_packet()) {
            let tunnel = Network { src: Be32(1), dst: Be32(2) };
            let through = rewritten::<Be32>(&bytes, |f, t| {
                tun(f, t, tunnel, || Be16(3), MACS)?;
                decapsulate::<Be32, _>(f, L3 + IPV4_LEN)
            });
            prop_assert_eq!(through, rewritten::<Be32>(&bytes, |f, _| dr::<Be32, _>(f, MACS)));
        }

        #[test]
        fn nat_there_and_back_is_what_was_sent(bytes in any_packet(), addr: u32, port: u16) {
            let there = rewritten::<Be32>(&bytes, |f, t| t.nat_destination(f, endpoint(addr, port), Onward::Stack));
            let mut copy = bytes.clone();
            let frame = SliceFrame::new(&mut copy, 0);
            let (network, transport) = (Network::<Be32>::parse(&frame).unwrap(), Transport::parse::<Be32, _>(&frame).unwrap());
            let [.., c, d] = transport.ports.to_ne_bytes();
            let vip = Endpoint { addr: network.dst, port: Be16(u16::from_ne_bytes([c, d])) };
            let back = rewritten::<Be32>(&there, |f, t| t.nat_destination(f, vip, Onward::Stack));
            let udp_zero_renamed = bytes[23] == 17;
            prop_assert!(back == bytes || udp_zero_renamed && checksums_hold(&back));
        }
    }
}
