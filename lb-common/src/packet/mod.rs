//! How are packets read and changed?
//!
//! ```text
//! Bytes (XDP context | host slice) -> parse -> PacketInfo -> rewrite::{dr, tun, nat, reply} | icmp::error
//! ```
//!
//! All of it is generic over [`Bytes`], so the code that runs in the driver is the code that host tests run.

#[cfg(any(test, feature = "host"))]
pub mod build;
pub mod bytes;
pub mod checksum;
pub mod icmp;
pub mod parse;
pub mod quote;
pub mod rewrite;
pub mod wire;
mod word;

pub use bytes::{Bytes, SliceFrame};
pub use parse::{Network, Transport};
