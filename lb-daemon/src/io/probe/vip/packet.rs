//! What is in a packet that has come for a probe, and the datagrams that probes send.

use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Message, Icmpv6Message, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpPacket,
    UdpPacket, UdpRepr,
};
use socket2::SockFilter;

use super::flows::PORTS;
use super::{Family, Way};
use crate::io::packet_socket::filter as op;

/// Something that has come for a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// A packet of the flow, from the IP header on.
    Packet(Vec<u8>),
    /// A router or the real server says that the flow's packets do not arrive.
    Unreachable,
}

/// Lets through what may be for a probe: TCP and UDP in whole packets to our ports, and destination unreachable.
pub(super) fn filter(family: Family, longest: usize) -> Vec<SockFilter> {
    let take = op::take(u32::try_from(longest).unwrap_or(u32::MAX));
    let (tcp, udp) = (libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32);
    let ports = u32::from(PORTS.start);
    match family {
        Family::V4 => vec![
            op::byte(9), // protocol
            op::equal(tcp, 5, 0),
            op::equal(udp, 4, 0),
            op::equal(libc::IPPROTO_ICMP as u32, 0, 8),
            op::header_len(0),
            op::half_behind(0), // type and code
            op::at_least(0x0400, 5, 6),
            op::half(6), // flags and fragment offset
            op::any_bit(0x3fff, 3, 0),
            op::header_len(0),
            op::half_behind(2), // destination port
            op::at_least(ports, 1, 0),
            op::take(0),
            take,
        ],
        // What has extension headers, as fragments have, is for nobody.
        Family::V6 => vec![
            op::byte(6), // next header
            op::equal(tcp, 4, 0),
            op::equal(udp, 3, 0),
            op::equal(libc::IPPROTO_ICMPV6 as u32, 0, 4),
            op::byte(40), // type
            op::equal(u8::from(Icmpv6Message::DstUnreachable).into(), 3, 2),
            op::half(42), // destination port
            op::at_least(ports, 1, 0),
            op::take(0),
            take,
        ],
    }
}

/// For whom a packet is: the local port, the protocol, the VIP and the local address.
type Key = (u16, u8, SocketAddr, IpAddr);

/// A header, and what is behind it.
struct Read<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload: &'a [u8],
    /// Length of the whole packet, in bytes.
    total: usize,
}

/// Reads a whole packet that is no fragment.
fn read(bytes: &[u8]) -> Option<Read<'_>> {
    match bytes.first()? >> 4 {
        4 => {
            let packet = Ipv4Packet::new_checked(bytes).ok()?;
            let is_whole = !packet.more_frags() && packet.frag_offset() == 0;
            is_whole.then(|| Read {
                source: packet.src_addr().into(),
                destination: packet.dst_addr().into(),
                protocol: packet.next_header(),
                total: packet.total_len().into(),
                payload: packet.payload(),
            })
        }
        6 => {
            let packet = Ipv6Packet::new_checked(bytes).ok()?;
            Some(Read {
                source: packet.src_addr().into(),
                destination: packet.dst_addr().into(),
                protocol: packet.next_header(),
                total: packet.total_len(),
                payload: packet.payload(),
            })
        }
        _ => None,
    }
}

/// For which local port, protocol, VIP and local address a packet has come, and what it is.
pub(super) fn arrival(bytes: Vec<u8>) -> Option<(u16, u8, SocketAddr, IpAddr, Arrival)> {
    let packet = read(&bytes)?;
    let unreachable = match packet.protocol {
        IpProtocol::Icmp => Some(Icmpv4Message::DstUnreachable.into()),
        IpProtocol::Icmpv6 => Some(Icmpv6Message::DstUnreachable.into()),
        _ => None,
    };
    if let Some(kind) = unreachable {
        let (port, protocol, vip, local) = quoted(kind, packet.payload)?;
        return Some((port, protocol, vip, local, Arrival::Unreachable));
    }
    let (source, destination) = ports(packet.protocol, packet.payload)?;
    let vip = SocketAddr::new(packet.source, source);
    let (protocol, local, total) = (packet.protocol.into(), packet.destination, packet.total);
    let mut bytes = bytes;
    // What pads a short frame is not part of the packet.
    bytes.truncate(total);
    Some((destination, protocol, vip, local, Arrival::Packet(bytes)))
}

/// Source and destination port.
fn ports(protocol: IpProtocol, payload: &[u8]) -> Option<(u16, u16)> {
    match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).ok()?;
            Some((tcp.src_port(), tcp.dst_port()))
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).ok()?;
            Some((udp.src_port(), udp.dst_port()))
        }
        _ => None,
    }
}

/// Which flow an ICMP error of this type is about: it quotes the header of what we sent, and eight bytes more.
fn quoted(kind: u8, icmp: &[u8]) -> Option<Key> {
    if *icmp.first()? != kind {
        return None;
    }
    let quoted = icmp.get(8..)?;
    let first = *quoted.first()?;
    let len = match first >> 4 {
        4 => usize::from(first & 0x0f) * 4,
        _ => Family::V6.header(),
    };
    if len < Family::V4.header() || quoted.len() < len + 4 {
        return None;
    }
    let (source, destination, protocol): (IpAddr, IpAddr, u8) = match first >> 4 {
        4 => {
            let header = Ipv4Packet::new_unchecked(quoted);
            let (source, destination) = (header.src_addr(), header.dst_addr());
            (
                source.into(),
                destination.into(),
                header.next_header().into(),
            )
        }
        6 => {
            let header = Ipv6Packet::new_unchecked(quoted);
            let (source, destination) = (header.src_addr(), header.dst_addr());
            (
                source.into(),
                destination.into(),
                header.next_header().into(),
            )
        }
        _ => return None,
    };
    let port = |at: usize| {
        Some(u16::from_be_bytes([
            *quoted.get(len + at)?,
            *quoted.get(len + at + 1)?,
        ]))
    };
    let vip = SocketAddr::new(destination, port(2)?);
    Some((port(0)?, protocol, vip, source))
}

/// A datagram to the VIP, from the IP header on.
pub(super) fn datagram(way: &Way, port: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let udp = UdpRepr {
        src_port: port,
        dst_port: way.vip.port(),
    };
    let (from, to) = (IpAddress::from(way.source), IpAddress::from(way.vip.ip()));
    let ip = IpRepr::new(
        from,
        to,
        IpProtocol::Udp,
        udp.header_len() + payload.len(),
        64,
    );
    let total = ip.buffer_len();
    if total > way.mtu {
        return None;
    }
    let mut bytes = vec![0; total];
    let checksums = ChecksumCapabilities::default();
    ip.emit(&mut bytes, &checksums);
    let mut inner = UdpPacket::new_unchecked(bytes.get_mut(ip.header_len()..)?);
    udp.emit(
        &mut inner,
        &from,
        &to,
        payload.len(),
        |to| to.copy_from_slice(payload),
        &checksums,
    );
    Some(bytes)
}

/// The payload of a datagram that has come.
pub(super) fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    let packet = read(bytes)?;
    let udp = UdpPacket::new_checked(packet.payload).ok()?;
    Some(udp.payload().to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Hop;
    use super::*;

    /// A way of each family.
    fn ways() -> [Way; 2] {
        [
            ("192.0.2.1:53", "10.0.0.1", "10.0.0.9"),
            ("[2001:db8::1]:53", "fd00::1", "fd00::9"),
        ]
        .map(|(vip, source, real)| Way {
            vip: vip.parse().unwrap(),
            source: source.parse().unwrap(),
            mtu: 1500,
            hop: Hop::Tunnel(real.parse().unwrap()),
        })
    }

    /// How long its header is.
    fn header(way: &Way) -> usize {
        Family::of(way.source).header()
    }

    /// The same packet on its way back.
    fn back(way: &Way, mut bytes: Vec<u8>) -> Vec<u8> {
        let ports = header(way);
        let len = if way.source.is_ipv4() { 4 } else { 16 };
        let (before, _) = bytes.split_at_mut(ports);
        let (rest, to) = before.split_at_mut(ports - len);
        let (_, from) = rest.split_at_mut(ports - 2 * len);
        from.swap_with_slice(to);
        bytes.swap(ports, ports + 2);
        bytes.swap(ports + 1, ports + 3);
        bytes
    }

    /// An error about a packet that was sent, by the real server.
    fn error(way: &Way, sent: &[u8], kind: u8) -> Vec<u8> {
        let quoted = &sent[..header(way) + 8];
        let protocol = match Family::of(way.source) {
            Family::V4 => IpProtocol::Icmp,
            Family::V6 => IpProtocol::Icmpv6,
        };
        let Hop::Tunnel(real) = way.hop else {
            unreachable!()
        };
        let ip = IpRepr::new(
            real.into(),
            way.source.into(),
            protocol,
            8 + quoted.len(),
            64,
        );
        let mut bytes = vec![0; ip.header_len()];
        ip.emit(&mut bytes, &ChecksumCapabilities::default());
        bytes.extend_from_slice(&[kind, 3, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(quoted);
        bytes
    }

    #[test]
    fn an_answer_finds_its_flow() {
        for way in ways() {
            let sent = datagram(&way, 61_234, b"question").unwrap();
            let mut padded = back(&way, sent.clone());
            padded.resize(80, 0xaa);
            let (port, protocol, from, to, arrival) = arrival(padded).unwrap();
            assert_eq!(
                (port, protocol, from, to),
                (61_234, 17, way.vip, way.source)
            );
            let Arrival::Packet(bytes) = arrival else {
                panic!("{arrival:?}")
            };
            assert_eq!(
                payload(&bytes).unwrap(),
                b"question",
                "without what pads the frame"
            );
        }
    }

    #[test]
    fn an_icmp_error_finds_the_flow_that_it_quotes() {
        // Unreachable, and time exceeded, in each family.
        for (way, [unreachable, exceeded]) in ways().into_iter().zip([[3, 11], [1, 3]]) {
            let sent = datagram(&way, 61_234, b"question").unwrap();
            let (port, protocol, from, to, what) =
                arrival(error(&way, &sent, unreachable)).unwrap();
            assert_eq!(
                (port, protocol, from, to),
                (61_234, 17, way.vip, way.source)
            );
            assert_eq!(what, Arrival::Unreachable);
            assert_eq!(
                arrival(error(&way, &sent, exceeded)),
                None,
                "time exceeded says nothing about the server"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_not_made() {
        for way in ways() {
            let room = 1500 - header(&way) - 8;
            assert!(datagram(&way, 61_234, &vec![0; room]).is_some());
            assert!(datagram(&way, 61_234, &vec![0; room + 1]).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = arrival(bytes.clone());
            let _ = payload(&bytes);
        }

        /// Mostly right packets reach further than noise does.
        #[test]
        fn a_damaged_packet_is_parsed_without_panic(
            family in 0..2usize, at in 0..96usize, byte in any::<u8>(), len in 0..120usize, icmp in any::<bool>(),
        ) {
            let way = ways()[family];
            let mut bytes = datagram(&way, 61_234, b"question").unwrap();
            if icmp {
                bytes = error(&way, &bytes, [3, 1][family]);
            }
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(len);
            let _ = arrival(bytes.clone());
            let _ = payload(&bytes);
        }
    }
}
