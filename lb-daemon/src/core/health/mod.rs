//! Do the real servers serve, and what follows from it?
//!
//! [`Health`] is told what to check ([`ServicePlan`]s) and what was answered, and says which probes to start, how the
//! real servers stand ([`Standings`]), whom to tell and which programs to run. It is a machine on virtual time:
//!
//! ```text
//! answer -> rise/fall of the check -> all checks of the real server -> damping, slow start -> quorum -> standing
//!            verdict.rs                real.rs                          damping.rs, ramp.rs   quorum.rs  service.rs
//! ```

mod check;
mod damping;
mod event;
mod memory;
pub mod plan;
pub mod probe;
mod quorum;
mod ramp;
mod real;
mod report;
mod schedule;
mod service;
mod standing;
mod verdict;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::desired::ServiceId;

pub use check::{CheckId, HISTORY, Outcome};
pub use event::{Event, Notice, What};
pub use memory::{Memory, Remembered};
use plan::{Check, RealPlan, ServicePlan, Verdict};
pub use report::{CheckReport, LastAnswer, Place, RealReport, ServiceReport, SorryReport};
pub use standing::{ServiceStanding, Standing, Standings};

use check::CheckState;
use real::{Real, RealKey};
use schedule::Schedule;
use service::Service;

/// How probes are scheduled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The most probes that are on their way at once. Others wait for their turn, and are late.
    pub in_flight: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { in_flight: 1024 }
    }
}

/// Something to do, or to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask. Each probe must be answered once with [`Health::answered`].
    Probe {
        /// Which check.
        id: CheckId,
        /// What to ask, and where.
        check: Arc<Check>,
        /// How much later than due it starts.
        late: Duration,
    },
    /// The standing of a service's real servers is another one.
    Standing(ServiceId),
    /// Tell people.
    Tell(Event),
    /// Run a program.
    Run(Notice),
}

/// The state of all checks, and what follows from it.
#[derive(Debug)]
pub struct Health {
    services: Vec<Service>,
    /// Where in `services` a check, or a real server, is.
    checks: HashMap<CheckId, (usize, usize, usize)>,
    reals: HashMap<RealKey, (usize, usize)>,
    schedule: Schedule,
    memory: Memory,
    rng: fastrand::Rng,
    last_id: u64,
}

impl Health {
    /// Nothing to check yet. The seed decides when first probes start.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            services: Vec::new(),
            checks: HashMap::new(),
            reals: HashMap::new(),
            schedule: Schedule::new(settings.in_flight),
            memory: Memory::default(),
            rng: fastrand::Rng::with_seed(seed),
            last_id: 0,
        }
    }

    /// Remembers what was known before, for real servers that are configured from now on.
    pub fn restore(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// What to remember: every real server whose checks do not say what they would begin with, and those that were down
    /// when they were removed.
    pub fn memory(&self, now: Instant) -> Memory {
        let mut memory = self.memory.clone();
        for service in &self.services {
            for real in &service.reals {
                if let Some(remembered) = Remembered::of(real, now) {
                    memory.insert(service.plan.id, real.plan.id, remembered);
                }
            }
        }
        memory
    }

    /// Makes these the services that are checked. What has not changed keeps its state.
    pub fn configure(&mut self, plans: Vec<ServicePlan>, now: Instant, out: &mut Vec<Effect>) {
        let mut before: HashMap<ServiceId, Service> = std::mem::take(&mut self.services)
            .into_iter()
            .map(|service| (service.plan.id, service))
            .collect();
        let mut new = Vec::new();
        for plan in plans {
            let old = before.remove(&plan.id);
            let service = self.carry_over(plan, old, now, &mut new, out);
            self.services.push(service);
        }
        for service in before.into_values() {
            for real in &service.reals {
                self.forget(service.plan.id, real, now);
            }
        }
        self.index(now);
        self.begin(new, now);
        for index in 0..self.services.len() {
            self.recount(index, now, out);
        }
    }

    /// A probe was answered.
    pub fn answered(&mut self, id: CheckId, outcome: Outcome, now: Instant, out: &mut Vec<Effect>) {
        self.schedule.finished(id);
        let Some(&(at, real_at, check_at)) = self.checks.get(&id) else {
            return;
        };
        let Some(service) = self.services.get_mut(at) else {
            return;
        };
        let Some(real) = service.reals.get_mut(real_at) else {
            return;
        };
        let Some(check) = real.checks.get_mut(check_at) else {
            return;
        };
        let asked = check.weight;
        let verdict = check.answer(outcome, now);
        let other_weight = check.weight != asked;
        let started = check.started.take().unwrap_or(now);
        self.schedule.check_at(id, check.next_after(started, now));
        // Nearly all answers change nothing.
        if let Some(verdict) = verdict {
            let (check, why) = (check.check.name.clone(), check.words().to_owned());
            let what = match verdict {
                Verdict::Up => What::CheckUp { check, why },
                Verdict::Down => What::CheckDown { check, why },
            };
            let real = real.plan.id;
            out.push(Effect::Tell(event(service, Some(real), what)));
            self.settle(at, real_at, now, out);
        }
        if verdict.is_some() || other_weight {
            self.recount(at, now, out);
        }
    }

    /// Performs what is due: starts probes, goes on with slow starts, lets those in that were kept out.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while let Some((id, due)) = self.schedule.next_check(now) {
            let Some(&(at, real_at, check_at)) = self.checks.get(&id) else {
                continue;
            };
            let check = self
                .services
                .get_mut(at)
                .and_then(|s| s.reals.get_mut(real_at)?.checks.get_mut(check_at));
            let Some(check) = check else { continue };
            check.started = Some(now);
            self.schedule.started(id);
            let late = now.saturating_duration_since(due);
            out.push(Effect::Probe {
                id,
                check: check.check.clone(),
                late,
            });
        }
        let mut touched = BTreeSet::new();
        while let Some(key) = self.schedule.next_real(now) {
            let Some(&(at, real_at)) = self.reals.get(&key) else {
                continue;
            };
            self.settle(at, real_at, now, out);
            touched.insert(at);
        }
        for at in touched {
            self.recount(at, now, out);
        }
    }

    /// When [`Health::poll`] has to be called next.
    pub fn next_at(&self) -> Option<Instant> {
        self.schedule.next_at()
    }

    /// How many probes are on their way.
    pub fn in_flight(&self) -> usize {
        self.schedule.in_flight()
    }

    /// How all real servers stand.
    pub fn standings(&self) -> Standings {
        let standing = |service: &Service| (service.plan.id, Arc::new(service.standing.clone()));
        Standings(self.services.iter().map(standing).collect())
    }

    /// The checks of a real server, of all services or of one.
    pub fn checks_of(
        &self,
        real: SocketAddr,
        service: Option<ServiceId>,
    ) -> Vec<(ServiceId, Arc<Check>)> {
        let wanted = |s: &&Service| service.is_none_or(|id| s.plan.id == id);
        let of = |s: &Service| {
            let reals = s.reals.iter().filter(|r| r.plan.id == real);
            reals
                .flat_map(|r| &r.checks)
                .map(|c| (s.plan.id, c.check.clone()))
                .collect::<Vec<_>>()
        };
        self.services.iter().filter(wanted).flat_map(of).collect()
    }

    /// Everything that is known, for people.
    pub fn report(&self, now: Instant) -> Vec<ServiceReport> {
        self.services
            .iter()
            .map(|service| report::of(service, &self.schedule, now))
            .collect()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Puts a service together from its plan and its former state.
    fn carry_over(
        &mut self,
        plan: ServicePlan,
        old: Option<Service>,
        now: Instant,
        new: &mut Vec<CheckId>,
        out: &mut Vec<Effect>,
    ) -> Service {
        let (old_reals, quorum) = match old {
            Some(old) => (old.reals, Some(old.quorum)),
            None => (Vec::new(), None),
        };
        let mut old_reals: HashMap<SocketAddr, Real> = old_reals
            .into_iter()
            .map(|real| (real.plan.id, real))
            .collect();
        let mut reals = Vec::with_capacity(plan.reals.len());
        for real in &plan.reals {
            let old = old_reals.remove(&real.id);
            reals.push(self.carry_over_real(plan.id, real.clone(), old, now, new));
        }
        for real in old_reals.values() {
            self.forget(plan.id, real, now);
        }
        let mut service = Service::new(plan, reals, quorum, now);
        for at in 0..service.reals.len() {
            settle_real(&mut service, at, now, out);
        }
        service
    }

    fn carry_over_real(
        &mut self,
        service: ServiceId,
        plan: RealPlan,
        old: Option<Real>,
        now: Instant,
        new: &mut Vec<CheckId>,
    ) -> Real {
        let remembered = self.memory.take(service, plan.id);
        // What is asked anew about a real server that is out has to be answered before it comes in.
        let untrusted = old.as_ref().is_some_and(|old| old.place != real::Place::In);
        let mut old = old;
        let old_checks = old
            .as_mut()
            .map(|old| std::mem::take(&mut old.checks))
            .unwrap_or_default();
        let mut old_checks: HashMap<String, CheckState> = old_checks
            .into_iter()
            .map(|check| (check.check.name.clone(), check))
            .collect();
        let mut checks = Vec::with_capacity(plan.checks.len());
        for check in &plan.checks {
            let initial = match (&remembered, untrusted) {
                (Some(remembered), _) => remembered.verdict(check),
                (None, true) => Verdict::Down,
                (None, false) => check.timing.initial,
            };
            checks.push(match old_checks.remove(&check.name) {
                Some(mut old)
                    if old.check.probe == check.probe && old.check.target == check.target =>
                {
                    old.machine.set_counts(check.timing.rise, check.timing.fall);
                    old.check = check.clone();
                    self.schedule.check_by(old.id, now + check.timing.interval);
                    old
                }
                other => {
                    let known = remembered.as_ref();
                    let known = known.and_then(|known| known.weights.get(&check.name).copied());
                    let (verdict, weight) =
                        other.map_or((initial, known), |old| (old.machine.verdict(), old.weight));
                    let id = CheckId(self.next_id());
                    new.push(id);
                    CheckState::new(id, check.clone(), verdict, weight, now)
                }
            });
        }
        match old {
            Some(mut real) => {
                real.plan = plan;
                real.checks = checks;
                real
            }
            None => {
                let mut real = Real::new(RealKey(self.next_id()), plan, checks, now);
                if let Some(since) = remembered.and_then(|r| now.checked_sub(r.lasted)) {
                    real.since = since;
                }
                real
            }
        }
    }

    /// A real server is not configured any more.
    fn forget(&mut self, service: ServiceId, real: &Real, now: Instant) {
        let remembered = Remembered::of(real, now).filter(Remembered::is_down);
        if let Some(remembered) = remembered {
            self.memory.insert(service, real.plan.id, remembered);
        }
    }

    /// Finds checks and real servers again after a change, and drops turns of those that are gone.
    fn index(&mut self, now: Instant) {
        self.checks.clear();
        self.reals.clear();
        for (at, service) in self.services.iter().enumerate() {
            for (real_at, real) in service.reals.iter().enumerate() {
                self.reals.insert(real.key, (at, real_at));
                self.schedule.real_at(real.key, real.next_at(now));
                for (check_at, check) in real.checks.iter().enumerate() {
                    self.checks.insert(check.id, (at, real_at, check_at));
                }
            }
        }
        let (checks, reals) = (&self.checks, &self.reals);
        self.schedule
            .retain(|id| checks.contains_key(id), |key| reals.contains_key(key));
    }

    /// Gives new checks their first turn, spread over an interval so that they never come in bursts. A few go at once.
    fn begin(&mut self, new: Vec<CheckId>, now: Instant) {
        let spread = SPREAD * u32::try_from(new.len().saturating_sub(1)).unwrap_or(u32::MAX);
        for id in new {
            let Some(&(at, real_at, check_at)) = self.checks.get(&id) else {
                continue;
            };
            let check = self
                .services
                .get(at)
                .and_then(|s| s.reals.get(real_at)?.checks.get(check_at));
            let Some(check) = check else { continue };
            let within = spread.min(check.check.timing.interval);
            self.schedule
                .check_at(id, now + within.mul_f64(self.rng.f64()));
        }
    }

    fn settle(&mut self, at: usize, real_at: usize, now: Instant, out: &mut Vec<Effect>) {
        let Some(service) = self.services.get_mut(at) else {
            return;
        };
        settle_real(service, real_at, now, out);
        let Some(real) = service.reals.get(real_at) else {
            return;
        };
        self.schedule.real_at(real.key, real.next_at(now));
    }

    /// Counts the quorum of a service and lays out its pool.
    fn recount(&mut self, at: usize, now: Instant, out: &mut Vec<Effect>) {
        let Some(service) = self.services.get_mut(at) else {
            return;
        };
        let was_sorry = service.standing.sorry.is_some_and(|(_, serves)| serves);
        if let Some(gained) = service.count() {
            let (sum, quorum) = (service.live_weight(), service.plan.rules.quorum);
            let (what, command) = if gained {
                (
                    What::QuorumGained { sum, quorum },
                    service.plan.rules.quorum_up.clone(),
                )
            } else {
                (
                    What::QuorumLost { sum, quorum },
                    service.plan.rules.quorum_down.clone(),
                )
            };
            tell(service, None, what, command, out);
        }
        match (was_sorry, service.is_sorry(), service.plan.rules.sorry) {
            (false, true, Some(sorry)) => tell(service, None, What::SorryIn(sorry.id), None, out),
            (true, false, Some(sorry)) => tell(service, None, What::SorryOut(sorry.id), None, out),
            _ => {}
        }
        if service.lay_out(now) {
            out.push(Effect::Standing(service.plan.id));
        }
    }
}

/// So much apart are the first probes of new checks, on average.
const SPREAD: Duration = Duration::from_millis(5);

/// Looks whether a real server belongs into the pool, and tells if that has changed.
fn settle_real(service: &mut Service, at: usize, now: Instant, out: &mut Vec<Effect>) {
    let rules = service.plan.rules.clone();
    let Some(real) = service.reals.get_mut(at) else {
        return;
    };
    let was_in = real.is_in();
    let since = real.since;
    let Some(place) = real.settle(&rules, now) else {
        return;
    };
    let id = Some(real.plan.id);
    let (what, command) = match place {
        real::Place::In => {
            let after = now.saturating_duration_since(since);
            (What::Up { after }, real.plan.on_up.clone())
        }
        real::Place::Out if was_in => (What::Down { why: real.why() }, real.plan.on_down.clone()),
        // It was kept out, and is not well any more: for the pool nothing has changed.
        real::Place::Out => return,
        real::Place::Held { until } => (
            What::Held {
                wait: until.saturating_duration_since(now),
            },
            None,
        ),
    };
    tell(service, id, what, command, out);
}

fn event(service: &Service, real: Option<SocketAddr>, what: What) -> Event {
    Event {
        service: service.plan.id,
        name: service.plan.name.as_str().into(),
        real,
        what,
    }
}

fn tell(
    service: &Service,
    real: Option<SocketAddr>,
    what: What,
    command: Option<Arc<plan::Command>>,
    out: &mut Vec<Effect>,
) {
    let event = event(service, real, what);
    out.extend(command.map(|command| {
        Effect::Run(Notice {
            command,
            event: event.clone(),
        })
    }));
    out.push(Effect::Tell(event));
}

#[cfg(test)]
mod tests;
