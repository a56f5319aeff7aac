//! What was counted, and how fast it grows.

use serde::{Deserialize, Serialize};

use super::Listener;

/// `GET /v1/stats`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// All services together.
    pub totals: Totals,
    /// All services together, per second.
    pub rates: Rates,
    /// Each service.
    pub services: Vec<ServiceStats>,
    /// How packets ended: every packet is in exactly one of these.
    pub counters: Vec<CounterValue>,
}

/// What one service was sent and sent back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStats {
    /// Its name.
    pub name: String,
    /// What it serves.
    #[serde(flatten)]
    pub listener: Listener,
    /// Since it was added, or since the counters were zeroed.
    pub totals: Totals,
    /// Per second.
    pub rates: Rates,
    /// Each of its real servers.
    pub reals: Vec<RealStats>,
}

/// What one real server was sent and sent back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealStats {
    /// Its address and port.
    pub address: String,
    /// Since it was added, or since the counters were zeroed.
    pub totals: Totals,
    /// Per second.
    pub rates: Rates,
}

/// Connections, packets and bytes. With DR and TUN replies do not pass the director: `out_*` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Connections scheduled.
    pub conns: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
}

/// The same per second: an average that follows as IPVS's does, a quarter of the way every two seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Connections scheduled a second.
    pub conns: u64,
    /// Packets from clients a second.
    pub in_packets: u64,
    /// Packets to clients a second.
    pub out_packets: u64,
    /// Bytes from clients a second.
    pub in_bytes: u64,
    /// Bytes to clients a second.
    pub out_bytes: u64,
}

/// One way in which packets ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterValue {
    /// Its name.
    pub name: String,
    /// What it says of a packet.
    pub about: String,
    /// Packets.
    pub packets: u64,
}
