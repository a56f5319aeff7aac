//! VRRP packets: bytes from the network to a [`Packet`], and back.
//!
//! ```text
//!  0       1       2       3
//!  ver|typ  vrid    prio    count        version 2 and 3
//!  auth     seconds    checksum          version 2
//!  centiseconds (12)   checksum          version 3
//!  addresses, 4 or 16 bytes each
//!  password, 8 bytes                     version 2, zero without one
//!  trailer, 28 bytes                     where advertisements are signed
//! ```

mod auth;
mod checksum;
mod hmac;
mod ip;
mod reject;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Interval, Priority};
pub use auth::{Auth, Password};
pub(crate) use hmac::TRAILER;
pub use hmac::{Freshness, Key, Mode, Signing, Trailer};
pub use ip::{Datagram, PROTOCOL, multicast_group};
pub use reject::Reject;

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768, and the passwords of RFC 2338: IPv4 only.
    V2,
    /// RFC 9568: IPv4 and IPv6.
    V3,
}

/// What a master says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It has this priority.
    Priority(Priority),
    /// It leaves: priority 0.
    Resigns,
}

impl Claim {
    const fn byte(self) -> u8 {
        match self {
            Self::Priority(priority) => priority.get(),
            Self::Resigns => 0,
        }
    }

    fn from_byte(byte: u8) -> Self {
        Priority::new(byte).map_or(Self::Resigns, Self::Priority)
    }
}

/// An advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its version.
    pub version: Version,
    /// The virtual router's number.
    pub vrid: u8,
    /// What its sender claims.
    pub claim: Claim,
    /// The time between its sender's advertisements.
    pub interval: Interval,
    /// How it is signed.
    pub auth: Auth,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
}

/// Type 1, the only one, in the low four bits of the first byte.
const ADVERTISEMENT: u8 = 1;
/// Bytes before the addresses.
const HEADER: usize = 8;
/// Bytes after the addresses in version 2.
const AUTH: usize = 8;
/// Where the checksum is.
const CHECKSUM: usize = 6;

impl Packet {
    /// What a datagram says, if it is a whole and undamaged advertisement without a trailer.
    pub fn decode(datagram: &Datagram<'_>) -> Result<Self, Reject> {
        match Self::decode_signed(datagram)? {
            (packet, None) => Ok(packet),
            (_, Some(_)) => Err(Reject::Length),
        }
    }

    /// What a datagram says, if it is a whole and undamaged advertisement, and the trailer behind it, of which nothing is
    /// checked yet.
    pub fn decode_signed(datagram: &Datagram<'_>) -> Result<(Self, Option<Trailer>), Reject> {
        let Datagram {
            source, payload, ..
        } = *datagram;
        let header: &[u8; HEADER] = payload.first_chunk().ok_or(Reject::Length)?;
        let [first, vrid, priority, count, fifth, sixth, _, _] = *header;
        let version = match (first >> 4, source) {
            (2, IpAddr::V4(_)) => Version::V2,
            (3, _) => Version::V3,
            _ => return Err(Reject::Version),
        };
        if first & 0x0F != ADVERTISEMENT {
            return Err(Reject::Type);
        }
        if count == 0 {
            return Err(Reject::Count);
        }
        let wide = usize::from(count) * address_bytes(source);
        let tail = match version {
            Version::V2 => AUTH,
            Version::V3 => 0,
        };
        let (payload, trailer) = payload
            .split_at_checked(HEADER + wide + tail)
            .ok_or(Reject::Length)?;
        let trailer = match trailer {
            [] => None,
            behind => Some(Trailer::of(behind).ok_or(Reject::Length)?),
        };
        // IPv6 has one checksum over all that it carries, IPv4 that of the message.
        let summed = match source {
            IpAddr::V4(_) => Datagram {
                payload,
                ..*datagram
            },
            IpAddr::V6(_) => *datagram,
        };
        if !checksum::is_right(version, &summed) {
            return Err(Reject::Checksum);
        }
        let (body, password) = payload
            .split_at_checked(HEADER + wide)
            .ok_or(Reject::Length)?;
        let addresses = body.get(HEADER..).ok_or(Reject::Length)?;
        let (interval, auth) = match version {
            Version::V2 => {
                let auth = Auth::decode(fifth, password).ok_or(Reject::AuthType)?;
                (Interval::seconds(sixth), auth)
            }
            Version::V3 => {
                let centis = u16::from_be_bytes([fifth & 0x0F, sixth]);
                (Interval::centis(centis), Auth::None)
            }
        };
        let packet = Self {
            version,
            vrid,
            claim: Claim::from_byte(priority),
            interval: interval.ok_or(Reject::Interval)?,
            auth,
            addresses: read_addresses(addresses, source),
        };
        Ok((packet, trailer))
    }

    /// The bytes after the IP header, from `source` to `destination`.
    ///
    /// Only what fits is written: 255 addresses, and those of the family of `source`.
    pub fn encode(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        self.encode_signed(source, destination, None)
    }

    /// As [`Packet::encode`], with a trailer: how it is signed, and its number among all that were ever sent.
    pub fn encode_signed(
        &self,
        source: IpAddr,
        destination: IpAddr,
        signing: Option<(&Signing, u64)>,
    ) -> Vec<u8> {
        let family = |a: &&IpAddr| a.is_ipv4() == source.is_ipv4();
        let addresses: Vec<_> = self.addresses.iter().filter(family).take(255).collect();
        let version = match self.version {
            Version::V2 => 2,
            Version::V3 => 3,
        };
        let mut bytes = vec![
            version << 4 | ADVERTISEMENT,
            self.vrid,
            self.claim.byte(),
            u8::try_from(addresses.len()).unwrap_or(u8::MAX),
        ];
        match self.version {
            Version::V2 => {
                let seconds = self.interval.in_seconds().unwrap_or(u8::MAX);
                bytes.extend([self.auth.number(), seconds]);
            }
            Version::V3 => bytes.extend(self.interval.in_centis().to_be_bytes()),
        }
        bytes.extend([0, 0]);
        for address in addresses {
            match address {
                IpAddr::V4(a) => bytes.extend(a.octets()),
                IpAddr::V6(a) => bytes.extend(a.octets()),
            }
        }
        if self.version == Version::V2 {
            bytes.extend(self.auth.bytes());
        }
        let trailer = signing.filter(|(signing, _)| signing.signs());
        let trailer = trailer.map_or_else(Vec::new, |(signing, sequence)| {
            signing.trailer(self.version, source, &bytes, sequence)
        });
        if source.is_ipv6() {
            bytes.extend(&trailer);
        }
        let datagram = Datagram {
            source,
            destination,
            ttl: 255,
            payload: &bytes,
        };
        let sum = checksum::of(self.version, &datagram).to_be_bytes();
        if let Some(place) = bytes.get_mut(CHECKSUM..HEADER) {
            place.copy_from_slice(&sum);
        }
        if source.is_ipv4() {
            bytes.extend(trailer);
        }
        bytes
    }
}

const fn address_bytes(family: IpAddr) -> usize {
    match family {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 16,
    }
}

fn read_addresses(bytes: &[u8], family: IpAddr) -> Vec<IpAddr> {
    match family {
        IpAddr::V4(_) => {
            let (chunks, _) = bytes.as_chunks::<4>();
            chunks.iter().map(|c| Ipv4Addr::from(*c).into()).collect()
        }
        IpAddr::V6(_) => {
            let (chunks, _) = bytes.as_chunks::<16>();
            chunks.iter().map(|c| Ipv6Addr::from(*c).into()).collect()
        }
    }
}
