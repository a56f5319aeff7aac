//! What follows from the state of real servers.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::super::model::health::Health;
use super::super::node::{Kind, Node};
use super::super::refusal::Refusal;
use super::super::value::{Wrong, duration, number, real_address, word};
use super::service::method;
use super::{Decoder, Map, Subject, health, keys, script};
use crate::core::desired::Method;
use crate::core::health::plan::{Damping, DeadConnections, OnFailure, Rules, Sorry};

const TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The words of `on_failure`.
pub(in super::super) const ON_FAILURE: &[(&str, OnFailure)] = &[
    ("remove", OnFailure::Remove),
    ("weight_zero", OnFailure::WeightZero),
];
/// The words of `dead_connections`.
pub(in super::super) const DEAD_CONNECTIONS: &[(&str, DeadConnections)] = &[
    ("keep", DeadConnections::Keep),
    ("reset", DeadConnections::Reset),
];

/// The keys of a service that are about health. `port` and `usual` are those of real servers that name none.
pub(super) fn read<'n, 't>(
    decoder: &mut Decoder,
    map: &Map<'n, 't>,
    service: &'n Node<'t>,
    port: u16,
    usual: Method,
) -> Health {
    let plain = Rules::default();
    let (quorum, hysteresis, quorum_up, quorum_down) = quorum(decoder, map, service);
    Health {
        checks: health::checks(decoder, map, service).unwrap_or_default(),
        rules: Rules {
            on_failure: decoder
                .value(map, "on_failure", |text| word(text, ON_FAILURE))
                .unwrap_or_default(),
            connections: decoder
                .value(map, "dead_connections", |text| word(text, DEAD_CONNECTIONS))
                .unwrap_or_default(),
            quorum: quorum.unwrap_or(plain.quorum),
            hysteresis,
            sorry: sorry(decoder, map, service, port, usual),
            slow_start: decoder.value(map, "slow_start", |text| duration(text, TIME)),
            damping: damping(decoder, map, service),
            quorum_up,
            quorum_down,
        },
        on_up: script::notify(decoder, map, "on_up", service),
        on_down: script::notify(decoder, map, "on_down", service),
    }
}

type Command = Option<Arc<crate::core::health::plan::Command>>;

fn quorum<'n, 't>(
    decoder: &mut Decoder,
    map: &Map<'n, 't>,
    service: &'n Node<'t>,
) -> (Option<u32>, u32, Command, Command) {
    let weight = |text: &str| number(text, 1..=u32::MAX);
    let Some(node) = map.get("quorum") else {
        return (None, 0, None, None);
    };
    if let Kind::Scalar(_) = &node.kind {
        return (decoder.value(map, "quorum", weight), 0, None, None);
    }
    let subject = Subject::PartOf(service, "quorum");
    let Some(map) = decoder.map(node, &keys::QUORUM, subject) else {
        return (None, 0, None, None);
    };
    let quorum = decoder.value(&map, "weight", weight);
    let hysteresis = decoder
        .value(&map, "hysteresis", |text| number(text, 0..=u32::MAX))
        .unwrap_or(0);
    let weight = quorum.unwrap_or(1);
    if let (true, Some(node)) = (hysteresis >= weight, map.get("hysteresis")) {
        let what = format!("{subject}a `hysteresis` of {hysteresis} is not less than the quorum");
        let why =
            format!("with a quorum of {weight} it would never be lost before nothing is left");
        decoder.refuse(
            Refusal::new(what, format!("write {} or less", weight - 1))
                .why(why)
                .at(node.span),
        );
    }
    let up = script::notify(decoder, &map, "on_up", service).map(Arc::new);
    let down = script::notify(decoder, &map, "on_down", service).map(Arc::new);
    (quorum, hysteresis, up, down)
}

fn sorry<'n, 't>(
    decoder: &mut Decoder,
    map: &Map<'n, 't>,
    service: &'n Node<'t>,
    port: u16,
    usual: Method,
) -> Option<Sorry> {
    let node = map.get("sorry")?;
    let (at, own) = if let Kind::Scalar(_) = &node.kind {
        (decoder.value(map, "sorry", real_address), None)
    } else {
        let map = decoder.map(node, &keys::SORRY, Subject::PartOf(service, "sorry"))?;
        let at = decoder.required(&map, "address", "192.0.2.99:80", real_address);
        (at, decoder.value(&map, "method", method))
    };
    let (addr, given) = at?;
    Some(Sorry {
        id: SocketAddr::new(addr, given.unwrap_or(port)),
        method: own.unwrap_or(usual),
    })
}

fn damping<'n, 't>(
    decoder: &mut Decoder,
    map: &Map<'n, 't>,
    service: &'n Node<'t>,
) -> Option<Damping> {
    let usual = Damping::default();
    let Some(node) = map.get("damping") else {
        return Some(usual);
    };
    if let Kind::Scalar(_) = &node.kind {
        // What is refused is not applied either.
        let off = decoder.value(map, "damping", |text| {
            word(text, &[("off", ())]).map_err(|_| Wrong {
                takes: "it takes `off` or keys".to_owned(),
                hint: "write `damping: off`, or `damping: {failures: 5, within: 1m, hold: 30s}`"
                    .to_owned(),
            })
        });
        return if off.is_some() { None } else { Some(usual) };
    }
    let map = decoder.map(node, &keys::DAMPING, Subject::PartOf(service, "damping"))?;
    Some(Damping {
        failures: decoder
            .value(&map, "failures", |text| number(text, 2..=1000))
            .unwrap_or(usual.failures),
        within: decoder
            .value(&map, "within", |text| duration(text, TIME))
            .unwrap_or(usual.within),
        hold: decoder
            .value(&map, "hold", |text| duration(text, TIME))
            .unwrap_or(usual.hold),
    })
}
