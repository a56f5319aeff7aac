//! Is a real server in the pool, and with which share?
//!
//! ```text
//!                 a check is down
//!        In ---------------------------> Out <------+
//!        ^                               | |        | a check is down
//!        +-------------------------------+ +-----> Held
//!        |        all checks are up         all up,  |
//!        |                                  flapping |
//!        +-------------------------------------------+
//!                 well for long enough
//! ```

use std::time::Instant;

use super::check::CheckState;
use super::damping::Flaps;
use super::plan::{RealPlan, Rules};
use super::ramp::Ramp;

/// Tells real servers apart, also from former ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct RealKey(pub(super) u64);

/// Whether a real server is in the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// It serves.
    In,
    /// A check of it is down.
    Out,
    /// All checks are up, but it has come and gone too often.
    Held {
        /// When it comes in, if it stays well.
        until: Instant,
    },
}

/// A real server with its checks.
#[derive(Clone, Debug)]
pub(super) struct Real {
    pub(super) key: RealKey,
    pub(super) plan: RealPlan,
    pub(super) checks: Vec<CheckState>,
    pub(super) place: Place,
    /// Since when it is in the pool, or is not.
    pub(super) since: Instant,
    well_since: Instant,
    flaps: Flaps,
    pub(super) ramp: Option<Ramp>,
}

impl Real {
    pub(super) fn new(key: RealKey, plan: RealPlan, checks: Vec<CheckState>, now: Instant) -> Self {
        let well = checks.iter().all(CheckState::is_up);
        Self {
            key,
            plan,
            checks,
            place: if well { Place::In } else { Place::Out },
            since: now,
            well_since: now,
            flaps: Flaps::default(),
            ramp: None,
        }
    }

    pub(super) fn is_in(&self) -> bool {
        self.place == Place::In
    }

    /// Looks at the checks and the time. `Some` is a new place.
    pub(super) fn settle(&mut self, rules: &Rules, now: Instant) -> Option<Place> {
        let well = self.checks.iter().all(CheckState::is_up);
        let to = match (self.place, well) {
            (Place::In, true) | (Place::Out, false) => return None,
            (Place::In | Place::Held { .. }, false) => {
                self.flaps.failed(rules.damping, now);
                Place::Out
            }
            (Place::Out, true) => {
                self.well_since = now;
                self.come_in(rules, now)
            }
            (Place::Held { .. }, true) => self.come_in(rules, now),
        };
        if to == self.place {
            return None;
        }
        let moved = self.is_in() != (to == Place::In);
        self.place = to;
        if moved {
            self.since = now;
            let returns = rules.slow_start.filter(|_| to == Place::In);
            self.ramp = returns.map(|length| Ramp::new(length, now));
        }
        Some(to)
    }

    fn come_in(&self, rules: &Rules, now: Instant) -> Place {
        let held = self.flaps.held_until(rules.damping, self.well_since, now);
        held.map_or(Place::In, |until| Place::Held { until })
    }

    /// When [`Real::settle`] has to look again although no check says anything.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        match self.place {
            Place::Held { until } => Some(until),
            Place::In => self.ramp.and_then(|ramp| ramp.next_step(now)),
            Place::Out => None,
        }
    }

    /// The weight when it has its full share.
    pub(super) fn full_weight(&self) -> u16 {
        self.asked_weight().unwrap_or(self.plan.weight)
    }

    /// The weight that its checks ask for: the smallest. A person's 0 stays.
    pub(super) fn asked_weight(&self) -> Option<u16> {
        let asked = self.checks.iter().filter_map(|check| check.weight).min();
        asked.filter(|_| self.plan.weight > 0)
    }

    /// Why it is out, in words.
    pub(super) fn why(&self) -> String {
        let down: Vec<String> = self
            .checks
            .iter()
            .filter(|check| !check.is_up())
            .map(|check| format!("{}: {}", check.check.name, check.words()))
            .collect();
        down.join("; ")
    }
}
