//! The machine as a whole, on virtual time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::plan::{Command, Damping, DeadConnections, OnFailure, Rules, Sorry, Target, Timing};
use super::probe::{Probe, Tcp};
use super::*;
use crate::core::desired::{
    Connections, Desired, DesiredReal, DesiredService, Method, Proto, Scheduler, SchedulerFlags,
    XdpMode,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const TIMING: Timing = Timing {
    interval: SECOND,
    timeout: Duration::from_millis(500),
    rise: 2,
    fall: 3,
    retry: None,
    initial: Verdict::Up,
};

fn real(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

fn service_id() -> ServiceId {
    ServiceId::new(Proto::Tcp, Ipv4Addr::new(192, 0, 2, 1), 80)
}

fn check(name: &str, at: SocketAddr, timing: Timing) -> Arc<Check> {
    Arc::new(Check {
        name: name.into(),
        probe: Probe::Tcp(Tcp::default()),
        target: Target::Address(at),
        timing,
    })
}

fn command(name: &str) -> Option<Arc<Command>> {
    Some(Arc::new(Command {
        argv: vec![name.into()],
        user: None,
        timeout: SECOND,
    }))
}

fn real_plan(n: u8, weight: u16, timing: Timing) -> RealPlan {
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
fn plan(rules: Rules) -> ServicePlan {
    ServicePlan {
        id: service_id(),
        name: "web".into(),
        scheduler: Scheduler::Wrr,
        rules,
        reals: (1..=3).map(|n| real_plan(n, 1, TIMING)).collect(),
    }
}

/// Without damping, which most tests are not about.
fn rules() -> Rules {
    Rules {
        damping: None,
        ..Rules::default()
    }
}

/// What a real server answers to a check.
#[derive(Clone, Copy)]
struct Manner {
    passes: bool,
    takes: Duration,
    weight: Option<u16>,
}

const WELL: Manner = Manner {
    passes: true,
    takes: MS,
    weight: None,
};
const SICK: Manner = Manner {
    passes: false,
    takes: MS,
    weight: None,
};
/// Does not answer: the probe ends with its timeout.
const SILENT: Manner = Manner {
    passes: false,
    takes: TIMING.timeout,
    weight: None,
};

/// Real servers that answer probes on virtual time.
struct World {
    start: Instant,
    now: Instant,
    health: Health,
    manners: BTreeMap<(SocketAddr, String), Manner>,
    answers: BTreeMap<(Instant, u64), (CheckId, Manner)>,
    sent: u64,
    /// Probes by time of starting.
    probes: Vec<Duration>,
    latest: Duration,
    most_in_flight: usize,
    events: Vec<(Duration, Event)>,
    runs: Vec<String>,
    /// Standings by the time at which they changed.
    changes: Vec<(Duration, Standings)>,
}

impl World {
    fn new(plans: Vec<ServicePlan>) -> Self {
        Self::with(plans, Settings::default(), Memory::default())
    }

    fn with(plans: Vec<ServicePlan>, settings: Settings, memory: Memory) -> Self {
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

    fn at(&self) -> Duration {
        self.now - self.start
    }

    fn configure(&mut self, plans: Vec<ServicePlan>) {
        let mut out = vec![];
        self.health.configure(plans, self.now, &mut out);
        self.perform(out);
    }

    fn set(&mut self, n: u8, manner: Manner) {
        self.set_check(n, "tcp", manner);
    }

    fn set_check(&mut self, n: u8, name: &str, manner: Manner) {
        self.manners.insert((real(n), name.into()), manner);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
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
    fn run(&mut self, time: Duration) {
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

    fn standing(&self, n: u8) -> Standing {
        self.health.standings().get(service_id()).unwrap().reals[&real(n)]
    }

    fn is_out(&self, n: u8) -> bool {
        self.standing(n).out
    }

    fn sorry_serves(&self) -> bool {
        self.health
            .standings()
            .get(service_id())
            .unwrap()
            .sorry
            .unwrap()
            .1
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.events
            .iter()
            .map(|(_, e)| e.what.kind())
            .filter(|k| !k.starts_with("check"))
            .collect()
    }
}

#[test]
fn a_failure_is_noticed_within_fall_intervals_and_a_timeout_whenever_it_happens() {
    for at in (0..1000).step_by(13) {
        let mut world = World::new(vec![plan(rules())]);
        world.run(5 * SECOND + at * MS);
        world.set(1, SILENT);
        let failed = world.at();
        world.run(5 * SECOND);
        assert!(world.is_out(1) && !world.is_out(2) && !world.is_out(3));
        let took = world.changes.last().unwrap().0 - failed;
        assert!(
            took <= TIMING.interval * TIMING.fall + TIMING.timeout,
            "{took:?}"
        );

        world.set(1, WELL);
        let mended = world.at();
        world.run(5 * SECOND);
        assert!(!world.is_out(1));
        let took = world.changes.last().unwrap().0 - mended;
        assert!(took <= TIMING.interval * TIMING.rise + 2 * MS, "{took:?}");
        assert_eq!(world.kinds(), ["down", "up"]);
        assert_eq!(world.runs, ["down", "up"]);
    }
}

#[test]
fn a_failed_probe_is_repeated_after_the_retry_time_while_the_real_is_up() {
    let mut service = plan(rules());
    let timing = Timing {
        interval: 10 * SECOND,
        retry: Some(SECOND),
        ..TIMING
    };
    service.reals = vec![real_plan(1, 1, timing)];
    let mut world = World::new(vec![service]);
    world.run(25 * SECOND);
    world.set(1, SICK);
    let first = world.probes.len();
    world.run(60 * SECOND);
    let gaps: Vec<u64> = world.probes[first..]
        .windows(2)
        .map(|w| (w[1] - w[0]).as_secs())
        .collect();
    assert_eq!(
        gaps[..5],
        [1, 1, 10, 10, 10],
        "two retries make the verdict, then the interval holds again"
    );
}

#[test]
fn every_check_must_pass() {
    let mut service = plan(rules());
    service.reals[0].checks.push(check("http", real(1), TIMING));
    let mut world = World::new(vec![service]);
    world.set_check(1, "http", SICK);
    world.run(5 * SECOND);
    assert!(world.is_out(1));
    world.set(1, SICK);
    world.run(5 * SECOND);
    world.set_check(1, "http", WELL);
    world.run(5 * SECOND);
    assert!(world.is_out(1), "the other check has gone down meanwhile");
    world.set(1, WELL);
    world.run(5 * SECOND);
    assert!(!world.is_out(1));
    let why = world.events.iter().find_map(|(_, e)| match &e.what {
        What::Down { why } => Some(why.clone()),
        _ => None,
    });
    assert_eq!(why.as_deref(), Some("http: refused"));
}

#[test]
fn a_real_that_starts_down_proves_itself_first() {
    let mut service = plan(rules());
    service.reals = vec![real_plan(
        1,
        1,
        Timing {
            initial: Verdict::Down,
            ..TIMING
        },
    )];
    let mut world = World::new(vec![service]);
    assert!(world.is_out(1));
    world.run(TIMING.interval + 2 * MS);
    assert!(!world.is_out(1));
}

#[test]
fn a_weight_of_zero_set_by_a_person_is_never_overridden() {
    let mut service = plan(rules());
    service.reals[0].weight = 0;
    let mut world = World::new(vec![service]);
    for manner in [
        Manner {
            weight: Some(50),
            ..WELL
        },
        SICK,
        WELL,
    ] {
        world.set(1, manner);
        world.run(5 * SECOND);
        assert_eq!(world.standing(1).weight, 0);
    }
}

#[test]
fn a_check_may_ask_for_a_weight_and_the_smallest_holds() {
    let mut service = plan(rules());
    service.reals[0].checks.push(check("load", real(1), TIMING));
    let mut world = World::new(vec![service]);
    world.set(
        1,
        Manner {
            weight: Some(30),
            ..WELL
        },
    );
    world.set_check(
        1,
        "load",
        Manner {
            weight: Some(7),
            ..WELL
        },
    );
    world.run(2 * SECOND);
    assert_eq!(
        world.standing(1),
        Standing {
            weight: 7,
            out: false,
            dead: false,
            reset: false,
        }
    );
    world.set_check(
        1,
        "load",
        Manner {
            weight: Some(0),
            ..WELL
        },
    );
    world.run(2 * SECOND);
    assert_eq!(
        world.standing(1),
        Standing {
            weight: 0,
            out: false,
            dead: false,
            reset: false,
        },
        "up, and drained"
    );
    world.set(1, WELL);
    world.set_check(1, "load", WELL);
    world.run(2 * SECOND);
    assert_eq!(world.standing(1).weight, 1, "the configured weight again");
}

#[test]
fn connections_of_a_dead_real_are_given_up_where_that_is_asked_for() {
    for (connections, on_failure, reset) in [
        (DeadConnections::Keep, OnFailure::Remove, false),
        (DeadConnections::Reset, OnFailure::Remove, true),
        (DeadConnections::Reset, OnFailure::WeightZero, true),
    ] {
        let mut world = World::new(vec![plan(Rules {
            connections,
            on_failure,
            ..rules()
        })]);
        assert!(!world.standing(1).reset);
        world.set(1, SICK);
        world.run(5 * SECOND);
        assert_eq!(world.standing(1).reset, reset);
        world.set(1, WELL);
        world.run(5 * SECOND);
        assert!(!world.standing(1).reset);
    }
}

#[test]
fn with_weight_zero_a_dead_real_stays_in_the_pool_without_new_connections() {
    let mut world = World::new(vec![plan(Rules {
        on_failure: OnFailure::WeightZero,
        ..rules()
    })]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    assert_eq!(
        world.standing(1),
        Standing {
            weight: 0,
            out: false,
            dead: true,
            reset: false,
        }
    );
}

fn with_sorry(quorum: u32, hysteresis: u32) -> Rules {
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

#[test]
fn the_sorry_server_serves_while_the_quorum_is_lost_and_all_reals_leave() {
    let mut world = World::new(vec![plan(with_sorry(2, 0))]);
    world.run(SECOND);
    assert!(!world.sorry_serves());
    world.set(1, SICK);
    world.run(5 * SECOND);
    assert!(!world.sorry_serves(), "two of three are enough");
    world.set(2, SICK);
    world.run(5 * SECOND);
    assert!(world.sorry_serves());
    assert!(
        (1..=3).all(|n| world.is_out(n)),
        "real 3 is alive and leaves too"
    );
    assert!(!world.standing(3).dead);
    world.set(1, WELL);
    world.run(5 * SECOND);
    assert!(!world.sorry_serves());
    assert!(!world.is_out(1) && world.is_out(2) && !world.is_out(3));
    let wanted = [
        "down",
        "down",
        "quorum_lost",
        "sorry_in",
        "up",
        "quorum_gained",
        "sorry_out",
    ];
    assert_eq!(world.kinds(), wanted);
    assert_eq!(
        world.runs,
        ["down", "down", "quorum down", "up", "quorum up"]
    );
}

#[test]
fn without_a_sorry_server_live_reals_go_on_below_the_quorum() {
    let mut world = World::new(vec![plan(Rules {
        quorum: 3,
        ..rules()
    })]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    assert_eq!(world.kinds(), ["down", "quorum_lost"]);
    assert!(!world.is_out(2) && !world.is_out(3));
}

#[test]
fn a_service_whose_reals_all_start_down_begins_with_the_sorry_server() {
    let mut service = plan(with_sorry(1, 0));
    service.reals = vec![real_plan(
        1,
        1,
        Timing {
            initial: Verdict::Down,
            ..TIMING
        },
    )];
    let mut world = World::new(vec![service]);
    assert!(world.sorry_serves());
    world.run(5 * SECOND);
    assert!(!world.sorry_serves());
    assert_eq!(world.kinds(), ["up", "quorum_gained", "sorry_out"]);
}

#[test]
fn a_real_that_returns_starts_slowly_and_the_others_keep_their_proportions() {
    let mut service = plan(Rules {
        slow_start: Some(20 * SECOND),
        ..rules()
    });
    service.reals[1].weight = 3;
    let mut world = World::new(vec![service]);
    world.run(SECOND);
    assert_eq!(
        world.standing(1).weight,
        1,
        "no slow start at the beginning"
    );
    world.set(1, SICK);
    world.run(5 * SECOND);
    world.set(1, WELL);
    let before = world.changes.len();
    world.run(40 * SECOND);
    let weights: Vec<(u16, u16, u16)> = world.changes[before..]
        .iter()
        .map(|(_, s)| {
            let reals = &s.get(service_id()).unwrap().reals;
            (
                reals[&real(1)].weight,
                reals[&real(2)].weight,
                reals[&real(3)].weight,
            )
        })
        .collect();
    let mut wanted: Vec<_> = (1..10).map(|n| (n, 30, 10)).collect();
    wanted.push((1, 3, 1));
    assert_eq!(weights, wanted);
    let steps = world.changes[before..].windows(2).map(|w| w[1].0 - w[0].0);
    assert!(
        steps
            .clone()
            .all(|step| step.abs_diff(2 * SECOND) <= 2 * MS),
        "{:?}",
        steps.collect::<Vec<_>>()
    );
}

#[test]
fn weights_that_are_numbers_of_connections_are_not_multiplied() {
    let mut service = plan(Rules {
        slow_start: Some(20 * SECOND),
        ..rules()
    });
    service.scheduler = Scheduler::Ovf;
    service.reals[0].weight = 50;
    let mut world = World::new(vec![service]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    world.set(1, WELL);
    world.run(3 * SECOND);
    assert_eq!((world.standing(1).weight, world.standing(2).weight), (5, 1));
}

#[test]
fn a_real_that_comes_and_goes_changes_the_pool_once_in_the_holding_time() {
    let damping = Damping {
        failures: 3,
        within: 60 * SECOND,
        hold: 30 * SECOND,
    };
    let mut world = World::new(vec![plan(Rules {
        damping: Some(damping),
        ..rules()
    })]);
    // Up and down every five seconds, for ten minutes.
    for turn in 0..120 {
        world.set(1, if turn % 2 == 0 { SICK } else { WELL });
        world.run(5 * SECOND);
    }
    let moves = world
        .kinds()
        .iter()
        .filter(|k| ["up", "down"].contains(k))
        .count();
    assert_eq!(
        moves, 5,
        "three failures, two returns between them, and nothing after"
    );
    assert!(world.is_out(1));
    assert!(world.kinds().contains(&"held"));
    world.set(1, WELL);
    world.run(31 * SECOND + TIMING.interval * TIMING.rise);
    assert!(!world.is_out(1), "well for the holding time");
}

#[test]
fn an_unchanged_check_keeps_its_state_when_others_change() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let before = world.health.report(world.now);
    let mut changed = plan(rules());
    changed.reals.push(real_plan(4, 1, TIMING));
    changed.reals[1].weight = 9;
    world.configure(vec![changed]);
    let after = world.health.report(world.now);
    assert_eq!(before[0].reals[0], after[0].reals[0]);
    assert_eq!(before[0].reals[1].checks, after[0].reals[1].checks);
    assert!(world.is_out(1));
}

#[test]
fn a_failed_real_that_is_removed_and_added_again_starts_failed() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let mut without = plan(rules());
    without.reals.remove(0);
    world.configure(vec![without]);
    world.run(60 * SECOND);
    world.configure(vec![plan(rules())]);
    assert!(world.is_out(1));
    assert!(!world.is_out(2));
    // With its whole service.
    world.configure(vec![]);
    world.configure(vec![plan(rules())]);
    assert!(world.is_out(1) && !world.is_out(2));
    world.set(1, WELL);
    world.run(5 * SECOND);
    assert!(!world.is_out(1));
    world.configure(vec![]);
    world.configure(vec![plan(rules())]);
    assert!(
        !world.is_out(1),
        "it has recovered, and that is remembered too"
    );
}

#[test]
fn another_check_of_a_failed_real_has_to_pass_before_it_comes_in() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let mut other = plan(rules());
    other.reals[0].checks = vec![check("other", real(1), TIMING)];
    other.reals[1].checks = vec![check("other", real(2), TIMING)];
    world.configure(vec![other]);
    assert!(world.is_out(1), "not because its check has gone");
    assert!(!world.is_out(2));
    world.run(5 * SECOND);
    assert!(!world.is_out(1));
}

#[test]
fn a_check_that_asks_something_else_keeps_its_verdict() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let mut other = plan(rules());
    let mut changed = (*other.reals[0].checks[0]).clone();
    changed.probe = Probe::Tcp(Tcp {
        send: Some(b"hello".to_vec()),
        ..Tcp::default()
    });
    other.reals[0].checks = vec![Arc::new(changed)];
    world.configure(vec![other]);
    assert!(world.is_out(1));
}

#[test]
fn a_shorter_interval_holds_at_once() {
    let mut service = plan(rules());
    service.reals = vec![real_plan(
        1,
        1,
        Timing {
            interval: 600 * SECOND,
            ..TIMING
        },
    )];
    let mut world = World::new(vec![service.clone()]);
    world.run(700 * SECOND);
    let before = world.probes.len();
    service.reals = vec![real_plan(1, 1, TIMING)];
    world.configure(vec![service]);
    world.run(10 * SECOND);
    assert!(world.probes.len() - before >= 9);
}

#[test]
fn what_was_down_before_a_restart_starts_down() {
    let mut world = World::new(vec![plan(rules())]);
    world.set(2, SICK);
    world.run(10 * SECOND);
    let memory = world.health.memory(world.now);
    assert_eq!(memory.iter().count(), 1);
    let mut other = plan(rules());
    other.reals[1].checks = vec![check("other", real(2), TIMING)];
    let other = World::with(vec![other], Settings::default(), memory.clone());
    assert!(other.is_out(2), "also if another check is asked now");
    let again = World::with(vec![plan(rules())], Settings::default(), memory);
    assert!(again.is_out(2) && !again.is_out(1) && !again.is_out(3));
    let report = again.health.report(again.now);
    assert!(
        report[0].reals[1].for_seconds >= 5.0,
        "and it is known for how long"
    );
}

#[test]
fn first_probes_are_spread_and_a_single_one_goes_at_once() {
    let mut service = plan(rules());
    service.reals.truncate(1);
    let mut world = World::new(vec![service]);
    world.run(MS);
    assert_eq!(world.probes, [Duration::ZERO]);

    let mut many = plan(rules());
    many.reals = (0..2000u16).map(|n| real_plan_at(n, TIMING)).collect();
    let mut world = World::new(vec![many]);
    world.run(10 * SECOND);
    let mut per_50ms = BTreeMap::<u128, usize>::new();
    for at in &world.probes {
        *per_50ms.entry(at.as_millis() / 50).or_default() += 1;
    }
    let most = per_50ms.values().max().unwrap();
    assert!(
        *most < 160,
        "2000 a second are 100 in 50 ms, and {most} were seen"
    );
}

fn real_plan_at(n: u16, timing: Timing) -> RealPlan {
    let [a, b] = n.to_be_bytes();
    let id = SocketAddr::from(([10, 1, a, b], 80));
    RealPlan {
        id,
        weight: 1,
        checks: vec![check("tcp", id, timing)],
        on_up: None,
        on_down: None,
    }
}

#[test]
fn probes_on_their_way_are_bounded_and_nobody_starves() {
    let mut many = plan(rules());
    let mut world;
    many.reals = (0..500u16).map(|n| real_plan_at(n, TIMING)).collect();
    world = World::with(
        vec![many.clone()],
        Settings { in_flight: 50 },
        Memory::default(),
    );
    for real in &many.reals {
        world.manners.insert((real.id, "tcp".into()), SILENT);
    }
    // 50 slots of half a second each make 100 probes a second: a round takes five seconds.
    world.run(30 * SECOND);
    assert_eq!(world.most_in_flight, 50);
    assert!(
        world.latest > 3 * SECOND,
        "they are late, and it is known: {:?}",
        world.latest
    );
    let report = world.health.report(world.now);
    let failures: Vec<u64> = report[0]
        .reals
        .iter()
        .map(|r| r.checks[0].failures)
        .collect();
    assert!(failures.iter().all(|n| (4..=7).contains(n)), "{failures:?}");
}

#[test]
fn an_answer_to_a_check_that_is_gone_finds_nobody_and_frees_its_place() {
    let mut world = World::with(
        vec![plan(rules())],
        Settings { in_flight: 1 },
        Memory::default(),
    );
    for n in 1..=3 {
        world.set(n, SILENT);
    }
    world.run(20 * MS);
    assert_eq!(world.health.in_flight(), 1);
    world.configure(vec![]);
    assert_eq!(world.health.in_flight(), 1, "it is on its way still");
    world.run(SECOND);
    assert_eq!(world.health.in_flight(), 0);
    assert!(world.events.is_empty());
}

#[test]
fn standings_change_what_is_desired() {
    let mut world = World::new(vec![plan(with_sorry(1, 0))]);
    world.set(1, SICK);
    world.run(5 * SECOND);
    let desired_real = |n, weight| DesiredReal {
        addr: real(n).ip(),
        port: 80,
        method: Method::Dr,
        weight,
        upper: 0,
        lower: 0,
        down: false,
        reset: false,
        drained: false,
    };
    let mut desired = Desired {
        interfaces: vec![],
        mode: XdpMode::Auto,
        connections: Connections::default(),
        services: vec![DesiredService {
            id: service_id(),
            also: vec![],
            name: "web".into(),
            scheduler: Scheduler::Wrr,
            scheduler_flags: SchedulerFlags::default(),
            persistence: None,
            one_packet: false,
            timeouts: None,
            method: Method::Dr,
            router: 0,
            reals: vec![
                desired_real(1, 1),
                desired_real(2, 1),
                desired_real(3, 1),
                desired_real(4, 8),
            ],
        }],
    };
    world.health.standings().apply(&mut desired);
    let got: Vec<_> = desired.services[0]
        .reals
        .iter()
        .map(|r| (r.addr, r.weight, r.down))
        .collect();
    let wanted: Vec<_> = [
        (1, 1, true),
        (2, 1, false),
        (3, 1, false),
        (4, 8, false),
        (99, 1, true),
    ]
    .map(|(n, weight, down)| (real(n).ip(), weight, down))
    .into();
    assert_eq!(
        got, wanted,
        "real 4 is not known to health and stays as it is; the sorry server waits at the end"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Manner(u8, bool, Option<u16>),
    Run(u64),
    Weight(u8, u16),
    Remove(u8),
    Add(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..=3u8, any::<bool>(), proptest::option::of(0..9u16)).prop_map(|(n, p, w)| Step::Manner(n, p, w)),
        4 => (1..4000u64).prop_map(Step::Run),
        1 => (1..=3u8, 0..3u16).prop_map(|(n, w)| Step::Weight(n, w)),
        1 => (1..=3u8).prop_map(Step::Remove),
        1 => (1..=3u8).prop_map(Step::Add),
    ];
    proptest::collection::vec(step, 1..50)
}

proptest! {
    /// Whatever happens: the pool is what the states of the real servers and the quorum say.
    #[test]
    fn the_pool_always_follows_from_the_states(
        steps in steps(), quorum in 1..4u32, hysteresis in 0..3u32, slow in any::<bool>(), damped in any::<bool>(),
    ) {
        let mut rules = with_sorry(quorum, hysteresis);
        rules.slow_start = slow.then_some(5 * SECOND);
        rules.damping = damped.then_some(Damping { failures: 2, within: 20 * SECOND, hold: 10 * SECOND });
        let mut service = plan(rules);
        let mut world = World::new(vec![service.clone()]);
        for step in steps {
            match step {
                Step::Manner(n, passes, weight) => {
                    world.set(n, Manner { passes, takes: 3 * MS, weight: weight.filter(|_| passes) });
                }
                Step::Run(time) => world.run(Duration::from_millis(time)),
                Step::Weight(n, weight) => {
                    service.reals.iter_mut().filter(|r| r.id == real(n)).for_each(|r| r.weight = weight);
                    world.configure(vec![service.clone()]);
                }
                Step::Remove(n) => {
                    service.reals.retain(|r| r.id != real(n));
                    world.configure(vec![service.clone()]);
                }
                Step::Add(n) => {
                    if service.reals.iter().all(|r| r.id != real(n)) {
                        service.reals.push(real_plan(n, 1, TIMING));
                    }
                    world.configure(vec![service.clone()]);
                }
            }
            let report = world.health.report(world.now);
            let standings = world.health.standings();
            let standing = standings.get(service_id()).unwrap();
            let sorry = standing.sorry.unwrap().1;
            prop_assert_eq!(sorry, !report[0].has_quorum);
            prop_assert_eq!(standing.reals.len(), service.reals.len());
            for real in &report[0].reals {
                let stands = standing.reals[&real.address];
                let all_up = real.checks.iter().all(|c| c.verdict == Verdict::Up);
                let is_in = real.place == Place::Up;
                prop_assert!(is_in || !all_up || real.place == Place::Held);
                prop_assert!(all_up || real.place == Place::Down);
                prop_assert_eq!(stands.dead, !is_in);
                prop_assert_eq!(stands.out, sorry || !is_in);
                prop_assert!(real.weight != 0 || stands.weight == 0, "a person's zero");
                prop_assert!(stands.out || real.full_weight == 0 || stands.weight > 0);
            }
            // With weight alive there is a quorum, or the sorry server takes over; never neither.
            let serves = standing.reals.values().any(|s| !s.out && s.weight > 0);
            prop_assert!(serves || sorry);
            // Nothing is forgotten: each check has its turn or a probe on its way.
            let idle = report[0].reals.iter().flat_map(|r| &r.checks).filter(|c| c.next_seconds.is_none()).count();
            prop_assert!(idle <= world.health.in_flight());
        }
    }
}
