//! What is known of one check of one real server?

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::{Check, Verdict};
use super::verdict::RiseFall;

/// How many recent answers are kept for the eye.
pub const HISTORY: usize = 20;

/// Tells checks apart, also from former ones: an answer that comes too late finds nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CheckId(pub(super) u64);

/// The answer to a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Whether it is a good one.
    pub passed: bool,
    /// What was answered, or why not, in words.
    pub words: String,
    /// How long it took.
    pub latency: Duration,
    /// The weight that the answer asks for.
    pub weight: Option<u16>,
}

/// A check with its verdict.
#[derive(Clone, Debug)]
pub(super) struct CheckState {
    pub(super) id: CheckId,
    pub(super) check: Arc<Check>,
    pub(super) machine: RiseFall,
    /// Since when the verdict is this.
    pub(super) since: Instant,
    pub(super) last: Option<(Instant, Outcome)>,
    /// The weight that the latest good answer asked for.
    pub(super) weight: Option<u16>,
    /// Latencies of recent answers, the latest last; `None` for a failure.
    pub(super) history: VecDeque<Option<Duration>>,
    pub(super) passes: u64,
    pub(super) failures: u64,
    /// When the probe on its way was started.
    pub(super) started: Option<Instant>,
}

impl CheckState {
    pub(super) fn new(
        id: CheckId,
        check: Arc<Check>,
        verdict: Verdict,
        weight: Option<u16>,
        now: Instant,
    ) -> Self {
        let machine = RiseFall::new(check.timing.rise, check.timing.fall, verdict);
        Self {
            id,
            check,
            machine,
            since: now,
            last: None,
            weight,
            history: VecDeque::new(),
            passes: 0,
            failures: 0,
            started: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.machine.verdict() == Verdict::Up
    }

    /// Takes an answer. `Some` is a new verdict.
    pub(super) fn answer(&mut self, outcome: Outcome, now: Instant) -> Option<Verdict> {
        let change = self.machine.answer(outcome.passed);
        if change.is_some() {
            self.since = now;
        }
        if outcome.passed {
            self.passes += 1;
            // A failure says nothing about weights: until it is a verdict, the last one holds.
            self.weight = outcome.weight;
        } else {
            self.failures += 1;
        }
        self.history
            .push_back(outcome.passed.then_some(outcome.latency));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.last = Some((now, outcome));
        change
    }

    /// When the next probe is due, after one that started then and was answered now.
    ///
    /// That may be past: an answer that waited to be heard makes the next probe late, and its lateness is to be known.
    /// Only a retry cannot be due before the failure that it follows.
    pub(super) fn next_after(&self, started: Instant, now: Instant) -> Instant {
        let timing = &self.check.timing;
        let falling = self.is_up() && self.machine.progress().0 > 0;
        match timing.retry {
            Some(retry) if falling => (started + retry).max(now),
            _ => started + timing.interval,
        }
    }

    /// The words of the latest answer.
    pub(super) fn words(&self) -> &str {
        self.last
            .as_ref()
            .map_or("no answer yet", |(_, outcome)| &outcome.words)
    }
}
