//! What must virtual routers be?

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::environment::Environment;
use super::super::model::{Model, Tracked, VirtualAddress, VirtualRouter};
use super::super::nearest::nearest;
use super::super::node::Path;
use super::super::refusal::{Findings, Refusal};
use super::service::unfit;
use crate::core::desired::ServiceId;
use crate::core::vrrp::{Auth, Version};

/// The most virtual routers that one director takes part in.
const MOST: usize = 1_000;
/// The most addresses that an advertisement has room for.
const MOST_ADDRESSES: usize = 255;

pub(super) fn check(model: &Model, environment: &dyn Environment, found: &mut Findings) {
    if model.vrrp.len() > MOST {
        found.push(
            Refusal::new(
                format!("there are {} virtual routers", model.vrrp.len()),
                "a virtual router may have several addresses: join some",
            )
            .why(format!("the most is {MOST}"))
            .of(Path::top().key("vrrp").item(MOST)),
        );
        return;
    }
    names(model, found);
    numbers(model, found);
    virtual_interfaces(model, found);
    addresses(model, found);
    services(model, found);
    for (n, router) in model.vrrp.iter().enumerate() {
        alone(router, &path(n), found);
        tracked(model, router, &path(n), found);
    }
    interfaces(model, environment, found);
}

fn path(n: usize) -> Path {
    Path::top().key("vrrp").item(n)
}

fn names(model: &Model, found: &mut Findings) {
    let mut seen = HashMap::new();
    for (n, router) in model.vrrp.iter().enumerate() {
        if let Some(first) = seen.insert(router.name.as_str(), n) {
            found.push(
                Refusal::new(
                    format!("two virtual routers have the name `{}`", router.name),
                    "give one of them another `name`",
                )
                .of(path(n).key("name"))
                .first_of(path(first).key("name")),
            );
        }
    }
}

/// On one network a number is one virtual router; the families count by themselves.
fn numbers(model: &Model, found: &mut Findings) {
    let mut seen = HashMap::new();
    for (n, router) in model.vrrp.iter().enumerate() {
        let key = (router.interface.as_str(), router.vrid, router.is_v6());
        if let Some(first) = seen.insert(key, n) {
            let VirtualRouter {
                vrid, interface, ..
            } = router;
            let other = model.vrrp.get(first).map_or("", |r| r.name.as_str());
            found.push(
                Refusal::new(
                    format!(
                        "virtual routers `{other}` and `{}` both have the number {vrid} on {interface}",
                        router.name
                    ),
                    "give one of them another `virtual_router_id`, the same on all its directors",
                )
                .of(path(n).key("virtual_router_id"))
                .first_of(path(first).key("virtual_router_id")),
            );
        }
    }
}

/// Each virtual MAC is on an interface of its own, which nobody else speaks of.
fn virtual_interfaces(model: &Model, found: &mut Findings) {
    let mut seen = HashMap::new();
    for (n, router) in model.vrrp.iter().enumerate() {
        let Some(name) = &router.virtual_mac else {
            continue;
        };
        let at = path(n).key("virtual_mac");
        let taken = model.vrrp.iter().any(|r| r.interface == *name)
            || model.interfaces.iter().any(|i| i == name);
        if taken {
            found.push(
                Refusal::new(
                    format!(
                        "virtual router `{}`: its virtual MAC cannot be on {name}",
                        router.name
                    ),
                    "write `true`, or the name of an interface that is not there yet",
                )
                .why("lbd makes the interface, and removes it")
                .of(at),
            );
        } else if let Some(first) = seen.insert(name, n) {
            let other = model.vrrp.get(first).map_or("", |r| r.name.as_str());
            found.push(
                Refusal::new(
                    format!(
                        "virtual routers `{other}` and `{}` both have their virtual MAC on {name}",
                        router.name
                    ),
                    format!("write `virtual_mac: {}` for one", free_name(router)),
                )
                .of(at)
                .first_of(path(first).key("virtual_mac")),
            );
        }
    }
}

/// A name for the interface of a virtual MAC that says on top of which it is.
fn free_name(router: &VirtualRouter) -> String {
    let name = format!("v{}.{}", router.vrid, router.interface);
    name.chars().take(15).collect()
}

/// The path of an address: those excluded come after those advertised.
fn address_path(router: &VirtualRouter, n: usize, a: usize) -> Path {
    match a.checked_sub(router.addresses.len()) {
        None => path(n).key("addresses").item(a),
        Some(a) => path(n).key("excluded").item(a),
    }
}

/// No address is virtual twice.
fn addresses(model: &Model, found: &mut Findings) {
    let mut seen: HashMap<IpAddr, (usize, usize)> = HashMap::new();
    for (n, router) in model.vrrp.iter().enumerate() {
        for (a, address) in router.all_addresses().enumerate() {
            let Some(first) = seen.insert(address.addr, (n, a)) else {
                continue;
            };
            let Some(other) = model.vrrp.get(first.0) else {
                continue;
            };
            let what = if first.0 == n {
                format!(
                    "virtual router `{}` has {} twice",
                    router.name, address.addr
                )
            } else {
                format!(
                    "virtual routers `{}` and `{}` both have {}",
                    other.name, router.name, address.addr
                )
            };
            found.push(
                Refusal::new(what, "remove one of the two")
                    .of(address_path(router, n, a))
                    .first_of(address_path(other, first.0, first.1)),
            );
        }
    }
}

/// A service goes with one virtual router: it is served where that is master.
fn services(model: &Model, found: &mut Findings) {
    if model.vrrp.is_empty() {
        return;
    }
    let owner = |id: ServiceId| {
        let has = |r: &&VirtualRouter| r.all_addresses().any(|a| a.addr == id.addr);
        model.vrrp.iter().find(has)
    };
    let mind = |router: Option<&VirtualRouter>| {
        router.map(|r| r.group.clone().unwrap_or_else(|| format!("/{}", r.name)))
    };
    for (n, service) in model.services.iter().enumerate() {
        let first = owner(service.id);
        for (l, listener) in service.also.iter().enumerate() {
            let other = owner(*listener);
            if mind(first) == mind(other) {
                continue;
            }
            let whose = |router: Option<&VirtualRouter>| {
                router.map_or("of none".to_owned(), |r| format!("of `{}`", r.name))
            };
            found.push(
                Refusal::new(
                    format!(
                        "service `{}`: its addresses are not of one virtual router",
                        service.name
                    ),
                    "make two services, or put the virtual routers into one `group`",
                )
                .why(format!(
                    "{} is {}, and {} is {}: one director could be master of the one and another of the other",
                    service.id.addr,
                    whose(first),
                    listener.addr,
                    whose(other)
                ))
                .of(super::service_path(n).key("also").item(l)),
            );
        }
    }
}

fn alone(router: &VirtualRouter, path: &Path, found: &mut Findings) {
    let subject = format!("virtual router `{}`", router.name);
    let family = |v6| if v6 { "IPv6" } else { "IPv4" };
    let v6 = router.is_v6();
    for (a, address) in router.addresses.iter().enumerate() {
        if address.addr.is_ipv6() != v6 {
            found.push(
                Refusal::new(
                    format!(
                        "{subject}: {} is {}, and the first is {}",
                        address.addr,
                        family(!v6),
                        family(v6)
                    ),
                    "put it into `excluded`, or into a virtual router of its own",
                )
                .why("an advertisement has addresses of one family")
                .of(path.clone().key("addresses").item(a)),
            );
        }
    }
    if router.addresses.len() > MOST_ADDRESSES {
        found.push(
            Refusal::new(
                format!("{subject}: it has {} addresses", router.addresses.len()),
                "put those that need not be advertised into `excluded`",
            )
            .why(format!("an advertisement has room for {MOST_ADDRESSES}"))
            .of(path.clone().key("addresses").item(MOST_ADDRESSES)),
        );
    }
    for (list, key) in [
        (&router.addresses, "addresses"),
        (&router.excluded, "excluded"),
    ] {
        for (a, address) in list.iter().enumerate() {
            virtual_address(&subject, address, path.clone().key(key).item(a), found);
        }
    }
    if v6 && router.version == Version::V2 {
        found.push(
            Refusal::new(
                format!("{subject}: version 2 has no IPv6"),
                "write `version: 3`, or leave `version` out",
            )
            .of(path.clone().key("version")),
        );
    }
    if router.version == Version::V3 && router.auth != Auth::None {
        found.push(
            Refusal::new(
                format!("{subject}: version 3 has no passwords"),
                "remove `auth`, or write `version: 2`",
            )
            .of(path.clone().key("auth"))
            .secret(),
        );
    }
    if let Some(source) = router.source.filter(|s| s.is_ipv6() != v6) {
        found.push(
            Refusal::new(
                format!("{subject}: its `source` {source} is of the wrong family"),
                format!("write an {} address", family(v6)),
            )
            .of(path.clone().key("source")),
        );
    }
    peers(router, &subject, path, found);
    for (r, route) in router.routes.iter().enumerate() {
        let of = |addr: IpAddr| addr.is_ipv6() == route.to.addr().is_ipv6();
        let (via, source) = (route.via.is_none_or(of), route.source.is_none_or(of));
        if !(via && source) {
            let key = if via { "source" } else { "via" };
            found.push(
                Refusal::new(
                    format!(
                        "{subject}: the `{key}` of the route to {} is of the wrong family",
                        route.to
                    ),
                    format!("write an {} address", family(route.to.addr().is_ipv6())),
                )
                .of(path.clone().key("routes").item(r).key(key)),
            );
        }
    }
}

fn virtual_address(subject: &str, address: &VirtualAddress, path: Path, found: &mut Findings) {
    if let Some(kind) = unfit(address.addr) {
        found.push(
            Refusal::new(
                format!("{subject}: {} is {kind}", address.addr),
                "write an address that clients can connect to",
            )
            .of(path.clone()),
        );
    }
    if address.addr.is_ipv6() && address.label.is_some() {
        found.push(
            Refusal::new(
                format!("{subject}: {} cannot have a label", address.addr),
                "remove `label`",
            )
            .why("only IPv4 addresses have labels")
            .of(path.key("label")),
        );
    }
}

fn peers(router: &VirtualRouter, subject: &str, path: &Path, found: &mut Findings) {
    let mut seen = HashMap::new();
    for (p, peer) in router.peers.iter().enumerate() {
        let at = path.clone().key("peers").item(p);
        if let Some(first) = seen.insert(peer, p) {
            found.push(
                Refusal::new(
                    format!("{subject}: the peer {peer} is listed twice"),
                    "remove one of the two",
                )
                .of(at)
                .first_of(path.clone().key("peers").item(first)),
            );
        } else if peer.is_ipv6() != router.is_v6() {
            found.push(
                Refusal::new(
                    format!("{subject}: the peer {peer} is of the wrong family"),
                    "write its address of the family of `addresses`",
                )
                .of(at),
            );
        } else if router.source == Some(*peer) {
            found.push(
                Refusal::new(
                    format!("{subject}: the peer {peer} is its own `source`"),
                    "write the addresses of the other directors",
                )
                .of(at),
            );
        } else if unfit(*peer).is_some() || router.all_addresses().any(|a| a.addr == *peer) {
            found.push(
                Refusal::new(
                    format!("{subject}: {peer} is no address of one director"),
                    "write the address that another director has by itself",
                )
                .of(at),
            );
        }
    }
}

fn tracked(model: &Model, router: &VirtualRouter, path: &Path, found: &mut Findings) {
    for (t, track) in router.track.iter().enumerate() {
        let Tracked::Service(name) = &track.what else {
            continue;
        };
        let names = || model.services.iter().map(|s| s.name.as_str());
        if names().any(|n| n == name) {
            continue;
        }
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write the `name` of one of `services`".to_owned(),
        };
        found.push(
            Refusal::new(
                format!(
                    "virtual router `{}`: there is no service `{name}`",
                    router.name
                ),
                hint,
            )
            .of(path.clone().key("track").item(t).key("service")),
        );
    }
}

fn interfaces(model: &Model, environment: &dyn Environment, found: &mut Findings) {
    let Some(there) = environment.interfaces() else {
        return;
    };
    for (n, router) in model.vrrp.iter().enumerate() {
        let own = std::iter::once((&router.interface, path(n).key("interface")));
        let of_addresses = router
            .all_addresses()
            .enumerate()
            .filter_map(|(a, address)| {
                let at = address_path(router, n, a).key("interface");
                Some((address.interface.as_ref()?, at))
            });
        for (name, at) in own.chain(of_addresses) {
            if there.contains(name) {
                continue;
            }
            let all = there.join(", ");
            let hint = match nearest(name, there.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`? this machine has {all}"),
                None => format!("this machine has {all}"),
            };
            found.push(
                Refusal::new(
                    format!(
                        "virtual router `{}`: there is no interface `{name}`",
                        router.name
                    ),
                    hint,
                )
                .of(at)
                .by_machine(),
            );
        }
    }
}
