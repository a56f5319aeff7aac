//! What is in a packet that has come for a probe, and the datagrams that probes send.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpPacket, UdpPacket,
    UdpRepr,
};
use socket2::SockFilter;

use super::Way;
use super::flows::PORTS;
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
pub(super) fn filter(longest: usize) -> [SockFilter; 14] {
    [
        op::byte(9), // protocol
        op::equal(libc::IPPROTO_TCP as u32, 5, 0),
        op::equal(libc::IPPROTO_UDP as u32, 4, 0),
        op::equal(libc::IPPROTO_ICMP as u32, 0, 8),
        op::header_len(0),
        op::half_behind(0), // type and code
        op::at_least(0x0400, 5, 6),
        op::half(6), // flags and fragment offset
        op::any_bit(0x3fff, 3, 0),
        op::header_len(0),
        op::half_behind(2), // destination port
        op::at_least(PORTS.start.into(), 1, 0),
        op::take(0),
        op::take(u32::try_from(longest).unwrap_or(u32::MAX)),
    ]
}

type Key = (u16, u8, SocketAddrV4, Ipv4Addr);

/// For which local port, protocol, VIP and local address a packet has come, and what it is.
pub(super) fn arrival(bytes: Vec<u8>) -> Option<(u16, u8, SocketAddrV4, Ipv4Addr, Arrival)> {
    let packet = Ipv4Packet::new_checked(bytes.as_slice()).ok()?;
    if packet.version() != 4 || packet.more_frags() || packet.frag_offset() != 0 {
        return None;
    }
    if packet.next_header() == IpProtocol::Icmp {
        let (port, protocol, vip, local) = unreachable(packet.payload())?;
        return Some((port, protocol, vip, local, Arrival::Unreachable));
    }
    let (source, destination) = ports(packet.next_header(), packet.payload())?;
    let vip = SocketAddrV4::new(packet.src_addr(), source);
    let (protocol, local) = (packet.next_header().into(), packet.dst_addr());
    let total = usize::from(packet.total_len());
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

/// Which flow an ICMP error is about: it quotes the header of what we sent, and eight bytes more.
fn unreachable(payload: &[u8]) -> Option<Key> {
    let icmp = Icmpv4Packet::new_checked(payload).ok()?;
    if icmp.msg_type() != Icmpv4Message::DstUnreachable {
        return None;
    }
    let quoted = payload.get(8..)?;
    let header = Ipv4Packet::new_unchecked(quoted);
    let len = usize::from(quoted.first()? & 0x0f) * 4;
    if len < 20 || quoted.len() < len + 4 {
        return None;
    }
    let port = |at: usize| {
        Some(u16::from_be_bytes([
            *quoted.get(len + at)?,
            *quoted.get(len + at + 1)?,
        ]))
    };
    let vip = SocketAddrV4::new(header.dst_addr(), port(2)?);
    Some((
        port(0)?,
        header.next_header().into(),
        vip,
        header.src_addr(),
    ))
}

/// A datagram to the VIP, from the IP header on.
pub(super) fn datagram(way: &Way, port: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let udp = UdpRepr {
        src_port: port,
        dst_port: way.vip.port(),
    };
    let ip = Ipv4Repr {
        src_addr: way.source,
        dst_addr: *way.vip.ip(),
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + payload.len(),
        hop_limit: 64,
    };
    let total = ip.buffer_len() + ip.payload_len;
    if total > way.mtu {
        return None;
    }
    let mut bytes = vec![0; total];
    let checksums = ChecksumCapabilities::default();
    let mut packet = Ipv4Packet::new_unchecked(bytes.as_mut_slice());
    ip.emit(&mut packet, &checksums);
    let mut inner = UdpPacket::new_unchecked(packet.payload_mut());
    let (from, to) = (IpAddress::Ipv4(way.source), IpAddress::Ipv4(*way.vip.ip()));
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
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    let udp = UdpPacket::new_checked(packet.payload()).ok()?;
    Some(udp.payload().to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Hop;
    use super::*;

    const WAY: Way = Way {
        vip: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 53),
        source: Ipv4Addr::new(10, 0, 0, 1),
        mtu: 1500,
        hop: Hop::Tunnel(Ipv4Addr::new(10, 0, 0, 9)),
    };

    /// The same packet on its way back.
    fn back(mut bytes: Vec<u8>) -> Vec<u8> {
        let (from, to): (Vec<u8>, Vec<u8>) = (bytes[12..16].to_vec(), bytes[16..20].to_vec());
        bytes[12..16].copy_from_slice(&to);
        bytes[16..20].copy_from_slice(&from);
        bytes.swap(20, 22);
        bytes.swap(21, 23);
        bytes
    }

    #[test]
    fn an_answer_finds_its_flow() {
        let sent = datagram(&WAY, 61_234, b"question").unwrap();
        let mut padded = back(sent.clone());
        padded.resize(60, 0xaa);
        let (port, protocol, from, to, arrival) = arrival(padded).unwrap();
        assert_eq!(
            (port, protocol, from, to),
            (61_234, 17, WAY.vip, WAY.source)
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

    #[test]
    fn an_icmp_error_finds_the_flow_that_it_quotes() {
        let sent = datagram(&WAY, 61_234, b"question").unwrap();
        let mut error = vec![
            0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1,
        ];
        error.extend_from_slice(&[3, 3, 0, 0, 0, 0, 0, 0]);
        error.extend_from_slice(&sent[..28]);
        let (port, protocol, from, to, what) = arrival(error.clone()).unwrap();
        assert_eq!(
            (port, protocol, from, to),
            (61_234, 17, WAY.vip, WAY.source)
        );
        assert_eq!(what, Arrival::Unreachable);
        error[20] = 11;
        assert_eq!(
            arrival(error),
            None,
            "time exceeded says nothing about the server"
        );
    }

    #[test]
    fn what_does_not_fit_is_not_made() {
        assert!(datagram(&WAY, 61_234, &[0; 1472]).is_some());
        assert!(datagram(&WAY, 61_234, &[0; 1473]).is_none());
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
            at in 0..64usize, byte in any::<u8>(), len in 0..100usize, icmp in any::<bool>(),
        ) {
            let mut bytes = datagram(&WAY, 61_234, b"question").unwrap();
            if icmp {
                let mut error = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1];
                error.extend_from_slice(&[3, 3, 0, 0, 0, 0, 0, 0]);
                error.extend_from_slice(&bytes);
                bytes = error;
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
