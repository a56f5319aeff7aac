//! The virtual MAC of a virtual router, and advertisements that come from it (RFC 9568, sections 5.1.1 and 7.3).

use std::net::{IpAddr, Ipv4Addr};

use lb_common::packet::checksum::{Sum, of_bytes};

use super::packet::PROTOCOL;
use crate::core::hop::Mac;

/// The only TTL that crosses no router.
const TTL: u8 = 255;
/// Internetwork control, as routing protocols have it.
const TOS: u8 = 0xC0;

/// The MAC of a virtual router, the same on all its directors.
pub const fn virtual_mac(v6: bool, vrid: u8) -> Option<Mac> {
    let family = if v6 { 2 } else { 1 };
    Mac::new([0, 0, 0x5E, 0, family, vrid])
}

/// The Ethernet frame of an advertisement to a multicast group; none where the addresses are of two families or the message
/// is too long for a packet.
pub fn advertisement(mac: Mac, from: IpAddr, to: IpAddr, message: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(14 + 40 + message.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [_, b, c, d] = to.octets();
            frame.extend([1, 0, 0x5E, b & 0x7F, c, d]);
            frame.extend(mac.bytes());
            frame.extend([0x08, 0x00]);
            frame.extend(ipv4_header(from, to, message.len())?);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [.., a, b, c, d] = to.octets();
            frame.extend([0x33, 0x33, a, b, c, d]);
            frame.extend(mac.bytes());
            frame.extend([0x86, 0xDD]);
            // The traffic class is between the version and the flow label.
            frame.extend([0x60 | TOS >> 4, TOS << 4, 0, 0]);
            frame.extend(u16::try_from(message.len()).ok()?.to_be_bytes());
            frame.extend([PROTOCOL, TTL]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        _ => return None,
    }
    frame.extend(message);
    Some(frame)
}

/// A header of which no router need ever make pieces, so that it needs no identification.
fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, payload: usize) -> Option<[u8; 20]> {
    let [high, low] = u16::try_from(20 + payload).ok()?.to_be_bytes();
    let mut header = [0; 20];
    header[..4].copy_from_slice(&[0x45, TOS, high, low]);
    header[4..10].copy_from_slice(&[0, 0, 0x40, 0, TTL, PROTOCOL]);
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    let sum = of_bytes(Sum::default(), &header);
    // As it stands in the packet.
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::vrrp::{Datagram, multicast_group};

    fn mac(v6: bool, vrid: u8) -> Mac {
        virtual_mac(v6, vrid).unwrap()
    }

    #[test]
    fn a_virtual_router_has_the_mac_that_the_rfc_gives_it() {
        assert_eq!(mac(false, 51).to_string(), "00:00:5e:00:01:33");
        assert_eq!(mac(true, 255).to_string(), "00:00:5e:00:02:ff");
    }

    #[test]
    fn an_ipv4_advertisement_comes_from_the_virtual_mac_with_a_right_header() {
        let from: IpAddr = [192, 0, 2, 1].into();
        let to = multicast_group(from);
        let frame = advertisement(mac(false, 51), from, to, b"message!").unwrap();
        assert_eq!(frame[..6], [1, 0, 0x5E, 0, 0, 18]);
        assert_eq!(frame[6..14], [0, 0, 0x5E, 0, 1, 51, 8, 0]);
        let read = Datagram::from_ipv4(&frame[14..]).unwrap();
        assert_eq!((read.source, read.destination, read.ttl), (from, to, 255));
        assert_eq!(read.payload, b"message!");
        // Over a header with the right checksum the sum is all ones.
        let sum = frame[14..34]
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = sum.sum();
        assert_eq!((sum & 0xFFFF) + (sum >> 16), 0xFFFF);
    }

    #[test]
    fn an_ipv6_advertisement_comes_from_the_virtual_mac() {
        let from: IpAddr = "fe80::1".parse().unwrap();
        let frame = advertisement(mac(true, 7), from, multicast_group(from), b"message!").unwrap();
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
        assert_eq!(frame[6..14], [0, 0, 0x5E, 0, 2, 7, 0x86, 0xDD]);
        assert_eq!(frame[14..22], [0x6C, 0, 0, 0, 0, 8, 112, 255]);
        assert_eq!(frame[54..], *b"message!");
        assert_eq!(
            advertisement(mac(true, 7), from, [224, 0, 0, 18].into(), b""),
            None
        );
    }
}
