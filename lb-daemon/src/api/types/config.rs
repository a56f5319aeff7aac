//! The configuration: file and running one, and what differs between them.

use serde::{Deserialize, Serialize};

/// `PATCH /v1/timeouts`, and a service's own: what is absent stays as it is. In seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeoutsPatch {
    /// An established TCP connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u64>,
    /// A TCP connection after a FIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_fin: Option<u64>,
    /// A UDP flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<u64>,
}

impl TimeoutsPatch {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `GET /v1/config/diff`: how the running configuration would have to change to be the file's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The configuration file.
    pub file: String,
    /// What `reload` would do; empty when the two agree.
    pub changes: Vec<Change>,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `+` added, `-` removed, `~` changed.
    pub sign: char,
    /// What, in words.
    pub text: String,
}

/// `POST /v1/config/reload`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a reload did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The configuration file.
    pub file: String,
    /// What changed.
    pub changes: Vec<Change>,
    /// False when this was a dry run.
    pub applied: bool,
}

/// `POST /v1/config/save`: where the running configuration went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The configuration file.
    pub file: String,
    /// What changed in it.
    pub changes: Vec<Change>,
}

/// `POST /v1/detach`: what was taken out of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Interfaces whose program was detached.
    pub interfaces: Vec<String>,
}

/// `POST /v1/config/check`: the text is a valid configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// What a reload of it would do.
    pub changes: Vec<Change>,
}
