//! Which packets do tests and `lbctl explain` send through the data plane?
//!
//! Written without the code under test: lengths and checksums are computed from scratch here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::vec::Vec;

/// A TCP segment or UDP datagram over IP over Ethernet, by default from a client to the director with TTL 64 and DF.
///
/// It is of IPv6 if its addresses are: TOS is the traffic class then, TTL the hop limit, and there is no identification, DF or
/// option.
#[derive(Clone, Debug)]
pub struct Build {
    proto: u8,
    src: SocketAddr,
    dst: SocketAddr,
    src_mac: [u8; 6],
    dst_mac: [u8; 6],
    tos: u8,
    ttl: u8,
    id: u16,
    fragment: u16,
    flags: u8,
    checksum: bool,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
}

impl Build {
    fn new(proto: u8, src: SocketAddr, dst: SocketAddr) -> Self {
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
            extensions: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// A TCP segment (ACK) between two `address:port`.
    ///
    /// # Panics
    ///
    /// Where a text is not an address and port.
    pub fn tcp(src: &str, dst: &str) -> Self {
        Self::new(6, parse(src), parse(dst))
    }

    /// A UDP datagram between two `address:port`.
    ///
    /// # Panics
    ///
    /// Where a text is not an address and port.
    pub fn udp(src: &str, dst: &str) -> Self {
        Self::new(17, parse(src), parse(dst))
    }

    /// A TCP segment (ACK) between two addresses of one family.
    pub fn tcp_from(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::new(6, src, dst)
    }

    /// A UDP datagram between two addresses of one family.
    pub fn udp_from(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::new(17, src, dst)
    }

    /// A TCP segment (ACK) between two IPv4 addresses in host order.
    pub fn tcp_between(src: u32, src_port: u16, dst: u32, dst_port: u16) -> Self {
        Self::new(6, socket(src, src_port), socket(dst, dst_port))
    }

    /// A UDP datagram between two IPv4 addresses in host order.
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

    /// Extension headers of IPv6: the number of each, and its bytes behind the next header's number.
    #[must_use]
    pub fn extensions(self, extensions: &[(u8, &[u8])]) -> Self {
        let extensions = extensions
            .iter()
            .map(|(number, bytes)| (*number, bytes.to_vec()));
        Self {
            extensions: extensions.collect(),
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
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.over_ipv4(src.octets(), dst.octets()),
            (src, dst) => self.over_ipv6(&octets(src), &octets(dst)),
        }
    }

    fn over_ipv6(&self, src: &[u8], dst: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        let numbers = self.extensions.iter().map(|(number, _)| *number);
        let mut next = numbers.chain([self.proto]);
        let first = next.next().unwrap_or(self.proto);
        for ((_, bytes), next) in self.extensions.iter().zip(next) {
            payload.push(next);
            payload.extend(bytes);
        }
        payload.extend(self.transport());
        let mut ip = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        ip.extend((payload.len() as u16).to_be_bytes());
        ip.extend([first, self.ttl]);
        ip.extend(src);
        ip.extend(dst);
        [
            &self.dst_mac[..],
            &self.src_mac,
            &[0x86, 0xdd],
            &ip,
            &payload,
        ]
        .concat()
    }

    fn over_ipv4(&self, src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
        let l4 = self.transport();
        let ihl = 20 + self.options.len();
        let mut ip = Vec::with_capacity(ihl);
        ip.extend([0x40 | (ihl / 4) as u8, self.tos]);
        ip.extend(((ihl + l4.len()) as u16).to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, self.proto, 0, 0]);
        ip.extend(src);
        ip.extend(dst);
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
            &octets(self.src.ip()),
            &octets(self.dst.ip()),
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
/// Of a fragment it is that of its header: what else it has of sums is of the whole datagram.
pub fn checksums_hold(frame: &[u8]) -> bool {
    frame.get(14..).is_some_and(packet_checksums_hold)
}

/// [`checksums_hold`] of an IP packet.
fn packet_checksums_hold(ip: &[u8]) -> bool {
    match ip.first() {
        Some(first) if first >> 4 == 6 => ipv6_checksums_hold(ip),
        _ => ipv4_checksums_hold(ip),
    }
}

fn ipv6_checksums_hold(ip: &[u8]) -> bool {
    let Some((header, rest)) = ip.split_at_checked(40) else {
        return false;
    };
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let (Some(mut l4), mut proto) = (rest.get(..len), header[6]) else {
        return false;
    };
    // Hop-by-hop, routing and destination options.
    while let (0 | 43 | 60, Some([next, units, ..])) = (proto, l4.first_chunk::<2>()) {
        let Some(behind) = l4.get(8 * (usize::from(*units) + 1)..) else {
            return false;
        };
        (proto, l4) = (*next, behind);
    }
    let (src, dst) = (&header[8..24], &header[24..40]);
    match proto {
        4 | 41 => packet_checksums_hold(l4),
        6 | 17 | 58 => transport_sum(src, dst, proto, l4) == 0,
        _ => true,
    }
}

fn ipv4_checksums_hold(ip: &[u8]) -> bool {
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
    let (src, dst) = (&header[12..16], &header[16..20]);
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    sum_be(header) == 0
        && match header[9] {
            _ if is_fragment => true,
            1 => sum_be(l4) == 0,
            4 | 41 => packet_checksums_hold(l4),
            6 => transport_sum(src, dst, 6, l4) == 0,
            17 if l4[6..8] == [0, 0] => true,
            17 => transport_sum(src, dst, 17, l4) == 0,
            _ => true,
        }
}

/// The checksum over pseudo-header and transport header with data.
fn transport_sum(src: &[u8], dst: &[u8], proto: u8, l4: &[u8]) -> u16 {
    let length = (l4.len() as u16).to_be_bytes();
    sum_be(&[src, dst, &[0, proto], &length, l4].concat())
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

/// The Internet checksum (RFC 1071), the plain way.
pub(super) fn sum_be(bytes: &[u8]) -> u16 {
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
fn parse(text: &str) -> SocketAddr {
    text.parse().expect("an address and port")
}

fn socket(addr: u32, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(addr).into(), port)
}
