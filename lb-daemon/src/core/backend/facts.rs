//! What is a machine like?

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::setting::{Decap, DefaultRoute, Setting, Sysctl, TUNNEL, TunnelState};

/// What was seen of a machine, as far as it matters to a real server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its interfaces, by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// The default routes of its main table.
    pub default_routes: Vec<DefaultRoute>,
    /// Kernel parameters that exist.
    pub sysctls: BTreeMap<Sysctl, String>,
    /// The kernel has a tunnel device, or a module for one.
    pub can_tunnel: bool,
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
    pub net: Ipv4Net,
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
            Setting::Tunnel { .. } => Setting::Tunnel {
                state: match self.interfaces.get(TUNNEL) {
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
        }
    }

    /// The default route in use.
    pub fn default_route(&self) -> Option<&DefaultRoute> {
        self.default_routes.iter().min_by_key(|route| route.metric)
    }

    /// The addresses of an interface, in order.
    pub(super) fn addresses_of(&self, interface: &str) -> Vec<Ipv4Addr> {
        let own = self.addresses.iter().filter(|a| a.interface == interface);
        let mut own: Vec<Ipv4Addr> = own.map(|a| a.net.addr()).collect();
        own.sort_unstable();
        own.dedup();
        own
    }

    fn vip_on_lo(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|a| is_vip(a, address))
    }
}

/// Whether this is a virtual address as it must be: on `lo`, with no network around it.
pub(super) fn is_vip(found: &Address, address: Ipv4Addr) -> bool {
    found.interface == "lo" && found.net.addr() == address && found.net.prefix_len() == 32
}
