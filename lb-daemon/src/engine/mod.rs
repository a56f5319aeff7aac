//! The one loop of the daemon: requests, network events and timers in; changes of the data plane out.
//!
//! [`Engine`] alone owns the running configuration and the data plane. Everything that wants something of it sends a
//! [`Request`] and waits for the answer, so that changes happen one after the other. A change is another
//! configuration: it is checked as a file is, the data plane is made equal to it, and it is remembered. What fails
//! before the end leaves everything as it was.

mod apply;
mod attachment;
mod command;
mod config;
mod doctor;
mod drain;
mod edit;
mod explain;
mod find;
mod health;
mod listing;
mod machine;
mod network;
mod plane;
mod reals;
mod report;
mod roles;
mod run;
mod services;
mod simulate;
mod start;
mod stations;
mod vrrp;
mod watch;
mod zero;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Instant;

pub use command::{Handle, Jobs, Request};
pub use config::{Check, Diff, Reload, Save, Text, read_file, read_text};
pub use doctor::Examine;
pub use drain::{Drain, ReadRemaining, Remaining, Undrain};
pub use explain::Explain;
pub use health::{FindChecks, ReadHealth};
pub use listing::{Connections, ReadServices, ReadStats, Zero};
pub(crate) use machine::reals as real_addresses;
pub use machine::{Machine, interfaces};
pub use network::{Later, Network};
pub use plane::Plane;
pub use reals::{Detach, EditReal, NewReal, RemoveReal};
pub use report::ReadStatus;
pub use run::{Alive, run};
pub use services::{EditService, ReadTimeouts, RemoveService, Restore};
pub use simulate::Simulate;
pub use start::{Beginning, begin};
pub use vrrp::{Failover, FollowVrrp, ReadVrrp};

use crate::api::types::Problem;
use crate::config::Model;
use crate::core::desired::XdpMode;
use crate::io::bpf::StartError;
use crate::io::health::Checks;
use crate::io::store::{Digest, Store};
use drain::Drains;
use zero::Zeroed;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The configuration file.
    pub config: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Where program and maps are pinned.
    pub pins: PathBuf,
}

/// The running configuration, the data plane that follows it, and what they stand on.
pub struct Engine {
    /// What runs.
    model: Model,
    /// What the configuration file had in it when it was last read or written.
    origin: Option<Digest>,
    /// `lbctl` has changed something since, that was not saved.
    edited: bool,
    /// The data plane; nothing after a detach.
    plane: Option<Box<dyn Plane>>,
    network: Box<dyn Network>,
    /// The health checks of the real servers.
    checks: Checks,
    store: Store,
    places: Places,
    /// Take the place of other XDP programs.
    replace: bool,
    /// Where the program was told to run.
    attached: Option<(Vec<String>, XdpMode)>,
    /// When it could not be put back to where somebody took it off.
    put_back_failed: Option<Instant>,
    started: Instant,
    /// What the operator should know, and why.
    alarms: watch::Alarms,
    zeroed: Zeroed,
    /// What the operator has taken out of use.
    drains: Drains,
    /// The virtual routers.
    roles: roles::Roles,
}

impl Engine {
    /// An engine whose data plane has been started and not been told anything yet.
    pub fn new(
        beginning: Beginning,
        plane: Box<dyn Plane>,
        network: Box<dyn Network>,
        checks: Checks,
        store: Store,
        places: Places,
        replace: bool,
    ) -> Self {
        let Beginning {
            model,
            origin,
            edited,
            warnings,
        } = beginning;
        let zeroed = Zeroed::remembered(&store);
        let drains = Drains::remembered(&store);
        Self {
            model,
            origin,
            edited,
            plane: Some(plane),
            network,
            checks,
            store,
            places,
            replace,
            attached: None,
            put_back_failed: None,
            started: crate::io::clock::now(),
            alarms: watch::Alarms::new(warnings),
            zeroed,
            drains,
            roles: roles::Roles::default(),
        }
    }

    /// Makes the data plane what the configuration says it is.
    pub async fn settle(&mut self) -> Result<(), Problem> {
        let model = self.model.clone();
        self.put(&model).await?;
        self.remember();
        Ok(())
    }

    /// Whether everything was taken out of the kernel.
    pub fn is_detached(&self) -> bool {
        self.plane.is_none()
    }

    fn plane(&self) -> Result<&dyn Plane, Problem> {
        self.plane.as_deref().ok_or_else(detached)
    }
}

fn detached() -> Problem {
    Problem::failed("the data plane was detached").hint("start lbd again: systemctl start lbd")
}

/// What to do about an error whose text ends in a hint.
pub(crate) fn problem(error: impl Into<String>, cause: &dyn std::fmt::Display) -> Problem {
    let text = cause.to_string();
    let (why, hint) = match text.split_once("hint: ") {
        Some((why, hint)) => (
            why.trim_end_matches(|c: char| c.is_whitespace() || c == ';')
                .to_owned(),
            Some(hint.to_owned()),
        ),
        None => (text, None),
    };
    Problem {
        hint,
        ..Problem::failed(error).why(why)
    }
}

/// Why the data plane could not be started, for the one who starts the daemon.
impl From<StartError> for Problem {
    fn from(err: StartError) -> Self {
        problem("cannot start the data plane", &err)
    }
}
