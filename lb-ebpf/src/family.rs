//! Which maps are of which family of addresses, and how does the routing table name it?

use lb_common::net::{Be32, Be128};
use lb_common::packet::Ip;

use crate::maps::{self, Conns, Fragments, Localities, NatReals, Services, Templates};

/// A family of addresses.
pub(crate) trait Family: Ip {
    /// `AF_INET` or `AF_INET6`.
    const AF: u8;

    /// The connection table.
    fn conns() -> &'static Conns<Self>;
    /// Services by address and port.
    fn services() -> &'static Services<Self>;
    /// Sources of replies.
    fn nat_reals() -> &'static NatReals<Self>;
    /// What lblc and lblcr remember.
    fn localities() -> &'static Localities<Self>;
    /// Persistent clients.
    fn templates() -> &'static Templates<Self>;
    /// Where fragments go.
    fn fragments() -> &'static Fragments<Self>;
    /// DSCP and ECN as a question to the routing table has them.
    fn class(tos: u8) -> u32;
    /// The address as a question to the routing table has it.
    fn words(self) -> [u32; 4];
}

macro_rules! family {
    ($addr:ty: $af:literal $conns:ident $services:ident $nat_reals:ident $localities:ident $templates:ident $fragments:ident $words:expr, $class:expr) => {
        impl Family for $addr {
            const AF: u8 = $af;

            #[inline(always)]
            fn conns() -> &'static Conns<Self> {
                &maps::$conns
            }

            #[inline(always)]
            fn services() -> &'static Services<Self> {
                &maps::$services
            }

            #[inline(always)]
            fn nat_reals() -> &'static NatReals<Self> {
                &maps::$nat_reals
            }

            #[inline(always)]
            fn localities() -> &'static Localities<Self> {
                &maps::$localities
            }

            #[inline(always)]
            fn templates() -> &'static Templates<Self> {
                &maps::$templates
            }

            #[inline(always)]
            fn fragments() -> &'static Fragments<Self> {
                &maps::$fragments
            }

            #[inline(always)]
            fn class(tos: u8) -> u32 {
                let class: fn(u8) -> u32 = $class;
                class(tos)
            }

            #[inline(always)]
            fn words(self) -> [u32; 4] {
                let words: fn(Self) -> [u32; 4] = $words;
                words(self)
            }
        }
    };
}

family!(Be32: 2 CONNS4 SERVICES4 NATREALS4 LOCALITY4 TEMPLATES4 FRAGMENTS4 |addr| [addr.0, 0, 0, 0], u32::from);
family!(Be128: 10 CONNS6 SERVICES6 NATREALS6 LOCALITY6 TEMPLATES6 FRAGMENTS6 |addr| addr.0, |tos| (u32::from(tos) << 20).to_be());
