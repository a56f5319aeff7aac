//! Health checks: what is asked.

use std::path::PathBuf;

use hickory_proto::rr::{Name as DnsName, RecordType};
use hyper::Method as HttpMethod;
use hyper::header::{HeaderName, HeaderValue};

use super::super::keys::Table;
use super::super::node::{Kind, Node, shown};
use super::super::refusal::Refusal;
use super::super::value::{Wrong, number, truth, word};
use super::{Decoder, Map, Subject, keys, script};
use crate::core::health::probe::{
    BodyRule, Digest, Dns, Expect, Grpc, Http, HttpVersion, Pattern, Probe, Redis, RedisRole,
    Script, Secret, Smtp, Statuses, Tcp, Tls, Udp, Zookeeper, ZookeeperRole,
};

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

fn http_by_default(tls: Option<Tls>) -> Probe {
    Probe::Http(Box::new(Http {
        tls,
        version: HttpVersion::One,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        status: Statuses::default(),
        body: Vec::new(),
        body_limit: BODY_LIMIT,
    }))
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

    fn http(mut self, tls: Option<Tls>) -> Option<Probe> {
        let Probe::Http(mut http) = http_by_default(tls) else {
            return None;
        };
        if let Some(path) = self.alone(request_path) {
            http.path = path?;
            return Some(Probe::Http(http));
        }
        let map = self.map(&keys::HTTP)?;
        let decoder = &mut *self.decoder;
        http.path = decoder
            .value(&map, "path", request_path)
            .unwrap_or(http.path);
        http.host = decoder.value(&map, "host", host);
        http.method = decoder.value(&map, "method", method).unwrap_or(http.method);
        let words = [("1.1", HttpVersion::One), ("2", HttpVersion::Two)];
        http.version = decoder
            .value(&map, "version", |text| word(text, &words))
            .unwrap_or(http.version);
        let limit = decoder.value(&map, "body_limit", |text| number(text, 1..=4 << 20));
        http.body_limit = limit.map_or(BODY_LIMIT, |limit| limit as usize);
        http.headers = headers(decoder, &map);
        http.status = self
            .values(&map, "status", statuses)
            .map_or(http.status, Statuses::new);
        let contains = self
            .values(&map, "contains", |text| Ok(text.to_owned()))
            .unwrap_or_default();
        http.body
            .extend(contains.into_iter().map(BodyRule::Contains));
        http.body.extend(
            self.values(&map, "matches", pattern)
                .unwrap_or_default()
                .into_iter()
                .map(BodyRule::Matches),
        );
        let unwanted = self
            .values(&map, "matches_not", pattern)
            .unwrap_or_default();
        http.body
            .extend(unwanted.into_iter().map(BodyRule::MatchesNot));
        http.body.extend(
            self.decoder
                .value(&map, "digest", digest)
                .map(BodyRule::Digest),
        );
        match &mut http.tls {
            Some(tls) => *tls = self.tls_keys(&map),
            None => self.no_tls(&map),
        }
        Some(Probe::Http(http))
    }

    /// Keys of TLS where there is none.
    fn no_tls(&mut self, map: &Map<'n, 't>) {
        for key in ["sni", "ca", "verify"] {
            if let Some(node) = map.get(key) {
                let what = format!("{}`{key}` means nothing without TLS", map.subject);
                self.decoder
                    .refuse(Refusal::new(what, "write `https:`, or remove it").at(node.span));
            }
        }
    }

    fn tls_keys(&mut self, map: &Map<'n, 't>) -> Tls {
        let decoder = &mut *self.decoder;
        let tls = Tls {
            name: decoder.value(map, "sni", server_name),
            ca: decoder.value(map, "ca", path),
            verify: decoder.value(map, "verify", truth).unwrap_or(true),
        };
        if let (false, Some(_), Some(node)) = (tls.verify, &tls.ca, map.get("ca")) {
            let what = format!(
                "{}with `verify: false` no authority is asked for",
                map.subject
            );
            decoder.refuse(Refusal::new(what, "remove `ca` or `verify`").at(node.span));
        }
        tls
    }

    /// TLS below another protocol: `true`, or keys.
    fn tls(&mut self, map: &Map<'n, 't>) -> Option<Tls> {
        let node = map.get("tls")?;
        if let Kind::Scalar(_) = &node.kind {
            return self.decoder.value(map, "tls", truth)?.then(Tls::default);
        }
        let map = self.decoder.map(node, &keys::TLS, self.subject)?;
        Some(self.tls_keys(&map))
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

fn headers(decoder: &mut Decoder, map: &Map<'_, '_>) -> Vec<(String, String)> {
    let Some(node) = map.get("headers") else {
        return Vec::new();
    };
    let Kind::Map(entries) = &node.kind else {
        let what = format!(
            "{}`headers` is {}, not names with values",
            map.subject,
            node.describe()
        );
        decoder.refuse(Refusal::new(what, "write `headers: {NAME: VALUE}`").at(node.span));
        return Vec::new();
    };
    let mut headers = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let what = format!("{}`{}` is not a header", map.subject, shown(&name.text));
        let reserved = ["host", "connection", "content-length", "transfer-encoding"];
        if HeaderName::from_bytes(name.text.as_bytes()).is_err() {
            let hint = "a name has letters, digits and `-`, without spaces";
            decoder.refuse(Refusal::new(what, hint).at(name.span));
        } else if reserved.contains(&name.text.to_ascii_lowercase().as_str()) {
            let what = format!(
                "{}the header `{}` is made by the check itself",
                map.subject, name.text
            );
            decoder
                .refuse(Refusal::new(what, "remove it; `host` has a key of its own").at(name.span));
        } else {
            let value =
                decoder.scalar(
                    value,
                    "headers",
                    map.subject,
                    |text| match HeaderValue::from_str(text) {
                        Ok(_) => Ok(text.to_owned()),
                        Err(_) => Err(wrong(
                            "a value is text on one line",
                            "remove what cannot be printed",
                        )),
                    },
                );
            headers.extend(value.map(|value| (name.text.clone().into_owned(), value)));
        }
    }
    headers
}

fn wrong(takes: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong {
        takes: takes.into(),
        hint: hint.into(),
    }
}

fn request_path(text: &str) -> Result<String, Wrong> {
    let fits = text.starts_with('/') && text.parse::<hyper::Uri>().is_ok();
    if fits {
        return Ok(text.to_owned());
    }
    let hint = match text
        .strip_prefix("http")
        .and_then(|rest| rest.split_once("://"))
    {
        Some((_, rest)) => {
            let path = rest.find('/').map_or("/", |at| &rest[at..]);
            format!("write `{}`, and the name under `host`", shown(path))
        }
        None => "write `/healthz`, for example".to_owned(),
    };
    Err(wrong(
        "it takes a path that begins with `/`, without spaces",
        hint,
    ))
}

fn method(text: &str) -> Result<String, Wrong> {
    let fits = text.bytes().all(|b| b.is_ascii_uppercase())
        && HttpMethod::from_bytes(text.as_bytes()).is_ok();
    if fits && text != "CONNECT" {
        return Ok(text.to_owned());
    }
    Err(wrong(
        "it takes a method in capitals",
        "write `GET`, `HEAD` or `OPTIONS`, for example",
    ))
}

fn host(text: &str) -> Result<String, Wrong> {
    let fits =
        !text.contains(['/', '@', '?', '#']) && text.parse::<hyper::http::uri::Authority>().is_ok();
    if fits {
        return Ok(text.to_owned());
    }
    Err(wrong(
        "it takes a name, with or without a port",
        "write `www.example.com`, for example",
    ))
}

fn server_name(text: &str) -> Result<String, Wrong> {
    use tokio_rustls::rustls::pki_types::ServerName;
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(wrong(
            "it takes the name of a host",
            "write `www.example.com`, for example",
        )),
    }
}

/// An absolute path in the file system.
pub(super) fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.starts_with('/') && !text.contains('\0') {
        return Ok(text.into());
    }
    Err(wrong(
        "it takes the path of a file from `/` on",
        "write the whole path",
    ))
}

fn statuses(text: &str) -> Result<std::ops::RangeInclusive<u16>, Wrong> {
    let status =
        |text: &str| number(text.trim(), 100..=999).map(|n| u16::try_from(n).unwrap_or(u16::MAX));
    let range = match text.split_once('-') {
        Some((low, high)) => status(low)?..=status(high)?,
        None => status(text)?..=status(text)?,
    };
    if range.is_empty() {
        let hint = format!("write `{}-{}`", range.end(), range.start());
        return Err(wrong("the range is empty", hint));
    }
    Ok(range)
}

fn pattern(text: &str) -> Result<Pattern, Wrong> {
    Pattern::new(text).map_err(|error| {
        // The last line of the error says what is wrong; those before draw where.
        let text = error.to_string();
        let why = text
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .trim();
        wrong(
            format!("the regular expression does not compile: {why}"),
            "mend the expression; `\\` takes a character as it is",
        )
    })
}

fn digest(text: &str) -> Result<Digest, Wrong> {
    let takes = "it takes `sha256:` with 64 hex digits, or `md5:` with 32";
    let hint = "`sha256sum` prints it for a body that was saved with `curl -o`";
    let read = || match text.split_once(':')? {
        ("sha256", digits) => Some(Digest::Sha256(hex(digits)?.try_into().ok()?)),
        ("md5", digits) => Some(Digest::Md5(hex(digits)?.try_into().ok()?)),
        _ => None,
    };
    read().ok_or_else(|| wrong(takes, hint))
}

/// Bytes from hex digits.
fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |d: &u8| char::from(*d).to_digit(16);
    let pairs = digits.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

fn fits_datagram(bytes: Vec<u8>) -> Result<Vec<u8>, Wrong> {
    // What fits into a frame without fragments, tunnel included.
    const MOST: usize = 1400;
    if bytes.len() <= MOST {
        return Ok(bytes);
    }
    Err(wrong(
        format!("up to {MOST} bytes can be sent"),
        "send less",
    ))
}

fn domain(text: &str) -> Result<String, Wrong> {
    match DnsName::from_ascii(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(wrong(
            "it takes a domain name",
            "write `www.example.com`, for example",
        )),
    }
}

fn record(text: &str) -> Result<String, Wrong> {
    let known = text
        .parse::<RecordType>()
        .is_ok_and(|r| !matches!(r, RecordType::Unknown(_) | RecordType::ZERO));
    if known {
        return Ok(text.to_owned());
    }
    Err(wrong(
        "there is no such type of record",
        "write `A`, `AAAA`, `SOA`, `NS`, `MX`, `TXT` or another one in capitals",
    ))
}
