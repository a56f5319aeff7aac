//! How is what a model says written, key by key?
//!
//! The writer of files and the comparison of models both read this, so that both speak of a thing in the words of
//! the file.

mod health;
mod vrrp;

use std::fmt;

pub(crate) use vrrp::virtual_router;

use super::decode::MODES;
use super::model::{
    Api, Limits, Model, OwnTimeouts, Real, Service, default_name, default_scheduler, method_name,
    proto_name,
};
use super::value::{Endpoint, Written};
use crate::core::desired::{
    Connections, Forwarding, Persistence, Scheduler, SchedulerFlags, ServiceId, Timeouts, XdpMode,
    full_prefix,
};

/// A value as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number, a duration, a word of ours: as it is.
    Plain(String),
    /// A text that somebody chose: with quotes where it needs them.
    Text(String),
    /// A list on one line.
    List(Vec<Value>),
    /// Keys and values on one line.
    Map(Vec<(&'static str, Value)>),
    /// Names that somebody chose, with values, on one line.
    Names(Vec<(String, Value)>),
    /// A text that is written to files and shown nowhere else.
    Secret(String),
}

impl Value {
    /// The value as a file has it, secrets and all.
    #[must_use]
    pub(crate) fn revealed(self) -> Self {
        match self {
            Self::Secret(text) => Self::Text(text),
            Self::List(items) => Self::List(items.into_iter().map(Self::revealed).collect()),
            Self::Map(entries) => Self::Map(
                entries
                    .into_iter()
                    .map(|(k, v)| (k, v.revealed()))
                    .collect(),
            ),
            Self::Names(entries) => Self::Names(
                entries
                    .into_iter()
                    .map(|(k, v)| (k, v.revealed()))
                    .collect(),
            ),
            Self::Plain(_) | Self::Text(_) => self,
        }
    }
}

/// What is said of a thing under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facet {
    /// The key.
    pub key: &'static str,
    /// What is said.
    pub value: Value,
    /// Whether the same holds when nothing is said.
    pub default: bool,
}

fn facet(key: &'static str, value: Value, default: bool) -> Facet {
    Facet {
        key,
        value,
        default,
    }
}

fn plain(value: impl fmt::Display) -> Value {
    Value::Plain(value.to_string())
}

/// What stands at the top of a file, apart from services.
pub(crate) fn top(model: &Model) -> Vec<Facet> {
    let interfaces: Vec<Value> = model.interfaces.iter().cloned().map(Value::Text).collect();
    vec![
        facet(
            "interfaces",
            Value::List(interfaces),
            model.interfaces.is_empty(),
        ),
        facet(
            "mode",
            plain(mode_name(model.mode)),
            model.mode == XdpMode::default(),
        ),
    ]
}

/// The parts of a file that are maps by themselves.
pub(crate) fn parts(model: &Model) -> Vec<(&'static str, Vec<Facet>)> {
    vec![
        ("connections", connections(&model.connections)),
        ("limits", limits(&model.limits)),
        ("forwarding", forwarding(&model.forwarding)),
        ("api", api(&model.api)),
    ]
}

fn connections(said: &Connections) -> Vec<Facet> {
    let usual = Connections::default();
    let Timeouts { tcp, tcp_fin, udp } = said.timeouts;
    vec![
        facet("max", plain(said.max), said.max == usual.max),
        facet("tcp", plain(Written(tcp)), tcp == usual.timeouts.tcp),
        facet(
            "tcp_fin",
            plain(Written(tcp_fin)),
            tcp_fin == usual.timeouts.tcp_fin,
        ),
        facet("udp", plain(Written(udp)), udp == usual.timeouts.udp),
    ]
}

fn limits(said: &Limits) -> Vec<Facet> {
    let usual = Limits::default();
    vec![
        facet(
            "services",
            plain(said.services),
            said.services == usual.services,
        ),
        facet("reals", plain(said.reals), said.reals == usual.reals),
    ]
}

fn forwarding(said: &Forwarding) -> Vec<Facet> {
    let usual = Forwarding::default();
    let Forwarding {
        sloppy_tcp,
        conn_reuse,
        expire_nodest_conn,
        icmp_per_second,
        vip_default,
    } = *said;
    vec![
        facet(
            "sloppy_tcp",
            plain(sloppy_tcp),
            sloppy_tcp == usual.sloppy_tcp,
        ),
        facet(
            "conn_reuse_mode",
            plain(conn_reuse.mode()),
            conn_reuse == usual.conn_reuse,
        ),
        facet(
            "expire_nodest_conn",
            plain(expire_nodest_conn),
            expire_nodest_conn == usual.expire_nodest_conn,
        ),
        facet(
            "icmp_per_second",
            plain(icmp_per_second),
            icmp_per_second == usual.icmp_per_second,
        ),
        facet(
            "vip_default",
            plain(vip_default.name()),
            vip_default == usual.vip_default,
        ),
    ]
}

fn api(said: &Api) -> Vec<Facet> {
    let Api { group, others_read } = said;
    let name = group.clone().map_or_else(|| plain("none"), Value::Text);
    vec![
        facet("group", name, group.is_none()),
        facet("others_read", plain(others_read), !others_read),
    ]
}

/// What is said of a service, apart from its real servers.
pub(crate) fn service(service: &Service) -> Vec<Facet> {
    let Service {
        id,
        also,
        name,
        scheduler,
        scheduler_flags,
        persistence,
        one_packet,
        timeouts,
        udp_leaves_quiesced,
        method,
        health,
        reals: _,
    } = service;
    let proto = plain(proto_name(id.proto));
    let others: Vec<Value> = also.iter().map(|l| listener(l, id)).collect();
    let flags = flags(*scheduler, *scheduler_flags);
    let mut facets = vec![
        facet(
            "name",
            Value::Text(name.clone()),
            *name == default_name(*id),
        ),
        facet("protocol", proto, proto_name(id.proto) == "tcp"),
        facet("address", address(id), false),
        facet("also", Value::List(others), also.is_empty()),
        facet(
            "scheduler",
            plain(scheduler.name()),
            *scheduler == default_scheduler(),
        ),
        facet(
            "scheduler_flags",
            flags,
            *scheduler_flags == SchedulerFlags::default(),
        ),
        facet(
            "persistence",
            persist(*persistence, id),
            persistence.is_none(),
        ),
        facet("one_packet", plain(one_packet), !one_packet),
        facet("timeouts", own_timeouts(timeouts), timeouts.is_empty()),
        facet(
            "quiesced_udp",
            plain(if *udp_leaves_quiesced { "move" } else { "keep" }),
            !udp_leaves_quiesced,
        ),
        facet(
            "method",
            plain(method_name(*method)),
            method_name(*method) == "dr",
        ),
    ];
    facets.extend(health::of_service(health, *method));
    facets
}

fn address(id: &ServiceId) -> Value {
    let at = Endpoint {
        addr: id.addr,
        prefix: id.prefix,
        port: id.port,
    };
    Value::Text(at.to_string())
}

fn listener(listener: &ServiceId, first: &ServiceId) -> Value {
    if listener.proto == first.proto {
        return address(listener);
    }
    Value::Map(vec![
        ("protocol", plain(proto_name(listener.proto))),
        ("address", address(listener)),
    ])
}

fn flags(scheduler: Scheduler, flags: SchedulerFlags) -> Value {
    let name = scheduler.name();
    let SchedulerFlags {
        port,
        fallback,
        kernel_table,
    } = flags;
    let flag = |set: bool, flag| set.then(|| plain(format_args!("{name}-{flag}")));
    Value::List(
        [
            flag(port, "port"),
            flag(fallback, "fallback"),
            flag(kernel_table, "kernel-table"),
        ]
        .into_iter()
        .flatten()
        .collect(),
    )
}

fn persist(persistence: Option<Persistence>, id: &ServiceId) -> Value {
    match persistence {
        None => plain("none"),
        Some(Persistence {
            timeout,
            mask,
            leave_quiesced,
        }) => {
            let timeout = plain(Written(timeout));
            let said = [
                (mask != full_prefix(id.addr)).then(|| ("mask", plain(mask))),
                leave_quiesced.then(|| ("leave_quiesced", plain(true))),
            ];
            let mut keys: Vec<_> = said.into_iter().flatten().collect();
            if keys.is_empty() {
                return timeout;
            }
            keys.insert(0, ("timeout", timeout));
            Value::Map(keys)
        }
    }
}

fn own_timeouts(timeouts: &OwnTimeouts) -> Value {
    let OwnTimeouts { tcp, tcp_fin, udp } = *timeouts;
    let said = [("tcp", tcp), ("tcp_fin", tcp_fin), ("udp", udp)];
    Value::Map(
        said.into_iter()
            .filter_map(|(key, timeout)| Some((key, plain(Written(timeout?)))))
            .collect(),
    )
}

/// What is said of a real server.
pub(crate) fn real(real: &Real, of: &Service) -> Vec<Facet> {
    let Real {
        method,
        weight,
        upper,
        lower,
        ..
    } = *real;
    let checks = real.checks.as_deref();
    let name = method_name(method.unwrap_or(of.method));
    vec![
        facet("address", Value::Text(real_name(real)), false),
        facet("weight", plain(weight), weight == 1),
        facet("method", plain(name), method.is_none()),
        facet("upper", plain(upper), upper == 0),
        facet("lower", plain(lower), lower == 0),
        facet(
            "health",
            checks.map_or_else(|| plain("the service's"), health::checks),
            checks.is_none(),
        ),
    ]
}

/// A real server's address as it is written: without port 0, which nobody writes.
pub(crate) fn real_name(real: &Real) -> String {
    if real.port == 0 {
        real.addr.to_string()
    } else {
        real.id().to_string()
    }
}

fn mode_name(mode: XdpMode) -> &'static str {
    let found = MODES.iter().find(|(_, m)| *m == mode);
    found.map_or("auto", |(name, _)| *name)
}

/// As in a file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Text(text) => write_text(f, text),
            Self::Secret(_) => f.write_str("(secret)"),
            Self::List(items) => {
                f.write_str("[")?;
                for (n, item) in items.iter().enumerate() {
                    let comma = if n > 0 { ", " } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (n, (key, value)) in entries.iter().enumerate() {
                    let comma = if n > 0 { ", " } else { "" };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_str("}")
            }
            Self::Names(entries) => {
                f.write_str("{")?;
                for (n, (name, value)) in entries.iter().enumerate() {
                    let comma = if n > 0 { ", " } else { "" };
                    f.write_str(comma)?;
                    write_text(f, name)?;
                    write!(f, ": {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    if is_plain(text) {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                write!(f, "\\U{:08x}", u32::from(c))?;
            }
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// Whether any reader of YAML takes the text, without quotes, for this text.
fn is_plain(text: &str) -> bool {
    let words = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf",
    ];
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':');
    let number = text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o");
    text.bytes().all(safe)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.ends_with(':')
        && !number
        && !words.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_quotes_where_readers_would_disagree() {
        let written = |text: &str| Value::Text(text.into()).to_string();
        for plain in [
            "web",
            "192.0.2.1:80",
            "10.0.0.0/8:80",
            "tcp-192.0.2.1-80",
            "eth0.100",
        ] {
            assert_eq!(written(plain), plain);
        }
        for quoted in [
            "", "on", "Null", "1e5", "0x1f", "123", "a:", "[::1]:80", "a b", "-", "ä", "#",
        ] {
            assert_eq!(written(quoted), format!("\"{quoted}\""));
        }
        assert_eq!(written("a\"b\\\n"), r#""a\"b\\\U0000000a""#);
    }
}
