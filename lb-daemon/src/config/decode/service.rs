//! Services and their real servers.

use std::time::Duration;

use lb_common::abi::MAX_REALS_PER_SERVICE;

use super::super::model::health::Health;
use super::super::model::{OwnTimeouts, Real, Service, default_name, default_scheduler};
use super::super::node::{Kind, Node};
use super::super::refusal::Refusal;
use super::super::rules::too_many;
use super::super::value::{
    Endpoint, PERSISTENCE, THRESHOLD, TIMEOUT, WEIGHT, Wrong, client_mask, endpoint, name, number,
    real_address, scheduler, scheduler_flag, seconds, truth, word,
};
use super::{Decoder, Map, Subject, health, keys, pool};
use crate::core::desired::{
    Method, Persistence, Proto, Scheduler, SchedulerFlags, ServiceId, full_prefix,
};

/// The words of `protocol`.
const PROTOCOLS: &[(&str, Proto)] = &[("tcp", Proto::Tcp), ("udp", Proto::Udp)];

/// The words of `method`.
const METHODS: &[(&str, Method)] = &[
    ("dr", Method::Dr),
    ("tun", Method::Tun),
    ("nat", Method::Nat),
];

/// The words of `quiesced_udp`.
const QUIESCED_UDP: &[(&str, bool)] = &[("keep", false), ("move", true)];

/// `ipvsadm -p` without a value.
const PERSISTENCE_DEFAULT: Duration = Duration::from_secs(360);

pub(super) fn all(decoder: &mut Decoder, top: &Map<'_, '_>) -> Vec<Service> {
    decoder
        .list(top, "services")
        .iter()
        .filter_map(|node| service(decoder, node))
        .collect()
}

fn service(decoder: &mut Decoder, node: &Node<'_>) -> Option<Service> {
    let subject = Subject::Service(node);
    let map = decoder.map(node, &keys::SERVICE, subject)?;
    let protocol = protocol(decoder, &map).unwrap_or(Proto::Tcp);
    let address = decoder.required(&map, "address", "192.0.2.1:80", endpoint);
    let also: Vec<ServiceId> = decoder
        .list(&map, "also")
        .iter()
        .filter_map(|item| listener(decoder, node, item, protocol))
        .collect();
    let given_name = decoder.value(&map, "name", name);
    let scheduler = decoder.value(&map, "scheduler", scheduler);
    let scheduler_flags = scheduler_flags(decoder, &map, scheduler);
    let one_packet = decoder.value(&map, "one_packet", truth);
    let method = decoder.value(&map, "method", method);
    let timeouts = timeouts(decoder, &map);
    let quiesced_udp = decoder.value(&map, "quiesced_udp", |text| word(text, QUIESCED_UDP));
    // Without an address the rest still is looked through, for more refusals.
    let placeholder = endpoint("0.0.0.0:0").ok()?;
    let id = service_id(protocol, address.unwrap_or(placeholder));
    let mut service = Service {
        id,
        also,
        name: given_name.unwrap_or_else(|| default_name(id)),
        scheduler: scheduler.unwrap_or_else(default_scheduler),
        scheduler_flags,
        persistence: persistence(decoder, &map, id),
        one_packet: one_packet.unwrap_or(false),
        timeouts,
        udp_leaves_quiesced: quiesced_udp.unwrap_or(false),
        method: method.unwrap_or(Method::Dr),
        health: Health::default(),
        reals: Vec::new(),
    };
    let port = service.real_port();
    service.health = pool::read(decoder, &map, node, port, service.method);
    let items = decoder.list(&map, "reals");
    if let Some(surplus) = items.get(MAX_REALS_PER_SERVICE) {
        // Those beyond are not looked at: a file of a million costs no more than it has to.
        decoder.refuse(too_many(&service.name, items.len()).at(surplus.span));
    }
    let items = &items[..items.len().min(MAX_REALS_PER_SERVICE)];
    service.reals.reserve_exact(items.len());
    for item in items {
        service.reals.extend(real(decoder, node, item, port));
    }
    address.map(|_| service)
}

fn service_id(proto: Proto, at: Endpoint) -> ServiceId {
    ServiceId {
        proto,
        addr: at.addr,
        prefix: at.prefix,
        port: at.port,
    }
}

fn protocol(decoder: &mut Decoder, map: &Map<'_, '_>) -> Option<Proto> {
    decoder.value(map, "protocol", |text| word(text, PROTOCOLS))
}

pub(super) fn method(text: &str) -> Result<Method, Wrong> {
    // What ipvsadm calls them.
    let known = match text {
        "gatewaying" | "gate" | "direct" | "DR" => Some("dr"),
        "ipip" | "tunnel" | "tunneling" | "TUN" => Some("tun"),
        "masquerading" | "masq" | "NAT" => Some("nat"),
        _ => None,
    };
    match (word(text, METHODS), known) {
        (Err(wrong), Some(known)) => Err(Wrong {
            hint: format!("write `{known}`"),
            ..wrong
        }),
        (result, _) => result,
    }
}

fn listener(
    decoder: &mut Decoder,
    service: &Node<'_>,
    item: &Node<'_>,
    default: Proto,
) -> Option<ServiceId> {
    let subject = Subject::PartOf(service, "also");
    if let Kind::Scalar(_) = &item.kind {
        let at = decoder.scalar(item, "also", subject, endpoint)?;
        return Some(service_id(default, at));
    }
    let map = decoder.map(item, &keys::LISTENER, subject)?;
    let proto = protocol(decoder, &map).unwrap_or(default);
    let at = decoder.required(&map, "address", "192.0.2.1:443", endpoint)?;
    Some(service_id(proto, at))
}

fn scheduler_flags(
    decoder: &mut Decoder,
    map: &Map<'_, '_>,
    scheduler: Option<Scheduler>,
) -> SchedulerFlags {
    let mut flags = SchedulerFlags::default();
    for item in decoder.list(map, "scheduler_flags") {
        let flag = decoder.scalar(item, "scheduler_flags", map.subject, |text| {
            scheduler_flag(text).map(|flag| (text.to_owned(), flag))
        });
        let Some((text, flag)) = flag else { continue };
        let of = scheduler.unwrap_or_else(default_scheduler);
        if flag.of == of {
            flags.port |= flag.sets.port;
            flags.fallback |= flag.sets.fallback;
            flags.kernel_table |= flag.sets.kernel_table;
        } else {
            decoder.refuse(
                Refusal::new(
                    format!(
                        "{}the scheduler `{}` has no flag `{text}`",
                        map.subject,
                        of.name()
                    ),
                    format!("remove the flag, or write `scheduler: {}`", flag.of.name()),
                )
                .at(item.span),
            );
        }
    }
    flags
}

fn persistence(decoder: &mut Decoder, map: &Map<'_, '_>, id: ServiceId) -> Option<Persistence> {
    let node = map.get("persistence")?;
    let full = full_prefix(id.addr);
    if let Kind::Scalar(_) = &node.kind {
        let timeout = decoder.scalar(node, "persistence", map.subject, |text| {
            seconds(text, PERSISTENCE)
        });
        return Some(Persistence {
            timeout: timeout?,
            mask: full,
            leave_quiesced: false,
        });
    }
    let Subject::Service(service) = map.subject else {
        return None;
    };
    let subject = Subject::PartOf(service, "persistence");
    let map = decoder.map(node, &keys::PERSISTENCE, subject)?;
    Some(Persistence {
        timeout: decoder
            .value(&map, "timeout", |text| seconds(text, PERSISTENCE))
            .unwrap_or(PERSISTENCE_DEFAULT),
        mask: decoder.value(&map, "mask", client_mask).unwrap_or(full),
        leave_quiesced: decoder
            .value(&map, "leave_quiesced", truth)
            .unwrap_or(false),
    })
}

fn timeouts(decoder: &mut Decoder, map: &Map<'_, '_>) -> OwnTimeouts {
    let (Some(node), Subject::Service(service)) = (map.get("timeouts"), map.subject) else {
        return OwnTimeouts::default();
    };
    let subject = Subject::PartOf(service, "timeouts");
    let Some(map) = decoder.map(node, &keys::TIMEOUTS, subject) else {
        return OwnTimeouts::default();
    };
    let mut timeout = |key| decoder.value(&map, key, |text| seconds(text, TIMEOUT));
    OwnTimeouts {
        tcp: timeout("tcp"),
        tcp_fin: timeout("tcp_fin"),
        udp: timeout("udp"),
    }
}

fn real(decoder: &mut Decoder, service: &Node<'_>, item: &Node<'_>, port: u16) -> Option<Real> {
    let subject = Subject::Real(service, item);
    if let Kind::Scalar(_) = &item.kind {
        let subject = Subject::Service(service);
        let (addr, given) = decoder.scalar(item, "reals", subject, real_address)?;
        return Some(Real::new(addr, given.unwrap_or(port)));
    }
    let map = decoder.map(item, &keys::REAL, subject)?;
    let at = decoder.required(&map, "address", "192.0.2.21:80", real_address);
    let weight = decoder.value(&map, "weight", |text| number(text, WEIGHT));
    let method = decoder.value(&map, "method", method);
    let upper = decoder.value(&map, "upper", |text| number(text, THRESHOLD));
    let lower = decoder.value(&map, "lower", |text| number(text, THRESHOLD));
    let checks = health::checks(decoder, &map, service);
    let (addr, given) = at?;
    let mut real = Real::new(addr, given.unwrap_or(port));
    real.weight = weight.and_then(|w| u16::try_from(w).ok()).unwrap_or(1);
    real.method = method;
    real.upper = upper.unwrap_or(0);
    real.lower = lower.unwrap_or(0);
    real.checks = checks;
    Some(real)
}
