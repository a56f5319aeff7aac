//! How must each thing be for a role, and what stands in the way?

use super::facts::{Facts, is_vip};
use super::refusal::Refusal;
use super::role::{Method, Role};
use super::setting::{Decap, DefaultRoute, Key, Setting, Sysctl, TUNNEL, TunnelState};

/// A thing as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// How it must be.
    pub setting: Setting,
    /// What happens otherwise.
    pub why: &'static str,
}

/// All that a role asks for, in the order in which it must be done: an address on `lo` that ARP still tells of would take
/// the address from the director.
pub(super) fn wanted(role: &Role, facts: &Facts) -> Vec<Wanted> {
    let mut all = Vec::new();
    if role.method.has_vips() {
        all.extend(silence(&role.interface));
    }
    if role.method == Method::Tun {
        all.extend(tunnel(role, facts));
    }
    if role.method.has_vips() {
        all.extend(way_in(role, facts));
        all.extend(role.vips.iter().map(|vip| Wanted {
            setting: Setting::Vip {
                address: *vip,
                present: true,
            },
            why: "the real server drops packets to an address that it does not have",
        }));
    }
    all.extend(way_back(role, facts));
    all
}

/// Kernel parameters that a role asks for, to be set at each boot.
pub fn lasting(role: &Role, facts: &Facts) -> Vec<Setting> {
    let all = wanted(role, facts).into_iter().map(|wanted| wanted.setting);
    all.filter(|setting| matches!(setting, Setting::Sysctl { .. }))
        .collect()
}

/// ARP must not tell of addresses on `lo`, neither when asked nor when asking.
fn silence(interface: &str) -> impl Iterator<Item = Wanted> {
    let rules = [
        (
            Key::ArpIgnore,
            "1",
            "it answers ARP for the VIP, and clients' packets come past the director",
        ),
        (
            Key::ArpAnnounce,
            "2",
            "its ARP questions come from the VIP, and the network learns the VIP from them",
        ),
    ];
    rules.into_iter().flat_map(move |(key, value, why)| {
        ["all", interface].map(|interface| Wanted {
            setting: sysctl(interface, key, value),
            why,
        })
    })
}

/// What takes packets out of tunnels: the kernel's device where there can be one, otherwise our program.
fn tunnel(role: &Role, facts: &Facts) -> Option<Wanted> {
    const WHY: &str = "packets stay in their tunnel, and nobody answers them";
    let setting = if facts.can_tunnel {
        Setting::Tunnel {
            state: TunnelState::Up,
        }
    } else if facts.can_decap {
        let mut addresses = facts.addresses_of(&role.interface);
        addresses.retain(|address| !role.vips.contains(address));
        Setting::Decap {
            decap: Some(Decap {
                interface: role.interface.clone(),
                addresses,
            }),
        }
    } else {
        return None;
    };
    Some(Wanted { setting, why: WHY })
}

/// Packets come in where replies do not go out, and a filter drops them: a strict one always, and on an interface that has no
/// address, as the tunnel's, a loose one too.
fn way_in(role: &Role, facts: &Facts) -> Vec<Wanted> {
    let filter = |interface: &str, value: &str| Wanted {
        setting: sysctl(interface, Key::RpFilter, value),
        why: "the kernel drops packets whose sender it would answer by another interface",
    };
    if role.method == Method::Tun && facts.can_tunnel {
        return ["all", TUNNEL]
            .map(|interface| filter(interface, "0"))
            .into();
    }
    let interface = role.interface.as_str();
    let elsewhere = facts
        .default_route()
        .is_some_and(|route| route.interface != interface);
    // What is set already stays wanted, so that it is kept and put back.
    let strict = strictness(facts, "all").max(strictness(facts, interface)) == STRICT;
    let ours = strictness(facts, interface) == LOOSE;
    match elsewhere && (strict || ours) {
        true => vec![filter(interface, "2")],
        false => Vec::new(),
    }
}

const STRICT: u32 = 1;
const LOOSE: u32 = 2;

fn strictness(facts: &Facts, interface: &str) -> u32 {
    let value = facts.sysctls.get(&Sysctl::new(interface, Key::RpFilter));
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

/// Replies go to the director, where that was asked for.
fn way_back(role: &Role, facts: &Facts) -> Option<Wanted> {
    let gateway = role.gateway?;
    let metric = facts.default_route().map_or(0, |route| route.metric);
    Some(Wanted {
        setting: Setting::DefaultRoute {
            route: Some(DefaultRoute::by(gateway, &role.interface, metric)),
        },
        why: "replies reach the client from an address that it never asked, unless they go by way of the director",
    })
}

fn sysctl(interface: &str, key: Key, value: &str) -> Setting {
    Setting::Sysctl {
        name: Sysctl::new(interface, key),
        value: Some(value.to_owned()),
    }
}

impl Wanted {
    /// Whether it is so, or in another way that is as good.
    pub(super) fn is_met(&self, facts: &Facts) -> bool {
        let now = facts.now(&self.setting);
        if now == self.setting {
            return true;
        }
        match (&self.setting, &now) {
            // 2 answers even less, and 8 not at all. 3 tells of addresses on `lo`.
            (
                Setting::Sysctl { name, .. },
                Setting::Sysctl {
                    value: Some(value), ..
                },
            ) if name.key == Key::ArpIgnore => matches!(value.as_str(), "2" | "8"),
            (
                Setting::DefaultRoute {
                    route: Some(wanted),
                },
                Setting::DefaultRoute { route: Some(now) },
            ) => (wanted.gateway, &wanted.interface) == (now.gateway, &now.interface),
            _ => false,
        }
    }
}

/// What stands in the way of a role. While anything does, nothing is changed.
pub(super) fn obstacles(role: &Role, facts: &Facts) -> Vec<Refusal> {
    let mut all = Vec::new();
    match facts.interfaces.get(&role.interface) {
        None => all.push(Refusal::NoInterface(role.interface.clone())),
        Some(interface) if !interface.up => {
            all.push(Refusal::InterfaceDown(role.interface.clone()));
        }
        Some(_) => {}
    }
    if role.method.has_vips() && role.vips.is_empty() {
        all.push(Refusal::NoVips(role.method));
    }
    all.extend(unfit_vips(role));
    all.extend(misplaced_vips(role, facts));
    if role.method == Method::Tun {
        all.extend(no_tunnel(role, facts));
    }
    all.extend(bad_gateway(role, facts));
    all
}

fn unfit_vips(role: &Role) -> impl Iterator<Item = Refusal> {
    role.vips.iter().filter_map(|vip| {
        let is = if vip.is_unspecified() {
            "no address"
        } else if vip.is_loopback() {
            "a loopback address"
        } else if vip.is_multicast() {
            "a multicast address"
        } else if vip.octets()[0] >= 240 {
            "reserved, or broadcast"
        } else {
            return None;
        };
        Some(Refusal::NotAnAddress(*vip, is))
    })
}

fn misplaced_vips(role: &Role, facts: &Facts) -> Vec<Refusal> {
    let of_role = |address: &&super::facts::Address| role.vips.contains(&address.net.addr());
    let found = facts.addresses.iter().filter(of_role);
    found
        .filter_map(|found| {
            let (vip, prefix) = (found.net.addr(), found.net.prefix_len());
            let interface = found.interface.clone();
            match (role.method.has_vips(), found.interface.as_str()) {
                (true, _) if is_vip(found, vip) => None,
                (true, "lo") => Some(Refusal::VipWithNetwork { vip, prefix }),
                (true, _) => Some(Refusal::VipElsewhere {
                    vip,
                    interface,
                    prefix,
                }),
                (false, _) => Some(Refusal::VipWithNat {
                    vip,
                    interface,
                    prefix,
                }),
            }
        })
        .collect()
}

fn no_tunnel(role: &Role, facts: &Facts) -> Option<Refusal> {
    if facts.can_tunnel {
        return None;
    }
    if !facts.can_decap {
        return Some(Refusal::NoTunnel);
    }
    let ends = facts.addresses_of(&role.interface);
    let none = ends.iter().all(|address| role.vips.contains(address));
    none.then(|| Refusal::NoTunnelEnd(role.interface.clone()))
}

fn bad_gateway(role: &Role, facts: &Facts) -> Option<Refusal> {
    let gateway = role.gateway?;
    if role.method != Method::Nat {
        return Some(Refusal::GatewayNotNeeded(role.method));
    }
    if facts.addresses.iter().any(|a| a.net.addr() == gateway) {
        return Some(Refusal::GatewayIsSelf(gateway));
    }
    let near =
        |a: &super::facts::Address| a.interface == role.interface && a.net.contains(&gateway);
    if !facts.addresses.iter().any(near) {
        return Some(Refusal::GatewayFarAway {
            gateway,
            interface: role.interface.clone(),
        });
    }
    let now = facts.default_route()?;
    (now.gateway != Some(gateway) && !now.simple).then(|| Refusal::RouteNotSimple(now.clone()))
}
