//! How a new master tells its neighbours where an address is now, and what it hears when others do: frames that nobody has
//! asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::core::hop::Mac;
use crate::core::neighbour::ndp;

/// ARP for IPv4 over Ethernet: a question, as most hosts take note of.
const ARP: [u8; 8] = [0, 1, 0x08, 0, 6, 4, 0, 1];
/// The MAC of all.
const BROADCAST: [u8; 6] = [0xFF; 6];
/// All hosts of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 1);
/// Their MAC (RFC 2464, section 7).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// It is a router.
const ROUTER: u8 = 0x80;
/// What was known before is to be forgotten.
const OVERRIDE: u8 = 0x20;
/// The option with the sender's MAC: type 2, one unit of eight bytes.
const TARGET_MAC: [u8; 2] = [2, 1];

/// The Ethernet frame of a gratuitous ARP (RFC 5227, section 3): a question by an address for itself, to all.
pub fn gratuitous_arp(mac: Mac, addr: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(BROADCAST);
    frame.extend(mac.bytes());
    frame.extend([0x08, 0x06]);
    frame.extend(ARP);
    frame.extend(mac.bytes());
    frame.extend(addr.octets());
    frame.extend([0; 6]);
    frame.extend(addr.octets());
    frame
}

/// The Ethernet frame of an unsolicited neighbour advertisement (RFC 4861, section 7.2.6), to all hosts of the link.
/// `router`: the sender forwards packets.
pub fn neighbour_advertisement(mac: Mac, addr: Ipv6Addr, router: bool) -> Vec<u8> {
    let flags = OVERRIDE | if router { ROUTER } else { 0 };
    let mut message = vec![ndp::ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(addr.octets());
    message.extend(TARGET_MAC);
    message.extend(mac.bytes());
    ndp::frame(mac, ALL_NODES_MAC, addr, ALL_NODES, message)
}

/// Where an ARP frame has its sender's MAC and address.
const ARP_MAC: usize = 22;
pub(crate) const ARP_ADDRESS: usize = 28;
/// Where a neighbour advertisement right behind an IPv6 header has its address.
pub(crate) const ADVERTISED_ADDRESS: usize = 62;
/// Where a frame has its sender's MAC.
const SOURCE_MAC: usize = 6;

/// Who says that he has which address, in a frame of ARP or, for IPv6, in a neighbour advertisement; none where the frame is
/// too short or the MAC is not one that a station can have.
pub fn announced(v6: bool, frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let (addr, mac) = if v6 {
        let target: &[u8; 16] = frame.get(ADVERTISED_ADDRESS..)?.first_chunk()?;
        (Ipv6Addr::from(*target).into(), SOURCE_MAC)
    } else {
        let sender: &[u8; 4] = frame.get(ARP_ADDRESS..)?.first_chunk()?;
        (Ipv4Addr::from(*sender).into(), ARP_MAC)
    };
    let mac: &[u8; 6] = frame.get(mac..)?.first_chunk()?;
    Some((addr, Mac::new(*mac)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = match Mac::new([2, 0, 0, 0, 0, 0xA1]) {
        Some(mac) => mac,
        None => panic!(),
    };

    #[test]
    #[rustfmt::skip]
    fn a_gratuitous_arp_asks_all_for_its_own_address() {
        assert_eq!(gratuitous_arp(MAC, Ipv4Addr::new(192, 0, 2, 80)), [
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 0, 0xA1, 0x08, 0x06,
            0, 1, 0x08, 0, 6, 4, 0, 1,
            2, 0, 0, 0, 0, 0xA1, 192, 0, 2, 80,
            0, 0, 0, 0, 0, 0, 192, 0, 2, 80,
        ]);
        let said = crate::core::neighbour::arp::parse(&gratuitous_arp(MAC, Ipv4Addr::new(192, 0, 2, 80)));
        assert_eq!(said.unwrap().mac, MAC);
    }

    #[test]
    fn what_a_new_master_says_is_heard() {
        let v4 = Ipv4Addr::new(192, 0, 2, 80);
        let frame = gratuitous_arp(MAC, v4);
        assert_eq!(announced(false, &frame), Some((v4.into(), MAC)));
        let v6: Ipv6Addr = "2001:db8::80".parse().unwrap();
        let frame = neighbour_advertisement(MAC, v6, true);
        assert_eq!(announced(true, &frame), Some((v6.into(), MAC)));
        for length in 0..ADVERTISED_ADDRESS + 16 {
            assert_eq!(announced(true, &frame[..length]), None);
        }
    }

    #[test]
    fn a_neighbour_advertisement_is_as_long_as_it_says_and_its_checksum_holds() {
        let addr = "2001:db8::80".parse().unwrap();
        let frame = neighbour_advertisement(MAC, addr, true);
        assert_eq!(frame.len(), 86);
        assert_eq!(&frame[18..22], [0, 32, 58, 255]);
        assert_eq!(&frame[54..56], [ndp::ADVERTISEMENT, 0]);
        assert_eq!(frame[58], 0xA0);
        assert_eq!(&frame[78..], [2, 1, 2, 0, 0, 0, 0, 0xA1]);
        // Over a message with the right checksum in place the sum is zero.
        assert_eq!(ndp::checksum(addr, ALL_NODES, &frame[54..]), 0);
        let plain = neighbour_advertisement(MAC, addr, false);
        assert_eq!(plain[58], 0x20);
        assert_eq!(ndp::checksum(addr, ALL_NODES, &plain[54..]), 0);
    }
}
