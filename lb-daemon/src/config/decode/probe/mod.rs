//! Health checks: what is asked.

mod http;
mod text;

use super::super::keys::Table;
use super::super::node::{Kind, Node};
use super::super::refusal::Refusal;
use super::super::value::{Wrong, word};
use super::{Decoder, Map, Subject, keys, script};
use crate::core::health::probe::{
    Dns, Expect, Grpc, Probe, Redis, RedisRole, Script, Secret, Smtp, Tcp, Tls, Udp, Zookeeper,
    ZookeeperRole,
};
use http::http_by_default;
pub(super) use text::path;
use text::{domain, fits_datagram, hex, host, pattern, record, wrong};

/// The keys that say what is asked.
pub(super) const KINDS: &[&str] = &[
    "http",
    "https",
    "tcp",
    "udp",
    "dns",
    "ping",
    "smtp",
    "redis",
    "zookeeper",
    "grpc",
    "script",
    "file",
];

/// How much of a body is read if nothing is said.
pub(in super::super) const BODY_LIMIT: usize = 64 * 1024;
/// The words of the roles.
pub(in super::super) const REDIS_ROLES: &[(&str, RedisRole)] = &[
    ("master", RedisRole::Master),
    ("replica", RedisRole::Replica),
];
/// The words of the roles.
pub(in super::super) const ZOOKEEPER_ROLES: &[(&str, ZookeeperRole)] = &[
    ("leader", ZookeeperRole::Leader),
    ("follower", ZookeeperRole::Follower),
];

/// A probe of which nothing is said but its kind.
pub(super) fn by_default(
    decoder: &mut Decoder,
    kind: &str,
    node: &Node<'_>,
    subject: Subject<'_, '_>,
) -> Option<Probe> {
    let probe = match kind {
        "http" => http_by_default(None),
        "https" => http_by_default(Some(Tls::default())),
        "tcp" => Probe::Tcp(Tcp::default()),
        "udp" => Probe::Udp(Udp::default()),
        "dns" => Probe::Dns(dns_by_default()),
        "ping" => Probe::Ping,
        "smtp" => Probe::Smtp(smtp_by_default()),
        "redis" => Probe::Redis(Redis::default()),
        "zookeeper" => Probe::Zookeeper(Zookeeper::default()),
        "grpc" => Probe::Grpc(Grpc::default()),
        _ => {
            let what = format!("{subject}`{kind}` alone does not say which");
            decoder.refuse(Refusal::new(what, format!("write `{kind}: /PATH`")).at(node.span));
            return None;
        }
    };
    Some(probe)
}

fn dns_by_default() -> Dns {
    Dns {
        name: ".".to_owned(),
        record: "SOA".to_owned(),
        expect: Vec::new(),
        tcp: false,
    }
}

fn smtp_by_default() -> Smtp {
    Smtp {
        helo: "localhost".to_owned(),
    }
}

/// A probe of this kind, from what its key says.
pub(super) fn read<'n, 't>(
    decoder: &mut Decoder,
    kind: &str,
    node: &'n Node<'t>,
    service: &'n Node<'t>,
) -> Option<Probe> {
    let kind = *KINDS.iter().find(|known| **known == kind)?;
    let subject = Subject::Probe(service, kind);
    if matches!(node.kind, Kind::Null) {
        return by_default(decoder, kind, node, subject);
    }
    let here = Here {
        decoder,
        kind,
        node,
        subject,
    };
    match kind {
        "http" => here.http(None),
        "https" => here.http(Some(Tls::default())),
        "tcp" => here.tcp(),
        "udp" => here.udp(),
        "dns" => here.dns(),
        "smtp" => here.smtp(),
        "redis" => here.redis(),
        "zookeeper" => here.zookeeper(),
        "grpc" => here.grpc(),
        "script" => {
            let (command, user) =
                script::read(here.decoder, node, "script", &keys::SCRIPT, subject)?;
            Some(Probe::Script(Script { command, user }))
        }
        "file" => here
            .decoder
            .scalar(node, kind, subject, path)
            .map(Probe::File),
        _ => here.nothing(),
    }
}

/// What is being read.
struct Here<'d, 'n, 't> {
    decoder: &'d mut Decoder,
    kind: &'static str,
    node: &'n Node<'t>,
    subject: Subject<'n, 't>,
}

impl<'n, 't> Here<'_, 'n, 't> {
    fn map(&mut self, table: &'static Table) -> Option<Map<'n, 't>> {
        self.decoder.map(self.node, table, self.subject)
    }

    /// The text that stands for the most important key.
    fn alone<T>(&mut self, read: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<Option<T>> {
        let Kind::Scalar(_) = &self.node.kind else {
            return None;
        };
        Some(
            self.decoder
                .scalar(self.node, self.kind, self.subject, read),
        )
    }

    /// One value or a list of them.
    fn values<T>(
        &mut self,
        map: &Map<'n, 't>,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let node = map.get(key)?;
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        Some(
            items
                .iter()
                .filter_map(|item| self.decoder.scalar(item, key, map.subject, &read))
                .collect(),
        )
    }

    /// What an answer must be.
    fn expect(&mut self, map: &Map<'n, 't>) -> Option<Expect> {
        let text = self
            .decoder
            .value(map, "expect", |text| Ok(text.as_bytes().to_vec()));
        let pattern = self.decoder.value(map, "matches", pattern);
        match (text, pattern, map.get("matches")) {
            (Some(_), Some(_), Some(node)) => {
                let what = format!("{}it has both `expect` and `matches`", self.subject);
                self.decoder
                    .refuse(Refusal::new(what, "remove one of the two").at(node.span));
                None
            }
            (Some(text), ..) => Some(Expect::Contains(text)),
            (None, pattern, _) => pattern.map(Expect::Matches),
        }
    }

    /// What is sent first.
    fn send(&mut self, map: &Map<'n, 't>) -> Option<Vec<u8>> {
        let text = self
            .decoder
            .value(map, "send", |text| fits_datagram(text.as_bytes().to_vec()));
        let hex = self.decoder.value(map, "send_hex", |text| {
            let bytes = hex(text).ok_or_else(|| {
                wrong(
                    "it takes hex digits, two for a byte",
                    "write `1b0000`, for example",
                )
            })?;
            fits_datagram(bytes)
        });
        if let (Some(_), Some(_), Some(node)) = (&text, &hex, map.get("send_hex")) {
            let what = format!("{}it has both `send` and `send_hex`", self.subject);
            self.decoder
                .refuse(Refusal::new(what, "remove one of the two").at(node.span));
        }
        text.or(hex)
    }

    fn tcp(mut self) -> Option<Probe> {
        let map = self.map(&keys::TCP)?;
        let send = self.send(&map);
        Some(Probe::Tcp(Tcp {
            send,
            expect: self.expect(&map),
            tls: self.tls(&map),
        }))
    }

    fn udp(mut self) -> Option<Probe> {
        let map = self.map(&keys::UDP)?;
        let send = self.send(&map).unwrap_or_default();
        Some(Probe::Udp(Udp {
            send,
            expect: self.expect(&map),
        }))
    }

    fn dns(mut self) -> Option<Probe> {
        let mut dns = dns_by_default();
        if let Some(name) = self.alone(domain) {
            dns.name = name?;
            return Some(Probe::Dns(dns));
        }
        let map = self.map(&keys::DNS)?;
        dns.name = self.decoder.value(&map, "name", domain).unwrap_or(dns.name);
        dns.record = self
            .decoder
            .value(&map, "record", record)
            .unwrap_or(dns.record);
        dns.expect = self
            .values(&map, "expect", |text| Ok(text.to_owned()))
            .unwrap_or_default();
        let transports = [("udp", false), ("tcp", true)];
        dns.tcp = self
            .decoder
            .value(&map, "transport", |text| word(text, &transports))
            .unwrap_or(false);
        Some(Probe::Dns(dns))
    }

    fn smtp(mut self) -> Option<Probe> {
        let map = self.map(&keys::SMTP)?;
        let helo = self.decoder.value(&map, "helo", host);
        Some(Probe::Smtp(
            helo.map_or_else(smtp_by_default, |helo| Smtp { helo }),
        ))
    }

    fn redis(mut self) -> Option<Probe> {
        let map = self.map(&keys::REDIS)?;
        let redis = Redis {
            user: self.decoder.value(&map, "user", |text| Ok(text.to_owned())),
            password: self
                .decoder
                .value(&map, "password", |text| Ok(Secret::new(text.to_owned()))),
            role: self.decoder.value(&map, "role", |text| {
                // What `ROLE` itself says.
                word(text, REDIS_ROLES).map_err(|wrong| match text {
                    "slave" => Wrong {
                        hint: "write `replica`".to_owned(),
                        ..wrong
                    },
                    _ => wrong,
                })
            }),
            tls: self.tls(&map),
        };
        if let (Some(_), None, Some(node)) = (&redis.user, &redis.password, map.get("user")) {
            let what = format!(
                "{}a `user` without a `password` cannot authenticate",
                self.subject
            );
            self.decoder
                .refuse(Refusal::new(what, "add `password`, or remove `user`").at(node.span));
        }
        Some(Probe::Redis(redis))
    }

    fn zookeeper(mut self) -> Option<Probe> {
        let map = self.map(&keys::ZOOKEEPER)?;
        let role = self
            .decoder
            .value(&map, "role", |text| word(text, ZOOKEEPER_ROLES));
        Some(Probe::Zookeeper(Zookeeper { role }))
    }

    fn grpc(mut self) -> Option<Probe> {
        let map = self.map(&keys::GRPC)?;
        let service = self
            .decoder
            .value(&map, "service", |text| Ok(text.to_owned()))
            .unwrap_or_default();
        let host = self.decoder.value(&map, "host", host);
        Some(Probe::Grpc(Grpc {
            tls: self.tls(&map),
            service,
            host,
        }))
    }

    /// `ping` has no keys.
    fn nothing(self) -> Option<Probe> {
        match &self.node.kind {
            Kind::Map(entries) if entries.is_empty() => {}
            _ => {
                let what = format!(
                    "{}it takes nothing, and here is {}",
                    self.subject,
                    self.node.describe()
                );
                self.decoder
                    .refuse(Refusal::new(what, "write `ping:`").at(self.node.span));
                return None;
            }
        }
        Some(Probe::Ping)
    }
}
