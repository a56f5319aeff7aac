//! How a request was refused, or failed: what, why, and how to mend it.

use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct Problem {
    /// What failed, and on what.
    pub error: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command or the field to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Which one of a list is meant, from 0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
    /// What sort of failure it is; not in the body, but the HTTP status.
    #[serde(skip)]
    pub kind: Kind,
}

/// The sorts of failure, each with an HTTP status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be understood, or asks for something that is not allowed (400).
    Invalid,
    /// The caller may not do this (403).
    Forbidden,
    /// What it names does not exist (404).
    NotFound,
    /// The request took too long to arrive (408).
    TooSlow,
    /// What it would add exists (409).
    Conflict,
    /// The request is too long (413).
    TooLong,
    /// It was tried and did not work (500).
    #[default]
    Failed,
    /// Too much at once; later it will work (503).
    Busy,
}

impl Kind {
    const STATUS: [(Self, u16); 8] = [
        (Self::Invalid, 400),
        (Self::Forbidden, 403),
        (Self::NotFound, 404),
        (Self::TooSlow, 408),
        (Self::Conflict, 409),
        (Self::TooLong, 413),
        (Self::Failed, 500),
        (Self::Busy, 503),
    ];

    /// The HTTP status of this sort of failure.
    pub fn status(self) -> u16 {
        Self::STATUS
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or(500, |(_, status)| *status)
    }

    /// The sort of failure of an HTTP status.
    pub fn from_status(status: u16) -> Self {
        Self::STATUS
            .iter()
            .find(|(_, s)| *s == status)
            .map_or(Self::Failed, |(kind, _)| *kind)
    }
}

impl Problem {
    /// A problem of some sort: what failed, and on what.
    pub fn new(kind: Kind, error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            why: None,
            hint: None,
            item: None,
            kind,
        }
    }

    /// The request asks for something that is not allowed.
    pub fn invalid(error: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, error)
    }

    /// What the request names does not exist.
    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, error)
    }

    /// It was tried and did not work.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::new(Kind::Failed, error)
    }

    /// With the reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
