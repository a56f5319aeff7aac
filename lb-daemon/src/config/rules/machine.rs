//! What must the machine have?

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::environment::Environment;
use super::super::model::Model;
use super::super::nearest::nearest;
use super::super::node::Path;
use super::super::refusal::{Findings, Refusal};
use super::real::within_limit;
use super::service_path;
use crate::core::desired::Method;
use crate::core::hop::Via;

pub(super) fn check(model: &Model, environment: &dyn Environment, found: &mut Findings) {
    interfaces(model, environment, found);
    on_link(model, environment, found);
}

fn interfaces(model: &Model, environment: &dyn Environment, found: &mut Findings) {
    let path = |n| Path::top().key("interfaces").item(n);
    let mut seen = HashMap::new();
    for (n, name) in model.interfaces.iter().enumerate() {
        if let Some(first) = seen.insert(name, n) {
            found.push(
                Refusal::new(
                    format!("the interface `{name}` is listed twice"),
                    "remove one of the two",
                )
                .of(path(n))
                .first_of(path(first)),
            );
        }
    }
    let Some(there) = environment.interfaces() else {
        return;
    };
    for (n, name) in model.interfaces.iter().enumerate() {
        if there.contains(name) {
            continue;
        }
        let all = there.join(", ");
        let hint = match nearest(name, there.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? this machine has {all}"),
            None => format!("this machine has {all}"),
        };
        found.push(
            Refusal::new(format!("there is no interface `{name}`"), hint)
                .of(path(n))
                .by_machine(),
        );
    }
}

/// DR writes the real server's own MAC address, so it must be a neighbour.
fn on_link(model: &Model, environment: &dyn Environment, found: &mut Findings) {
    let mut asked: HashMap<IpAddr, Option<Via>> = HashMap::new();
    for (s, service) in model.services.iter().enumerate() {
        let path = |n| service_path(s).key("reals").item(n).key("address");
        let reals = within_limit(service)
            .map(|(n, r)| (r.addr, r.method.unwrap_or(service.method), path(n)));
        let sorry = service.health.rules.sorry;
        let sorry =
            sorry.map(|server| (server.id.ip(), server.method, service_path(s).key("sorry")));
        for (addr, method, path) in reals.chain(sorry) {
            if method != Method::Dr {
                continue;
            }
            let via = asked.entry(addr).or_insert_with(|| environment.via(addr));
            let Some(Via::Gateway(gateway)) = via else {
                continue;
            };
            found.push(
                Refusal::new(
                    format!(
                        "service `{}`: real server {addr} is not on a directly connected network",
                        service.name
                    ),
                    "write `method: tun` for it, or give the director an address in its network",
                )
                .why(format!(
                    "it is reached by the router {gateway}, and `dr` reaches neighbours only"
                ))
                .of(path)
                .by_machine(),
            );
        }
    }
}
