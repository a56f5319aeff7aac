//! The packets by which real servers are asked, made byte by byte, and what comes back.

use std::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpProtocol, IpRepr, Ipv4Packet,
    Ipv6Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

/// The port that a far client has.
const PORT: u16 = 60_999;
/// The hop limit of all.
const HOPS: u8 = 64;

/// Bytes of the headers of IP and ICMP.
pub(super) const fn headers(v6: bool) -> u32 {
    if v6 { 48 } else { 28 }
}

/// What is looked at of a packet that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Came {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    /// Identification and sequence number of an echo.
    pub(super) echo: Option<(u16, u16)>,
}

/// Reads a packet, from the IP header on.
pub(super) fn read(bytes: &[u8]) -> Option<Came> {
    match bytes.first()? >> 4 {
        4 => {
            let ip = Ipv4Packet::new_checked(bytes).ok()?;
            let icmp = Icmpv4Packet::new_checked(ip.payload()).ok();
            let icmp = icmp.filter(|_| ip.next_header() == IpProtocol::Icmp);
            Some(Came {
                from: ip.src_addr().into(),
                to: ip.dst_addr().into(),
                echo: icmp.map(|icmp| (icmp.echo_ident(), icmp.echo_seq_no())),
            })
        }
        6 => {
            let ip = Ipv6Packet::new_checked(bytes).ok()?;
            let icmp = Icmpv6Packet::new_checked(ip.payload()).ok();
            let icmp = icmp.filter(|_| ip.next_header() == IpProtocol::Icmpv6);
            Some(Came {
                from: ip.src_addr().into(),
                to: ip.dst_addr().into(),
                echo: icmp.map(|icmp| (icmp.echo_ident(), icmp.echo_seq_no())),
            })
        }
        _ => None,
    }
}

/// An echo request of so many bytes in all, that nobody may take apart; `None` between addresses of two families.
pub(super) fn echo(
    from: IpAddr,
    to: IpAddr,
    ident: u16,
    sequence: u16,
    size: u32,
) -> Option<Vec<u8>> {
    let length = usize::try_from(size.saturating_sub(headers(to.is_ipv6()))).unwrap_or_default();
    let data = vec![0; length];
    let checksums = ChecksumCapabilities::default();
    match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let icmp = Icmpv4Repr::EchoRequest {
                ident,
                seq_no: sequence,
                data: &data,
            };
            packet(from, to, IpProtocol::Icmp, icmp.buffer_len(), |payload| {
                icmp.emit(&mut Icmpv4Packet::new_unchecked(payload), &checksums);
            })
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let icmp = Icmpv6Repr::EchoRequest {
                ident,
                seq_no: sequence,
                data: &data,
            };
            packet(from, to, IpProtocol::Icmpv6, icmp.buffer_len(), |payload| {
                let mut packet = Icmpv6Packet::new_unchecked(payload);
                icmp.emit(&source, &destination, &mut packet, &checksums);
            })
        }
        _ => None,
    }
}

/// A segment that opens a connection, or takes it back.
pub(super) fn segment(from: IpAddr, to: IpAddr, port: u16, control: TcpControl) -> Option<Vec<u8>> {
    let begun = i32::from(control == TcpControl::Rst);
    let tcp = TcpRepr {
        src_port: PORT,
        dst_port: port,
        control,
        seq_number: TcpSeqNumber(begun),
        ack_number: None,
        window_len: 1_024,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    packet(from, to, IpProtocol::Tcp, tcp.buffer_len(), |payload| {
        let mut packet = TcpPacket::new_unchecked(payload);
        let (from, to) = (IpAddress::from(from), IpAddress::from(to));
        tcp.emit(&mut packet, &from, &to, &ChecksumCapabilities::default());
    })
}

fn packet(
    from: IpAddr,
    to: IpAddr,
    protocol: IpProtocol,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Option<Vec<u8>> {
    if from.is_ipv4() != to.is_ipv4() {
        return None;
    }
    let ip = IpRepr::new(from.into(), to.into(), protocol, length, HOPS);
    let mut bytes = vec![0; ip.buffer_len()];
    ip.emit(&mut bytes, &ChecksumCapabilities::default());
    fill(bytes.get_mut(ip.header_len()..)?);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A real server and a director, of each family.
    const PAIRS: [[&str; 2]; 2] = [["10.0.0.11", "10.0.0.1"], ["fd00::11", "fd00::1"]];

    #[test]
    fn a_request_has_the_size_that_it_asks_for_and_may_not_be_taken_apart() {
        for pair in PAIRS {
            let [real, own] = pair.map(|text| text.parse().unwrap());
            for size in [1_280, 1_500, 9_000] {
                let bytes = echo(own, real, 7, 9, size).unwrap();
                assert_eq!(bytes.len(), size as usize);
                if real.is_ipv4() {
                    assert!(Ipv4Packet::new_unchecked(&bytes).dont_frag());
                }
                let came = Came {
                    from: own,
                    to: real,
                    echo: Some((7, 9)),
                };
                assert_eq!(read(&bytes), Some(came));
            }
            let bytes = segment(own, real, 80, TcpControl::Syn).unwrap();
            assert_eq!(read(&bytes).unwrap().echo, None);
        }
        let [[v4, _], [v6, _]] = PAIRS.map(|pair| pair.map(|text| text.parse().unwrap()));
        assert_eq!(echo(v4, v6, 7, 9, 1_500), None);
        assert_eq!(segment(v6, v4, 80, TcpControl::Syn), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = read(&bytes);
        }
    }
}
