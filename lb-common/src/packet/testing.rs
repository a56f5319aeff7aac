//! What the tests of packets have in common, for either family of addresses.

use super::SliceFrame;
use super::build::{Build, checksums_hold};
use super::icmp::{self, Error};
use super::ip::Ip;
use super::parse::{L3, Network, Transport};
use super::quote::Quote;
use super::rewrite::{Endpoint, Onward, Translate};
use super::wire::{ICMP_LEN, MacPair, mac_word};
use crate::counter::Counter;
use crate::net::{Be16, Be32, Be128};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Room in front of a frame, for what a rewrite adds.
pub(super) const ROOM: usize = 64;
/// Where frames that leave go.
pub(super) const MACS: MacPair = MacPair {
    dst: mac_word([2, 0, 0, 0, 1, 1]),
    src: mac_word([2, 0, 0, 0, 0, 0xd2]),
};

/// A family whose addresses are written as text.
pub(super) trait Written: Ip {
    fn read(text: &str) -> Self;
}

impl Written for Be32 {
    fn read(text: &str) -> Self {
        Self::from_bytes(text.parse::<Ipv4Addr>().unwrap().octets())
    }
}

impl Written for Be128 {
    fn read(text: &str) -> Self {
        let text = text.trim_matches(['[', ']']);
        Self::from_bytes(text.parse::<Ipv6Addr>().unwrap().octets())
    }
}

/// An `address:port`.
pub(super) fn endpoint<A: Written>(text: &str) -> Endpoint<A> {
    let (addr, port) = text.rsplit_once(':').unwrap();
    Endpoint {
        addr: A::read(addr),
        port: Be16::from_host(port.parse().unwrap()),
    }
}

/// What a frame is read as.
pub(super) fn parse<A: Ip>(bytes: &mut [u8]) -> Result<(Network<A>, Transport), Counter> {
    let frame = SliceFrame::new(bytes, 0);
    Ok((Network::parse(&frame)?, Transport::parse::<A, _>(&frame)?))
}

/// Makes sure that a packet is refused wherever it is cut off, and only then.
pub(super) fn refused_wherever_cut<A: Ip>(whole: &[u8]) {
    assert!(parse::<A>(&mut whole.to_vec()).is_ok());
    for len in 0..whole.len() {
        let expected = if len < L3 {
            Counter::PassNotIp
        } else {
            Counter::PassMalformed
        };
        assert_eq!(
            parse::<A>(&mut whole[..len].to_vec()),
            Err(expected),
            "cut at {len}"
        );
    }
}

/// The frame after `change`, which is told what was parsed before it.
pub(super) fn rewritten<A: Ip>(
    bytes: &[u8],
    change: impl FnOnce(&mut SliceFrame<'_>, &Transport) -> Option<()>,
) -> Vec<u8> {
    let mut buffer = [&[0u8; ROOM][..], bytes].concat();
    let mut frame = SliceFrame::new(&mut buffer, ROOM);
    Network::<A>::parse(&frame).unwrap();
    let transport = Transport::parse::<A, _>(&frame).unwrap();
    change(&mut frame, &transport).unwrap();
    frame.as_slice().to_vec()
}

/// An error about a packet, told to its sender.
pub(super) fn error_about<A: Ip>(packet: &Build, error: Error) -> Vec<u8> {
    let bytes = packet.bytes();
    let mut buffer = [&[0u8; ROOM][..], &bytes].concat();
    let mut frame = SliceFrame::new(&mut buffer, ROOM);
    icmp::reply::<A, _>(&mut frame, (bytes.len() - L3) as u16, error, Be16(0)).unwrap();
    frame.as_slice().to_vec()
}

/// Makes sure that NAT makes of an error the one about what the other end knows, whichever end is told. `build` is how the packets
/// are that are quoted.
pub(super) fn quotes_are_translated<A: Written>(
    [client, vip, rip]: [&str; 3],
    build: impl Fn(Build) -> Build,
) {
    let onward = Onward::Send(MACS);
    let quoting = |packet: Build| error_about::<A>(&build(packet), Error::TIME_EXCEEDED);
    for (before, after, is_source) in [
        (Build::udp(vip, client), Build::udp(rip, client), true),
        (Build::udp(client, rip), Build::udp(client, vip), false),
    ] {
        let mut bytes = quoting(before);
        let mut frame = SliceFrame::new(&mut bytes, 0);
        let quote = Quote::<A>::parse(&frame).unwrap();
        if is_source {
            quote
                .nat_destination(&mut frame, endpoint::<A>(rip), onward)
                .unwrap();
        } else {
            quote
                .nat_source(&mut frame, endpoint::<A>(vip), onward)
                .unwrap();
        }
        assert!(checksums_hold(&bytes));
        let quoted = L3 + A::LEN + ICMP_LEN;
        assert_eq!(&bytes[quoted..], &quoting(after)[quoted..]);
    }
}

/// Makes sure that an error, whatever it is, is read within its bounds.
pub(super) fn quote_is_within_bounds<A: Ip>(bytes: &mut [u8]) {
    let len = bytes.len();
    let mut frame = SliceFrame::new(bytes, 0);
    if let Some(quote) = Quote::<A>::parse(&frame) {
        assert!(usize::from(quote.l4) + 4 <= len);
        if let Some(error) = quote.tunnel(&frame) {
            let _ = quote.without_tunnel(&mut frame, &error, MacPair::default(), Be16(0));
        }
    }
}
