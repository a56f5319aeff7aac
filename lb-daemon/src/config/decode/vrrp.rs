//! Virtual routers.

mod signing;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::super::model::{
    Gateway, LinkDelays, Notify, Scope, Script, Track, Tracked, VirtualAddress, VirtualRoute,
    VirtualRouter, default_version, default_virtual_interface,
};
use super::super::node::{Kind, Node};
use super::super::refusal::Refusal;
use super::super::value::{
    Written, Wrong, absolute_path, duration, interface, interface_address, label, name, network,
    number, plain_address, process_name, truth, weight_shift, word,
};
use super::{Decoder, Map, Subject, keys};
use crate::core::vrrp::{Announcements, InitialState, Interval, Preempt, Priority, Version};
pub(crate) use signing::{MODES as SIGNING_MODES, usual_window};

/// The words of `version`.
const VERSIONS: &[(&str, Version)] = &[("2", Version::V2), ("3", Version::V3)];

/// The words of `state`.
const STATES: &[(&str, InitialState)] = &[
    ("backup", InitialState::Backup),
    ("master", InitialState::Master),
];

/// The words of `scope`.
pub(crate) const SCOPES: &[(&str, Scope)] = &[
    ("global", Scope::Global),
    ("site", Scope::Site),
    ("link", Scope::Link),
    ("host", Scope::Host),
];

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const TENTH: Duration = Duration::from_millis(100);

pub(super) fn all(decoder: &mut Decoder, top: &Map<'_, '_>) -> Vec<VirtualRouter> {
    let items = decoder.list(top, "vrrp");
    items
        .iter()
        .filter_map(|node| router(decoder, node))
        .collect()
}

fn router(decoder: &mut Decoder, node: &Node<'_>) -> Option<VirtualRouter> {
    let map = decoder.map(node, &keys::VRRP, Subject::Router(node))?;
    let name_ = decoder.required(&map, "name", "VI_1", name);
    let interface_ = decoder.required(&map, "interface", "eth0", interface);
    let vrid = decoder.required(&map, "virtual_router_id", "51", |text| byte(text, 1));
    let addresses = required_addresses(decoder, &map);
    let excluded = addresses_of(decoder, &map, "excluded");
    let v6 = addresses.first().is_some_and(|a| a.addr.is_ipv6());
    let version = decoder
        .value(&map, "version", |text| word(text, VERSIONS))
        .unwrap_or(default_version(v6));
    let priority = decoder.value(&map, "priority", priority);
    let interval = decoder.value(&map, "advert_interval", |text| {
        advert_interval(text, version)
    });
    let misses = decoder.value(&map, "misses", |text| number(text, 1..=100));
    let interval = interval.or_else(|| Interval::seconds(1))?;
    let signatures = signing::auth(decoder, &map, interval);
    let router = VirtualRouter {
        vrid: vrid.unwrap_or(1),
        version,
        priority: priority.unwrap_or(Priority::DEFAULT),
        interval,
        misses: misses.and_then(|n| u8::try_from(n).ok()).unwrap_or(3),
        preempt: decoder.value(&map, "preempt", preempt).unwrap_or_default(),
        initial: decoder
            .value(&map, "state", |text| {
                word(&text.to_ascii_lowercase(), STATES)
            })
            .unwrap_or_default(),
        auth: signatures.0,
        signing: signatures.1,
        virtual_mac: decoder
            .value(&map, "virtual_mac", |text| virtual_mac(text, v6, vrid))
            .flatten(),
        source: decoder.value(&map, "source", plain_address),
        peers: decoder
            .list(&map, "peers")
            .iter()
            .filter_map(|item| decoder.scalar(item, "peers", map.subject, plain_address))
            .collect(),
        routes: routes(decoder, &map, v6),
        group: decoder.value(&map, "group", name),
        announcements: announce(decoder, &map),
        check_addresses: decoder
            .value(&map, "check_addresses", truth)
            .unwrap_or(true),
        track: decoder
            .list(&map, "track")
            .iter()
            .filter_map(|item| track(decoder, node, item))
            .collect(),
        notify: notify(decoder, &map),
        debounce: debounce(decoder, &map),
        addresses,
        excluded,
        name: String::new(),
        interface: String::new(),
    };
    vrid?;
    Some(VirtualRouter {
        name: name_?,
        interface: interface_?,
        ..router
    })
}

/// The interface that gets the virtual MAC.
fn virtual_mac(text: &str, v6: bool, vrid: Option<u8>) -> Result<Option<String>, Wrong> {
    match text {
        "false" => Ok(None),
        "true" => Ok(vrid.map(|vrid| default_virtual_interface(v6, vrid))),
        name => interface(name).map(Some),
    }
}

fn byte(text: &str, least: u32) -> Result<u8, Wrong> {
    number(text, least..=255).map(|n| u8::try_from(n).unwrap_or(u8::MAX))
}

fn priority(text: &str) -> Result<Priority, Wrong> {
    let zero = || Wrong {
        takes: "0 is what a master says that leaves".to_owned(),
        hint: "write 1 to 254, or 255 for the owner of the addresses".to_owned(),
    };
    match byte(text, 0)? {
        0 => Err(zero()),
        n => Priority::new(n).ok_or_else(zero),
    }
}

fn advert_interval(text: &str, version: Version) -> Result<Interval, Wrong> {
    let longest = match version {
        Version::V2 => Duration::from_secs(255),
        Version::V3 => Duration::from_millis(40_950),
    };
    let (least, takes) = match version {
        Version::V2 => (Duration::from_secs(1), "version 2 counts whole seconds"),
        Version::V3 => (
            Duration::from_millis(10),
            "version 3 counts in steps of 10 ms",
        ),
    };
    let duration = match duration(text, least..=longest) {
        Err(wrong) if version == Version::V2 && self::duration(text, TEN_MS..=HOUR).is_ok() => {
            return Err(Wrong {
                takes: format!("{takes}, from 1s to 255s"),
                hint: if wrong.hint.starts_with("the least") {
                    "write `version: 3`, which has shorter ones, or `1s`".to_owned()
                } else {
                    wrong.hint
                },
            });
        }
        read => read?,
    };
    Interval::of(version, duration).ok_or_else(|| {
        let step = least.as_millis().max(1);
        let down = duration.as_millis() / step * step;
        let nearest = Duration::from_millis(u64::try_from(down).unwrap_or(u64::MAX)).max(least);
        Wrong {
            takes: takes.to_owned(),
            hint: match version {
                Version::V2 => format!("write `{}`, or `version: 3`", Written(nearest)),
                Version::V3 => format!("write `{}`", Written(nearest)),
            },
        }
    })
}

const TEN_MS: Duration = Duration::from_millis(10);

fn preempt(text: &str) -> Result<Preempt, Wrong> {
    match text {
        "true" => Ok(Preempt::AtOnce),
        "false" => Ok(Preempt::Never),
        _ => match duration(text, Duration::from_millis(1)..=HOUR) {
            Ok(delay) => Ok(Preempt::After(delay)),
            Err(wrong) => Err(Wrong {
                takes: "it takes `true`, `false`, or a duration up to 1h".to_owned(),
                ..wrong
            }),
        },
    }
}

fn required_addresses(decoder: &mut Decoder, map: &Map<'_, '_>) -> Vec<VirtualAddress> {
    let found = decoder.found.refusals.len();
    let addresses = addresses_of(decoder, map, "addresses");
    let refused = decoder.found.refusals.len() > found;
    if addresses.is_empty() && !refused && !map.misspells("addresses") {
        let what = format!("{}it has no addresses", map.subject);
        let hint = "add `addresses: [192.0.2.80/24]`, for example";
        decoder.refuse(Refusal::new(what, hint).at(map.node.span));
    }
    addresses
}

fn addresses_of(
    decoder: &mut Decoder,
    router: &Map<'_, '_>,
    key: &'static str,
) -> Vec<VirtualAddress> {
    let items = decoder.list(router, key);
    let read = items.iter().filter_map(|item| {
        if let Kind::Scalar(_) = &item.kind {
            let (addr, prefix) = decoder.scalar(item, key, router.subject, interface_address)?;
            return Some(VirtualAddress::new(addr, prefix));
        }
        let subject = of_router(router, key);
        let map = decoder.map(item, &keys::VRRP_ADDRESS, subject)?;
        let at = decoder.required(&map, "address", "192.0.2.80/24", interface_address);
        let interface = decoder.value(&map, "interface", interface);
        let label = decoder.value(&map, "label", label);
        let scope = decoder.value(&map, "scope", |text| word(text, SCOPES));
        let (addr, prefix) = at?;
        Some(VirtualAddress {
            interface,
            label,
            scope: scope.unwrap_or_default(),
            ..VirtualAddress::new(addr, prefix)
        })
    });
    read.collect()
}

fn routes(decoder: &mut Decoder, router: &Map<'_, '_>, v6: bool) -> Vec<VirtualRoute> {
    let items = decoder.list(router, "routes");
    let read = items.iter().filter_map(|item| {
        let map = decoder.map(item, &keys::VRRP_ROUTE, of_router(router, "routes"))?;
        let via = decoder.value(&map, "via", plain_address);
        let v6 = via.map_or(v6, |via| via.is_ipv6());
        let to = decoder.required(&map, "to", "default", |text| match text {
            "default" => Ok(everywhere(v6)),
            text => network(text),
        });
        Some(VirtualRoute {
            via,
            interface: decoder.value(&map, "interface", interface),
            source: decoder.value(&map, "source", plain_address),
            metric: decoder.value(&map, "metric", |text| number(text, 0..=u32::MAX)),
            table: decoder.value(&map, "table", |text| number(text, 1..=u32::MAX)),
            to: to?,
        })
    });
    read.collect()
}

/// What `default` stands for.
pub(crate) fn everywhere(v6: bool) -> IpNet {
    let any = if v6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    IpNet::new_assert(any, 0)
}

fn announce(decoder: &mut Decoder, router: &Map<'_, '_>) -> Announcements {
    let usual = Announcements::default();
    let Some(map) = part(decoder, router, "announce", &keys::VRRP_ANNOUNCE) else {
        return usual;
    };
    let repeat = decoder.value(&map, "repeat", |text| number(text, 1..=60));
    Announcements {
        repeat: repeat
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(usual.repeat),
        delay: decoder
            .value(&map, "delay", |text| duration(text, Duration::ZERO..=HOUR))
            .unwrap_or(usual.delay),
        refresh: decoder.value(&map, "refresh", |text| {
            duration(text, Duration::from_secs(1)..=DAY)
        }),
    }
}

/// The keys of which an item of `track` has one.
const TRACKED: [&str; 6] = [
    "interface",
    "script",
    "process",
    "file",
    "service",
    "gateway",
];

fn track(decoder: &mut Decoder, router: &Node<'_>, item: &Node<'_>) -> Option<Track> {
    let map = decoder.map(
        item,
        &keys::VRRP_TRACK,
        Subject::RouterPart(router, "track"),
    )?;
    let weight = decoder.value(&map, "weight", weight_shift);
    let said: Vec<&'static str> = TRACKED
        .into_iter()
        .filter(|key| map.get(key).is_some())
        .collect();
    let [what] = said.as_slice() else {
        let misspelt = TRACKED.iter().any(|key| map.misspells(key));
        if !(said.is_empty() && misspelt) {
            let what = match said.as_slice() {
                [] => format!("{}it does not say what is looked at", map.subject),
                said => format!("{}`{}` are in one item", map.subject, said.join("` and `")),
            };
            let hint = format!("write one of {} in each item", TRACKED.join(", "));
            decoder.refuse(Refusal::new(what, hint).at(item.span));
        }
        return None;
    };
    if *what != "script" {
        let only: Vec<&str> = ["interval", "timeout", "rise", "fall", "user"]
            .into_iter()
            .filter(|key| map.get(key).is_some())
            .collect();
        if let Some(key) = only.first() {
            let refusal = Refusal::new(
                format!("{}`{key}` goes with `script`, not `{what}`", map.subject),
                format!("remove `{key}`"),
            );
            decoder.refuse(refusal.at(item.span));
        }
    }
    let what = match *what {
        "interface" => Tracked::Interface(decoder.value(&map, "interface", interface)?),
        "script" => Tracked::Script(script(decoder, &map)?),
        "process" => Tracked::Process(decoder.value(&map, "process", process_name)?),
        "file" => Tracked::File(PathBuf::from(decoder.value(&map, "file", absolute_path)?)),
        "service" => Tracked::Service(decoder.value(&map, "service", name)?),
        _ => Tracked::Gateway(decoder.value(&map, "gateway", |text| match text {
            "default" => Ok(Gateway::Default),
            text => plain_address(text).map(Gateway::Address),
        })?),
    };
    Some(Track { what, weight })
}

fn script(decoder: &mut Decoder, map: &Map<'_, '_>) -> Option<Script> {
    let usual = Script::new(command(decoder, map, "script"));
    let every = TENTH..=DAY;
    let interval = decoder.value(map, "interval", |text| duration(text, every.clone()));
    let timeout = decoder.value(map, "timeout", |text| duration(text, every.clone()));
    let rise = decoder.value(map, "rise", |text| byte(text, 1));
    let fall = decoder.value(map, "fall", |text| byte(text, 1));
    let user = decoder.value(map, "user", super::super::value::group);
    (!usual.command.is_empty()).then(|| Script {
        interval: interval.unwrap_or(usual.interval),
        timeout: timeout.unwrap_or(usual.timeout),
        rise: rise.unwrap_or(usual.rise),
        fall: fall.unwrap_or(usual.fall),
        user,
        ..usual
    })
}

fn notify(decoder: &mut Decoder, router: &Map<'_, '_>) -> Notify {
    let Some(map) = part(decoder, router, "notify", &keys::VRRP_NOTIFY) else {
        return Notify::default();
    };
    Notify {
        master: command(decoder, &map, "master"),
        backup: command(decoder, &map, "backup"),
        fault: command(decoder, &map, "fault"),
        stop: command(decoder, &map, "stop"),
        any: command(decoder, &map, "any"),
        user: decoder.value(&map, "user", super::super::value::group),
        timeout: decoder
            .value(&map, "timeout", |text| {
                duration(text, Duration::from_secs(1)..=HOUR)
            })
            .unwrap_or(Notify::default().timeout),
    }
}

/// A program: its path, or a list of its path and arguments.
fn command(decoder: &mut Decoder, map: &Map<'_, '_>, key: &'static str) -> Vec<String> {
    let Some(node) = map.get(key) else {
        return Vec::new();
    };
    let Kind::List(items) = &node.kind else {
        let path = decoder.scalar(node, key, map.subject, absolute_path);
        return path.into_iter().collect();
    };
    let words = items.iter().enumerate().filter_map(|(n, item)| {
        decoder.scalar(item, key, map.subject, |text| match n {
            0 => absolute_path(text),
            _ => Ok(text.to_owned()),
        })
    });
    words.collect()
}

fn debounce(decoder: &mut Decoder, router: &Map<'_, '_>) -> LinkDelays {
    let Some(map) = part(decoder, router, "debounce", &keys::VRRP_DEBOUNCE) else {
        return LinkDelays::default();
    };
    let mut delay = |key| decoder.value(&map, key, |text| duration(text, Duration::ZERO..=HOUR));
    LinkDelays {
        up: delay("up").unwrap_or_default(),
        down: delay("down").unwrap_or_default(),
    }
}

/// A part of a virtual router.
fn of_router<'n, 't>(router: &Map<'n, 't>, part: &'static str) -> Subject<'n, 't> {
    Subject::RouterPart(router.node, part)
}

/// A part of a virtual router that is a map by itself.
fn part<'n, 't>(
    decoder: &mut Decoder,
    router: &Map<'n, 't>,
    key: &'static str,
    table: &'static keys::Table,
) -> Option<Map<'n, 't>> {
    let node = router.get(key)?;
    decoder.map(node, table, of_router(router, key))
}
