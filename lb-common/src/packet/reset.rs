//! Which segment tells a client that a port is closed?
//!
//! The SYN itself becomes the reset (RFC 9293, 3.10.7.1): cut behind its TCP header, turned round, and confirmed. As Linux sends it: DF,
//! TTL 64, the traffic class of what it answers, window 0.

use super::bytes::Bytes;
use super::checksum::Sum;
use super::ip::{Ip, Outer};
use super::parse::{L3, Network, Transport};
use super::wire::{Ethernet, TCP_LEN, Tcp, tcp_flag};
use crate::net::{Be16, Proto};

/// How many hops it may take.
const HOPS: u8 = 64;

/// Header length 5 words, RST and ACK, window 0, as they stand in the packet.
const START: u32 = u32::from_ne_bytes([5 << 4, tcp_flag::RST | tcp_flag::ACK, 0, 0]);

/// Turns a frame with a SYN into the reset that answers it, from the address it was sent to.
///
/// `None` where the frame is not what was parsed; it is then to be dropped.
#[inline(always)]
pub fn reply<A: Ip, B: Bytes>(frame: &mut B, syn: &Transport) -> Option<()> {
    let ip = frame.header::<A::Header>(L3)?;
    let Network { src, dst } = A::addresses(ip);
    let traffic_class = A::traffic_class(ip);
    let network = Network { src: dst, dst: src };
    let macs = frame.header::<Ethernet>(0)?.macs().swapped();
    let tcp = frame.header::<Tcp>(syn.l4())?;
    let headers = syn.l4() - L3 + usize::from(tcp.offset() >> 4) * 4;
    let data = syn.len.wrapping_sub(headers as u32);
    // SYN counts as one.
    let ack = u32::from_be(tcp.sequence()).wrapping_add(data.wrapping_add(1));
    let (ack, ports) = (ack.to_be(), syn.ports.rotate_right(16));
    let surplus = frame.len().checked_sub(L3 + A::LEN + TCP_LEN)?;
    if surplus > 0 {
        frame.cut_end(surplus as u16)?;
    }

    let pseudo = A::replace(
        A::replace(Sum::default(), A::default(), network.src),
        A::default(),
        network.dst,
    );
    let proto_len = u32::from(Be16::from_host(Proto::Tcp as u16).0)
        + u32::from(Be16::from_host(TCP_LEN as u16).0);
    let sum = pseudo.add(proto_len).add(ports).add(ack).add(START);
    let tcp = frame.header_mut::<Tcp>(L3 + A::LEN)?;
    tcp.set_ports(ports);
    tcp.set_sequence(0);
    tcp.set_acknowledged(ack);
    tcp.set_start(START);
    tcp.set_checksum(sum.checksum());
    tcp.set_urgent(0);
    let outer = Outer {
        network,
        traffic_class,
        hop_limit: HOPS,
        dont_fragment: true,
        len: TCP_LEN as u16,
        proto: Proto::Tcp as u8,
    };
    A::write_tunnel(frame.header_mut::<A::Header>(L3)?, outer, || Be16(0));
    frame.header_mut::<Ethernet>(0)?.write(macs, A::ETHERTYPE);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Be32, Be128};
    use crate::packet::build::{Build, checksums_hold};
    use crate::packet::bytes::SliceFrame;
    use proptest::prelude::*;

    fn answer<A: Ip>(bytes: &[u8]) -> std::vec::Vec<u8> {
        let mut buffer = bytes.to_vec();
        let mut frame = SliceFrame::new(&mut buffer, 0);
        let syn = Transport::parse::<A, _>(&frame).unwrap();
        reply::<A, _>(&mut frame, &syn).unwrap();
        frame.as_slice().to_vec()
    }

    fn confirms(frame: &[u8], syn: &[u8], at: usize, data: usize) {
        assert!(checksums_hold(frame), "{frame:02x?}");
        let tcp = &frame[at..];
        assert_eq!(tcp.len(), 20);
        assert_eq!(tcp[..4], [&syn[2..4], &syn[..2]].concat());
        let sequence = u32::from_be_bytes(syn[4..8].try_into().unwrap());
        let confirmed = sequence.wrapping_add(data as u32 + 1);
        assert_eq!(tcp[4..8], [0; 4]);
        assert_eq!(tcp[8..12], confirmed.to_be_bytes());
        assert_eq!(tcp[12..14], [0x50, tcp_flag::RST | tcp_flag::ACK]);
    }

    proptest! {
        #[test]
        fn a_reset_confirms_all_that_it_answers(
            payload in proptest::collection::vec(any::<u8>(), 40..1400), words in 0usize..=10, pad in 0usize..40,
        ) {
            for (client, server, at) in [
                ("198.51.100.5:1025", "203.0.113.10:22", 34),
                ("[2001:db8:c::5]:1025", "[2001:db8:f::10]:22", 54),
            ] {
                let syn = Build::tcp(client, server).flags(tcp_flag::SYN).payload(&payload);
                let mut bytes = syn.bytes();
                // What comes first of the payload are options.
                bytes[at + 12] = (5 + words as u8) << 4;
                bytes.resize(bytes.len() + pad, 0xee);
                let frame = if at == 34 { answer::<Be32>(&bytes) } else { answer::<Be128>(&bytes) };
                confirms(&frame, &bytes[at..], at, payload.len() - 4 * words);
            }
        }
    }
}
