//! What an ARP frame says, and the frame that asks.

use std::net::Ipv4Addr;

use pnet::packet::Packet;
use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::util::MacAddr;

use crate::core::hop::Mac;

/// Length of an Ethernet header.
const ETHERNET: usize = EthernetPacket::minimum_packet_size();
/// Length of a question.
pub const REQUEST_LEN: usize = ETHERNET + ArpPacket::minimum_packet_size();

/// A station's statement about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The address that it says it has.
    pub addr: Ipv4Addr,
    /// The MAC at which it says it is.
    pub mac: Mac,
}

/// Why a frame says nothing about a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ignored {
    /// Shorter than an ARP frame.
    Short,
    /// Not ARP for IPv4 over Ethernet, or neither a question nor an answer.
    NotArp,
    /// The sender's address is not one that a station can have: the question of somebody without an address.
    NoAddress,
    /// The sender's MAC is not one that a station can have.
    NoMac,
}

/// What a frame, with its Ethernet header, says about its sender.
///
/// Questions say it as well as answers and gratuitous announcements do: each carries its sender's address and MAC.
pub fn parse(frame: &[u8]) -> Result<Heard, Ignored> {
    let ethernet = EthernetPacket::new(frame).ok_or(Ignored::Short)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return Err(Ignored::NotArp);
    }
    let arp = ArpPacket::new(ethernet.payload()).ok_or(Ignored::Short)?;
    let kind = (
        arp.get_hardware_type(),
        arp.get_protocol_type(),
        arp.get_hw_addr_len(),
        arp.get_proto_addr_len(),
    );
    if kind != (ArpHardwareTypes::Ethernet, EtherTypes::Ipv4, 6, 4) {
        return Err(Ignored::NotArp);
    }
    if ![ArpOperations::Request, ArpOperations::Reply].contains(&arp.get_operation()) {
        return Err(Ignored::NotArp);
    }
    let addr = arp.get_sender_proto_addr();
    if addr.is_unspecified() || addr.is_multicast() || addr.is_broadcast() || addr.is_loopback() {
        return Err(Ignored::NoAddress);
    }
    let mac = Mac::new(arp.get_sender_hw_addr().octets()).ok_or(Ignored::NoMac)?;
    Ok(Heard { addr, mac })
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// MAC of the interface.
    pub mac: Mac,
    /// An address of the interface; unspecified if it has none, which is answered too.
    pub addr: Ipv4Addr,
}

/// The frame that asks `to`, or everybody, who has `addr`.
pub fn request(from: Asker, addr: Ipv4Addr, to: Option<Mac>) -> [u8; REQUEST_LEN] {
    let mut frame = [0; REQUEST_LEN];
    let own = MacAddr::from(from.mac.bytes());
    let (header, body) = frame.split_at_mut(ETHERNET);
    if let Some(mut ethernet) = MutableEthernetPacket::new(header) {
        ethernet.set_destination(to.map_or(MacAddr::broadcast(), |mac| mac.bytes().into()));
        ethernet.set_source(own);
        ethernet.set_ethertype(EtherTypes::Arp);
    }
    if let Some(mut arp) = MutableArpPacket::new(body) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(ArpOperations::Request);
        arp.set_sender_hw_addr(own);
        arp.set_sender_proto_addr(from.addr);
        arp.set_target_proto_addr(addr);
    }
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Asker = Asker {
        mac: MAC,
        addr: Ipv4Addr::new(10, 0, 0, 1),
    };
    const MAC: Mac = match Mac::new([2, 0, 0, 0, 0, 1]) {
        Some(mac) => mac,
        None => panic!(),
    };

    /// A question byte by byte, as RFC 826 has it.
    #[rustfmt::skip]
    const REQUEST: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06,
        0, 1, 0x08, 0, 6, 4, 0, 1,
        2, 0, 0, 0, 0, 1, 10, 0, 0, 1,
        0, 0, 0, 0, 0, 0, 10, 0, 0, 9,
    ];

    fn changed(at: usize, to: &[u8]) -> Vec<u8> {
        let mut frame = REQUEST.to_vec();
        frame[at..at + to.len()].copy_from_slice(to);
        frame
    }

    #[test]
    fn a_question_is_the_frame_of_the_rfc() {
        let target = Ipv4Addr::new(10, 0, 0, 9);
        assert_eq!(request(OWN, target, None), REQUEST);
        let to = Mac::new([2, 0, 0, 0, 0, 9]).unwrap();
        assert_eq!(
            request(OWN, target, Some(to)).as_slice(),
            changed(0, &to.bytes())
        );
    }

    #[test]
    fn questions_answers_and_padded_frames_speak_for_their_sender() {
        let heard = Ok(Heard {
            addr: OWN.addr,
            mac: OWN.mac,
        });
        assert_eq!(parse(&REQUEST), heard);
        assert_eq!(parse(&changed(21, &[2])), heard, "answer");
        let mut padded = REQUEST.to_vec();
        padded.resize(60, 0);
        assert_eq!(parse(&padded), heard);
    }

    #[test]
    fn a_frame_that_says_nothing_is_named() {
        for (name, frame, why) in [
            ("empty", vec![], Ignored::Short),
            ("cut off", REQUEST[..41].to_vec(), Ignored::Short),
            ("IPv4", changed(12, &[8, 0]), Ignored::NotArp),
            ("hardware type", changed(14, &[0, 6]), Ignored::NotArp),
            ("protocol type", changed(16, &[0x86, 0xdd]), Ignored::NotArp),
            ("hardware length", changed(18, &[8]), Ignored::NotArp),
            ("protocol length", changed(19, &[16]), Ignored::NotArp),
            ("RARP", changed(20, &[0, 3]), Ignored::NotArp),
            (
                "address probe",
                changed(28, &[0, 0, 0, 0]),
                Ignored::NoAddress,
            ),
            (
                "broadcast address",
                changed(28, &[255; 4]),
                Ignored::NoAddress,
            ),
            (
                "multicast address",
                changed(28, &[224, 0, 0, 18]),
                Ignored::NoAddress,
            ),
            (
                "loopback address",
                changed(28, &[127, 0, 0, 1]),
                Ignored::NoAddress,
            ),
            ("zero MAC", changed(22, &[0; 6]), Ignored::NoMac),
            (
                "group MAC",
                changed(22, &[1, 0, 0x5e, 0, 0, 18]),
                Ignored::NoMac,
            ),
        ] {
            assert_eq!(parse(&frame), Err(why), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(frame in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse(&frame);
        }

        /// Mostly right frames reach further into the parser than noise does.
        #[test]
        fn a_damaged_frame_never_yields_a_mac_that_no_station_has(
            at in 0..42usize, byte in any::<u8>(), len in 0..43usize,
        ) {
            let mut frame = REQUEST.to_vec();
            frame[at] = byte;
            frame.truncate(len);
            if let Ok(heard) = parse(&frame) {
                prop_assert!(Mac::new(heard.mac.bytes()).is_some());
                prop_assert_eq!(len, 42);
            }
        }
    }
}
