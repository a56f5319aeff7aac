//! How is what a model says of virtual routers written?

use std::net::IpAddr;

use super::super::decode::{SCOPES, SIGNING_MODES, everywhere, usual_window};
use super::super::model::{
    Gateway, LinkDelays, Notify, Script, Track, Tracked, VirtualAddress, VirtualRoute,
    VirtualRouter, default_version, default_virtual_interface,
};
use super::super::value::Written;
use super::{Facet, Value, facet, plain};
use crate::core::desired::full_prefix;
use crate::core::vrrp::{
    Announcements, Auth, Freshness, InitialState, Interval, Key, Mode, Preempt, Priority, Signing,
    Version,
};

/// What is said of a virtual router.
pub(crate) fn virtual_router(router: &VirtualRouter) -> Vec<Facet> {
    let VirtualRouter {
        name,
        interface,
        vrid,
        version,
        priority,
        interval,
        misses,
        preempt,
        initial,
        auth,
        signing,
        virtual_mac,
        source,
        peers,
        addresses,
        excluded,
        routes,
        group,
        announcements,
        check_addresses,
        track,
        notify,
        debounce,
    } = router;
    let number = match version {
        Version::V2 => 2,
        Version::V3 => 3,
    };
    let usual_version = *version == default_version(router.is_v6());
    let usual_interval = Some(*interval) == Interval::seconds(1);
    let state = match initial {
        InitialState::Backup => "backup",
        InitialState::Master => "master",
    };
    vec![
        facet("name", Value::Text(name.clone()), false),
        facet("interface", Value::Text(interface.clone()), false),
        facet("virtual_router_id", plain(vrid), false),
        facet("version", plain(number), usual_version),
        facet("priority", plain(priority), *priority == Priority::DEFAULT),
        facet(
            "advert_interval",
            plain(Written(interval.duration())),
            usual_interval,
        ),
        facet("misses", plain(misses), *misses == 3),
        facet("preempt", preemption(*preempt), *preempt == Preempt::AtOnce),
        facet("state", plain(state), *initial == InitialState::Backup),
        facet(
            "auth",
            signature(auth, signing.as_deref(), *interval),
            *auth == Auth::None && signing.is_none(),
        ),
        facet("addresses", list(addresses, address), false),
        facet("excluded", list(excluded, address), excluded.is_empty()),
        facet("routes", list(routes, route), routes.is_empty()),
        facet("peers", list(peers, |peer| ip(*peer)), peers.is_empty()),
        facet("virtual_mac", with_mac(router), virtual_mac.is_none()),
        facet("source", optional(*source, ip), source.is_none()),
        facet(
            "group",
            optional(group.clone(), Value::Text),
            group.is_none(),
        ),
        facet("track", list(track, tracked), track.is_empty()),
        facet("notify", notification(notify), *notify == Notify::default()),
        facet(
            "announce",
            announcing(announcements),
            *announcements == Announcements::default(),
        ),
        facet("check_addresses", plain(check_addresses), *check_addresses),
        facet(
            "debounce",
            delays(debounce),
            *debounce == LinkDelays::default(),
        ),
    ]
}

fn with_mac(router: &VirtualRouter) -> Value {
    let usual = default_virtual_interface(router.is_v6(), router.vrid);
    match &router.virtual_mac {
        None => plain(false),
        Some(name) if *name == usual => plain(true),
        Some(name) => Value::Text(name.clone()),
    }
}

fn list<T>(items: &[T], write: impl Fn(&T) -> Value) -> Value {
    Value::List(items.iter().map(write).collect())
}

fn optional<T>(value: Option<T>, write: impl Fn(T) -> Value) -> Value {
    value.map_or_else(|| plain("none"), write)
}

fn ip(addr: IpAddr) -> Value {
    Value::Text(addr.to_string())
}

fn preemption(preempt: Preempt) -> Value {
    match preempt {
        Preempt::AtOnce => plain("true"),
        Preempt::Never => plain("false"),
        Preempt::After(delay) => plain(Written(delay)),
    }
}

fn signature(auth: &Auth, signing: Option<&Signing>, interval: Interval) -> Value {
    match (auth, signing) {
        (_, Some(signing)) => Value::Map(vec![("hmac", with_keys(signing, interval))]),
        (Auth::None, None) => plain("none"),
        (Auth::Pass(password), None) => {
            Value::Map(vec![("pass", Value::Secret(password.reveal()))])
        }
    }
}

fn with_keys(signing: &Signing, interval: Interval) -> Value {
    let Signing {
        keys,
        active,
        mode,
        freshness,
    } = signing;
    let key = |key: &Key| {
        let secret = Value::Secret(key.reveal().to_owned());
        Value::Map(vec![("id", plain(key.id())), ("key", secret)])
    };
    let mut entries = vec![("keys", list(keys, key))];
    if keys.len() > 1 {
        entries.push(("active", plain(active)));
    }
    let word = SIGNING_MODES.iter().find(|(_, m)| m == mode);
    let word = word.filter(|_| *mode != Mode::default());
    entries.extend(word.map(|(word, _)| ("mode", plain(word))));
    match freshness {
        Freshness::Growing => entries.push(("anti_replay", plain("monotonic"))),
        Freshness::Window(window) if *window != usual_window(interval) => {
            entries.push(("time_window", plain(Written(*window))));
        }
        Freshness::Window(_) => {}
    }
    Value::Map(entries)
}

/// An address with its prefix, which is left out where it is the whole address.
fn address_name(address: &VirtualAddress) -> String {
    if address.prefix == full_prefix(address.addr) {
        address.addr.to_string()
    } else {
        format!("{}/{}", address.addr, address.prefix)
    }
}

fn address(address: &VirtualAddress) -> Value {
    let VirtualAddress {
        interface,
        label,
        scope,
        ..
    } = address;
    let name = Value::Text(address_name(address));
    let mut entries = vec![("address", name.clone())];
    entries.extend(interface.clone().map(|i| ("interface", Value::Text(i))));
    entries.extend(label.clone().map(|l| ("label", Value::Text(l))));
    let word = SCOPES
        .iter()
        .find(|(_, s)| s == scope)
        .map(|(word, _)| *word);
    entries.extend(word.filter(|w| *w != "global").map(|w| ("scope", plain(w))));
    if entries.len() == 1 {
        name
    } else {
        Value::Map(entries)
    }
}

fn route(route: &VirtualRoute) -> Value {
    let VirtualRoute {
        to,
        via,
        interface,
        source,
        metric,
        table,
    } = route;
    // Without a router of the same family `default` would not say of which it is.
    let to = if via.is_some() && *to == everywhere(to.addr().is_ipv6()) {
        plain("default")
    } else {
        Value::Text(to.to_string())
    };
    let mut entries = vec![("to", to)];
    entries.extend(via.map(|v| ("via", ip(v))));
    entries.extend(interface.clone().map(|i| ("interface", Value::Text(i))));
    entries.extend(source.map(|s| ("source", ip(s))));
    entries.extend(metric.map(|m| ("metric", plain(m))));
    entries.extend(table.map(|t| ("table", plain(t))));
    Value::Map(entries)
}

fn announcing(announcements: &Announcements) -> Value {
    let Announcements {
        repeat,
        delay,
        refresh,
    } = *announcements;
    let mut entries = vec![("repeat", plain(repeat)), ("delay", plain(Written(delay)))];
    entries.extend(refresh.map(|r| ("refresh", plain(Written(r)))));
    Value::Map(entries)
}

fn tracked(track: &Track) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut entries = match &track.what {
        Tracked::Interface(name) => vec![("interface", text(name))],
        Tracked::Script(said) => script(said),
        Tracked::Process(name) => vec![("process", text(name))],
        Tracked::File(path) => vec![("file", text(&path.to_string_lossy()))],
        Tracked::Service(name) => vec![("service", text(name))],
        Tracked::Gateway(Gateway::Default) => vec![("gateway", plain("default"))],
        Tracked::Gateway(Gateway::Address(addr)) => vec![("gateway", ip(*addr))],
    };
    entries.extend(track.weight.map(|w| ("weight", plain(w))));
    Value::Map(entries)
}

fn script(script: &Script) -> Vec<(&'static str, Value)> {
    let usual = Script::new(Vec::new());
    let Script {
        command: said,
        user,
        interval,
        timeout,
        rise,
        fall,
    } = script;
    let mut entries = vec![("script", command(said))];
    let mut unusual = |key, value, usual: bool| {
        if !usual {
            entries.push((key, value));
        }
    };
    let every = |d| plain(Written(d));
    unusual("interval", every(*interval), *interval == usual.interval);
    unusual("timeout", every(*timeout), *timeout == usual.timeout);
    unusual("rise", plain(rise), *rise == usual.rise);
    unusual("fall", plain(fall), *fall == usual.fall);
    let name = user.clone().unwrap_or_default();
    unusual("user", Value::Text(name), user.is_none());
    entries
}

fn notification(notify: &Notify) -> Value {
    let Notify {
        master,
        backup,
        fault,
        stop,
        any,
        user,
        timeout,
    } = notify;
    let programs = [
        ("master", master),
        ("backup", backup),
        ("fault", fault),
        ("stop", stop),
        ("any", any),
    ];
    let said = programs.into_iter().filter(|(_, words)| !words.is_empty());
    let mut entries: Vec<_> = said.map(|(key, words)| (key, command(words))).collect();
    entries.extend(user.clone().map(|u| ("user", Value::Text(u))));
    if *timeout != Notify::default().timeout {
        entries.push(("timeout", plain(Written(*timeout))));
    }
    Value::Map(entries)
}

fn command(words: &[String]) -> Value {
    let text = |word: &String| Value::Text(word.clone());
    match words {
        [path] => text(path),
        words => Value::List(words.iter().map(text).collect()),
    }
}

fn delays(delays: &LinkDelays) -> Value {
    let LinkDelays { up, down } = *delays;
    Value::Map(vec![
        ("up", plain(Written(up))),
        ("down", plain(Written(down))),
    ])
}
