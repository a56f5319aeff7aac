//! What a neighbour advertisement of IPv6 says, and the frame that asks for one (RFC 4861).

use std::net::Ipv6Addr;

use crate::core::hop::Mac;

/// IPv6 as an EtherType.
const IPV6: [u8; 2] = [0x86, 0xDD];
/// ICMPv6 as the next header.
const ICMPV6: u8 = 58;
/// The hop limit that proves that a packet has crossed no router.
const NEAR: u8 = 255;
/// The types of messages.
const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;
/// The option with the MAC of who asks: type 1, one unit of eight bytes.
const SOURCE_MAC: [u8; 2] = [1, 1];

/// Where a frame has its parts.
const FRAME_SOURCE: usize = 6;
const ETHER_TYPE: usize = 12;
const NEXT_HEADER: usize = 20;
const MESSAGE: usize = 54;
const TARGET: usize = 62;

/// A station's statement about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The address that it says it has.
    pub addr: Ipv6Addr,
    /// The MAC that it says it from.
    pub mac: Mac,
}

/// What a frame, with its Ethernet header, says about its sender; `None` unless it is a neighbour advertisement from this link.
pub fn parse(frame: &[u8]) -> Option<Heard> {
    let is_ours = frame.get(ETHER_TYPE..)?.first_chunk()? == &IPV6
        && frame.get(NEXT_HEADER..)?.first_chunk()? == &[ICMPV6, NEAR]
        && *frame.get(MESSAGE)? == ADVERTISEMENT;
    let target: &[u8; 16] = frame.get(TARGET..)?.first_chunk()?;
    let addr = Ipv6Addr::from(*target);
    let is_host = !addr.is_multicast() && !addr.is_unspecified() && !addr.is_loopback();
    let mac: &[u8; 6] = frame.get(FRAME_SOURCE..)?.first_chunk()?;
    let mac = Mac::new(*mac)?;
    (is_ours && is_host).then_some(Heard { addr, mac })
}

/// The frame that asks all who may have `addr`, in the name of an address of the interface; unspecified if it has none, which
/// is answered to all.
pub fn solicitation(mac: Mac, from: Ipv6Addr, addr: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = addr.octets();
    let group = Ipv6Addr::new(
        0xFF02,
        0,
        0,
        0,
        0,
        1,
        0xFF00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    );
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(addr.octets());
    if !from.is_unspecified() {
        message.extend(SOURCE_MAC);
        message.extend(mac.bytes());
    }
    frame(mac, [0x33, 0x33, 0xFF, a, b, c], from, group, message)
}

/// The Ethernet frame of a message of neighbour discovery, whose checksum is not there yet.
pub(crate) fn frame(
    mac: Mac,
    to: [u8; 6],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    mut message: Vec<u8>,
) -> Vec<u8> {
    let sum = checksum(source, destination, &message).to_be_bytes();
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum);
    }
    let length = u16::try_from(message.len()).unwrap_or_default();
    let mut frame = Vec::with_capacity(MESSAGE + message.len());
    frame.extend(to);
    frame.extend(mac.bytes());
    frame.extend(IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, NEAR]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(message);
    frame
}

/// The checksum of an ICMPv6 message whose own is zero; zero if its own is right.
pub(crate) fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let addresses = source.segments().into_iter().chain(destination.segments());
    let (pairs, _) = message.as_chunks::<2>();
    let words = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    let mut sum: u32 = addresses.chain(words).map(u32::from).sum();
    sum += u32::try_from(message.len()).unwrap_or_default() + u32::from(ICMPV6);
    while sum > 0xFFFF {
        sum = (sum >> 16) + (sum & 0xFFFF);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = match Mac::new([2, 0, 0, 0, 0, 0xA1]) {
        Some(mac) => mac,
        None => panic!(),
    };
    const OWN: Ipv6Addr = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1);
    const ADDR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0x1234, 0x5678);

    fn advertisement() -> Vec<u8> {
        let mut message = vec![ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0];
        message.extend(ADDR.octets());
        frame(MAC, [2, 0, 0, 0, 0, 1], ADDR, OWN, message)
    }

    #[test]
    fn a_question_goes_to_the_group_of_the_address_and_says_where_the_answer_goes() {
        let asked = solicitation(MAC, OWN, ADDR);
        assert_eq!(asked.len(), 86);
        assert_eq!(&asked[..6], [0x33, 0x33, 0xFF, 0x34, 0x56, 0x78]);
        let group: Ipv6Addr = "ff02::1:ff34:5678".parse().unwrap();
        assert_eq!(&asked[38..54], group.octets());
        assert_eq!(asked[MESSAGE], SOLICITATION);
        assert_eq!(&asked[78..], [1, 1, 2, 0, 0, 0, 0, 0xA1]);
        assert_eq!(checksum(OWN, group, &asked[MESSAGE..]), 0);
        // Who has no address may not name a MAC (RFC 4861, section 4.3).
        let nameless = solicitation(MAC, Ipv6Addr::UNSPECIFIED, ADDR);
        assert_eq!(nameless.len(), 78);
        assert_eq!(&nameless[18..20], [0, 24]);
    }

    #[test]
    fn an_advertisement_from_this_link_speaks_for_its_sender() {
        let said = Heard {
            addr: ADDR,
            mac: MAC,
        };
        assert_eq!(parse(&advertisement()), Some(said));
        let changed = |at: usize, to: u8| {
            let mut frame = advertisement();
            frame[at] = to;
            parse(&frame)
        };
        assert_eq!(changed(21, 254), None, "from beyond a router");
        assert_eq!(changed(MESSAGE, SOLICITATION), None, "a question");
        assert_eq!(changed(ETHER_TYPE, 8), None, "IPv4");
        assert_eq!(changed(TARGET, 0xFF), None, "a group");
        assert_eq!(changed(FRAME_SOURCE, 1), None, "a group's MAC");
    }

    proptest! {
        #[test]
        fn a_damaged_frame_is_parsed_without_panic(at in 0..78usize, byte in any::<u8>(), len in 0..79usize) {
            let mut frame = advertisement();
            frame[at] = byte;
            frame.truncate(len);
            prop_assert!(parse(&frame).is_none() || len == 78);
        }
    }
}
