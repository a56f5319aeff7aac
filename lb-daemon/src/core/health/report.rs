//! What is known about services, for people: `lbctl health` and the API.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::check::CheckState;
use super::plan::{Target, Verdict};
use super::ramp::STEPS;
use super::real::{self, Real};
use super::schedule::Schedule;
use super::service::Service;

/// A service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// What it serves.
    pub service: String,
    /// Whether it has its quorum.
    pub has_quorum: bool,
    /// The sum of the weights of live real servers.
    pub live_weight: u64,
    /// What it should be.
    pub quorum: u32,
    /// How far from the quorum the sum must be to change sides.
    pub hysteresis: u32,
    /// The sorry server, if there is one.
    pub sorry: Option<SorryReport>,
    /// Its real servers.
    pub reals: Vec<RealReport>,
}

/// A sorry server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SorryReport {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it serves.
    pub serves: bool,
}

/// A real server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RealReport {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether its checks keep it in the pool.
    pub place: Place,
    /// For how long, in seconds.
    pub for_seconds: f64,
    /// With `held`: how long it is kept out still, in seconds.
    pub held_seconds: Option<f64>,
    /// The weight that is configured.
    pub weight: u16,
    /// The weight that holds with its full share: what a check asked for, and 0 if a person set it to 0.
    pub full_weight: u16,
    /// How many tenths of its share it gets, while it starts slowly.
    pub share_tenths: u32,
    /// Its checks.
    pub checks: Vec<CheckReport>,
}

/// Whether a real server is in the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It is not checked.
    Unchecked,
    /// It serves.
    Up,
    /// A check of it is down.
    Down,
    /// It is well, but comes and goes, and is kept out.
    Held,
}

/// A check.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CheckReport {
    /// Its name.
    pub name: String,
    /// What kind of check it is.
    pub kind: String,
    /// Where it is asked.
    pub target: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// For how long, in seconds.
    pub for_seconds: f64,
    /// How many answers in a row speak against the verdict.
    pub against: u32,
    /// How many overturn it.
    pub needed: u32,
    /// The latest answer.
    pub last: Option<LastAnswer>,
    /// In how many seconds it is asked next; `None` while it is being asked.
    pub next_seconds: Option<f64>,
    /// Latencies of recent answers in milliseconds, the latest last; `null` for a failure.
    pub latencies_ms: Vec<Option<f64>>,
    /// How many answers were good.
    pub passes: u64,
    /// How many were not.
    pub failures: u64,
}

/// The latest answer to a check.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LastAnswer {
    /// Whether it was a good one.
    pub passed: bool,
    /// What it was, in words.
    pub words: String,
    /// How long it took, in milliseconds.
    pub latency_ms: f64,
    /// How many seconds ago it came.
    pub seconds_ago: f64,
    /// The weight that it asks for.
    pub weight: Option<u16>,
}

pub(super) fn of(service: &Service, schedule: &Schedule, now: Instant) -> ServiceReport {
    let rules = &service.plan.rules;
    ServiceReport {
        name: service.plan.name.clone(),
        service: service.plan.id.to_string(),
        has_quorum: service.quorum.has(),
        live_weight: service.live_weight(),
        quorum: rules.quorum,
        hysteresis: rules.hysteresis,
        sorry: rules.sorry.map(|sorry| SorryReport {
            address: sorry.id,
            serves: service.is_sorry(),
        }),
        reals: service
            .reals
            .iter()
            .map(|real| of_real(real, schedule, now))
            .collect(),
    }
}

fn of_real(real: &Real, schedule: &Schedule, now: Instant) -> RealReport {
    let (place, held) = match real.place {
        real::Place::In if real.checks.is_empty() => (Place::Unchecked, None),
        real::Place::In => (Place::Up, None),
        real::Place::Out => (Place::Down, None),
        real::Place::Held { until } => (Place::Held, Some(until.saturating_duration_since(now))),
    };
    RealReport {
        address: real.plan.id,
        place,
        for_seconds: seconds(real.since, now),
        held_seconds: held.map(|held| held.as_secs_f64()),
        weight: real.plan.weight,
        full_weight: real.full_weight(),
        share_tenths: real
            .ramp
            .filter(|_| real.is_in())
            .map_or(STEPS, |ramp| ramp.tenths(now)),
        checks: real
            .checks
            .iter()
            .map(|check| of_check(check, schedule, now))
            .collect(),
    }
}

fn of_check(check: &CheckState, schedule: &Schedule, now: Instant) -> CheckReport {
    let (against, needed) = check.machine.progress();
    CheckReport {
        name: check.check.name.clone(),
        kind: check.check.probe.kind().to_owned(),
        target: target(check),
        verdict: check.machine.verdict(),
        for_seconds: seconds(check.since, now),
        against,
        needed,
        last: check.last.as_ref().map(|(at, outcome)| LastAnswer {
            passed: outcome.passed,
            words: outcome.words.clone(),
            latency_ms: milliseconds(outcome.latency),
            seconds_ago: seconds(*at, now),
            weight: outcome.weight,
        }),
        next_seconds: schedule
            .check_turn(check.id)
            .map(|at| at.saturating_duration_since(now).as_secs_f64()),
        latencies_ms: check
            .history
            .iter()
            .map(|answer| answer.map(milliseconds))
            .collect(),
        passes: check.passes,
        failures: check.failures,
    }
}

fn target(check: &CheckState) -> String {
    match check.check.target {
        _ if !check.check.probe.has_target() => String::new(),
        Target::Address(address) => address.to_string(),
        Target::Vip { vip, real, .. } => format!("{vip} via {real}"),
    }
}

fn seconds(since: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(since).as_secs_f64()
}

fn milliseconds(latency: Duration) -> f64 {
    latency.as_secs_f64() * 1000.0
}
