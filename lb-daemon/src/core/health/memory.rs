//! Which real servers have failed, and are not to be trusted until they have passed their checks again?
//!
//! A real server that is removed and added again, or that was down when the daemon stopped, starts down.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use super::plan::Verdict;
use super::real::Real;
use crate::core::desired::ServiceId;

/// The most removed real servers that are remembered.
const MOST: usize = 65_536;

/// Verdicts of real servers that are down.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    down: HashMap<(ServiceId, SocketAddr), Remembered>,
}

/// What is remembered of a real server that is down.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remembered {
    /// How long it had been out of the pool.
    pub out_for: Duration,
    /// Verdicts by the names of its checks.
    pub checks: BTreeMap<String, Verdict>,
}

impl Memory {
    /// Remembers a real server that is down.
    pub fn insert(&mut self, service: ServiceId, real: SocketAddr, remembered: Remembered) {
        if self.down.len() < MOST {
            self.down.insert((service, real), remembered);
        }
    }

    /// All that is remembered.
    pub fn iter(&self) -> impl Iterator<Item = (ServiceId, SocketAddr, &Remembered)> + '_ {
        self.down
            .iter()
            .map(|(&(service, real), remembered)| (service, real, remembered))
    }

    /// Takes what is remembered of a real server.
    pub(super) fn take(&mut self, service: ServiceId, real: SocketAddr) -> Option<Remembered> {
        self.down.remove(&(service, real))
    }
}

impl Remembered {
    /// What there is to remember of a real server; nothing if it is well.
    pub(super) fn of(real: &Real, now: std::time::Instant) -> Option<Self> {
        let checks: BTreeMap<String, Verdict> = real
            .checks
            .iter()
            .map(|c| (c.check.name.clone(), c.machine.verdict()))
            .collect();
        let down = checks.values().any(|&verdict| verdict == Verdict::Down);
        down.then(|| Self {
            out_for: now.saturating_duration_since(real.since),
            checks,
        })
    }

    /// The verdict with which a check begins: a check that was not there before has to pass first.
    pub(super) fn verdict(&self, check: &str) -> Verdict {
        self.checks.get(check).copied().unwrap_or(Verdict::Down)
    }
}
