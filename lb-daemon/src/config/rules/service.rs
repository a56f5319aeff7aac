//! What must services be?

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::model::{Model, Service};
use super::super::node::Path;
use super::super::refusal::{Findings, Refusal};
use super::service_path;
use crate::core::desired::{Proto, ServiceId, full_prefix};

pub(super) fn check(model: &Model, found: &mut Findings) {
    names(model, found);
    listeners(model, found);
    for (n, service) in model.services.iter().enumerate() {
        alone(n, service, found);
    }
}

/// No two services have one name.
fn names(model: &Model, found: &mut Findings) {
    let mut seen = HashMap::new();
    for (n, service) in model.services.iter().enumerate() {
        if let Some(first) = seen.insert(service.name.as_str(), n) {
            found.push(
                Refusal::new(
                    format!("two services have the name `{}`", service.name),
                    "give one of them another `name`",
                )
                .of(service_path(n).key("name"))
                .first_of(service_path(first).key("name")),
            );
        }
    }
}

/// The path of a listener of a service: the first is its `address`.
fn listener_path(service: usize, n: usize) -> Path {
    let path = service_path(service);
    match n.checked_sub(1) {
        None => path.key("address"),
        Some(n) => path.key("also").item(n),
    }
}

/// No two services serve the same.
fn listeners(model: &Model, found: &mut Findings) {
    let mut seen: HashMap<ServiceId, (usize, usize)> = HashMap::new();
    for (s, service) in model.services.iter().enumerate() {
        for (n, id) in service.listeners().enumerate() {
            let Some(first) = seen.insert(id, (s, n)) else {
                continue;
            };
            let other = model.services.get(first.0);
            let what = match other.filter(|_| first.0 != s) {
                Some(other) => format!(
                    "services `{}` and `{}` both serve {id}",
                    other.name, service.name
                ),
                None => format!("service `{}` has {id} twice", service.name),
            };
            let hint = if first.0 == s {
                "remove one of the two"
            } else {
                "put all real servers into one of the services, or change address, port or protocol of the other"
            };
            found.push(
                Refusal::new(what, hint)
                    .of(listener_path(s, n))
                    .first_of(listener_path(first.0, first.1)),
            );
        }
    }
}

fn alone(n: usize, service: &Service, found: &mut Findings) {
    for (l, id) in service.listeners().enumerate() {
        listener(service, id, &listener_path(n, l), found);
    }
    if let Some(persistence) = service.persistence {
        let most = full_prefix(service.id.addr);
        if persistence.mask > most {
            found.push(
                Refusal::new(
                    format!(
                        "service `{}`: the mask of {} bits is too long",
                        service.name, persistence.mask
                    ),
                    format!("write `mask: {most}` or less"),
                )
                .why(format!("an address of this family has {most}"))
                .of(service_path(n).key("persistence").key("mask")),
            );
        }
    }
}

fn listener(service: &Service, id: ServiceId, path: &Path, found: &mut Findings) {
    let name = &service.name;
    let mut refuse = |refusal: Refusal| found.push(refusal.of(path.clone()));
    if id.addr.is_ipv6() && !id.is_host() {
        refuse(
            Refusal::new(
                format!("service `{name}`: {id} is a virtual network of IPv6"),
                "write its addresses one by one, or use a network of IPv4",
            )
            .why("virtual networks are of IPv4 only"),
        );
    } else if let Some(kind) = unfit(id.addr).filter(|_| id.is_host()) {
        refuse(Refusal::new(
            format!(
                "service `{name}`: {} is {kind}, no virtual address",
                id.addr
            ),
            "write an address that clients can connect to",
        ));
    }
    if id.addr.is_ipv4() != service.id.addr.is_ipv4() {
        refuse(Refusal::new(
            format!(
                "service `{name}`: {id} is not of the family of {}",
                service.id
            ),
            "make two services, one for IPv4 and one for IPv6",
        ));
    }
    if id.port == 0 && service.persistence.is_none() {
        refuse(
            Refusal::new(
                format!("service `{name}`: port 0 stands for all ports, and needs persistence"),
                "add `persistence: 5m`, or write a port",
            )
            .why("without it a client's connections to several ports would go to several real servers"),
        );
    }
    if service.one_packet && id.proto != Proto::Udp {
        refuse(Refusal::new(
            format!("service `{name}`: one_packet is for UDP, and {id} is not"),
            "remove `one_packet`, or write `protocol: udp`",
        ));
    }
}

/// What an address is that can be neither a VIP nor a real server's.
pub(super) fn unfit(addr: IpAddr) -> Option<&'static str> {
    let broadcast = matches!(addr, IpAddr::V4(v4) if v4.is_broadcast());
    if addr.is_unspecified() {
        Some("the unspecified address")
    } else if addr.is_loopback() {
        Some("a loopback address")
    } else if addr.is_multicast() {
        Some("a multicast address")
    } else if broadcast {
        Some("the broadcast address")
    } else {
        None
    }
}
