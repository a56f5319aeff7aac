//! What is asked of a real server, and which answer is a good one.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// One question to a real server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// A request over HTTP or HTTPS.
    Http(Box<Http>),
    /// A TCP connection, and a line or two over it.
    Tcp(Tcp),
    /// A datagram.
    Udp(Udp),
    /// A DNS query.
    Dns(Dns),
    /// An ICMP echo request.
    Ping,
    /// A greeting over SMTP.
    Smtp(Smtp),
    /// A Redis command.
    Redis(Redis),
    /// A ZooKeeper four-letter word.
    Zookeeper(Zookeeper),
    /// The gRPC health service.
    Grpc(Grpc),
    /// A program of the operator's.
    Script(Script),
    /// A number in a file.
    File(PathBuf),
}

impl Probe {
    /// The word that configures it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(http) if http.tls.is_some() => "https",
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::Dns(_) => "dns",
            Self::Ping => "ping",
            Self::Smtp(_) => "smtp",
            Self::Redis(_) => "redis",
            Self::Zookeeper(_) => "zookeeper",
            Self::Grpc(_) => "grpc",
            Self::Script(_) => "script",
            Self::File(_) => "file",
        }
    }

    /// Whether it goes over the network, to an address that can be chosen.
    pub fn has_target(&self) -> bool {
        !matches!(self, Self::Script(_) | Self::File(_))
    }
}

/// A request over HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http {
    /// Over TLS.
    pub tls: Option<Tls>,
    /// The version of the protocol.
    pub version: HttpVersion,
    /// The request method.
    pub method: String,
    /// The path and query.
    pub path: String,
    /// The `Host` header, or `:authority`; else the address that is connected to.
    pub host: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Statuses that are good.
    pub status: Statuses,
    /// What the body must be; all of these.
    pub body: Vec<BodyRule>,
    /// How much of the body is read.
    pub body_limit: usize,
}

/// A version of HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    One,
    /// HTTP/2; without TLS by prior knowledge.
    Two,
}

/// Statuses of HTTP, as single ones and ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

impl Statuses {
    /// These statuses.
    pub fn new(ranges: Vec<RangeInclusive<u16>>) -> Self {
        Self(ranges)
    }

    /// Whether this one is among them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }

    /// The ranges, as configured.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![200..=299])
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

/// What a body must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodyRule {
    /// It has this text in it.
    Contains(String),
    /// It matches.
    Matches(Pattern),
    /// It does not match.
    MatchesNot(Pattern),
    /// It has this digest.
    Digest(Digest),
}

/// The digest of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Digest {
    /// MD5, as keepalived's `genhash` makes it.
    Md5([u8; 16]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// A regular expression over bytes.
#[derive(Clone, Debug)]
pub struct Pattern(regex::bytes::Regex);

impl Pattern {
    /// Compiles it; its size is bounded.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        let limit = 1 << 20;
        let regex = regex::bytes::RegexBuilder::new(text)
            .size_limit(limit)
            .dfa_size_limit(limit)
            .build()?;
        Ok(Self(regex))
    }

    /// Whether it is found in `bytes`.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

/// Over TLS, and whom to trust.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// The name that is asked for and that the certificate must be for; else the host or the address.
    pub name: Option<String>,
    /// The file with the certificates of authorities to trust; else the system's.
    pub ca: Option<PathBuf>,
    /// Whether the certificate is verified.
    pub verify: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            name: None,
            ca: None,
            verify: true,
        }
    }
}

/// A good answer in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    /// It has these bytes in it.
    Contains(Vec<u8>),
    /// It matches.
    Matches(Pattern),
}

impl Expect {
    /// Whether `answer` is good.
    pub fn is_met(&self, answer: &[u8]) -> bool {
        match self {
            Self::Contains(bytes) => contains(answer, bytes),
            Self::Matches(pattern) => pattern.is_match(answer),
        }
    }
}

/// Whether `needle` is somewhere in `hay`.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || hay.windows(needle.len()).any(|window| window == needle)
}

/// A TCP connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tcp {
    /// Over TLS.
    pub tls: Option<Tls>,
    /// What to send first.
    pub send: Option<Vec<u8>>,
    /// What must come back.
    pub expect: Option<Expect>,
}

/// A datagram.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Udp {
    /// What to send.
    pub send: Vec<u8>,
    /// What must come back. Without it silence is good, and only an ICMP error is not.
    pub expect: Option<Expect>,
}

/// A DNS query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dns {
    /// The name to ask for.
    pub name: String,
    /// The type of record to ask for, as in a zone file.
    pub record: String,
    /// Values of which one must be among the answers; if empty any answer without error is good.
    pub expect: Vec<String>,
    /// Asked over TCP.
    pub tcp: bool,
}

/// A greeting over SMTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Smtp {
    /// The name that the director gives.
    pub helo: String,
}

/// A Redis command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Redis {
    /// Over TLS.
    pub tls: Option<Tls>,
    /// The user to authenticate as.
    pub user: Option<String>,
    /// The password to authenticate with.
    pub password: Option<Secret>,
    /// The role that it must have.
    pub role: Option<RedisRole>,
}

/// A role in Redis replication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RedisRole {
    /// It takes writes.
    Master,
    /// It follows a master, and the link to it is up.
    Replica,
}

/// A ZooKeeper four-letter word: `ruok`, or `srvr` to learn the role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Zookeeper {
    /// The role that it must have.
    pub role: Option<ZookeeperRole>,
}

/// A role in a ZooKeeper ensemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZookeeperRole {
    /// It orders writes.
    Leader,
    /// It follows the leader.
    Follower,
}

/// The gRPC health service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grpc {
    /// Over TLS.
    pub tls: Option<Tls>,
    /// The service that is asked about; empty for the server as a whole.
    pub service: String,
    /// The `:authority`; else the address that is connected to.
    pub host: Option<String>,
}

/// A program of the operator's.
///
/// It is up with exit status 0, down with 1, and up with weight `status - 2` from 2 to 255.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The user that it runs as; else the daemon's.
    pub user: Option<String>,
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whom it is meant.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_as_they_are_written() {
        let some = Statuses::new(vec![200..=204, 301..=301]);
        assert_eq!(some.to_string(), "200-204, 301");
        assert!(some.contains(200) && some.contains(204) && some.contains(301));
        assert!(!some.contains(205) && !some.contains(302) && !some.contains(199));
        assert!(Statuses::default().contains(299) && !Statuses::default().contains(300));
    }

    #[test]
    fn an_answer_may_have_anything_around_what_is_expected() {
        let expect = Expect::Contains(b"PONG".to_vec());
        assert!(expect.is_met(b"+PONG\r\n") && expect.is_met(b"PONG"));
        assert!(!expect.is_met(b"PON") && !expect.is_met(b""));
        assert!(Expect::Contains(vec![]).is_met(b""));
        assert!(Expect::Matches(Pattern::new("^220 ").unwrap()).is_met(b"220 mail ready"));
    }

    #[test]
    fn a_pattern_that_would_take_much_memory_is_refused() {
        assert!(Pattern::new("a{1000}{1000}{1000}").is_err());
        assert!(Pattern::new("(").is_err());
        assert_eq!(Pattern::new("a+").unwrap(), Pattern::new("a+").unwrap());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let redis = Redis {
            password: Some(Secret::new("hunter2".into())),
            ..Redis::default()
        };
        assert!(!format!("{redis:?}").contains("hunter2"));
    }
}
