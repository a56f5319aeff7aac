//! What is a machine to be?

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A real server, as its directors see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// How packets reach it.
    pub method: Method,
    /// The virtual addresses that it serves, each once. With NAT these are not its own.
    pub vips: Vec<IpAddr>,
    /// The interface on which packets for it come in.
    pub interface: String,
    /// The director, if its replies are to go there (NAT): an address for each family that it is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Direct routing.
    Dr,
    /// IP-in-IP tunnel.
    Tun,
    /// Network address translation.
    Nat,
}

impl Method {
    /// Whether the virtual addresses are the real server's own, too.
    pub const fn has_vips(self) -> bool {
        matches!(self, Self::Dr | Self::Tun)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dr => "dr",
            Self::Tun => "tun",
            Self::Nat => "nat",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dr" => Ok(Self::Dr),
            "tun" => Ok(Self::Tun),
            "nat" => Ok(Self::Nat),
            _ => Err("takes dr, tun or nat".to_owned()),
        }
    }
}

impl Role {
    /// Whether some virtual address of IPv4 is to be this machine's.
    pub(super) fn has_vips4(&self) -> bool {
        self.method.has_vips() && self.vips.iter().any(IpAddr::is_ipv4)
    }

    /// Whether some virtual address of IPv6 is to be this machine's.
    pub(super) fn has_vips6(&self) -> bool {
        self.method.has_vips() && self.vips.iter().any(IpAddr::is_ipv6)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "method {}, interface {}", self.method, self.interface)?;
        for vip in &self.vips {
            write!(f, ", VIP {vip}")?;
        }
        for gateway in &self.gateways {
            write!(f, ", gateway {gateway}")?;
        }
        Ok(())
    }
}
