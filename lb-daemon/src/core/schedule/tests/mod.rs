//! The schedulers against literal simulations of the kernel's loops.

mod carry;
mod hashed;
mod kernel;
mod load;
mod locality;

use std::net::{Ipv4Addr, SocketAddr};

use super::Entry;

/// Real server `n` in slot `n`.
fn entry(n: u8, weight: u16) -> Entry {
    Entry {
        id: SocketAddr::from((Ipv4Addr::new(10, 0, 0, n), 80)),
        slot: n.into(),
        weight,
        upper: 0,
        lower: 0,
        out: false,
    }
}
