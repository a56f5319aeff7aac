//! Which real servers does a service use, and with which weights?

use std::time::Instant;

use super::plan::{DeadConnections, OnFailure, ServicePlan};
use super::quorum::Quorum;
use super::ramp::STEPS;
use super::real::Real;
use super::standing::{ServiceStanding, Standing};
use crate::core::desired::Scheduler;

/// A service with its real servers.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) plan: ServicePlan,
    pub(super) reals: Vec<Real>,
    pub(super) quorum: Quorum,
    pub(super) standing: ServiceStanding,
}

impl Service {
    pub(super) fn new(
        plan: ServicePlan,
        reals: Vec<Real>,
        before: Option<Quorum>,
        now: Instant,
    ) -> Self {
        let rules = &plan.rules;
        let sum = live_weight(&reals);
        let quorum = before.unwrap_or_else(|| Quorum::new(rules.quorum, rules.hysteresis, sum));
        let mut service = Self {
            plan,
            reals,
            quorum,
            standing: ServiceStanding::default(),
        };
        service.standing = service.stand(now);
        service
    }

    /// The sum of the weights of live real servers. A slow start does not count: the real server is there.
    pub(super) fn live_weight(&self) -> u64 {
        live_weight(&self.reals)
    }

    /// Counts again. `Some` if the quorum was gained or lost.
    pub(super) fn count(&mut self) -> Option<bool> {
        let sum = self.live_weight();
        self.quorum
            .update(self.plan.rules.quorum, self.plan.rules.hysteresis, sum)
    }

    /// Whether the sorry server has the place of the real servers.
    pub(super) fn is_sorry(&self) -> bool {
        self.plan.rules.sorry.is_some() && !self.quorum.has()
    }

    /// Lays out the pool anew. True if it is another one.
    pub(super) fn lay_out(&mut self, now: Instant) -> bool {
        let standing = self.stand(now);
        let changed = standing != self.standing;
        self.standing = standing;
        changed
    }

    fn stand(&self, now: Instant) -> ServiceStanding {
        let sorry_in = self.is_sorry();
        let scale = self.scale(now);
        let reals = self
            .reals
            .iter()
            .map(|real| (real.plan.id, self.stands(real, sorry_in, scale, now)))
            .collect();
        ServiceStanding {
            reals,
            sorry: self.plan.rules.sorry.map(|sorry| (sorry, sorry_in)),
            has_quorum: self.quorum.has(),
        }
    }

    fn stands(&self, real: &Real, sorry_in: bool, scale: u16, now: Instant) -> Standing {
        let rules = &self.plan.rules;
        let dead = !real.is_in();
        let standing = Standing {
            weight: real.full_weight(),
            out: false,
            dead,
            reset: dead && rules.connections == DeadConnections::Reset,
            asked: real.asked_weight(),
        };
        if sorry_in || dead && rules.on_failure == OnFailure::Remove {
            return Standing {
                out: true,
                ..standing
            };
        }
        if dead {
            return Standing {
                weight: 0,
                ..standing
            };
        }
        let tenths = real.ramp.map_or(STEPS, |ramp| ramp.tenths(now));
        let full = u64::from(standing.weight) * u64::from(scale);
        let part = (full * u64::from(tenths) / u64::from(STEPS)).max(standing.weight.min(1).into());
        Standing {
            weight: u16::try_from(part).unwrap_or(u16::MAX),
            ..standing
        }
    }

    /// By how much all weights are multiplied while a real server starts slowly, so that a weight of 1 can be divided.
    fn scale(&self, now: Instant) -> u16 {
        let ramping =
            |real: &Real| real.is_in() && real.ramp.is_some_and(|ramp| ramp.tenths(now) < STEPS);
        let tenths = STEPS as u16;
        let fits = |real: &Real| real.full_weight() <= u16::MAX / tenths;
        let divides = only_ratios_matter(self.plan.scheduler);
        if divides && self.reals.iter().any(ramping) && self.reals.iter().all(fits) {
            tenths
        } else {
            1
        }
    }
}

fn live_weight(reals: &[Real]) -> u64 {
    reals
        .iter()
        .filter(|real| real.is_in())
        .map(|real| u64::from(real.full_weight()))
        .sum()
}

/// Whether a scheduler chooses the same with all weights multiplied by one number.
fn only_ratios_matter(scheduler: Scheduler) -> bool {
    match scheduler {
        Scheduler::Wrr
        | Scheduler::Wlc
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Mh
        | Scheduler::Twos => true,
        // Weights count only as zero or not, or by their order.
        Scheduler::Rr | Scheduler::Lc | Scheduler::Dh | Scheduler::Fo => false,
        // A weight is a number of buckets, or of connections.
        Scheduler::Sh | Scheduler::Lblc | Scheduler::Lblcr | Scheduler::Ovf => false,
    }
}
