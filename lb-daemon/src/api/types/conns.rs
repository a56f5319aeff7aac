//! Connections: one JSON object a line.

use serde::{Deserialize, Serialize};

use super::Protocol;

/// One entry of the connection table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The client's address and port (CIP).
    pub client: String,
    /// The virtual address and port (VIP).
    pub vip: String,
    /// The real server's address and port (RIP).
    pub real: String,
    /// The state, as IPVS names it.
    pub state: String,
    /// Seconds until it ends if no packet comes.
    pub expires: u32,
    /// Seconds since a packet of it was recorded; exact to a second or two.
    pub idle: u32,
}

/// The query of `GET /v1/connections`: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionFilter {
    /// A service: its name, or `tcp:ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// A real server: `ADDRESS` or `ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
    /// A client: `ADDRESS` or `ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// A state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}
