//! What does a player ask of the balancer that it plays to?

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};

use lb_daemon::core::desired::ConnReuse;

use super::recording::{Conn, Count, Proto, Service};

/// A balancer that a recording can be played to.
pub trait Director {
    /// Makes the configuration equal to this one.
    fn apply(&mut self, setup: &Setup) -> Result<()>;

    /// A packet from a client.
    fn send(&mut self, packet: &Packet) -> Result<Seen>;

    /// The answer of a real server to a packet that was sent on to it; whether it was translated for the client.
    fn answer(&mut self, real: IpAddr, packet: &Packet) -> Result<bool>;

    /// Time passes, and what is over by then is put away.
    fn advance(&mut self, seconds: u64) -> Result<()>;

    /// The loads of a service's real servers, in any order.
    fn counts(&mut self, service: &Service) -> Result<Vec<Count>>;

    /// The connections and templates, in any order.
    fn connections(&mut self) -> Result<Vec<Conn>>;
}

/// A configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The services, in the order of adding.
    pub services: Vec<Service>,
    /// Settings of `net.ipv4.vs`.
    pub sysctl: BTreeMap<String, i64>,
    /// Seconds of TCP, TCP after FIN, and UDP.
    pub timeouts: [u64; 3],
}

impl Setup {
    /// Whether a setting is on.
    pub fn is_on(&self, key: &str) -> bool {
        self.sysctl.get(key).is_some_and(|&value| value != 0)
    }

    /// The setting `conn_reuse_mode`.
    pub fn conn_reuse(&self) -> ConnReuse {
        let mode = self.sysctl.get("conn_reuse_mode");
        mode.and_then(|mode| u32::try_from(*mode).ok())
            .map_or(ConnReuse::default(), ConnReuse::of_mode)
    }
}

/// A packet between a client and a virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The protocol.
    pub proto: Proto,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The virtual address and port.
    pub vip: SocketAddr,
    /// Letters of TCP flags; empty with UDP.
    pub flags: String,
}

impl Packet {
    /// The same flow with other flags.
    #[must_use]
    pub fn with(&self, flags: &str) -> Self {
        Self {
            flags: if self.proto == Proto::Tcp {
                flags.into()
            } else {
                String::new()
            },
            ..self.clone()
        }
    }

    /// The byte of flags in the TCP header.
    pub fn flag_bits(&self) -> u8 {
        let bit = |letter| match letter {
            'F' => 0x01,
            'S' => 0x02,
            'R' => 0x04,
            'P' => 0x08,
            'A' => 0x10,
            _ => 0,
        };
        self.flags.chars().map(bit).fold(0, |all, one| all | one)
    }
}

/// Where a packet from a client went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// To a real server.
    Real(IpAddr),
    /// Back, as an ICMP error of this type and code.
    Icmp(u8, u8),
    /// To the director's own stack.
    Stack,
    /// Nowhere.
    Silent,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real(addr) => f.write_str(&real_name(*addr)),
            Self::Icmp(kind, code) => write!(f, "icmp:{kind}/{code}"),
            Self::Stack => f.write_str("the director's stack"),
            Self::Silent => f.write_str("silent"),
        }
    }
}

/// The address of a real server `rN`.
pub fn real_addr(id: &str, v6: bool) -> Result<IpAddr> {
    let number = id.strip_prefix('r').and_then(|n| n.parse::<u8>().ok());
    let n = number.with_context(|| format!("`{id}` is not a real server's name"))?;
    Ok(if v6 {
        Ipv6Addr::new(
            0xfd00,
            0x10,
            0,
            0,
            0,
            0,
            0,
            u16::from_str_radix(&n.to_string(), 16)?,
        )
        .into()
    } else {
        Ipv4Addr::new(10, 0, 0, n).into()
    })
}

/// The name of a real server's address.
pub fn real_name(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(v4) => format!("r{}", v4.octets()[3]),
        IpAddr::V6(v6) => format!("r{:x}", v6.segments()[7]),
    }
}
