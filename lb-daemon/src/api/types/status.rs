//! How the director is.

use serde::{Deserialize, Serialize};

/// `GET /v1/status`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What is running.
    pub version: Versions,
    /// The daemon's process id.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime: u64,
    /// The configuration file.
    pub config: String,
    /// In how many things the running configuration differs from the file; absent when the file cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsaved: Option<usize>,
    /// Where the program is attached.
    pub interfaces: Vec<Attachment>,
    /// How full the connection table is.
    pub connections: Occupancy,
    /// Number of virtual services.
    pub services: usize,
    /// Number of real servers of all services.
    pub reals: usize,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

/// What is running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The daemon's version.
    pub lbd: String,
    /// The kernel's release.
    pub kernel: String,
    /// The number of the layout that the daemon and the data plane share.
    pub abi: u32,
}

/// The program on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The interface.
    pub interface: String,
    /// `native` or `generic`.
    pub mode: String,
    /// The program's id, as `bpftool prog` shows it.
    pub program: u32,
}

/// How full the connection table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupancy {
    /// Connections in the table.
    pub used: u64,
    /// Connections it can hold.
    pub capacity: u64,
    /// Its memory, in bytes.
    pub memory: u64,
}
