//! Which packets do tests and `lbctl explain` send through the data plane?
//!
//! Written without the code under test: lengths and checksums are computed from scratch here.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::vec::Vec;

/// A TCP segment or UDP datagram over IPv4 over Ethernet, by default from a client to the director with TTL 64 and DF.
#[derive(Clone, Debug)]
pub struct Build {
    proto: u8,
    src: SocketAddrV4,
    dst: SocketAddrV4,
    src_mac: [u8; 6],
    dst_mac: [u8; 6],
    tos: u8,
    ttl: u8,
    id: u16,
    fragment: u16,
    flags: u8,
    checksum: bool,
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Build {
    fn new(proto: u8, src: SocketAddrV4, dst: SocketAddrV4) -> Self {
        Self {
            proto,
            src,
            dst,
            src_mac: [2, 0, 0, 0, 0, 0xc1],
            dst_mac: [2, 0, 0, 0, 0, 0xd1],
            tos: 0,
            ttl: 64,
            id: 0x1234,
            fragment: 0x4000,
            flags: 0x10,
            checksum: true,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// A TCP segment (ACK) between two `address:port`.
    ///
    /// # Panics
    ///
    /// Where a text is not an IPv4 address and port.
    pub fn tcp(src: &str, dst: &str) -> Self {
        Self::new(6, parse(src), parse(dst))
    }

    /// A UDP datagram between two `address:port`.
    ///
    /// # Panics
    ///
    /// Where a text is not an IPv4 address and port.
    pub fn udp(src: &str, dst: &str) -> Self {
        Self::new(17, parse(src), parse(dst))
    }

    /// A TCP segment (ACK) between two addresses in host order.
    pub fn tcp_between(src: u32, src_port: u16, dst: u32, dst_port: u16) -> Self {
        Self::new(6, socket(src, src_port), socket(dst, dst_port))
    }

    /// A UDP datagram between two addresses in host order.
    pub fn udp_between(src: u32, src_port: u16, dst: u32, dst_port: u16) -> Self {
        Self::new(17, socket(src, src_port), socket(dst, dst_port))
    }

    /// Source and destination MAC.
    #[must_use]
    pub fn macs(self, src_mac: [u8; 6], dst_mac: [u8; 6]) -> Self {
        Self {
            src_mac,
            dst_mac,
            ..self
        }
    }

    /// The TOS byte.
    #[must_use]
    pub fn tos(self, tos: u8) -> Self {
        Self { tos, ..self }
    }

    /// The TTL.
    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// The identification.
    #[must_use]
    pub fn id(self, id: u16) -> Self {
        Self { id, ..self }
    }

    /// Whether "don't fragment" is set.
    #[must_use]
    pub fn dont_fragment(self, set: bool) -> Self {
        Self {
            fragment: if set { 0x4000 } else { 0 },
            ..self
        }
    }

    /// The whole field of DF, MF and fragment offset.
    #[must_use]
    pub fn fragment(self, fragment: u16) -> Self {
        Self { fragment, ..self }
    }

    /// The TCP flags.
    #[must_use]
    pub fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    /// IP options: a multiple of four bytes, at most 40.
    #[must_use]
    pub fn options(self, options: &[u8]) -> Self {
        Self {
            options: options.to_vec(),
            ..self
        }
    }

    /// What the segment or datagram carries.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Self {
        Self {
            payload: payload.to_vec(),
            ..self
        }
    }

    /// Without a UDP checksum.
    #[must_use]
    pub fn without_checksum(self) -> Self {
        Self {
            checksum: false,
            ..self
        }
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let l4 = self.transport();
        let ihl = 20 + self.options.len();
        let mut ip = Vec::with_capacity(ihl);
        ip.extend([0x40 | (ihl / 4) as u8, self.tos]);
        ip.extend(((ihl + l4.len()) as u16).to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, self.proto, 0, 0]);
        ip.extend(self.src.ip().octets());
        ip.extend(self.dst.ip().octets());
        ip.extend(&self.options);
        let sum = sum_be(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [&self.dst_mac[..], &self.src_mac, &[8, 0], &ip, &l4].concat()
    }

    /// The transport header and payload.
    fn transport(&self) -> Vec<u8> {
        let mut l4 = Vec::new();
        l4.extend(self.src.port().to_be_bytes());
        l4.extend(self.dst.port().to_be_bytes());
        let checksum_at = if self.proto == 6 {
            l4.extend([
                0, 0, 3, 0xe8, 0, 0, 0, 0, 0x50, self.flags, 0xfa, 0xf0, 0, 0, 0, 0,
            ]);
            16
        } else {
            l4.extend(((8 + self.payload.len()) as u16).to_be_bytes());
            l4.extend([0, 0]);
            6
        };
        l4.extend(&self.payload);
        let sum = transport_sum(
            self.src.ip().octets(),
            self.dst.ip().octets(),
            self.proto,
            &l4,
        );
        if self.checksum {
            let sum = if sum == 0 && self.proto == 17 {
                0xffff
            } else {
                sum
            };
            l4[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        l4
    }
}

/// Whether each checksum of a frame holds: of IPv4, of TCP or UDP in it, of ICMP, and of a packet inside a tunnel. Summed from scratch.
pub fn checksums_hold(frame: &[u8]) -> bool {
    frame.get(14..).is_some_and(packet_checksums_hold)
}

/// [`checksums_hold`] of an IP packet.
fn packet_checksums_hold(ip: &[u8]) -> bool {
    let (Some(&first), Some(length)) = (ip.first(), ip.get(2..4)) else {
        return false;
    };
    let (ihl, len) = (
        usize::from(first & 15) * 4,
        usize::from(u16::from_be_bytes([length[0], length[1]])),
    );
    let (Some(header), Some(l4)) = (ip.get(..ihl), ip.get(ihl..len)) else {
        return false;
    };
    let (Ok(src), Ok(dst)) = (header[12..16].try_into(), header[16..20].try_into()) else {
        return false;
    };
    sum_be(header) == 0
        && match header[9] {
            1 => sum_be(l4) == 0,
            4 => packet_checksums_hold(l4),
            6 => transport_sum(src, dst, 6, l4) == 0,
            17 if l4[6..8] == [0, 0] => true,
            17 => transport_sum(src, dst, 17, l4) == 0,
            _ => true,
        }
}

/// The checksum over pseudo-header and transport header with data.
fn transport_sum(src: [u8; 4], dst: [u8; 4], proto: u8, l4: &[u8]) -> u16 {
    let length = (l4.len() as u16).to_be_bytes();
    sum_be(&[&src[..], &dst, &[0, proto], &length, l4].concat())
}

/// The Internet checksum (RFC 1071), the plain way.
fn sum_be(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[expect(
    clippy::expect_used,
    reason = "the caller writes the text: a wrong one is a mistake in the test"
)]
fn parse(text: &str) -> SocketAddrV4 {
    text.parse().expect("an IPv4 address and port")
}

fn socket(addr: u32, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(addr), port)
}
