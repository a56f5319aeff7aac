//! What is a machine like?

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::setting::{Decap, DefaultRoute, Gateway6, Setting, Sysctl, Tunnel, TunnelState};

/// What was seen of a machine, as far as it matters to a real server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its interfaces, by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// The default routes of IPv4 in its main table.
    pub default_routes: Vec<DefaultRoute>,
    /// The default routes of IPv6 in its main table.
    pub default_routes6: Vec<DefaultRoute6>,
    /// Addresses of IPv6 for which it answers in the name of others, with the interface.
    pub proxies: Vec<(IpAddr, String)>,
    /// Kernel parameters that exist.
    pub sysctls: BTreeMap<Sysctl, String>,
    /// The tunnel devices that the kernel has, or modules for them.
    pub tunnels: Vec<Tunnel>,
    /// This `lbctl` has the XDP program inside.
    pub can_decap: bool,
    /// What the XDP program does.
    pub decap: Option<Decap>,
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Somebody has switched it on.
    pub up: bool,
    /// The longest packet, in bytes.
    pub mtu: u32,
}

/// An address of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its interface.
    pub interface: String,
    /// The address, with the network around it.
    pub net: IpNet,
}

/// A default route of IPv6 in the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute6 {
    /// The next router; none: there are several, or everything is on the interface's own network.
    pub gateway: Option<Ipv6Addr>,
    /// The interface; empty where there are several.
    pub interface: String,
    /// The smaller is preferred.
    pub metric: u32,
}

impl Facts {
    /// How a thing is that `setting` is about.
    pub fn now(&self, setting: &Setting) -> Setting {
        match setting {
            Setting::Sysctl { name, .. } => Setting::Sysctl {
                name: name.clone(),
                value: self.sysctls.get(name).cloned(),
            },
            Setting::Vip { address, .. } => Setting::Vip {
                address: *address,
                present: self.vip_on_lo(*address),
            },
            Setting::Tunnel { device, .. } => Setting::Tunnel {
                device: *device,
                state: match self.interfaces.get(device.device()) {
                    None => TunnelState::Absent,
                    Some(Interface { up: false, .. }) => TunnelState::Down,
                    Some(Interface { up: true, .. }) => TunnelState::Up,
                },
            },
            Setting::Decap { .. } => Setting::Decap {
                decap: self.decap.clone(),
            },
            Setting::DefaultRoute { .. } => Setting::DefaultRoute {
                route: self.default_route().cloned(),
            },
            Setting::Gateway6 { route, .. } => Setting::Gateway6 {
                route: route.clone(),
                present: self
                    .default_routes6
                    .iter()
                    .any(|found| found.metric == Gateway6::METRIC && found.leads_by(route)),
            },
        }
    }

    /// Whether the kernel has a tunnel device, or a module for it.
    pub fn can_tunnel(&self, device: Tunnel) -> bool {
        self.tunnels.contains(&device)
    }

    /// The default route of IPv6 in use.
    pub fn default_route6(&self) -> Option<&DefaultRoute6> {
        self.default_routes6.iter().min_by_key(|route| route.metric)
    }

    /// The default route of IPv4 in use.
    pub fn default_route(&self) -> Option<&DefaultRoute> {
        self.default_routes.iter().min_by_key(|route| route.metric)
    }

    /// The addresses of an interface at which tunnels can end, in order.
    pub(super) fn addresses_of(&self, interface: &str) -> Vec<IpAddr> {
        let own = self.addresses.iter().filter(|a| a.interface == interface);
        let is_local = |a: &IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
        let mut own: Vec<IpAddr> = own.map(|a| a.net.addr()).filter(|a| !is_local(a)).collect();
        own.sort_unstable();
        own.dedup();
        own
    }

    fn vip_on_lo(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|a| is_vip(a, address))
    }
}

/// Whether this is a virtual address as it must be: on `lo`, with no network around it.
pub(super) fn is_vip(found: &Address, address: IpAddr) -> bool {
    found.interface == "lo" && found.net == IpNet::from(address)
}

impl DefaultRoute6 {
    /// Whether it leads by way of this director.
    pub(super) fn leads_by(&self, route: &Gateway6) -> bool {
        self.gateway == Some(route.gateway) && self.interface == route.interface
    }
}

/// As ip(8) shows it.
impl fmt::Display for DefaultRoute6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("default")?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if !self.interface.is_empty() {
            write!(f, " dev {}", self.interface)?;
        }
        write!(f, " metric {}", self.metric)
    }
}
