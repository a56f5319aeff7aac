//! How must each thing be for a role, and what stands in the way?

use std::net::{IpAddr, Ipv6Addr};

use super::facts::{Address, Facts, is_vip};
use super::refusal::Refusal;
use super::role::{Method, Role};
use super::setting::{Decap, DefaultRoute, Gateway6, Key, Setting, Sysctl, Tunnel, TunnelState};

/// A thing as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// How it must be.
    pub setting: Setting,
    /// What happens otherwise.
    pub why: &'static str,
}

/// All that a role asks for, in the order in which it must be done: an address on `lo` that ARP still tells of would take
/// the address from the director. With IPv6 there is nothing to silence: Linux answers neighbour solicitations only for
/// addresses of the interface on which they come.
pub(super) fn wanted(role: &Role, facts: &Facts) -> Vec<Wanted> {
    let mut all = Vec::new();
    if role.has_vips4() {
        all.extend(silence(&role.interface));
    }
    if role.method == Method::Tun {
        all.extend(tunnels(role, facts));
    }
    if role.has_vips4() {
        all.extend(way_in(role, facts));
    }
    if role.method.has_vips() {
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

const IN_TUNNEL: &str = "packets stay in their tunnel, and nobody answers them";

/// What takes packets out of tunnels: the kernel's devices where there can be some, otherwise our program. A device that comes new
/// is as `default` says.
fn tunnels(role: &Role, facts: &Facts) -> Vec<Wanted> {
    let mut all = Vec::new();
    let device = |device| Wanted {
        setting: Setting::Tunnel {
            device,
            state: TunnelState::Up,
        },
        why: IN_TUNNEL,
    };
    if role.has_vips4() && facts.can_tunnel(Tunnel::Ip4) {
        all.push(device(Tunnel::Ip4));
    }
    if role.has_vips6() && facts.can_tunnel(Tunnel::Ip6) {
        all.push(device(Tunnel::Ip6));
        all.push(Wanted {
            setting: sysctl(Tunnel::Ip6.device(), Key::DisableIpv6, "0"),
            why: "the kernel drops packets of IPv6 that come out of an interface without IPv6",
        });
    }
    let addresses = ends(role, facts);
    if facts.can_decap && !addresses.is_empty() {
        let decap = Decap {
            interface: role.interface.clone(),
            addresses,
        };
        all.push(Wanted {
            setting: Setting::Decap { decap: Some(decap) },
            why: IN_TUNNEL,
        });
    }
    all
}

/// Where the tunnels end that the program takes packets out of: at the interface's addresses of each family for which the kernel
/// has no device.
fn ends(role: &Role, facts: &Facts) -> Vec<IpAddr> {
    let mut ends = facts.addresses_of(&role.interface);
    ends.retain(|address| {
        let (is_asked, device) = match address {
            IpAddr::V4(_) => (role.has_vips4(), Tunnel::Ip4),
            IpAddr::V6(_) => (role.has_vips6(), Tunnel::Ip6),
        };
        is_asked && !facts.can_tunnel(device) && !role.vips.contains(address)
    });
    ends
}

/// Packets come in where replies do not go out, and a filter drops them: a strict one always, and on an interface that has no
/// address, as the tunnel's, a loose one too.
fn way_in(role: &Role, facts: &Facts) -> Vec<Wanted> {
    let filter = |interface: &str, value: &str| Wanted {
        setting: sysctl(interface, Key::RpFilter, value),
        why: "the kernel drops packets whose sender it would answer by another interface",
    };
    if role.method == Method::Tun && facts.can_tunnel(Tunnel::Ip4) {
        return ["all", Tunnel::Ip4.device()]
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
fn way_back(role: &Role, facts: &Facts) -> impl Iterator<Item = Wanted> {
    let metric = facts.default_route().map_or(0, |route| route.metric);
    role.gateways.iter().map(move |gateway| Wanted {
        setting: match *gateway {
            IpAddr::V4(gateway) => Setting::DefaultRoute {
                route: Some(DefaultRoute::by(gateway, &role.interface, metric)),
            },
            IpAddr::V6(gateway) => Setting::Gateway6 {
                route: by_director(role, gateway),
                present: true,
            },
        },
        why: "replies reach the client from an address that it never asked, unless they go by way of the director",
    })
}

fn by_director(role: &Role, gateway: Ipv6Addr) -> Gateway6 {
    Gateway6 {
        gateway,
        interface: role.interface.clone(),
    }
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
            (
                Setting::Gateway6 {
                    route,
                    present: true,
                },
                _,
            ) => facts
                .default_route6()
                .is_some_and(|best| best.leads_by(route)),
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
    all.extend(no_ipv6(role, facts));
    all.extend(misplaced_vips(role, facts));
    all.extend(proxied_vips(role, facts));
    if role.method == Method::Tun {
        all.extend(no_tunnel(role, facts));
    }
    for gateway in &role.gateways {
        all.extend(bad_gateway(*gateway, role, facts));
    }
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
        } else {
            match vip {
                IpAddr::V4(vip) if vip.octets()[0] >= 240 => "reserved, or broadcast",
                IpAddr::V6(vip) if vip.is_unicast_link_local() => "a link-local address",
                IpAddr::V6(vip) if vip.to_ipv4_mapped().is_some() => "one of IPv4, mapped",
                _ => return None,
            }
        };
        Some(Refusal::NotAnAddress(*vip, is))
    })
}

/// An interface without IPv6 takes neither addresses nor packets of it.
fn no_ipv6(role: &Role, facts: &Facts) -> Vec<Refusal> {
    if !role.vips.iter().chain(&role.gateways).any(IpAddr::is_ipv6) {
        return Vec::new();
    }
    let off = |interface: &str| match facts
        .sysctls
        .get(&Sysctl::new(interface, Key::DisableIpv6))
        .map(String::as_str)
    {
        Some("0") => None,
        Some(_) => Some(Refusal::Ipv6Off(interface.to_owned())),
        // The missing interface was said already.
        None if !facts.interfaces.contains_key(interface) => None,
        None => Some(Refusal::NoIpv6),
    };
    match off("lo") {
        Some(Refusal::NoIpv6) => vec![Refusal::NoIpv6],
        Some(refusal) if role.has_vips6() => vec![refusal],
        _ => off(&role.interface).into_iter().collect(),
    }
}

/// What the machine answers for in the name of others it answers for, wherever the address is.
fn proxied_vips(role: &Role, facts: &Facts) -> impl Iterator<Item = Refusal> {
    let of_role = facts
        .proxies
        .iter()
        .filter(|(address, _)| role.vips.contains(address));
    of_role.map(|(vip, interface)| Refusal::VipProxied {
        vip: *vip,
        interface: interface.clone(),
    })
}

fn misplaced_vips(role: &Role, facts: &Facts) -> Vec<Refusal> {
    let of_role = |address: &&Address| role.vips.contains(&address.net.addr());
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
    let ends = ends(role, facts);
    let asked = [
        (
            role.has_vips4(),
            Tunnel::Ip4,
            ends.iter().any(IpAddr::is_ipv4),
        ),
        (
            role.has_vips6(),
            Tunnel::Ip6,
            ends.iter().any(IpAddr::is_ipv6),
        ),
    ];
    let mut without = asked
        .into_iter()
        .filter(|(is_asked, device, _)| *is_asked && !facts.can_tunnel(*device));
    without.find_map(|(_, device, has_end)| {
        if !facts.can_decap {
            Some(Refusal::NoTunnel(device))
        } else if !has_end {
            Some(Refusal::NoTunnelEnd(role.interface.clone(), device))
        } else {
            None
        }
    })
}

fn bad_gateway(gateway: IpAddr, role: &Role, facts: &Facts) -> Option<Refusal> {
    if role.method != Method::Nat {
        return Some(Refusal::GatewayNotNeeded(role.method));
    }
    if facts.addresses.iter().any(|a| a.net.addr() == gateway) {
        return Some(Refusal::GatewayIsSelf(gateway));
    }
    let near = |a: &Address| a.interface == role.interface && a.net.contains(&gateway);
    if !facts.addresses.iter().any(near) {
        return Some(Refusal::GatewayFarAway {
            gateway,
            interface: role.interface.clone(),
        });
    }
    match gateway {
        IpAddr::V4(gateway) => {
            let now = facts.default_route()?;
            let is_other = now.gateway != Some(gateway);
            (is_other && !now.simple).then(|| Refusal::RouteNotSimple(now.clone()))
        }
        IpAddr::V6(gateway) => {
            let first = facts.default_route6()?;
            let ours = by_director(role, gateway);
            let is_other = first.metric <= Gateway6::METRIC && !first.leads_by(&ours);
            is_other.then_some(Refusal::MetricTaken)
        }
    }
}
