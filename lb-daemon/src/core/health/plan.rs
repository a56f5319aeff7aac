//! What is to be checked, and what follows from it: the health part of the configuration.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::probe::Probe;
use crate::core::desired::{Method, Scheduler, ServiceId};

/// What is checked about a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePlan {
    /// Which service.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// Its scheduler: some must not see other weights than the configured ones.
    pub scheduler: Scheduler,
    /// What follows from the state of its real servers.
    pub rules: Rules,
    /// Its real servers.
    pub reals: Vec<RealPlan>,
}

/// What is checked about a real server of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RealPlan {
    /// Which real server.
    pub id: SocketAddr,
    /// The weight that a person gave it.
    pub weight: u16,
    /// Its checks. All of them must pass.
    pub checks: Vec<Arc<Check>>,
    /// Run when it comes up.
    pub on_up: Option<Arc<Command>>,
    /// Run when it goes down.
    pub on_down: Option<Arc<Command>>,
}

/// What follows from the state of a service's real servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// What becomes of a real server that fails.
    pub on_failure: OnFailure,
    /// What becomes of its established connections.
    pub connections: DeadConnections,
    /// The weight that must be up.
    pub quorum: u32,
    /// How far the sum of weights must be above or below the quorum to change sides.
    pub hysteresis: u32,
    /// Serves while the quorum is lost.
    pub sorry: Option<Sorry>,
    /// How long a real server that returns takes to get its full share.
    pub slow_start: Option<Duration>,
    /// When a real server that comes and goes is kept out.
    pub damping: Option<Damping>,
    /// Run when the quorum is gained.
    pub quorum_up: Option<Arc<Command>>,
    /// Run when the quorum is lost.
    pub quorum_down: Option<Arc<Command>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            on_failure: OnFailure::Remove,
            connections: DeadConnections::Keep,
            quorum: 1,
            hysteresis: 0,
            sorry: None,
            slow_start: None,
            damping: Some(Damping::default()),
            quorum_up: None,
            quorum_down: None,
        }
    }
}

/// What becomes of a real server that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnFailure {
    /// It leaves the pool.
    #[default]
    Remove,
    /// It stays with weight 0: persistent clients keep coming (keepalived's `inhibit_on_failure`).
    WeightZero,
}

/// What becomes of the established connections of a real server that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DeadConnections {
    /// They go on: the check may be wrong about them.
    #[default]
    Keep,
    /// They are reset towards the client with its next packet.
    Reset,
}

/// The server that serves while the quorum is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sorry {
    /// Where it is.
    pub id: SocketAddr,
    /// How packets reach it.
    pub method: Method,
}

/// When a real server that comes and goes is kept out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damping {
    /// So many failures ...
    pub failures: u32,
    /// ... within this time ...
    pub within: Duration,
    /// ... and it is kept out until it has been well for this long.
    pub hold: Duration,
}

impl Default for Damping {
    fn default() -> Self {
        Self {
            failures: 5,
            within: Duration::from_secs(60),
            hold: Duration::from_secs(30),
        }
    }
}

/// One check of one real server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What tells it from the other checks of the real server.
    pub name: String,
    /// What is asked.
    pub probe: Probe,
    /// Where it is asked.
    pub target: Target,
    /// How often, and how many answers make a verdict.
    pub timing: Timing,
}

/// Where a probe goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To this address, as any client would.
    Address(SocketAddr),
    /// To the VIP, on the way that the service's packets take to this real server.
    Vip {
        /// The service's address.
        vip: SocketAddr,
        /// The real server.
        real: IpAddr,
        /// How packets reach it.
        method: Method,
    },
}

/// How often a check is made, and how many answers make a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// So many passes in a row bring it up.
    pub rise: u32,
    /// So many failures in a row take it down.
    pub fall: u32,
    /// From the start of a failed probe to the next while it is still up; else the interval.
    pub retry: Option<Duration>,
    /// What it is taken for until there is a verdict.
    pub initial: Verdict,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            retry: None,
            initial: Verdict::Up,
        }
    }
}

/// What a check says about a real server.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does not serve.
    Down,
    /// It serves.
    Up,
}

/// A program that is told of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The user that it runs as; else the daemon's.
    pub user: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
}
