//! What is known of real servers from before they were configured, or before the daemon was started?
//!
//! A real server that is removed and added again, or that was down when the daemon stopped, starts down. One that was up
//! when the daemon stopped goes on serving, although its checks may begin with `initial: down`. One to which a script or a
//! file had given a weight keeps it until they say something else.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use super::check::CheckState;
use super::plan::{Check, Verdict};
use super::real::Real;
use crate::core::desired::ServiceId;

/// The most real servers that are remembered.
const MOST: usize = 65_536;

/// Verdicts and weights of real servers that are not what a check would begin with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    reals: HashMap<(ServiceId, SocketAddr), Remembered>,
}

/// What is remembered of a real server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remembered {
    /// How long it had been in the pool, or out of it.
    pub lasted: Duration,
    /// Verdicts by the names of its checks.
    pub checks: BTreeMap<String, Verdict>,
    /// Weights that checks have asked for, by their names.
    pub weights: BTreeMap<String, u16>,
}

impl Memory {
    /// Remembers a real server.
    pub fn insert(&mut self, service: ServiceId, real: SocketAddr, remembered: Remembered) {
        if self.reals.len() < MOST {
            self.reals.insert((service, real), remembered);
        }
    }

    /// All that is remembered.
    pub fn iter(&self) -> impl Iterator<Item = (ServiceId, SocketAddr, &Remembered)> + '_ {
        self.reals
            .iter()
            .map(|(&(service, real), remembered)| (service, real, remembered))
    }

    /// Takes what is remembered of a real server.
    pub(super) fn take(&mut self, service: ServiceId, real: SocketAddr) -> Option<Remembered> {
        self.reals.remove(&(service, real))
    }
}

impl Remembered {
    /// What there is to remember of a real server; nothing if its checks say what they would begin with.
    pub(super) fn of(real: &Real, now: std::time::Instant) -> Option<Self> {
        let checks: BTreeMap<String, Verdict> = real
            .checks
            .iter()
            .map(|c| (c.check.name.clone(), c.machine.verdict()))
            .collect();
        let weights: BTreeMap<String, u16> = real
            .checks
            .iter()
            .filter_map(|c| Some((c.check.name.clone(), c.weight?)))
            .collect();
        let initial = |c: &CheckState| c.machine.verdict() == c.check.timing.initial;
        let as_at_first = weights.is_empty() && real.checks.iter().all(initial);
        (!as_at_first).then(|| Self {
            lasted: now.saturating_duration_since(real.since),
            checks,
            weights,
        })
    }

    /// Whether a check was down.
    pub fn is_down(&self) -> bool {
        self.checks
            .values()
            .any(|&verdict| verdict == Verdict::Down)
    }

    /// The verdict with which a check begins. A check that was not there before has to pass first on a real server that
    /// was down.
    pub(super) fn verdict(&self, check: &Check) -> Verdict {
        match self.checks.get(&check.name) {
            Some(&verdict) => verdict,
            None if self.is_down() => Verdict::Down,
            None => check.timing.initial,
        }
    }
}
