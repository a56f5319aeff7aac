//! A later fragment of a datagram: what is known of it, and how does NAT change it?
//!
//! Only the first fragment has the transport header. What NAT changes in a later one are the addresses: the checksum of
//! the datagram is in the first, and with IPv4 each has one of its own header.

use super::bytes::Bytes;
use super::ip::Ip;
use super::parse::L3;
use super::rewrite::{Endpoint, Onward, Translate, count_down, set_ethernet};
use super::wire::{TCP_LEN, UDP_LEN};
use crate::net::Proto;

/// What the headers of a fragment say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// What it has in common with the other fragments of its datagram, besides the addresses: the identification; with IPv4 that in
    /// the low half, and above it the IP protocol number.
    pub id: u32,
    /// Where its data begins in the datagram, in bytes.
    pub offset: u16,
    /// IP protocol number of what the datagram carries.
    pub proto: u8,
    /// Length of the IP packet.
    pub len: u16,
}

impl Piece {
    /// Whether its data begins where the transport header still is (RFC 1858, RFC 3128): whoever puts the datagram together could take
    /// that from it.
    #[inline(always)]
    pub const fn is_in_header(&self) -> bool {
        let header = match Proto::from_number(self.proto) {
            Some(Proto::Tcp) => TCP_LEN,
            Some(Proto::Udp) => UDP_LEN,
            None => 0,
        };
        (self.offset as usize) < header
    }
}

impl<A: Ip> Translate<A> for Piece {
    #[inline(always)]
    fn nat_destination<B: Bytes>(
        &self,
        frame: &mut B,
        to: Endpoint<A>,
        onward: Onward,
    ) -> Option<()> {
        let ip = frame.header_mut::<A::Header>(L3)?;
        A::set_dst(ip, to.addr);
        count_down::<A>(ip, onward);
        set_ethernet(frame, onward)
    }

    #[inline(always)]
    fn nat_source<B: Bytes>(&self, frame: &mut B, from: Endpoint<A>, onward: Onward) -> Option<()> {
        let ip = frame.header_mut::<A::Header>(L3)?;
        A::set_src(ip, from.addr);
        count_down::<A>(ip, onward);
        set_ethernet(frame, onward)
    }
}
