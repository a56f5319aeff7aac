//! How a virtual router's advertisements are signed.

use std::sync::Arc;
use std::time::Duration;

use super::super::super::node::Node;
use super::super::super::refusal::Refusal;
use super::super::super::value::{duration, word};
use super::super::{Decoder, Map, Subject, keys};
use super::{byte, of_router, part};
use crate::core::vrrp::{Auth, Freshness, Interval, Key, Mode, Password, Signing};

/// The words of `mode`.
pub(crate) const MODES: &[(&str, Mode)] = &[
    ("enforce", Mode::Enforce),
    ("permissive", Mode::Permissive),
    ("receive-only", Mode::ReceiveOnly),
];

/// The words of `anti_replay`: whether time counts.
const ANTI_REPLAY: &[(&str, bool)] = &[("time", true), ("monotonic", false)];

/// The longest that an advertisement is believed.
const LONGEST: Duration = Duration::from_secs(300);

/// For how long an advertisement is believed, where nothing is said: as keepalived has it.
pub(crate) fn usual_window(interval: Interval) -> Duration {
    let seconds = 3 * interval.duration().as_secs();
    Duration::from_secs(seconds).clamp(Duration::from_secs(5), LONGEST)
}

/// The password or the keys.
pub(super) fn auth(
    decoder: &mut Decoder,
    router: &Map<'_, '_>,
    interval: Interval,
) -> (Auth, Option<Arc<Signing>>) {
    let Some(map) = part(decoder, router, "auth", &keys::VRRP_AUTH) else {
        return (Auth::None, None);
    };
    match (map.get("pass"), map.get("hmac")) {
        (Some(node), None) => (password(decoder, &map, node), None),
        (None, Some(node)) => {
            let subject = of_router(router, "auth");
            let signing = decoder.map(node, &keys::VRRP_HMAC, subject);
            let signing = signing.and_then(|map| with_keys(decoder, &map, interval));
            (Auth::None, signing.map(Arc::new))
        }
        (Some(_), Some(node)) => {
            let what = format!("{}it has both `pass` and `hmac`", map.subject);
            let refusal = Refusal::new(what, "keep one of the two; `hmac` is the stronger one");
            decoder.refuse(refusal.at(node.span).secret());
            (Auth::None, None)
        }
        (None, None) => {
            if !map.misspells("pass") && !map.misspells("hmac") {
                let what = format!("{}the key `pass` or `hmac` is missing", map.subject);
                let refusal = Refusal::new(what, "add `pass: \"1111\"`, for example");
                decoder.refuse(refusal.at(map.node.span));
            }
            (Auth::None, None)
        }
    }
}

fn password(decoder: &mut Decoder, map: &Map<'_, '_>, node: &Node<'_>) -> Auth {
    match node.text().map(|text| (text.len(), Password::new(text))) {
        Some((_, Some(password))) => return Auth::Pass(password),
        Some((length, None)) => decoder.refuse(
            Refusal::new(
                format!("{}the password has {length} bytes", map.subject),
                "write one of 1 to 8 bytes, the same on all directors",
            )
            .why("that is all the room that version 2 has; keepalived cuts off the rest without a word")
            .at(node.span)
            .secret(),
        ),
        None => decoder.refuse(
            Refusal::new(
                format!("{}`pass` is {}, not a text", map.subject, node.describe()),
                "write one value after `pass:`",
            )
            .at(node.span),
        ),
    }
    Auth::None
}

fn with_keys(decoder: &mut Decoder, map: &Map<'_, '_>, interval: Interval) -> Option<Signing> {
    let before = decoder.found.refusals.len();
    let items = decoder.list(map, "keys");
    let mut keys: Vec<Key> = Vec::new();
    for item in items {
        let Some(key) = key(decoder, map.subject, item) else {
            continue;
        };
        if keys.iter().any(|other| other.id() == key.id()) {
            let what = format!("{}two keys have the id {}", map.subject, key.id());
            let refusal = Refusal::new(what, "give the new key an id of its own");
            decoder.refuse(refusal.at(item.span).secret());
        }
        keys.push(key);
    }
    let refused = decoder.found.refusals.len() > before;
    if keys.is_empty() && !refused && !map.misspells("keys") {
        let what = format!("{}it has no keys", map.subject);
        let hint =
            "add `keys: [{id: 1, key: \"hex:...\"}]`; `openssl rand -hex 32` makes the digits";
        decoder.refuse(Refusal::new(what, hint).at(map.node.span));
    }
    let said = decoder.value(map, "active", |text| byte(text, 1));
    let active = match (said, keys.as_slice()) {
        (Some(active), keys) => {
            if !keys.iter().any(|key| key.id() == active) && !keys.is_empty() {
                let what = format!("{}there is no key with the id {active}", map.subject);
                let hint = "write the id of one of `keys`";
                let at = map.get("active").map_or(map.node.span, |node| node.span);
                decoder.refuse(Refusal::new(what, hint).at(at));
            }
            active
        }
        (None, [only]) => only.id(),
        (None, [first, _, ..]) => {
            if map.get("active").is_none() && !map.misspells("active") {
                let what = format!("{}it has several keys and no `active` one", map.subject);
                let hint = format!("add `active: {}`, for example", first.id());
                decoder.refuse(Refusal::new(what, hint).at(map.node.span).secret());
            }
            first.id()
        }
        (None, []) => 1,
    };
    let mode = decoder.value(map, "mode", |text| word(text, MODES));
    let in_time = decoder.value(map, "anti_replay", |text| word(text, ANTI_REPLAY));
    let second = Duration::from_secs(1);
    let window = decoder.value(map, "time_window", |text| duration(text, second..=LONGEST));
    if let (Some(false), Some(node)) = (in_time, map.get("time_window")) {
        let what = format!("{}`time_window` means nothing without time", map.subject);
        let hint = "remove it, or write `anti_replay: time`";
        decoder.refuse(Refusal::new(what, hint).at(node.span));
    }
    let window = window.unwrap_or_else(|| usual_window(interval));
    Some(Signing {
        keys,
        active,
        mode: mode.unwrap_or_default(),
        freshness: match in_time {
            None | Some(true) => Freshness::Window(window),
            Some(false) => Freshness::Growing,
        },
    })
}

fn key(decoder: &mut Decoder, subject: Subject<'_, '_>, item: &Node<'_>) -> Option<Key> {
    let map = decoder.map(item, &keys::VRRP_KEY, subject)?;
    let id = decoder.required(&map, "id", "1", |text| byte(text, 1));
    let Some(node) = map.get("key") else {
        if !map.misspells("key") {
            let what = format!("{subject}a key has no `key`");
            let hint = "add `key: \"hex:...\"`; `openssl rand -hex 32` makes the digits";
            decoder.refuse(Refusal::new(what, hint).at(map.node.span));
        }
        return None;
    };
    let text = node.text().unwrap_or_default();
    let (what, hint) = match Key::new(id?, text) {
        Ok(_) if text.starts_with("file:") => (
            "keys are not read from files".to_owned(),
            "write the key itself, with `hex:` before its digits",
        ),
        Ok(key) => return Some(key),
        Err(None) => (
            "behind `hex:` there are not two hexadecimal digits for each byte".to_owned(),
            "`openssl rand -hex 32` makes them",
        ),
        Err(Some(bytes)) => (
            format!("the key has {bytes} bytes, not 32 to 64"),
            "`openssl rand -hex 32` makes one; write it behind `hex:`",
        ),
    };
    let refusal = Refusal::new(format!("{subject}{what}"), hint);
    decoder.refuse(refusal.at(node.span).secret());
    None
}
