//! What health tells people and programs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Command;
use crate::core::desired::ServiceId;

/// Something that has happened to a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Which service.
    pub service: ServiceId,
    /// Its name.
    pub name: Arc<str>,
    /// Which of its real servers, if it is about one.
    pub real: Option<SocketAddr>,
    /// What.
    pub what: What,
}

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A check has failed often enough.
    CheckDown {
        /// Its name.
        check: String,
        /// The latest answer.
        why: String,
    },
    /// A check has passed often enough.
    CheckUp {
        /// Its name.
        check: String,
        /// The latest answer.
        why: String,
    },
    /// The real server left the pool.
    Down {
        /// Which checks are down, and what they say.
        why: String,
    },
    /// The real server came into the pool.
    Up {
        /// How long it was out.
        after: Duration,
    },
    /// The real server is well, but comes and goes: it is kept out for a while.
    Held {
        /// For how long, if it stays well.
        wait: Duration,
    },
    /// Too little of the service is alive.
    QuorumLost {
        /// The sum of live weights.
        sum: u64,
        /// What it should be.
        quorum: u32,
    },
    /// Enough of the service is alive.
    QuorumGained {
        /// The sum of live weights.
        sum: u64,
        /// What it should be.
        quorum: u32,
    },
    /// The sorry server serves.
    SorryIn(SocketAddr),
    /// The sorry server does not serve any more.
    SorryOut(SocketAddr),
}

impl What {
    /// A word for the kind, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CheckDown { .. } => "check_down",
            Self::CheckUp { .. } => "check_up",
            Self::Down { .. } => "down",
            Self::Up { .. } => "up",
            Self::Held { .. } => "held",
            Self::QuorumLost { .. } => "quorum_lost",
            Self::QuorumGained { .. } => "quorum_gained",
            Self::SorryIn(_) => "sorry_in",
            Self::SorryOut(_) => "sorry_out",
        }
    }

    /// Whether somebody should look.
    pub fn is_bad(&self) -> bool {
        matches!(
            self,
            Self::Down { .. } | Self::Held { .. } | Self::QuorumLost { .. } | Self::SorryIn(_)
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service `{}`: ", self.name)?;
        if let Some(real) = self.real {
            write!(f, "real {real}: ")?;
        }
        match &self.what {
            What::CheckDown { check, why } => write!(f, "check `{check}` is down: {why}"),
            What::CheckUp { check, why } => write!(f, "check `{check}` is up: {why}"),
            What::Down { why } => write!(f, "down: {why}"),
            What::Up { after } => write!(f, "up after {} s", after.as_secs()),
            What::Held { wait } => {
                write!(
                    f,
                    "well, but it comes and goes: kept out until it was well for {} s",
                    wait.as_secs()
                )
            }
            What::QuorumLost { sum, quorum } => {
                write!(f, "quorum lost: live weight {sum}, quorum {quorum}")
            }
            What::QuorumGained { sum, quorum } => {
                write!(f, "quorum gained: live weight {sum}, quorum {quorum}")
            }
            What::SorryIn(sorry) => write!(f, "sorry server {sorry} serves"),
            What::SorryOut(sorry) => {
                write!(f, "sorry server {sorry} leaves, real servers serve again")
            }
        }
    }
}

/// A program to run because of an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The program.
    pub command: Arc<Command>,
    /// What it is told of.
    pub event: Event,
}
