//! How do addresses, and the keys that have them, lie in the maps of either family?

use std::net::{IpAddr, SocketAddr};

use aya::Pod;
use lb_common::abi::{Configured as _, FamilyMaps, Real};
use lb_common::net::{Address as _, Be16, Be32, Be128, Flow};

use crate::core::schedule::fold;

/// The number that a real server's record has for IPv6.
pub(super) const IPV6: u8 = 6;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub(super) const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Its maps.
    pub(super) const fn maps(self) -> FamilyMaps {
        match self {
            Self::V4 => Be32::MAPS,
            Self::V6 => Be128::MAPS,
        }
    }
}

/// An address as the maps have it.
pub(super) trait Addr: Copy {
    /// The address.
    fn ip(self) -> IpAddr;

    /// From an address; `None` if it is of another family.
    fn of(addr: IpAddr) -> Option<Self>;
}

impl Addr for Be32 {
    fn ip(self) -> IpAddr {
        self.to_bytes().into()
    }

    fn of(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V4(addr) => Some(Self::from_bytes(addr.octets())),
            IpAddr::V6(_) => None,
        }
    }
}

impl Addr for Be128 {
    fn ip(self) -> IpAddr {
        self.to_bytes().into()
    }

    fn of(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V4(_) => None,
            IpAddr::V6(addr) => Some(Self::from_bytes(addr.octets())),
        }
    }
}

/// The bytes of an address.
pub(super) fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

/// An address folded to one word, as the filter and the kernel's hashes take it.
pub(super) fn folded(addr: IpAddr) -> Be32 {
    Be32::from_host(fold(addr))
}

/// The part of a client's address that tells clients apart, under a mask of a [`Plan`](lb_common::abi::Plan).
pub(super) fn masked(addr: IpAddr, mask: u32) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => Be32::from_bytes(addr.octets()).masked(mask).ip(),
        IpAddr::V6(addr) => Be128::from_bytes(addr.octets()).masked(mask).ip(),
    }
}

/// The address of a real server.
pub(super) fn address_of(real: &Real) -> IpAddr {
    if real.family == IPV6 {
        real.addr6.ip()
    } else {
        real.addr.ip()
    }
}

/// The address and port of a real server.
pub(super) fn endpoint_of(real: &Real) -> SocketAddr {
    SocketAddr::new(address_of(real), real.port.to_host())
}

/// Writes the address of a real server into its record.
pub(super) fn set_address(real: &mut Real, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => real.addr = Be32::from_bytes(addr.octets()),
        IpAddr::V6(addr) => {
            real.addr6 = Be128::from_bytes(addr.octets());
            real.family = IPV6;
        }
    }
}

/// Writes the director's address towards a real server into its record.
pub(super) fn set_tunnel_source(real: &mut Real, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => real.tun_src = Be32::from_bytes(addr.octets()),
        IpAddr::V6(addr) => real.tun_src6 = Be128::from_bytes(addr.octets()),
    }
}

/// A flow of any family, from one of the table of its own.
pub(super) fn any<A: Addr>(flow: &Flow<A>) -> Flow<IpAddr> {
    with_addresses(flow, flow.client.ip(), flow.vip.ip())
}

/// A flow of one family, as its table has it; `None` if it is of another.
pub(super) fn of_family<A: Addr>(flow: &Flow<IpAddr>) -> Option<Flow<A>> {
    Some(with_addresses(flow, A::of(flow.client)?, A::of(flow.vip)?))
}

fn with_addresses<A, B>(flow: &Flow<A>, client: B, vip: B) -> Flow<B> {
    Flow {
        client,
        vip,
        client_port: flow.client_port,
        vip_port: flow.vip_port,
        proto: flow.proto,
    }
}

/// What keys of services and of real servers are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// The address.
    pub addr: IpAddr,
    /// The port.
    pub port: u16,
    /// IP protocol number; 0 in a key of nobody.
    pub proto: u8,
    /// How many trailing bits of the address do not matter.
    pub host_bits: u8,
}

/// A [`ServiceKey`](lb_common::abi::ServiceKey) or [`RealKey`](lb_common::abi::RealKey) as it lies in memory.
pub(super) trait Key: Pod + Ord {
    /// The key of nobody.
    const NOBODY: Self;

    /// The key of these parts; `None` if they are of another family.
    fn pack(parts: Parts) -> Option<Self>;

    /// What it is made of.
    fn unpack(self) -> Parts;
}

/// With IPv4.
pub(super) type Key4 = [u8; 8];
/// With IPv6.
pub(super) type Key6 = [u8; 20];

impl Key for Key4 {
    const NOBODY: Self = [0; 8];

    fn pack(parts: Parts) -> Option<Self> {
        packed(parts)
    }

    fn unpack(self) -> Parts {
        let [a, b, c, d, rest @ ..] = self;
        parts([a, b, c, d].into(), rest)
    }
}

impl Key for Key6 {
    const NOBODY: Self = [0; 20];

    fn pack(parts: Parts) -> Option<Self> {
        packed(parts)
    }

    fn unpack(self) -> Parts {
        let mut addr = [0; 16];
        let (front, back) = self.split_at(16);
        addr.copy_from_slice(front);
        let mut rest = [0; 4];
        rest.copy_from_slice(back);
        parts(addr.into(), rest)
    }
}

/// A key's bytes; `None` if keys of the address's family have another length.
fn packed<const LEN: usize>(parts: Parts) -> Option<[u8; LEN]> {
    let [a, b] = Be16::from_host(parts.port).0.to_ne_bytes();
    let mut key = octets(parts.addr);
    key.extend([a, b, parts.proto, parts.host_bits]);
    key.try_into().ok()
}

fn parts(addr: IpAddr, [a, b, proto, host_bits]: [u8; 4]) -> Parts {
    Parts {
        addr,
        port: Be16(u16::from_ne_bytes([a, b])).to_host(),
        proto,
        host_bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_as_the_program_reads_them() {
        let web = Parts {
            addr: [192, 0, 2, 1].into(),
            port: 80,
            proto: 6,
            host_bits: 8,
        };
        let key = Key4::pack(web).unwrap();
        assert_eq!(key, [192, 0, 2, 1, 0, 80, 6, 8]);
        assert_eq!(key.unpack(), web);
        assert_eq!(Key6::pack(web), None);
        let web6 = Parts {
            addr: "2001:db8::1".parse().unwrap(),
            ..web
        };
        let key = Key6::pack(web6).unwrap();
        assert_eq!(key[..4], [0x20, 1, 0x0d, 0xb8]);
        assert_eq!(key[15..], [1, 0, 80, 6, 8]);
        assert_eq!(key.unpack(), web6);
        assert_eq!(Key4::pack(web6), None);
    }

    #[test]
    fn a_record_has_an_address_of_either_family() {
        for text in ["192.0.2.7", "2001:db8::7"] {
            let addr: IpAddr = text.parse().unwrap();
            let mut real = Real::default();
            set_address(&mut real, addr);
            assert_eq!(address_of(&real), addr);
        }
    }
}
