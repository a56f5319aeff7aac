//! Which service and which real server does a request mean?

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use crate::api::types::{Listener, Problem, Protocol};
use crate::config::model::{Model, Real, Service};
use crate::config::nearest::nearest;
use crate::config::value;
use crate::core::desired::{Proto, ServiceId};

/// The place of the service that `reference` names: `tcp:ADDRESS:PORT`, or its name.
pub(crate) fn service(model: &Model, reference: &str) -> Result<usize, Problem> {
    let id = reference_id(reference);
    let found = model.services.iter().position(|service| match id {
        Some(id) => service.listeners().any(|listener| listener == id),
        None => service.name == reference,
    });
    found.ok_or_else(|| no_service(model, reference, id))
}

/// The place of a real server in its service. Without a port it is the one with the service's, or the only one
/// with this address.
pub(crate) fn real(service: &Service, address: &str) -> Result<usize, Problem> {
    let (addr, port) = real_address(address)?;
    let has = |wanted: SocketAddr| service.reals.iter().position(|real| real.id() == wanted);
    if let Some(port) = port {
        return has(SocketAddr::new(addr, port)).ok_or_else(|| no_real(service, address, addr));
    }
    let usual = has(SocketAddr::new(addr, service.real_port()));
    let mut same = service
        .reals
        .iter()
        .enumerate()
        .filter(|(_, real)| real.addr == addr);
    match (usual, same.next(), same.next()) {
        (Some(place), _, _) | (None, Some((place, _)), None) => Ok(place),
        (None, None, _) => Err(no_real(service, address, addr)),
        (None, Some(_), Some(_)) => Err(Problem::invalid(format!(
            "real server {address} of service {} is not the only one with this address",
            service.name,
        ))
        .hint(format!(
            "write its port: {}",
            listed(service.reals.iter().filter(|real| real.addr == addr))
        ))),
    }
}

/// Every real server with this address, and port if one is given: places of service and real server. Only in one
/// service if one is named.
pub(crate) fn everywhere(
    model: &Model,
    address: &str,
    only: Option<&str>,
) -> Result<Vec<(usize, usize)>, Problem> {
    let (addr, port) = real_address(address)?;
    let only = only
        .map(|reference| service(model, reference))
        .transpose()?;
    let mut found = Vec::new();
    for (s, service) in model.services.iter().enumerate() {
        if only.is_some_and(|only| only != s) {
            continue;
        }
        let matches = |real: &Real| real.addr == addr && port.is_none_or(|port| real.port == port);
        found.extend(
            service
                .reals
                .iter()
                .enumerate()
                .filter(|(_, real)| matches(real))
                .map(|(r, _)| (s, r)),
        );
    }
    if found.is_empty() {
        return Err(
            Problem::not_found(format!("no service has a real server {address}"))
                .hint("`lbctl list` shows services and their real servers"),
        );
    }
    Ok(found)
}

/// What a listener of the API means.
pub(crate) fn listener(listener: &Listener) -> Result<ServiceId, Problem> {
    let value::Endpoint { addr, prefix, port } =
        value::endpoint(&listener.address).map_err(|wrong| {
            Problem::invalid(format!(
                "`{}` is not the address of a service",
                listener.address
            ))
            .why(wrong.takes)
            .hint(wrong.hint)
        })?;
    let proto = proto(listener.protocol);
    Ok(ServiceId {
        proto,
        addr,
        prefix,
        port,
    })
}

/// The address and perhaps the port of a real server.
pub(crate) fn real_address(text: &str) -> Result<(IpAddr, Option<u16>), Problem> {
    value::real_address(text).map_err(|wrong| {
        Problem::invalid(format!("`{text}` is not the address of a real server"))
            .why(wrong.takes)
            .hint(wrong.hint)
    })
}

/// The protocol as the data plane has it.
pub(crate) const fn proto(protocol: Protocol) -> Proto {
    match protocol {
        Protocol::Tcp => Proto::Tcp,
        Protocol::Udp => Proto::Udp,
    }
}

/// The protocol as the API has it.
pub(crate) const fn protocol(proto: Proto) -> Protocol {
    match proto {
        Proto::Tcp => Protocol::Tcp,
        Proto::Udp => Protocol::Udp,
    }
}

/// `tcp:192.0.2.1:80`; anything else is a name.
fn reference_id(reference: &str) -> Option<ServiceId> {
    let (word, address) = reference.split_once(':')?;
    let protocol = match word {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    listener(&Listener {
        protocol,
        address: address.to_owned(),
    })
    .ok()
}

fn no_service(model: &Model, reference: &str, id: Option<ServiceId>) -> Problem {
    let Some(id) = id else {
        let near = nearest(
            reference,
            model.services.iter().map(|service| service.name.as_str()),
        );
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => all_services(model),
        };
        return Problem::not_found(format!("there is no service `{reference}`")).hint(hint);
    };
    let problem = Problem::not_found(format!("there is no service {id}"));
    let listeners = || model.services.iter().flat_map(Service::listeners);
    // The nearest is the one that shares most with what was asked for.
    let shared = |other: &ServiceId| {
        3 * u8::from(other.addr == id.addr)
            + 2 * u8::from(other.port == id.port)
            + u8::from(other.proto == id.proto)
    };
    let nearest = listeners().min_by_key(|other| Reverse(shared(other)));
    match nearest.filter(|near| shared(near) >= 2) {
        Some(near) => problem.hint(format!("the nearest one is {near}")),
        None => problem.hint(all_services(model)),
    }
}

fn all_services(model: &Model) -> String {
    match model.services.as_slice() {
        [] => "there are no services yet; `lbctl add-service` adds one".to_owned(),
        [only] => format!("there is only `{}`, {}", only.name, only.id),
        _ => "`lbctl list` shows the services".to_owned(),
    }
}

fn no_real(service: &Service, address: &str, addr: IpAddr) -> Problem {
    let problem = Problem::not_found(format!(
        "service {} has no real server {address}",
        service.name
    ));
    let same: Vec<_> = service
        .reals
        .iter()
        .filter(|real| real.addr == addr)
        .collect();
    if !same.is_empty() {
        return problem.hint(format!("it has {}", listed(same.into_iter())));
    }
    if service.reals.is_empty() {
        return problem.hint("it has none yet; `lbctl add-real` adds one");
    }
    let names: Vec<String> = service
        .reals
        .iter()
        .map(|real| real.id().to_string())
        .collect();
    match nearest(address, names.iter().map(String::as_str)) {
        Some(near) => problem.hint(format!("did you mean {near}?")),
        None => problem.hint(format!("it has {}", listed(service.reals.iter()))),
    }
}

/// Some real servers, no more than fit on a line.
fn listed<'r>(reals: impl Iterator<Item = &'r Real>) -> String {
    let mut names: Vec<String> = reals.map(|real| real.id().to_string()).collect();
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    let names = names.join(", ");
    if more == 0 {
        names
    } else {
        format!("{names} and {more} more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let id = |text: &str| reference_id(text).unwrap();
        let mut web = Service::new(id("tcp:192.0.2.1:80"));
        web.name = "web".into();
        web.also = vec![id("tcp:192.0.2.1:443")];
        web.reals = ["10.0.0.1:0", "10.0.0.2:0"]
            .map(|at| {
                at.parse()
                    .map(|at: SocketAddr| Real::new(at.ip(), at.port()))
                    .unwrap()
            })
            .into();
        let mut dns = Service::new(id("udp:192.0.2.1:53"));
        dns.name = "dns".into();
        dns.reals = ["10.0.0.1:53", "10.0.0.9:5353", "10.0.0.9:5354"]
            .map(|at| {
                at.parse()
                    .map(|at: SocketAddr| Real::new(at.ip(), at.port()))
                    .unwrap()
            })
            .into();
        Model {
            services: vec![web, dns],
            ..Model::default()
        }
    }

    #[test]
    fn a_service_has_its_name_and_each_of_its_addresses() {
        let model = model();
        for (reference, place) in [
            ("web", 0),
            ("tcp:192.0.2.1:80", 0),
            ("tcp:192.0.2.1:443", 0),
            ("udp:192.0.2.1:53", 1),
            ("dns", 1),
        ] {
            assert_eq!(service(&model, reference), Ok(place), "{reference}");
        }
    }

    #[test]
    fn what_is_not_there_is_answered_with_the_nearest() {
        let model = model();
        for (reference, hint) in [
            ("wbe", "did you mean `web`?"),
            ("tcp:192.0.2.1:8080", "the nearest one is tcp 192.0.2.1:80"),
            ("tcp:192.0.2.1:53", "the nearest one is udp 192.0.2.1:53"),
            (
                "tcp:198.51.100.1:443",
                "the nearest one is tcp 192.0.2.1:443",
            ),
            ("nothing-like-it", "`lbctl list` shows the services"),
        ] {
            let problem = service(&model, reference).unwrap_err();
            assert_eq!(problem.hint.as_deref(), Some(hint), "{reference}");
        }
        assert!(
            service(&Model::default(), "web")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("add-service")
        );
    }

    #[test]
    fn a_real_server_without_port_is_the_usual_or_the_only_one() {
        let model = model();
        let [web, dns] = model.services.as_slice() else {
            panic!()
        };
        assert_eq!(real(web, "10.0.0.2"), Ok(1));
        assert_eq!(real(dns, "10.0.0.1"), Ok(0));
        assert_eq!(real(dns, "10.0.0.9:5354"), Ok(2));
        assert!(
            real(dns, "10.0.0.9")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("10.0.0.9:5353, 10.0.0.9:5354")
        );
        assert!(
            real(dns, "10.0.0.1:54")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("10.0.0.1:53")
        );
        assert!(real(dns, "10.0.0.7").is_err());
        assert!(real(dns, "ten").is_err());
    }

    #[test]
    fn a_machine_is_found_in_all_its_services() {
        let model = model();
        assert_eq!(
            everywhere(&model, "10.0.0.1", None),
            Ok(vec![(0, 0), (1, 0)])
        );
        assert_eq!(everywhere(&model, "10.0.0.1:53", None), Ok(vec![(1, 0)]));
        assert_eq!(
            everywhere(&model, "10.0.0.1", Some("web")),
            Ok(vec![(0, 0)])
        );
        assert!(everywhere(&model, "10.0.0.77", None).is_err());
    }
}
