//! The checksum: over the message in version 2, with a pseudo-header before it in version 3.

use std::net::IpAddr;

use super::{CHECKSUM, Datagram, HEADER, PROTOCOL, Version};

/// Whether a message has the right checksum.
pub(super) fn is_right(version: Version, datagram: &Datagram<'_>) -> bool {
    match datagram.payload.get(CHECKSUM..HEADER) {
        Some([high, low]) => of(version, datagram) == u16::from_be_bytes([*high, *low]),
        _ => false,
    }
}

/// The checksum that a message should have, whatever is in its place.
pub(super) fn of(version: Version, datagram: &Datagram<'_>) -> u16 {
    let mut sum = match version {
        Version::V2 => 0,
        Version::V3 => pseudo_header(datagram),
    };
    for (n, pair) in datagram.payload.chunks(2).enumerate() {
        if n == CHECKSUM / 2 {
            continue;
        }
        let (high, low) = match pair {
            [high, low] => (*high, *low),
            [high] => (*high, 0),
            _ => continue,
        };
        sum += u64::from(u16::from_be_bytes([high, low]));
    }
    while sum > 0xFFFF {
        sum = (sum >> 16) + (sum & 0xFFFF);
    }
    !u16::try_from(sum).unwrap_or(0)
}

fn pseudo_header(datagram: &Datagram<'_>) -> u64 {
    let words = |address: IpAddr| -> u64 {
        match address {
            IpAddr::V4(a) => {
                let bits = u32::from(a);
                u64::from(bits >> 16) + u64::from(bits & 0xFFFF)
            }
            IpAddr::V6(a) => a.segments().iter().map(|s| u64::from(*s)).sum(),
        }
    };
    let length = u64::try_from(datagram.payload.len()).unwrap_or(0);
    words(datagram.source) + words(datagram.destination) + u64::from(PROTOCOL) + length
}
