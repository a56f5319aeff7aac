//! What the data plane is told from outside: where it lives, how large it is, how real servers are reached.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::core::desired::XdpMode;

/// Where the data plane lives and how large it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory on a BPF file system that holds maps and links.
    pub pin_dir: PathBuf,
    /// Interfaces on which the program runs.
    pub interfaces: Vec<String>,
    /// How it is attached to them.
    pub mode: XdpMode,
    /// Take the place of another XDP program on an interface.
    pub replace: bool,
    /// How large the maps are.
    pub capacity: Capacity,
    /// Load the edition of the program that logs what becomes of each packet, which costs time.
    pub log_packets: bool,
}

/// How much the maps hold. Maps keep their size while they are pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections; the table is two thirds full then, at most. The one of IPv6 holds a quarter as many besides.
    pub connections: u32,
    /// Real servers over all services, with those that are being drained.
    pub reals: u32,
    /// Virtual services.
    pub services: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            connections: 1_000_000,
            reals: 16_384,
            services: 4_096,
        }
    }
}

/// How packets get to a real server from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// It is not known: packets are left to the kernel's stack, which asks for the neighbour.
    Unresolved,
    /// The real server is the director itself.
    Local,
    /// Through a neighbour.
    Via(NextHop),
}

/// The neighbour through which a real server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Index of the egress interface.
    pub ifindex: u32,
    /// The neighbour's MAC.
    pub mac: [u8; 6],
    /// The egress interface's MAC.
    pub src_mac: [u8; 6],
    /// The egress path's MTU.
    pub mtu: u32,
    /// The director's address towards the real server.
    pub src: IpAddr,
}
