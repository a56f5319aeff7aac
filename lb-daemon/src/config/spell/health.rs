//! How are health checks, and what follows from them, written?

use std::fmt::Write as _;

use super::super::decode::{
    BODY_LIMIT, DEAD_CONNECTIONS, NOTIFY_TIMEOUT, ON_FAILURE, REDIS_ROLES, VERDICTS,
    ZOOKEEPER_ROLES,
};
use super::super::model::health::{CheckRule, Health, default_timeout};
use super::super::model::method_name;
use super::super::value::Written;
use super::{Facet, Value, facet, plain};
use crate::core::desired::Method;
use crate::core::health::plan::{Command, Damping, Rules, Sorry, Timing};
use crate::core::health::probe::{
    BodyRule, Digest, Dns, Expect, Grpc, Http, HttpVersion, Pattern, Probe, Redis, Script,
    Statuses, Tls,
};

type Entries = Vec<(&'static str, Value)>;

/// The facets of a service that are about health.
pub(super) fn of_service(health: &Health, method: Method) -> Vec<Facet> {
    let Health {
        checks: given,
        rules,
        on_up,
        on_down,
    } = health;
    let usual = Rules::default();
    let Rules {
        on_failure,
        connections,
        quorum: weight,
        hysteresis,
        sorry: server,
        slow_start,
        damping: rule,
        ..
    } = rules;
    let simple = *hysteresis == 0 && rules.quorum_up.is_none() && rules.quorum_down.is_none();
    vec![
        facet("health", checks(given), given.is_empty()),
        facet(
            "on_failure",
            word(on_failure, ON_FAILURE),
            *on_failure == usual.on_failure,
        ),
        facet(
            "dead_connections",
            word(connections, DEAD_CONNECTIONS),
            *connections == usual.connections,
        ),
        facet("quorum", quorum(rules), simple && *weight == usual.quorum),
        facet("sorry", sorry(*server, method), server.is_none()),
        facet(
            "slow_start",
            slow_start.map_or_else(|| plain("none"), |time| plain(Written(time))),
            slow_start.is_none(),
        ),
        facet("damping", damping(*rule), *rule == usual.damping),
        facet("on_up", command(on_up.as_ref()), on_up.is_none()),
        facet("on_down", command(on_down.as_ref()), on_down.is_none()),
    ]
}

/// Checks: a single one without the list around it.
pub(super) fn checks(rules: &[CheckRule]) -> Value {
    match rules {
        [one] => check(one),
        several => Value::List(several.iter().map(check).collect()),
    }
}

fn check(rule: &CheckRule) -> Value {
    let CheckRule {
        name,
        probe,
        address,
        port,
        via_vip,
        timing,
    } = rule;
    let usual = Timing::default();
    let mut entries: Entries = Vec::new();
    entries.extend(name.clone().map(|name| ("name", Value::Text(name))));
    entries.push((probe.kind(), asked(probe)));
    entries.extend(address.map(|address| ("address", text(&address))));
    entries.extend(port.map(|port| ("port", plain(port))));
    entries.extend(via_vip.then(|| ("via", plain("vip"))));
    let Timing {
        interval, timeout, ..
    } = *timing;
    entries.extend((interval != usual.interval).then(|| ("interval", plain(Written(interval)))));
    entries.extend(
        (timeout != default_timeout(interval)).then(|| ("timeout", plain(Written(timeout)))),
    );
    entries.extend((timing.rise != usual.rise).then(|| ("rise", plain(timing.rise))));
    entries.extend((timing.fall != usual.fall).then(|| ("fall", plain(timing.fall))));
    entries.extend(timing.retry.map(|retry| ("retry", plain(Written(retry)))));
    entries.extend(
        (timing.initial != usual.initial).then(|| ("initial", word(&timing.initial, VERDICTS))),
    );
    Value::Map(entries)
}

fn asked(probe: &Probe) -> Value {
    let entries = match probe {
        Probe::Http(http) => return of_http(http),
        Probe::Tcp(tcp) => sent(tcp.send.as_deref(), tcp.expect.as_ref(), tcp.tls.as_ref()),
        Probe::Udp(udp) => sent(
            Some(&udp.send).filter(|s| !s.is_empty()).map(Vec::as_slice),
            udp.expect.as_ref(),
            None,
        ),
        Probe::Dns(dns) => of_dns(dns),
        Probe::Ping => Vec::new(),
        Probe::Smtp(smtp) => vec![("helo", text(&smtp.helo))],
        Probe::Redis(redis) => of_redis(redis),
        Probe::Zookeeper(zookeeper) => zookeeper
            .role
            .map(|role| ("role", word(&role, ZOOKEEPER_ROLES)))
            .into_iter()
            .collect(),
        Probe::Grpc(grpc) => of_grpc(grpc),
        Probe::Script(Script { command, user }) => return program(command, user.as_deref(), None),
        Probe::File(path) => return text(&path.display()),
    };
    Value::Map(entries)
}

fn of_http(http: &Http) -> Value {
    let Http {
        tls,
        version,
        method,
        path,
        host,
        headers,
        status,
        body,
        body_limit,
    } = http;
    let mut entries: Entries = vec![("path", text(path))];
    entries.extend(host.as_ref().map(|host| ("host", text(host))));
    entries.extend((method != "GET").then(|| ("method", text(method))));
    entries.extend((*version == HttpVersion::Two).then(|| ("version", plain("2"))));
    if !headers.is_empty() {
        let names = headers
            .iter()
            .map(|(name, value)| (name.clone(), text(value)));
        entries.push(("headers", Value::Names(names.collect())));
    }
    entries.extend((*status != Statuses::default()).then(|| ("status", statuses(status))));
    let several = |pick: fn(&BodyRule) -> Option<&str>| {
        one_or_list(body.iter().filter_map(pick).map(text).collect())
    };
    let rules = [
        (
            "contains",
            several(|rule| {
                if let BodyRule::Contains(text) = rule {
                    Some(text)
                } else {
                    None
                }
            }),
        ),
        (
            "matches",
            several(|rule| {
                if let BodyRule::Matches(pattern) = rule {
                    Some(pattern.as_str())
                } else {
                    None
                }
            }),
        ),
        (
            "matches_not",
            several(|rule| {
                if let BodyRule::MatchesNot(p) = rule {
                    Some(p.as_str())
                } else {
                    None
                }
            }),
        ),
    ];
    entries.extend(
        rules
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let digest = body.iter().find_map(|rule| {
        if let BodyRule::Digest(digest) = rule {
            Some(*digest)
        } else {
            None
        }
    });
    entries.extend(digest.map(|digest| ("digest", of_digest(digest))));
    entries.extend((*body_limit != BODY_LIMIT).then(|| ("body_limit", plain(body_limit))));
    entries.extend(tls.iter().flat_map(tls_keys));
    if let [(_, path)] = entries.as_slice() {
        return path.clone();
    }
    Value::Map(entries)
}

fn statuses(statuses: &Statuses) -> Value {
    let range = |range: &std::ops::RangeInclusive<u16>| plain(Statuses::new(vec![range.clone()]));
    one_or_list(statuses.ranges().iter().map(range).collect()).unwrap_or(Value::List(Vec::new()))
}

fn of_digest(digest: Digest) -> Value {
    match digest {
        Digest::Md5(bytes) => plain(format_args!("md5:{}", hex(&bytes))),
        Digest::Sha256(bytes) => plain(format_args!("sha256:{}", hex(&bytes))),
    }
}

fn tls_keys(tls: &Tls) -> Entries {
    let mut entries: Entries = Vec::new();
    entries.extend(tls.name.as_ref().map(|name| ("sni", text(name))));
    entries.extend(tls.ca.as_ref().map(|ca| ("ca", text(&ca.display()))));
    entries.extend((!tls.verify).then(|| ("verify", plain(false))));
    entries
}

fn tls_value(tls: &Tls) -> Value {
    let entries = tls_keys(tls);
    if entries.is_empty() {
        plain(true)
    } else {
        Value::Map(entries)
    }
}

fn sent(send: Option<&[u8]>, expect: Option<&Expect>, tls: Option<&Tls>) -> Entries {
    let mut entries: Entries = Vec::new();
    entries.extend(send.map(|bytes| match std::str::from_utf8(bytes) {
        Ok(bytes) => ("send", text(bytes)),
        Err(_) => ("send_hex", text(&hex(bytes))),
    }));
    entries.extend(expect.map(|expect| match expect {
        Expect::Contains(bytes) => ("expect", text(&String::from_utf8_lossy(bytes))),
        Expect::Matches(pattern) => ("matches", text(Pattern::as_str(pattern))),
    }));
    entries.extend(tls.map(|tls| ("tls", tls_value(tls))));
    entries
}

fn of_dns(dns: &Dns) -> Entries {
    let mut entries: Entries = vec![("name", text(&dns.name)), ("record", text(&dns.record))];
    let expect = one_or_list(dns.expect.iter().map(text).collect());
    entries.extend(expect.map(|expect| ("expect", expect)));
    entries.extend(dns.tcp.then(|| ("transport", plain("tcp"))));
    entries
}

fn of_redis(redis: &Redis) -> Entries {
    let mut entries: Entries = Vec::new();
    entries.extend(redis.user.as_ref().map(|user| ("user", text(user))));
    entries.extend(
        redis
            .password
            .as_ref()
            .map(|p| ("password", Value::Secret(p.reveal().to_owned()))),
    );
    entries.extend(redis.role.map(|role| ("role", word(&role, REDIS_ROLES))));
    entries.extend(redis.tls.as_ref().map(|tls| ("tls", tls_value(tls))));
    entries
}

fn of_grpc(grpc: &Grpc) -> Entries {
    let mut entries: Entries = Vec::new();
    entries.extend((!grpc.service.is_empty()).then(|| ("service", text(&grpc.service))));
    entries.extend(grpc.host.as_ref().map(|host| ("host", text(host))));
    entries.extend(grpc.tls.as_ref().map(|tls| ("tls", tls_value(tls))));
    entries
}

fn quorum(rules: &Rules) -> Value {
    let mut entries: Entries = vec![("weight", plain(rules.quorum))];
    entries.extend((rules.hysteresis != 0).then(|| ("hysteresis", plain(rules.hysteresis))));
    entries.extend(
        rules
            .quorum_up
            .as_deref()
            .map(|up| ("on_up", command(Some(up)))),
    );
    entries.extend(
        rules
            .quorum_down
            .as_deref()
            .map(|down| ("on_down", command(Some(down)))),
    );
    if let [(_, weight)] = entries.as_slice() {
        return weight.clone();
    }
    Value::Map(entries)
}

fn sorry(sorry: Option<Sorry>, usual: Method) -> Value {
    let Some(Sorry { id, method }) = sorry else {
        return plain("none");
    };
    let address = if id.port() == 0 {
        text(&id.ip())
    } else {
        text(&id)
    };
    if method == usual {
        return address;
    }
    Value::Map(vec![
        ("address", address),
        ("method", plain(method_name(method))),
    ])
}

fn damping(rule: Option<Damping>) -> Value {
    let Some(Damping {
        failures,
        within,
        hold,
    }) = rule
    else {
        return plain("off");
    };
    Value::Map(vec![
        ("failures", plain(failures)),
        ("within", plain(Written(within))),
        ("hold", plain(Written(hold))),
    ])
}

fn command(command: Option<&Command>) -> Value {
    match command {
        None => plain("none"),
        Some(Command {
            argv,
            user,
            timeout,
        }) => {
            let time = (*timeout != NOTIFY_TIMEOUT).then(|| plain(Written(*timeout)));
            program(argv, user.as_deref(), time)
        }
    }
}

/// A program: its path alone, a list, or keys.
fn program(argv: &[String], user: Option<&str>, timeout: Option<Value>) -> Value {
    let line = one_or_list(argv.iter().map(text).collect()).unwrap_or(Value::List(Vec::new()));
    if user.is_none() && timeout.is_none() {
        return line;
    }
    let mut entries: Entries = vec![("command", line)];
    entries.extend(user.map(|user| ("user", text(user))));
    entries.extend(timeout.map(|timeout| ("timeout", timeout)));
    Value::Map(entries)
}

/// One value without the list around it; `None` if there is none.
fn one_or_list(mut values: Vec<Value>) -> Option<Value> {
    match values.len() {
        0 => None,
        1 => values.pop(),
        _ => Some(Value::List(values)),
    }
}

fn text(value: &(impl ToString + ?Sized)) -> Value {
    Value::Text(value.to_string())
}

fn word<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> Value {
    let found = words.iter().find(|(_, known)| known == value);
    plain(found.map_or("", |(name, _)| name))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
