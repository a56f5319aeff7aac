//! What must real servers be?

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::MAX_REALS_PER_SERVICE;

use super::super::model::{Model, Real, Service, method_name};
use super::super::node::Path;
use super::super::refusal::{Findings, Refusal};
use super::service::unfit;
use super::service_path;
use crate::core::desired::{Method, ServiceId};

pub(super) fn check(model: &Model, found: &mut Findings) {
    let vips = vips(model);
    for (s, service) in model.services.iter().enumerate() {
        many(s, service, found);
        twice(s, service, found);
        for (n, real) in within_limit(service) {
            alone(service, real, real_path(s, n), found);
            vip(service, real, &vips, &real_path(s, n), found);
        }
    }
}

fn real_path(service: usize, n: usize) -> Path {
    service_path(service).key("reals").item(n)
}

/// The real servers that a service may have: those beyond are refused as a whole.
pub(super) fn within_limit(service: &Service) -> impl Iterator<Item = (usize, &Real)> {
    service.reals.iter().take(MAX_REALS_PER_SERVICE).enumerate()
}

/// The virtual addresses, with the first service of each and the path of its address.
fn vips(model: &Model) -> HashMap<IpAddr, (&Service, usize)> {
    let mut vips = HashMap::new();
    for (n, service) in model.services.iter().enumerate() {
        for id in service.listeners().filter(ServiceId::is_host) {
            vips.entry(id.addr).or_insert((service, n));
        }
    }
    vips
}

fn many(s: usize, service: &Service, found: &mut Findings) {
    let count = service.reals.len();
    if count > MAX_REALS_PER_SERVICE {
        found.push(too_many(&service.name, count).of(real_path(s, MAX_REALS_PER_SERVICE)));
    }
}

/// A service has more real servers than one may have.
pub(in crate::config) fn too_many(service: &str, count: usize) -> Refusal {
    Refusal::new(
        format!("service `{service}` has {count} real servers"),
        "divide it into several services",
    )
    .why(format!("one service may have {MAX_REALS_PER_SERVICE}"))
}

fn twice(s: usize, service: &Service, found: &mut Findings) {
    let mut seen: HashMap<SocketAddr, usize> = HashMap::new();
    for (n, real) in within_limit(service) {
        if let Some(first) = seen.insert(real.id(), n) {
            found.push(
                Refusal::new(
                    format!(
                        "service `{}`: real server `{}` is listed twice",
                        service.name,
                        shown(real)
                    ),
                    "remove one of the two; `weight` gives a real server more than others",
                )
                .of(real_path(s, n).key("address"))
                .first_of(real_path(s, first).key("address")),
            );
        }
    }
}

/// A real server as one writes it: without the port where it has none of its own.
fn shown(real: &Real) -> String {
    if real.port == 0 {
        real.addr.to_string()
    } else {
        real.id().to_string()
    }
}

fn alone(service: &Service, real: &Real, path: Path, found: &mut Findings) {
    let subject = format!("service `{}`, real server `{}`", service.name, shown(real));
    let at_address = path.clone().key("address");
    if real.addr.is_ipv4() != service.id.addr.is_ipv4() {
        let family = |v4| if v4 { "IPv4" } else { "IPv6" };
        let (ours, theirs) = (real.addr.is_ipv4(), service.id.addr.is_ipv4());
        found.push(
            Refusal::new(
                format!("{subject}: it is of the wrong family"),
                format!("write its {} address", family(theirs)),
            )
            .why(format!(
                "it is {}, and the service is {}",
                family(ours),
                family(theirs)
            ))
            .of(at_address.clone()),
        );
    }
    if let Some(kind) = unfit(real.addr) {
        let hint = if real.addr.is_loopback() {
            "write an address of the director's own for a real server that is the director itself"
        } else {
            "write the address of one host"
        };
        found.push(
            Refusal::new(format!("{subject}: {} is {kind}", real.addr), hint)
                .of(at_address.clone()),
        );
    }
    port(&subject, service, real, at_address, found);
    thresholds(&subject, real, path, found);
}

fn port(subject: &str, service: &Service, real: &Real, path: Path, found: &mut Findings) {
    let method = real.method.unwrap_or(service.method);
    let usual = service.real_port();
    if real.port == usual {
        return;
    }
    let refusal = if real.port == 0 {
        Refusal::new(
            format!("{subject}: a real server has no port 0"),
            format!("leave the port out for the service's, which is {usual}"),
        )
    } else if method != Method::Nat {
        let why = if usual == 0 {
            format!(
                "`{}` keeps the port that the client chose",
                method_name(method)
            )
        } else {
            format!(
                "`{}` keeps the service's port, which is {usual}",
                method_name(method)
            )
        };
        Refusal::new(
            format!("{subject}: its port cannot be {}", real.port),
            "leave the port out, or write `method: nat`",
        )
        .why(why)
    } else {
        return;
    };
    found.push(refusal.of(path));
}

fn thresholds(subject: &str, real: &Real, path: Path, found: &mut Findings) {
    let Real { upper, lower, .. } = *real;
    if lower > upper {
        let hint = if upper == 0 {
            format!("add `upper`, of at least {lower}, or remove `lower`")
        } else {
            format!("write `lower: {upper}` or less")
        };
        found.push(
            Refusal::new(
                format!("{subject}: `lower` ({lower}) is above `upper` ({upper})"),
                hint,
            )
            .of(path.key("lower")),
        );
    }
}

/// A VIP is not a real server's address: the director would forward to itself, round and round.
fn vip(
    service: &Service,
    real: &Real,
    vips: &HashMap<IpAddr, (&Service, usize)>,
    path: &Path,
    found: &mut Findings,
) {
    let Some((owner, n)) = vips.get(&real.addr) else {
        return;
    };
    let hint = if owner.id == service.id {
        "write the address that the real server has besides the VIP"
    } else {
        "write that service's real servers here, or an address that is no VIP"
    };
    found.push(
        Refusal::new(
            format!(
                "service `{}`: real server {} is a virtual address",
                service.name, real.addr
            ),
            hint,
        )
        .why(format!("service `{}` has it", owner.name))
        .of(path.clone().key("address"))
        .first_of(service_path(*n).key("address")),
    );
}
