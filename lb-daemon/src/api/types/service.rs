//! Virtual services and their real servers, as listed and as changed.

use serde::{Deserialize, Deserializer, Serialize};

use super::TimeoutsPatch;

/// The transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodName {
    /// Direct routing (`-g`).
    Dr,
    /// IP-in-IP tunnel (`-i`).
    Tun,
    /// Network address translation (`-m`).
    Nat,
    /// The real server is the director itself; never asked for, only shown.
    Local,
}

/// What a packet must match to belong to a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The transport protocol.
    pub protocol: Protocol,
    /// `192.0.2.1:80`, `[2001:db8::1]:80`, or a network `10.20.0.0/16:80`. Port 0 is all ports.
    pub address: String,
}

/// `tcp 192.0.2.1:80`
impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.protocol.name(), self.address)
    }
}

/// Clients stay with their real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// For how long after a client's last connection was opened, in seconds.
    pub timeout: u64,
    /// How many leading bits of its address make a client; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<u8>,
    /// Whether clients leave a real server once its weight is 0; absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leave_quiesced: Option<bool>,
}

/// How long connections are kept without a packet, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// An established TCP connection.
    pub tcp: u64,
    /// A TCP connection after a FIN.
    pub tcp_fin: u64,
    /// A UDP flow.
    pub udp: u64,
}

/// A virtual service as it runs now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it serves.
    #[serde(flatten)]
    pub listener: Listener,
    /// What else it serves, sharing real servers, scheduler state and persistence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Listener>,
    /// How a real server is chosen.
    pub scheduler: String,
    /// Options of the scheduler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduler_flags: Vec<String>,
    /// Clients stay with their real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Every datagram is scheduled by itself.
    #[serde(default)]
    pub one_packet: bool,
    /// The timeouts that hold for it.
    pub timeouts: Timeouts,
    /// Whether the timeouts are its own, not the director's.
    #[serde(default)]
    pub own_timeouts: bool,
    /// The method of real servers that are added without one.
    pub method: MethodName,
    /// Its real servers, in the order of adding.
    pub reals: Vec<Real>,
}

/// A real server of a service as it runs now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Real {
    /// Its address and port.
    pub address: String,
    /// How packets reach it.
    pub method: MethodName,
    /// Its share as configured; 0: no new connections.
    pub weight: u16,
    /// Its share in place of that, as its checks ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_weight: Option<u16>,
    /// At so many connections it gets no more; 0: no limit.
    #[serde(default)]
    pub upper: u32,
    /// Below so many it gets connections again; 0: three quarters of `upper`.
    #[serde(default)]
    pub lower: u32,
    /// What it is doing.
    pub state: RealState,
    /// Connections that count as active.
    pub active: u32,
    /// Connections that are closing or of UDP.
    pub inactive: u32,
    /// Persistence templates that point to it.
    #[serde(default)]
    pub persistent: u32,
}

/// What a real server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RealState {
    /// Gets connections.
    Up,
    /// Weight 0: keeps its connections and gets no new ones.
    Quiesced,
    /// Has reached its upper threshold.
    Full,
    /// Found dead by a health check.
    Down,
    /// Well, but the quorum is lost and the sorry server serves.
    Aside,
    /// The sorry server, which serves.
    Sorry,
    /// Its next hop is not known; with DR and TUN its packets are dropped until it is.
    Unresolved,
    /// Taken out of use by a drain: keeps its connections and gets no new ones.
    Draining,
    /// Removed; forwards its last connections.
    Removed,
}

impl RealState {
    /// As the API and tables write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Quiesced => "quiesced",
            Self::Full => "full",
            Self::Down => "down",
            Self::Aside => "aside",
            Self::Sorry => "sorry",
            Self::Unresolved => "unresolved",
            Self::Draining => "draining",
            Self::Removed => "removed",
        }
    }
}

/// `POST /v1/services`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddService {
    /// The transport protocol.
    pub protocol: Protocol,
    /// What it serves; see [`Listener::address`].
    pub address: String,
    /// What else it serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Listener>,
    /// Its name; absent: made from protocol, address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How a real server is chosen; absent: the default of the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Options of the scheduler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduler_flags: Vec<String>,
    /// Clients stay with their real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Every datagram is scheduled by itself.
    #[serde(default)]
    pub one_packet: bool,
    /// Timeouts of its own; those absent are the director's.
    #[serde(default, skip_serializing_if = "TimeoutsPatch::is_empty")]
    pub timeouts: TimeoutsPatch,
    /// The method of real servers that are added without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodName>,
    /// Real servers, all added at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reals: Vec<AddReal>,
}

/// `PATCH /v1/services/{service}`: what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditService {
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Another scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Other options of the scheduler, all of them; an empty list takes them away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_flags: Option<Vec<String>>,
    /// Another persistence; `null` ends it.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub persistence: Option<Option<Persistence>>,
    /// Schedule every datagram by itself, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_packet: Option<bool>,
    /// Other timeouts of its own; `null` takes them away.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeouts: Option<Option<TimeoutsPatch>>,
    /// Another method for real servers that are added without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodName>,
}

/// `POST /v1/services/{service}/reals`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddReal {
    /// Its address, with or without a port; without: the service's.
    pub address: String,
    /// How packets reach it; absent: the service's method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodName>,
    /// Its share, 0 to 65535; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// At so many connections it gets no more; absent or 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<u32>,
    /// Below so many it gets connections again; absent or 0: three quarters of `upper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<u32>,
}

/// `PATCH /v1/services/{service}/reals/{real}`: what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditReal {
    /// Another method. Connections made before keep the old one until they end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodName>,
    /// Another weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Another upper threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<u32>,
    /// Another lower threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<u32>,
}

/// What is left of a real server that drains, or was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Its service.
    pub service: String,
    /// Its address and port.
    pub address: String,
    /// Connections that count as active.
    pub active: u32,
    /// Connections that are closing or of UDP.
    pub inactive: u32,
    /// Of both, those that may have something to say yet. While there are any, the server should not be stopped.
    pub open: u32,
}

/// `POST /v1/drain`, `DELETE /v1/drain`: which real server gets no new connections, or gets them again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Its address; without a port, at each of its ports.
    pub real: String,
    /// Only in this service; absent: in each that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// A field that is there, be it `null`: tells `null` from absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
