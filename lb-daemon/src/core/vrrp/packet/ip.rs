//! What VRRP needs from the IP header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Reject;

/// The IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;

/// The multicast group of a family.
pub const fn multicast_group(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
    }
}

/// A message and what its IP header says.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'b> {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// What comes after the header.
    pub payload: &'b [u8],
}

impl<'b> Datagram<'b> {
    /// Of an IPv4 packet with its header, as a raw socket gives it; options are skipped.
    pub fn from_ipv4(packet: &'b [u8]) -> Result<Self, Reject> {
        let header: &[u8; 20] = packet.first_chunk().ok_or(Reject::Ip)?;
        let [
            first,
            _,
            length_high,
            length_low,
            _,
            _,
            fragment_high,
            fragment_low,
            ttl,
            protocol,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ] = *header;
        let header_length = usize::from(first & 0x0F) * 4;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let fragment = u16::from_be_bytes([fragment_high, fragment_low]) & 0x3FFF;
        if first >> 4 != 4 || header_length < 20 || protocol != PROTOCOL || fragment != 0 {
            return Err(Reject::Ip);
        }
        Ok(Self {
            source: Ipv4Addr::new(s0, s1, s2, s3).into(),
            destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
            ttl,
            payload: packet.get(header_length..length).ok_or(Reject::Ip)?,
        })
    }
}
