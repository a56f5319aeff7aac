//! Health checks: what they have in common.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::model::health::{CheckRule, default_timeout, names};
use super::super::node::{Kind, Name, Node};
use super::super::refusal::Refusal;
use super::super::value::{Written, duration, name, number, plain_address, word};
use super::{Decoder, Map, Subject, keys, probe};
use crate::core::health::plan::{Timing, Verdict};
use crate::core::health::probe::Probe;

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);
const SHORT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(86_400);

/// The words of `initial`.
pub(in super::super) const VERDICTS: &[(&str, Verdict)] =
    &[("up", Verdict::Up), ("down", Verdict::Down)];

/// The checks under `health`; `None` if there is no such key.
pub(super) fn checks<'n, 't>(
    decoder: &mut Decoder,
    map: &Map<'n, 't>,
    service: &'n Node<'t>,
) -> Option<Vec<CheckRule>> {
    let node = map.get("health")?;
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut rules = Vec::with_capacity(items.len());
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        if let Some(rule) = check(decoder, item, service) {
            rules.push(rule);
            places.push(item);
        }
    }
    tell_apart(decoder, &rules, &places, service);
    Some(rules)
}

/// No two checks of a real server have one name.
fn tell_apart(
    decoder: &mut Decoder,
    rules: &[CheckRule],
    places: &[&Node<'_>],
    service: &Node<'_>,
) {
    let names = names(rules);
    for (n, (name, place)) in names.iter().zip(places).enumerate() {
        let Some(first) = names.iter().take(n).position(|other| other == name) else {
            continue;
        };
        let place = place.get("name").unwrap_or(place).span;
        let mut refusal = Refusal::new(
            format!(
                "{}two checks have the name `{name}`",
                Subject::PartOf(service, "health")
            ),
            "give one of them another `name`",
        )
        .at(place);
        if let Some(first) = places.get(first) {
            refusal = refusal.first_at(first.get("name").unwrap_or(first).span);
        }
        decoder.refuse(refusal);
    }
}

fn check<'n, 't>(
    decoder: &mut Decoder,
    node: &'n Node<'t>,
    service: &'n Node<'t>,
) -> Option<CheckRule> {
    let subject = Subject::PartOf(service, "health");
    if let Kind::Scalar(_) = &node.kind {
        let kind = decoder.scalar(node, "health", subject, |text| {
            let words: Vec<_> = probe::KINDS.iter().map(|&kind| (kind, kind)).collect();
            word(text, &words).map_err(|wrong| super::super::value::Wrong {
                takes: "there is no such check".to_owned(),
                hint: wrong.hint.replace("the words are", "the checks are"),
            })
        })?;
        return probe::by_default(decoder, kind, node, subject).map(CheckRule::new);
    }
    let map = decoder.map(node, &keys::CHECK, subject)?;
    let name = decoder.value(&map, "name", name);
    let timing = timing(decoder, &map);
    let address = decoder.value(&map, "address", plain_address);
    let port = decoder.value(&map, "port", |text| number(text, 1..=65_535));
    let via = decoder.value(&map, "via", |text| {
        word(text, &[("real", false), ("vip", true)])
    });
    let rule = CheckRule {
        name,
        probe: probe(decoder, &map, service)?,
        address,
        port: port.and_then(|port| u16::try_from(port).ok()),
        via_vip: via.unwrap_or(false),
        timing,
    };
    fits(decoder, &map, &rule);
    Some(rule)
}

/// What is asked: the one key that says it.
fn probe(decoder: &mut Decoder, map: &Map<'_, '_>, service: &Node<'_>) -> Option<Probe> {
    let said: Vec<&(Name<'_>, Node<'_>)> = map
        .entries
        .iter()
        .filter(|(name, _)| probe::KINDS.contains(&name.text.as_ref()))
        .collect();
    let all = probe::KINDS.join(", ");
    let (name, node) = match said.as_slice() {
        [one] => one,
        // A key that was refused may have been meant to say it.
        [] if map
            .entries
            .iter()
            .any(|(name, _)| !map.table.names().contains(&name.text.as_ref())) =>
        {
            return None;
        }
        [] => {
            let what = format!("{}nothing says what is asked", map.subject);
            decoder.refuse(Refusal::new(what, format!("add one of {all}")).at(map.node.span));
            return None;
        }
        [(first, _), (second, _), ..] => {
            let what = format!(
                "{}one check asks both `{}` and `{}`",
                map.subject, first.text, second.text
            );
            let hint = "make `health` a list of two checks; both have to pass";
            decoder.refuse(
                Refusal::new(what, hint)
                    .at(second.span)
                    .first_at(first.span),
            );
            return None;
        }
    };
    probe::read(decoder, name.text.as_ref(), node, service)
}

fn timing(decoder: &mut Decoder, map: &Map<'_, '_>) -> Timing {
    let usual = Timing::default();
    let interval = decoder.value(map, "interval", |text| duration(text, INTERVAL));
    let timeout = decoder.value(map, "timeout", |text| duration(text, SHORT));
    let retry = decoder.value(map, "retry", |text| duration(text, SHORT));
    let count = |text: &str| number(text, 1..=1000);
    let timing = Timing {
        interval: interval.unwrap_or(usual.interval),
        timeout: timeout.unwrap_or_else(|| default_timeout(interval.unwrap_or(usual.interval))),
        rise: decoder.value(map, "rise", count).unwrap_or(usual.rise),
        fall: decoder.value(map, "fall", count).unwrap_or(usual.fall),
        retry,
        initial: decoder
            .value(map, "initial", |text| word(text, VERDICTS))
            .unwrap_or(usual.initial),
    };
    let Timing {
        interval, timeout, ..
    } = timing;
    if timeout >= interval {
        let (key, other) = if map.get("timeout").is_some() {
            ("timeout", "interval")
        } else {
            ("interval", "timeout")
        };
        let what = format!(
            "{}a `timeout` of {} does not fit into an `interval` of {}",
            map.subject,
            Written(timeout),
            Written(interval)
        );
        let hint = format!(
            "write `timeout: {}`, or a longer `interval`",
            Written(default_timeout(interval))
        );
        let place = map
            .get(key)
            .or_else(|| map.get(other))
            .unwrap_or(map.node)
            .span;
        decoder.refuse(
            Refusal::new(what, hint)
                .why("the next probe starts before the last one has ended")
                .at(place),
        );
    }
    if let (Some(retry), Some(node)) = (retry.filter(|&retry| retry > interval), map.get("retry")) {
        let what = format!(
            "{}a `retry` of {} is longer than the `interval`",
            map.subject,
            Written(retry)
        );
        let why = format!(
            "a failed probe is repeated sooner than others, and these are {} apart",
            Written(interval)
        );
        decoder.refuse(
            Refusal::new(what, "write a shorter time, or remove it")
                .why(why)
                .at(node.span),
        );
    }
    timing
}

/// What keys mean together.
fn fits(decoder: &mut Decoder, map: &Map<'_, '_>, rule: &CheckRule) {
    let kind = rule.probe.kind();
    let mut refuse = |key, why: &str| {
        if let Some(node) = map.get(key) {
            let what = format!("{}`{key}` means nothing to `{kind}`", map.subject);
            decoder.refuse(
                Refusal::new(what, format!("remove `{key}`"))
                    .why(why.to_owned())
                    .at(node.span),
            );
        }
    };
    if !rule.probe.has_target() {
        for key in ["address", "port", "via"] {
            refuse(key, "it does not go over the network");
        }
        return;
    }
    if matches!(rule.probe, Probe::Ping) {
        refuse("port", "ICMP has no ports");
        if rule.via_vip {
            refuse("via", "an echo request is not a packet of the service");
        }
    }
    if rule.via_vip {
        refuse(
            "address",
            "with `via: vip` the service's own address is asked",
        );
    }
}
