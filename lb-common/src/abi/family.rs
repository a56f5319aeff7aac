//! What is of one family of addresses in the maps.

use super::{Real, Settings, map, setting};
use crate::net::{Address, Be32, Be128};

/// The maps of one family of addresses, by their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FamilyMaps {
    /// The connection table.
    pub conns: &'static str,
    /// Services by address and port.
    pub services: &'static str,
    /// The services of NAT real servers.
    pub nat_reals: &'static str,
    /// What lblc and lblcr remember.
    pub locality: &'static str,
    /// Persistent clients.
    pub templates: &'static str,
    /// Where fragments go.
    pub fragments: &'static str,
}

/// Which of the maps, settings and fields are of a family of addresses.
pub trait Configured: Address {
    /// Its maps.
    const MAPS: FamilyMaps;

    /// Number of buckets of its connection table less one.
    fn bucket_mask(settings: &Settings) -> u32;

    /// Which sizes of virtual networks there are: a bit for each number of host bits.
    fn networks(settings: &Settings) -> u64;

    /// The bit of [`setting`] that says whether a real server of it is reached by NAT.
    const HAS_NAT: u32;

    /// The address of a real server of the family.
    fn of_real(real: &Real) -> Self;

    /// The director's address towards it: the outer source in a tunnel.
    fn tunnel_source(real: &Real) -> Self;
}

impl Configured for Be32 {
    const MAPS: FamilyMaps = FamilyMaps {
        conns: map::CONNS4,
        services: map::SERVICES4,
        nat_reals: map::NATREALS4,
        locality: map::LOCALITY4,
        templates: map::TEMPLATES4,
        fragments: map::FRAGMENTS4,
    };

    #[inline(always)]
    fn bucket_mask(settings: &Settings) -> u32 {
        settings.bucket_mask
    }

    #[inline(always)]
    fn networks(settings: &Settings) -> u64 {
        settings.networks
    }

    const HAS_NAT: u32 = setting::HAS_NAT;

    #[inline(always)]
    fn of_real(real: &Real) -> Self {
        real.addr
    }

    #[inline(always)]
    fn tunnel_source(real: &Real) -> Self {
        real.tun_src
    }
}

impl Configured for Be128 {
    const MAPS: FamilyMaps = FamilyMaps {
        conns: map::CONNS6,
        services: map::SERVICES6,
        nat_reals: map::NATREALS6,
        locality: map::LOCALITY6,
        templates: map::TEMPLATES6,
        fragments: map::FRAGMENTS6,
    };

    #[inline(always)]
    fn bucket_mask(settings: &Settings) -> u32 {
        settings.bucket_mask6
    }

    /// There are none: a virtual network is of IPv4.
    #[inline(always)]
    fn networks(_settings: &Settings) -> u64 {
        0
    }

    const HAS_NAT: u32 = setting::HAS_NAT6;

    #[inline(always)]
    fn of_real(real: &Real) -> Self {
        real.addr6
    }

    #[inline(always)]
    fn tunnel_source(real: &Real) -> Self {
        real.tun_src6
    }
}
