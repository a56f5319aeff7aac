//! Real servers that behave as they are told, on virtual time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::core::desired::{Method, Proto, Scheduler};
use crate::core::health::plan::{Command, Rules, Sorry, Target, Timing};
use crate::core::health::probe::{Probe, Tcp};
use crate::core::health::*;

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) const TIMING: Timing = Timing {
    interval: SECOND,
    timeout: Duration::from_millis(500),
    rise: 2,
    fall: 3,
    retry: None,
    initial: Verdict::Up,
};

pub(super) fn real(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

pub(super) fn service_id() -> ServiceId {
    ServiceId::new(Proto::Tcp, Ipv4Addr::new(192, 0, 2, 1), 80)
}

pub(super) fn check(name: &str, at: SocketAddr, timing: Timing) -> Arc<Check> {
    Arc::new(Check {
        name: name.into(),
        probe: Probe::Tcp(Tcp::default()),
        target: Target::Address(at),
        timing,
    })
}

pub(super) fn command(name: &str) -> Option<Arc<Command>> {
    Some(Arc::new(Command {
        argv: vec![name.into()],
        user: None,
        timeout: SECOND,
    }))
}

pub(super) fn real_plan(n: u8, weight: u16, timing: Timing) -> RealPlan {
    let id = real(n);
    RealPlan {
        id,
        weight,
        checks: vec![check("tcp", id, timing)],
        on_up: command("up"),
        on_down: command("down"),
    }
}

/// Reals 1, 2 and 3 with weight 1, each with one check.
pub(super) fn plan(rules: Rules) -> ServicePlan {
    ServicePlan {
        id: service_id(),
        name: "web".into(),
        scheduler: Scheduler::Wrr,
        rules,
        reals: (1..=3).map(|n| real_plan(n, 1, TIMING)).collect(),
    }
}

/// Without damping, which most tests are not about.
pub(super) fn rules() -> Rules {
    Rules {
        damping: None,
        ..Rules::default()
    }
}

/// What a real server answers to a check.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) passes: bool,
    pub(super) takes: Duration,
    pub(super) weight: Option<u16>,
}

pub(super) const WELL: Manner = Manner {
    passes: true,
    takes: MS,
    weight: None,
};

pub(super) const SICK: Manner = Manner {
    passes: false,
    takes: MS,
    weight: None,
};

/// Does not answer: the probe ends with its timeout.
pub(super) const SILENT: Manner = Manner {
    passes: false,
    takes: TIMING.timeout,
    weight: None,
};

/// Real servers that answer probes on virtual time.
pub(super) struct World {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) health: Health,
    pub(super) manners: BTreeMap<(SocketAddr, String), Manner>,
    pub(super) answers: BTreeMap<(Instant, u64), (CheckId, Manner)>,
    pub(super) sent: u64,
    /// Probes by time of starting.
    pub(super) probes: Vec<Duration>,
    pub(super) latest: Duration,
    pub(super) most_in_flight: usize,
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) runs: Vec<String>,
    /// Standings by the time at which they changed.
    pub(super) changes: Vec<(Duration, Standings)>,
}

impl World {
    pub(super) fn new(plans: Vec<ServicePlan>) -> Self {
        Self::with(plans, Settings::default(), Memory::default())
    }

    pub(super) fn with(plans: Vec<ServicePlan>, settings: Settings, memory: Memory) -> Self {
        let now = Instant::now();
        let mut health = Health::new(settings, 11);
        health.restore(memory);
        let mut world = Self {
            start: now,
            now,
            health,
            manners: BTreeMap::new(),
            answers: BTreeMap::new(),
            sent: 0,
            probes: vec![],
            latest: Duration::ZERO,
            most_in_flight: 0,
            events: vec![],
            runs: vec![],
            changes: vec![],
        };
        world.configure(plans);
        world
    }

    pub(super) fn at(&self) -> Duration {
        self.now - self.start
    }

    pub(super) fn configure(&mut self, plans: Vec<ServicePlan>) {
        let mut out = vec![];
        self.health.configure(plans, self.now, &mut out);
        self.perform(out);
    }

    pub(super) fn set(&mut self, n: u8, manner: Manner) {
        self.set_check(n, "tcp", manner);
    }

    pub(super) fn set_check(&mut self, n: u8, name: &str, manner: Manner) {
        self.manners.insert((real(n), name.into()), manner);
    }

    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Probe { id, check, late } => {
                    let Target::Address(at) = check.target else {
                        panic!("no VIP here")
                    };
                    let manner = self
                        .manners
                        .get(&(at, check.name.clone()))
                        .copied()
                        .unwrap_or(WELL);
                    self.sent += 1;
                    self.answers
                        .insert((self.now + manner.takes, self.sent), (id, manner));
                    self.probes.push(self.at());
                    self.latest = self.latest.max(late);
                    self.most_in_flight = self.most_in_flight.max(self.health.in_flight());
                }
                Effect::Standing(_) => self.changes.push((self.at(), self.health.standings())),
                Effect::Tell(event) => self.events.push((self.at(), event)),
                Effect::Run(notice) => self.runs.push(notice.command.argv[0].clone()),
            }
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mut out = vec![];
            self.health.poll(self.now, &mut out);
            self.perform(out);
            let answer = self.answers.first_key_value().map(|(&(at, _), _)| at);
            let next = [answer, self.health.next_at()].into_iter().flatten().min();
            let Some(next) = next.filter(|&next| next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.answers.first_entry().filter(|e| e.key().0 <= self.now) {
                let (id, manner) = entry.remove();
                let outcome = Outcome {
                    passed: manner.passes,
                    words: if manner.passes {
                        "fine".into()
                    } else {
                        "refused".into()
                    },
                    latency: manner.takes,
                    weight: manner.weight,
                };
                let mut out = vec![];
                self.health.answered(id, outcome, self.now, &mut out);
                self.perform(out);
            }
        }
        self.now = end;
    }

    pub(super) fn standing(&self, n: u8) -> Standing {
        self.health.standings().get(service_id()).unwrap().reals[&real(n)]
    }

    pub(super) fn is_out(&self, n: u8) -> bool {
        self.standing(n).out
    }

    pub(super) fn sorry_serves(&self) -> bool {
        self.health
            .standings()
            .get(service_id())
            .unwrap()
            .sorry
            .unwrap()
            .1
    }

    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.events
            .iter()
            .map(|(_, e)| e.what.kind())
            .filter(|k| !k.starts_with("check"))
            .collect()
    }
}

pub(super) fn with_sorry(quorum: u32, hysteresis: u32) -> Rules {
    Rules {
        quorum,
        hysteresis,
        sorry: Some(Sorry {
            id: real(99),
            method: Method::Dr,
        }),
        quorum_up: command("quorum up"),
        quorum_down: command("quorum down"),
        ..rules()
    }
}
