//! Where a packet for a real server goes next: the types that routes, neighbours and the data plane share.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A MAC address of one station: never zero, never multicast or broadcast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address, unless it cannot be a station's.
    pub const fn new(bytes: [u8; 6]) -> Option<Self> {
        let group = bytes[0] & 1 == 1;
        let zero = matches!(bytes, [0, 0, 0, 0, 0, 0]);
        if group || zero {
            None
        } else {
            Some(Self(bytes))
        }
    }

    /// As [`Mac::new`], from bytes of any number.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; 6]>::try_from(bytes).ok().and_then(Self::new)
    }

    /// The six bytes in the order in which they are sent.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not the MAC address of a station.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not a station's MAC address; hint: six pairs of hex digits with colons, such as 02:00:5e:10:00:01"
)]
pub struct BadMac;

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or(BadMac)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| BadMac)?;
        }
        if parts.next().is_some() {
            return Err(BadMac);
        }
        Self::new(bytes).ok_or(BadMac)
    }
}

/// How the next hop is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The address is the director's own.
    Local,
    /// The real server is on a directly connected network: the next hop is itself.
    OnLink,
    /// The next hop is a router.
    Gateway(IpAddr),
}

/// What is known about the next hop's MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Asked for; no answer yet.
    Unknown,
    /// It answers.
    Reachable,
    /// It has stopped answering. [`NextHop::mac`] is the last one known.
    Failed,
}

/// The next hop towards a real server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NextHop {
    /// Index of the egress interface.
    pub ifindex: u32,
    /// Name of the egress interface.
    pub interface: Arc<str>,
    /// How the next hop is reached.
    pub via: Via,
    /// The director's address towards the real server: what the kernel would choose as source.
    pub source: Option<IpAddr>,
    /// The egress interface's MAC, if it has one.
    pub src_mac: Option<Mac>,
    /// The greatest IP packet that fits: the interface's MTU, or what the route says if that is less.
    pub mtu: u32,
    /// The next hop's MAC. `None` until it is known for the first time; then the last one known.
    pub mac: Option<Mac>,
    /// Whether the next hop answers.
    pub reach: Reach,
}

impl NextHop {
    /// Whether the real server is the director itself.
    pub const fn is_local(&self) -> bool {
        matches!(self.via, Via::Local)
    }

    /// Whether the real server is on a directly connected network, as DR needs.
    pub const fn is_on_link(&self) -> bool {
        matches!(self.via, Via::OnLink)
    }

    /// The address whose MAC is the next hop's; `None` for a local real server.
    pub const fn neighbour(&self, real: IpAddr) -> Option<IpAddr> {
        match self.via {
            Via::Local => None,
            Via::OnLink => Some(real),
            Via::Gateway(gateway) => Some(gateway),
        }
    }
}

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Its MAC, if it is of a kind that has one.
    pub mac: Option<Mac>,
    /// Its MTU.
    pub mtu: u32,
    /// Switched on, and its carrier is there.
    pub up: bool,
    /// It needs no neighbour addresses (loopback, tunnels).
    pub noarp: bool,
    /// The name of its driver's kind (`veth`, `bond`, `vlan` ...) where the kernel tells it.
    pub kind: Option<Arc<str>>,
    /// Index of the interface that it lies on top of (VLANs, macvlans), where that is in the same network namespace.
    pub below: Option<u32>,
    /// Index of the bridge or bond that it is a port of.
    pub controller: Option<u32>,
    /// The id of the XDP program on it.
    pub xdp: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_zero_or_group_address_is_a_mac() {
        assert_eq!(Mac::new([0; 6]), None);
        assert_eq!(Mac::new([0xff; 6]), None);
        assert_eq!(Mac::new([1, 0, 0x5e, 0, 0, 1]), None);
        assert_eq!(Mac::from_slice(&[2, 0, 0]), None);
        assert!(Mac::new([2, 0, 0, 0, 0, 1]).is_some());
    }

    #[test]
    fn a_mac_reads_back_what_it_prints() {
        let mac = Mac::new([0x02, 0xab, 0, 0, 0x10, 0xff]).unwrap();
        assert_eq!(mac.to_string(), "02:ab:00:00:10:ff");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in [
            "",
            "02:ab",
            "02:ab:00:00:10:ff:00",
            "2:ab:00:00:10:ff",
            "+2:ab:00:00:10:ff",
            "ff:ff:ff:ff:ff:ff",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(BadMac), "{bad}");
        }
    }
}
