//! How are packets read and changed?
//!
//! ```text
//! Bytes (XDP context | host slice) -> parse -> PacketInfo -> rewrite::{dr, tun, nat, reply} | icmp::error
//! ```
//!
//! All of it is generic over [`Bytes`], so the code that runs in the driver is the code that host tests run; and over [`Ip`], what the
//! two families of addresses do not have in common, so that there is one of each rewrite.

#[cfg(any(test, feature = "host"))]
pub mod build;
pub mod bytes;
pub mod checksum;
#[cfg(any(test, feature = "host"))]
pub mod cut;
pub mod icmp;
pub mod ip;
mod ipv4;
mod ipv6;
pub mod parse;
pub mod piece;
pub mod quote;
pub mod reset;
pub mod rewrite;
#[cfg(test)]
mod testing;
pub mod wire;
mod word;

pub use bytes::{Bytes, SliceFrame};
pub use ip::Ip;
pub use parse::{Network, Transport};
