//! Whose turn is it, and when is the next?

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use super::check::CheckId;
use super::real::RealKey;

/// Turns of checks and of real servers, and the probes that are on their way.
#[derive(Debug)]
pub(super) struct Schedule {
    checks: Turns<CheckId>,
    reals: Turns<RealKey>,
    in_flight: HashSet<CheckId>,
    limit: usize,
}

impl Schedule {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            checks: Turns::default(),
            reals: Turns::default(),
            in_flight: HashSet::new(),
            limit: limit.max(1),
        }
    }

    /// A check's next turn. A check has none while its probe is on its way.
    pub(super) fn check_at(&mut self, id: CheckId, at: Instant) {
        if !self.in_flight.contains(&id) {
            self.checks.set(id, Some(at));
        }
    }

    /// A check's turn comes no later than this.
    pub(super) fn check_by(&mut self, id: CheckId, latest: Instant) {
        if self.checks.get(id).is_some_and(|at| at > latest) {
            self.checks.set(id, Some(latest));
        }
    }

    /// When a check's next turn is.
    pub(super) fn check_turn(&self, id: CheckId) -> Option<Instant> {
        self.checks.get(id)
    }

    /// A real server's next turn, if it has one.
    pub(super) fn real_at(&mut self, key: RealKey, at: Option<Instant>) {
        self.reals.set(key, at);
    }

    /// Takes the next check that is due, unless as many probes are on their way as may be.
    pub(super) fn next_check(&mut self, now: Instant) -> Option<(CheckId, Instant)> {
        if self.in_flight.len() >= self.limit {
            return None;
        }
        self.checks.take(now)
    }

    /// Takes the next real server that is due.
    pub(super) fn next_real(&mut self, now: Instant) -> Option<RealKey> {
        self.reals.take(now).map(|(key, _)| key)
    }

    /// A probe is on its way.
    pub(super) fn started(&mut self, id: CheckId) {
        self.in_flight.insert(id);
    }

    /// A probe was answered.
    pub(super) fn finished(&mut self, id: CheckId) {
        self.in_flight.remove(&id);
    }

    /// How many probes are on their way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Drops the turns of those that are gone. Their probes stay counted until they are answered.
    pub(super) fn retain(
        &mut self,
        checks: impl Fn(&CheckId) -> bool,
        reals: impl Fn(&RealKey) -> bool,
    ) {
        self.checks.retain(checks);
        self.reals.retain(reals);
    }

    /// When something is due next. While no more probes may start, only an answer lets the next one go.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let checks = if self.in_flight.len() < self.limit {
            self.checks.first()
        } else {
            None
        };
        [checks, self.reals.first()].into_iter().flatten().min()
    }
}

/// One turn each.
#[derive(Debug)]
struct Turns<K> {
    queue: BTreeSet<(Instant, K)>,
    at: HashMap<K, Instant>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self {
            queue: BTreeSet::new(),
            at: HashMap::new(),
        }
    }
}

impl<K: Copy + Ord + std::hash::Hash> Turns<K> {
    fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.at.insert(key, at),
            None => self.at.remove(&key),
        };
        if let Some(before) = before {
            self.queue.remove(&(before, key));
        }
        self.queue.extend(at.map(|at| (at, key)));
    }

    fn get(&self, key: K) -> Option<Instant> {
        self.at.get(&key).copied()
    }

    fn first(&self) -> Option<Instant> {
        self.queue.first().map(|&(at, _)| at)
    }

    fn take(&mut self, now: Instant) -> Option<(K, Instant)> {
        let &(at, key) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.at.remove(&key);
        Some((key, at))
    }

    fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.queue.retain(|(_, key)| keep(key));
        self.at.retain(|key, _| keep(key));
    }
}
