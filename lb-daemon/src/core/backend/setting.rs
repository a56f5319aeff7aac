//! What of a machine is changed to make it a real server?

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The label of virtual addresses on `lo`. Addresses of IPv6 have none.
pub const LABEL: &str = "lo:lbd";

/// One thing of a machine, and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum Setting {
    /// A kernel parameter of an interface.
    Sysctl {
        /// Which one.
        #[serde(flatten)]
        name: Sysctl,
        /// Its value; `None` while there is no such interface.
        value: Option<String>,
    },
    /// A virtual address on `lo`, alone in its network.
    Vip {
        /// The address.
        address: IpAddr,
        /// Whether it is there.
        present: bool,
    },
    /// A tunnel device of the kernel.
    Tunnel {
        /// Which one.
        device: Tunnel,
        /// How it is.
        state: TunnelState,
    },
    /// The XDP program that takes packets out of tunnels.
    Decap {
        /// What it does; `None`: it is not there.
        decap: Option<Decap>,
    },
    /// The IPv4 route of all that is not on a network of the machine.
    DefaultRoute {
        /// The route, if there is one.
        route: Option<DefaultRoute>,
    },
    /// An IPv6 default route before all others. Those stay: a router advertises them again and again.
    Gateway6 {
        /// The route.
        #[serde(flatten)]
        route: Gateway6,
        /// Whether it is there.
        present: bool,
    },
}

/// A parameter `net.ipv4.conf.INTERFACE.KEY`, or of `net.ipv6`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sysctl {
    /// An interface, or `all`.
    pub interface: String,
    /// Which parameter.
    pub key: Key,
}

/// Parameters that matter to a real server. Each of IPv4 has effect as the larger of its values for `all` and for the
/// interface, that of IPv6 as the interface has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Which ARP questions are answered.
    ArpIgnore,
    /// Which address ARP questions come from.
    ArpAnnounce,
    /// Whether packets are dropped whose sender is reached another way.
    RpFilter,
    /// Whether the interface has no IPv6.
    DisableIpv6,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ArpIgnore,
        Self::ArpAnnounce,
        Self::RpFilter,
        Self::DisableIpv6,
    ];
}

/// The kernel's own device that takes packets out of any tunnel that ends at this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tunnel {
    /// IPv4 in IPv4.
    #[serde(rename = "tunl0")]
    Ip4,
    /// IPv6 in IPv6.
    #[serde(rename = "ip6tnl0")]
    Ip6,
}

impl Tunnel {
    /// The device.
    pub const fn device(self) -> &'static str {
        match self {
            Self::Ip4 => "tunl0",
            Self::Ip6 => "ip6tnl0",
        }
    }

    /// The family of its ends.
    pub const fn family(self) -> &'static str {
        match self {
            Self::Ip4 => "IPv4",
            Self::Ip6 => "IPv6",
        }
    }

    /// The module of the kernel that brings it.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Ip4 => "ipip",
            Self::Ip6 => "ip6_tunnel",
        }
    }
}

/// How a tunnel device of the kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelState {
    /// It is not there.
    Absent,
    /// It is switched off.
    Down,
    /// It takes packets.
    Up,
}

/// What the XDP program does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decap {
    /// Where it runs.
    pub interface: String,
    /// Where tunnels end, in order.
    pub addresses: Vec<IpAddr>,
}

/// A default route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRoute {
    /// The next router; without one everything is on the interface's own network.
    pub gateway: Option<Ipv4Addr>,
    /// The interface.
    pub interface: String,
    /// The smaller is preferred.
    pub metric: u32,
    /// Who made it: a number of `rt_protos`.
    pub protocol: u8,
    /// How far it reaches: a number of `rt_scopes`.
    pub scope: u8,
    /// The address that packets come from.
    pub source: Option<Ipv4Addr>,
    /// The router need not be on a network of the interface.
    pub onlink: bool,
    /// It has nothing else to it. One that has is not replaced, as it could not be put back.
    pub simple: bool,
}

impl DefaultRoute {
    /// `RTPROT_STATIC`.
    pub const STATIC: u8 = 4;
    /// `RT_SCOPE_UNIVERSE`.
    pub const UNIVERSE: u8 = 0;

    /// A route by way of a router, as an administrator makes it.
    pub fn by(gateway: Ipv4Addr, interface: &str, metric: u32) -> Self {
        Self {
            gateway: Some(gateway),
            interface: interface.to_owned(),
            metric,
            protocol: Self::STATIC,
            scope: Self::UNIVERSE,
            source: None,
            onlink: false,
            simple: true,
        }
    }
}

/// An IPv6 default route by way of the director.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway6 {
    /// The director.
    pub gateway: Ipv6Addr,
    /// The interface that leads to it.
    pub interface: String,
}

impl Gateway6 {
    /// Its metric: the most preferred that there is.
    pub const METRIC: u32 = 1;
}

/// From one state of a thing to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As it was.
    pub old: Setting,
    /// As it is to be.
    pub new: Setting,
}

impl Setting {
    /// Whether both are about the same thing.
    pub fn is_same_item(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sysctl { name, .. }, Self::Sysctl { name: other, .. }) => name == other,
            (Self::Vip { address, .. }, Self::Vip { address: other, .. }) => address == other,
            (Self::Tunnel { device, .. }, Self::Tunnel { device: other, .. }) => device == other,
            (Self::Decap { .. }, Self::Decap { .. })
            | (Self::DefaultRoute { .. }, Self::DefaultRoute { .. }) => true,
            (Self::Gateway6 { route, .. }, Self::Gateway6 { route: other, .. }) => route == other,
            _ => false,
        }
    }

    /// What it is, for people.
    pub fn item(&self) -> String {
        match self {
            Self::Sysctl { name, .. } => name.to_string(),
            Self::Vip { address, .. } => format!("{} on lo", host_net(*address)),
            Self::Tunnel { device, .. } => device.device().to_owned(),
            Self::Decap { .. } => "XDP program decap".to_owned(),
            Self::DefaultRoute { .. } => "default route".to_owned(),
            Self::Gateway6 { .. } => "IPv6 default route".to_owned(),
        }
    }

    /// How it is, for people.
    pub fn state(&self) -> String {
        let absent = || "absent".to_owned();
        match self {
            Self::Sysctl { value, .. } => value.clone().unwrap_or_else(absent),
            Self::Vip { present: true, .. } => "present".to_owned(),
            Self::Vip { present: false, .. } => absent(),
            Self::Tunnel { state, .. } => match state {
                TunnelState::Absent => absent(),
                TunnelState::Down => "down".to_owned(),
                TunnelState::Up => "up".to_owned(),
            },
            Self::Decap { decap: None } => absent(),
            Self::Decap { decap: Some(decap) } => {
                let at: Vec<String> = decap.addresses.iter().map(ToString::to_string).collect();
                format!("on {}, tunnels to {}", decap.interface, at.join(" "))
            }
            Self::DefaultRoute { route: None } => absent(),
            Self::DefaultRoute { route: Some(route) } => route.to_string(),
            Self::Gateway6 { present: false, .. } => absent(),
            Self::Gateway6 { route, .. } => route.to_string(),
        }
    }

    /// What to type to have it so; nothing, where only `lbctl` can.
    pub fn command(&self) -> Option<String> {
        Some(match self {
            Self::Sysctl { name, value } => format!("sysctl -w {name}={}", value.as_ref()?),
            Self::Vip {
                address,
                present: true,
            } => match address {
                IpAddr::V4(vip) => format!("ip address add {vip}/32 dev lo label {LABEL}"),
                IpAddr::V6(vip) => format!("ip address add {vip}/128 dev lo nodad preferred_lft 0"),
            },
            Self::Vip { address, .. } => format!("ip address del {} dev lo", host_net(*address)),
            Self::Tunnel { device, state } => {
                let (device, module) = (device.device(), device.module());
                match state {
                    TunnelState::Absent => format!("modprobe -r {module}"),
                    TunnelState::Down => format!("ip link set {device} down"),
                    TunnelState::Up => format!("modprobe {module} && ip link set {device} up"),
                }
            }
            Self::Decap { .. } => return None,
            Self::DefaultRoute { route: Some(route) } => format!("ip route replace {route}"),
            Self::DefaultRoute { route: None } => "ip route del default".to_owned(),
            Self::Gateway6 { route, present } => {
                let verb = if *present { "add" } else { "del" };
                format!("ip -6 route {verb} {route}")
            }
        })
    }
}

impl Sysctl {
    /// The parameter of an interface, or of `all`.
    pub fn new(interface: &str, key: Key) -> Self {
        Self {
            interface: interface.to_owned(),
            key,
        }
    }

    /// Its file below `/proc/sys`.
    pub fn path(&self) -> String {
        let (family, key) = self.key.name();
        format!("net/{family}/conf/{}/{key}", self.interface)
    }
}

impl Key {
    /// Its family and its name.
    const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::ArpIgnore => ("ipv4", "arp_ignore"),
            Self::ArpAnnounce => ("ipv4", "arp_announce"),
            Self::RpFilter => ("ipv4", "rp_filter"),
            Self::DisableIpv6 => ("ipv6", "disable_ipv6"),
        }
    }
}

/// As sysctl(8) takes it: with slashes where an interface's name has a dot.
impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interface.contains('.') {
            f.write_str(&self.path())
        } else {
            f.write_str(&self.path().replace('/', "."))
        }
    }
}

/// A network that is one address alone.
fn host_net(address: IpAddr) -> ipnet::IpNet {
    address.into()
}

/// As ip(8) takes it.
impl fmt::Display for Gateway6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gateway, interface } = self;
        let metric = Self::METRIC;
        write!(f, "default via {gateway} dev {interface} metric {metric}")
    }
}

/// As ip(8) takes it.
impl fmt::Display for DefaultRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("default")?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " dev {}", self.interface)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        Ok(())
    }
}
