//! What is random in either family of addresses?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::Real;
use lb_common::net::{Be32, Be128};
use lb_common::packet::build::Build;
use tests::plane::Family;

use crate::dice::Dice;

/// A family of addresses, and the hosts that there are.
pub(crate) trait Hosts: Family {
    /// Commands of `ip` for the hosts that the usual network has not.
    const NETWORK: &[&str];
    /// Clients: a usual one, one behind a small MTU, those whose MAC is not known, and what no host has for an address.
    const CLIENTS: [Self; 8];
    /// The clients that the routing table knows, and the longest packet that fits.
    const ROUTES: [(Self, u16); 2];
    /// How much longer its headers are than IPv4's without options, with those of a fragment.
    const MORE: usize;
    /// The sizes of virtual networks, by the number of host bits.
    const HOST_BITS: &[u32];
    /// What tells persistent clients apart, by [`Plan::mask`](lb_common::abi::Plan::mask).
    const MASKS: [u32; 2];

    /// The address of a service.
    fn service(number: u8) -> Self;

    /// An address further on, with some bits turned over.
    fn beside(self, further: u32, turned: u32) -> Self;

    /// Writes the addresses of a real server, and of the director towards it.
    fn place(real: &mut Real, number: u8);

    /// Adds what the family's header may have besides the usual.
    fn adorn(dice: &mut Dice, build: Build) -> Build;

    /// Makes it a fragment, of IPv6 one without data of its own.
    fn as_fragment(dice: &mut Dice, build: Build) -> Build;

    /// The address as text has it.
    fn ip(self) -> IpAddr;
}

impl Hosts for Be32 {
    const NETWORK: &[&str] = &[];

    const MORE: usize = 0;

    const CLIENTS: [Self; 8] = [
        Self::from_bytes([198, 51, 100, 5]),
        Self::from_bytes([198, 51, 100, 5]),
        Self::from_bytes([198, 51, 100, 5]),
        Self::from_bytes([198, 51, 100, 6]),
        Self::from_bytes([198, 51, 100, 7]),
        Self::from_bytes([198, 51, 100, 8]),
        Self::from_bytes([198, 51, 101, 9]),
        Self::from_bytes([127, 0, 0, 1]),
    ];

    const ROUTES: [(Self, u16); 2] = [
        (Self::from_bytes([198, 51, 100, 5]), 1500),
        (Self::from_bytes([198, 51, 100, 6]), 1000),
    ];

    const HOST_BITS: &[u32] = &[0, 0, 0, 0, 1, 4, 8, 12, 16];

    const MASKS: [u32; 2] = [u32::MAX, Self::from_bytes([255, 255, 255, 0]).0];

    fn service(number: u8) -> Self {
        Self::from_bytes([203, 0, 113, number])
    }

    fn beside(self, further: u32, turned: u32) -> Self {
        Self::from_host(self.to_host().wrapping_add(further) ^ turned)
    }

    fn place(real: &mut Real, number: u8) {
        real.addr = Self::from_bytes([10, 0, 0, number]);
        real.tun_src = Self::from_bytes([10, 0, 0, 254]);
    }

    fn adorn(dice: &mut Dice, build: Build) -> Build {
        build.options(&vec![1; 4 * (1 + dice.below(10) as usize)])
    }

    fn as_fragment(dice: &mut Dice, build: Build) -> Build {
        let any = dice.below(1 << 16) as u16;
        build.fragment(dice.pick(&[0x2000, 0x2000, 0x2001, 0x0002, 0x2003, 0x0004, any]))
    }

    fn ip(self) -> IpAddr {
        Ipv4Addr::from(self.to_host()).into()
    }
}

/// An address of the clients' side.
const fn client(number: u128) -> Be128 {
    Be128::from_bits(0x2001_0db8_000c_0000_0000_0000_0000_0000 | number)
}

impl Hosts for Be128 {
    const NETWORK: &[&str] = &[
        "-6 neigh add 2001:db8:c::6 lladdr 02:00:00:00:00:c1 dev front",
        "-6 route add 2001:db8:c::6 dev front mtu lock 1280",
    ];

    const MORE: usize = 36;

    const CLIENTS: [Self; 8] = [
        client(5),
        client(5),
        client(5),
        client(6),
        client(7),
        client(8),
        Self::from_bits(0x2001_0db8_000d_0000_0000_0000_0000_0009),
        Self::from_bits(1),
    ];

    const ROUTES: [(Self, u16); 2] = [(client(5), 1500), (client(6), 1280)];

    const HOST_BITS: &[u32] = &[0];

    const MASKS: [u32; 2] = [128, 64];

    fn service(number: u8) -> Self {
        Self::from_bits(0x2001_0db8_000f_0000_0000_0000_0000_0000 | number as u128)
    }

    fn beside(self, further: u32, turned: u32) -> Self {
        Self::from_bits(self.to_bits().wrapping_add(further.into()) ^ u128::from(turned))
    }

    fn place(real: &mut Real, number: u8) {
        let side = 0xfd00_0010_0000_0000_0000_0000_0000_0000;
        real.addr6 = Self::from_bits(side | u128::from(number));
        real.tun_src6 = Self::from_bits(side | 0xfe);
    }

    /// Up to seven extension headers, now and then one that is not known.
    fn adorn(dice: &mut Dice, build: Build) -> Build {
        let headers: Vec<(u8, Vec<u8>)> = (0..=dice.below(7))
            .map(|_| {
                let units = dice.pick(&[0, 0, 0, 1, 3]);
                let mut bytes = vec![units; 1];
                bytes.resize(7 + 8 * usize::from(units), 0);
                (dice.pick(&[0, 43, 60, 60, 60, 60, 135]), bytes)
            })
            .collect();
        let headers: Vec<(u8, &[u8])> = headers
            .iter()
            .map(|(number, bytes)| (*number, bytes.as_slice()))
            .collect();
        build.extensions(&headers)
    }

    fn as_fragment(dice: &mut Dice, build: Build) -> Build {
        let [high, low] = dice.pick(&[[0, 1], [0, 1], [0, 9], [0, 16], [0, 24], [0, 0], [1, 9]]);
        let id = dice.below(3) as u8;
        let fragment = [0, high, low, 0, 0, 0, id];
        let routing = [0; 7];
        let headers: [(u8, &[u8]); 2] = [(60, &routing), (44, &fragment)];
        build.extensions(&headers[usize::from(dice.one_in(2))..])
    }

    fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.to_bytes()).into()
    }
}
