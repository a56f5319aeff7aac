use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::net::Ipv4Addr;

use super::super::{Claim, InitialState, Preempt};
use super::*;
use crate::core::vrrp::{Announcements, Version};

const INTERVAL: Duration = Duration::from_secs(1);
/// Of priority 100 at one second.
const SKEW: Duration = Duration::from_nanos(609_375_000);
const DOWN: Duration = Duration::from_nanos(3_609_375_000);
const SOON: Duration = Duration::from_nanos(1_609_375_000);

fn settings() -> Settings {
    let interval = Interval::centis(100).unwrap();
    Settings::new(Version::V3, 51, interval, vec![address(80)])
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn priority(n: u8) -> Priority {
    Priority::new(n).unwrap()
}

/// What 192.0.2.`last` says; priority 0 says that it leaves.
fn advert(last: u8, n: u8) -> Event {
    Event::Advert(Heard {
        source: address(last),
        claim: Priority::new(n).map_or(Claim::Resigns, Claim::Priority),
        interval: Interval::centis(100).unwrap(),
    })
}

/// A machine of ours, 192.0.2.10, that is in some state at `now`.
fn machine(state: State, settings: Settings, grouped: bool, now: Instant) -> Machine {
    let mut machine = Machine::new(settings, address(10), grouped);
    let mut out = Vec::new();
    match state {
        State::Stopped => return machine,
        State::Backup => machine.handle(now, Event::Start, &mut out),
        State::Fault => {
            machine.handle(now, Event::Fault, &mut out);
            machine.handle(now, Event::Start, &mut out);
        }
        State::Master => {
            machine.handle(now, Event::Start, &mut out);
            if machine.state() == State::Backup {
                let event = if grouped {
                    Event::GroupMaster
                } else {
                    Event::MasterDown(Duration::ZERO)
                };
                machine.handle(now, event, &mut out);
            }
        }
    }
    assert_eq!(machine.state(), state);
    machine
}

/// What an event comes to in a state.
struct Row {
    state: State,
    event: Event,
    then: State,
    effects: Vec<Effect>,
    /// How long after the event the main timer ends.
    due: Option<Duration>,
}

fn entered(from: State, to: State, cause: Cause) -> Effect {
    Effect::Entered { from, to, cause }
}

/// The transitions of a plain virtual router: priority 100, one second, preempting, 100 ms in its state.
fn table() -> Vec<Row> {
    use Event as E;
    use State::{Backup, Fault, Master, Stopped};
    let send = Effect::Send(Claim::Priority(Priority::DEFAULT));
    let resign = Effect::Send(Claim::Resigns);
    let (serve, assume) = (Effect::Serve, Effect::Assume);
    let (release, announce) = (Effect::Release, Effect::Announce);
    let rest = |whole: Duration| Some(whole - Duration::from_millis(100));
    let none = Vec::new;
    let row = |state, event, then, effects, due| Row {
        state,
        event,
        then,
        effects,
        due,
    };
    let stay = |state, event| {
        let due = match state {
            Backup => rest(DOWN),
            Master => rest(INTERVAL),
            Stopped | Fault => None,
        };
        row(state, event, state, none(), due)
    };
    let become_master = |cause| {
        vec![
            send,
            serve,
            assume,
            announce,
            entered(Backup, Master, cause),
        ]
    };
    let leave_master = |to, cause| vec![resign, release, entered(Master, to, cause)];
    let late = Duration::from_secs(4);
    vec![
        row(
            Stopped,
            E::Start,
            Backup,
            vec![entered(Stopped, Backup, Cause::Started)],
            Some(DOWN),
        ),
        stay(Backup, E::Start),
        stay(Master, E::Start),
        stay(Fault, E::Start),
        //
        stay(Stopped, E::Stop),
        row(
            Backup,
            E::Stop,
            Stopped,
            vec![entered(Backup, Stopped, Cause::Stopped)],
            None,
        ),
        row(
            Master,
            E::Stop,
            Stopped,
            leave_master(Stopped, Cause::Stopped),
            None,
        ),
        row(
            Fault,
            E::Stop,
            Stopped,
            vec![entered(Fault, Stopped, Cause::Stopped)],
            None,
        ),
        //
        stay(Stopped, advert(20, 200)),
        stay(Fault, advert(20, 200)),
        row(Backup, advert(20, 200), Backup, none(), Some(DOWN)),
        row(Backup, advert(20, 100), Backup, none(), Some(DOWN)),
        row(Backup, advert(5, 100), Backup, none(), Some(DOWN)),
        row(Backup, advert(20, 0), Backup, none(), Some(SKEW)),
        stay(Backup, advert(20, 99)),
        row(
            Master,
            advert(20, 200),
            Backup,
            vec![
                release,
                send,
                entered(Master, Backup, Cause::Outranked(address(20))),
            ],
            Some(DOWN),
        ),
        row(
            Master,
            advert(20, 100),
            Backup,
            vec![
                release,
                send,
                entered(Master, Backup, Cause::Outranked(address(20))),
            ],
            Some(DOWN),
        ),
        row(
            Master,
            advert(5, 100),
            Master,
            vec![send, announce, Effect::LowerMaster(address(5))],
            Some(INTERVAL),
        ),
        row(
            Master,
            advert(20, 99),
            Master,
            vec![send, announce, Effect::LowerMaster(address(20))],
            Some(INTERVAL),
        ),
        row(
            Master,
            advert(20, 0),
            Master,
            vec![send, announce],
            Some(INTERVAL),
        ),
        //
        stay(Stopped, E::MasterDown(Duration::ZERO)),
        row(
            Backup,
            E::MasterDown(Duration::ZERO),
            Master,
            become_master(Cause::MasterSilent),
            Some(INTERVAL),
        ),
        row(
            Backup,
            E::MasterDown(late),
            Backup,
            vec![Effect::Late(late)],
            Some(SOON),
        ),
        stay(Master, E::MasterDown(Duration::ZERO)),
        stay(Fault, E::MasterDown(Duration::ZERO)),
        //
        stay(Stopped, E::AdvertDue(Duration::ZERO)),
        stay(Backup, E::AdvertDue(Duration::ZERO)),
        row(
            Master,
            E::AdvertDue(Duration::ZERO),
            Master,
            vec![send],
            Some(INTERVAL),
        ),
        row(
            Master,
            E::AdvertDue(Duration::from_millis(300)),
            Master,
            vec![send],
            Some(Duration::from_millis(700)),
        ),
        row(
            Master,
            E::AdvertDue(Duration::from_millis(1500)),
            Master,
            vec![send],
            Some(INTERVAL),
        ),
        row(
            Master,
            E::AdvertDue(late),
            Backup,
            vec![
                Effect::Late(late),
                release,
                entered(Master, Backup, Cause::Overslept),
            ],
            Some(SOON),
        ),
        stay(Fault, E::AdvertDue(Duration::ZERO)),
        //
        stay(Stopped, E::AnnounceDue),
        stay(Backup, E::AnnounceDue),
        row(
            Master,
            E::AnnounceDue,
            Master,
            vec![announce],
            rest(INTERVAL),
        ),
        stay(Fault, E::AnnounceDue),
        //
        stay(Stopped, E::Priority(priority(228))),
        // The skew of 228 is 28/256 s.
        row(
            Backup,
            E::Priority(priority(228)),
            Backup,
            none(),
            rest(DOWN - SKEW + Duration::from_nanos(109_375_000)),
        ),
        stay(Master, E::Priority(priority(228))),
        stay(Fault, E::Priority(priority(228))),
        //
        stay(Stopped, E::Fault),
        row(
            Backup,
            E::Fault,
            Fault,
            vec![entered(Backup, Fault, Cause::Fault)],
            None,
        ),
        row(
            Master,
            E::Fault,
            Fault,
            leave_master(Fault, Cause::Fault),
            None,
        ),
        stay(Fault, E::Fault),
        //
        stay(Stopped, E::Heal),
        stay(Backup, E::Heal),
        stay(Master, E::Heal),
        row(
            Fault,
            E::Heal,
            Backup,
            vec![entered(Fault, Backup, Cause::Healed)],
            Some(DOWN),
        ),
        //
        stay(Stopped, E::Failover),
        stay(Backup, E::Failover),
        row(
            Master,
            E::Failover,
            Master,
            vec![resign],
            Some(
                settings()
                    .timing()
                    .master_down(Priority::LOWEST, settings().interval),
            ),
        ),
        stay(Fault, E::Failover),
        //
        stay(Stopped, E::GroupMaster),
        row(
            Backup,
            E::GroupMaster,
            Master,
            become_master(Cause::Group),
            Some(INTERVAL),
        ),
        stay(Master, E::GroupMaster),
        stay(Fault, E::GroupMaster),
        //
        stay(Stopped, E::GroupBackup),
        stay(Backup, E::GroupBackup),
        row(
            Master,
            E::GroupBackup,
            Backup,
            leave_master(Backup, Cause::Group),
            Some(DOWN),
        ),
        stay(Fault, E::GroupBackup),
        //
        stay(Stopped, E::GroupFault),
        row(
            Backup,
            E::GroupFault,
            Fault,
            vec![entered(Backup, Fault, Cause::Group)],
            None,
        ),
        row(
            Master,
            E::GroupFault,
            Fault,
            leave_master(Fault, Cause::Group),
            None,
        ),
        stay(Fault, E::GroupFault),
        //
        stay(Stopped, E::GroupHeal),
        stay(Backup, E::GroupHeal),
        stay(Master, E::GroupHeal),
        // It is in fault for a reason of its own.
        stay(Fault, E::GroupHeal),
        //
        stay(Stopped, E::GroupAssert),
        stay(Backup, E::GroupAssert),
        row(
            Master,
            E::GroupAssert,
            Master,
            vec![announce],
            rest(INTERVAL),
        ),
        stay(Fault, E::GroupAssert),
    ]
}

#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    let start = Instant::now();
    let now = start + Duration::from_millis(100);
    let mut pairs: HashSet<(State, Discriminant<Event>)> = HashSet::new();
    for Row {
        state,
        event,
        then,
        effects,
        due,
    } in table()
    {
        let mut machine = machine(state, settings(), false, start);
        let mut out = Vec::new();
        machine.handle(now, event, &mut out);
        let case = format!("{state:?}, {event:?}");
        assert_eq!(machine.state(), then, "{case}");
        assert_eq!(out, effects, "{case}");
        assert_eq!(machine.due.map(|d| d - now), due, "{case}");
        pairs.insert((state, discriminant(&event)));
    }
    let events: HashSet<_> = pairs.iter().map(|(_, event)| *event).collect();
    assert_eq!(events.len(), 15, "an event has no row");
    assert_eq!(
        pairs.len(),
        4 * events.len(),
        "a state and event have no row"
    );
}

/// A machine with a clock of its own, to tell a story with.
struct Story {
    machine: Machine,
    start: Instant,
    now: Instant,
}

impl Story {
    fn new(settings: Settings) -> Self {
        let start = Instant::now();
        Self {
            machine: machine(State::Backup, settings, false, start),
            start,
            now: start,
        }
    }

    fn at(&mut self, millis: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(millis);
        self
    }

    fn tell(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        self.machine.handle(self.now, event, &mut out);
        out
    }

    /// Ticks at each deadline up to a time; the time at which it became master, if it did.
    fn run_to(&mut self, millis: u64) -> Option<u128> {
        let end = self.start + Duration::from_millis(millis);
        let mut became = None;
        while let Some(due) = self.machine.due().filter(|due| *due <= end) {
            self.now = due;
            let mut out = Vec::new();
            self.machine.tick(due, &mut out);
            if out.contains(&Effect::Assume) {
                became = Some((due - self.start).as_millis());
            }
        }
        self.now = end;
        became
    }
}

#[test]
fn a_lower_master_is_displaced_when_the_old_deadline_comes() {
    let mut story = Story::new(settings());
    for ms in [500, 1500, 2500, 3500] {
        assert_eq!(story.at(ms).tell(advert(20, 50)), []);
    }
    assert_eq!(story.run_to(4000), Some(3609));
}

#[test]
fn without_preemption_a_lower_master_stays_until_it_is_silent() {
    let mut story = Story::new(Settings {
        preempt: Preempt::Never,
        ..settings()
    });
    for s in 1..20 {
        assert_eq!(story.run_to(s * 1000), None);
        story.tell(advert(20, 50));
    }
    assert_eq!(story.run_to(30_000), Some(19_000 + 3609));
}

#[test]
fn preemption_waits_for_its_delay_from_when_the_lower_master_was_first_heard() {
    let mut story = Story::new(Settings {
        preempt: Preempt::After(Duration::from_secs(10)),
        ..settings()
    });
    let mut became = None;
    for s in 1..20 {
        became = became.or(story.run_to(s * 1000));
        if became.is_none() {
            story.tell(advert(20, 50));
        }
    }
    // Accepted until 10 s after the first one, at 1 s; the last that counts came at 10 s.
    assert_eq!(became, Some(10_000 + 3609));
}

#[test]
fn a_higher_master_in_between_ends_the_delay() {
    let mut story = Story::new(Settings {
        preempt: Preempt::After(Duration::from_secs(2)),
        ..settings()
    });
    story.at(1000).tell(advert(20, 50));
    story.at(2000).tell(advert(30, 150));
    story.at(3500).tell(advert(20, 50));
    // The delay begins again, so the last advertisement counts.
    assert_eq!(story.run_to(10_000), Some(3500 + 3609));
}

#[test]
fn a_master_that_leaves_is_succeeded_after_the_skew() {
    let mut story = Story::new(settings());
    story.at(1000).tell(advert(20, 200));
    story.at(1200).tell(advert(20, 0));
    assert_eq!(story.run_to(5000), Some(1200 + 609));
}

#[test]
fn version_3_learns_the_interval_from_its_master() {
    let mut story = Story::new(settings());
    story.at(1000).tell(Event::Advert(Heard {
        source: address(20),
        claim: Claim::Priority(priority(200)),
        interval: Interval::centis(10).unwrap(),
    }));
    assert_eq!(story.run_to(5000), Some(1000 + 360));
}

#[test]
fn an_owner_is_master_at_once_and_two_owners_are_reported() {
    let owner = Settings {
        priority: Priority::OWNER,
        ..settings()
    };
    let mut machine = Machine::new(owner, address(10), false);
    let mut out = Vec::new();
    machine.handle(Instant::now(), Event::Start, &mut out);
    assert_eq!(machine.state(), State::Master);
    out.clear();
    machine.handle(Instant::now(), advert(5, 255), &mut out);
    assert!(out.contains(&Effect::TwoOwners(address(5))));
    assert_eq!(machine.state(), State::Master, "our address is higher");
    machine.handle(Instant::now(), advert(20, 255), &mut out);
    assert!(out.contains(&Effect::TwoOwners(address(20))));
    assert_eq!(machine.state(), State::Backup);
}

#[test]
fn who_begins_as_master_listens_for_one_interval() {
    let mut story = Story::new(Settings {
        initial: InitialState::Master,
        ..settings()
    });
    assert_eq!(story.run_to(5000), Some(1609));
}

#[test]
fn who_is_to_leave_serves_until_another_is_master() {
    let mut story = Story::new(settings());
    assert_eq!(story.run_to(4000), Some(3609));
    let resign = Effect::Send(Claim::Resigns);
    assert_eq!(story.tell(Event::Failover), [resign]);
    assert_eq!(story.tell(Event::Failover), [], "it is said once");
    assert_eq!(story.tell(advert(20, 0)), []);
    story.run_to(4600);
    let gone = entered(State::Master, State::Backup, Cause::Operator);
    assert_eq!(story.tell(advert(20, 50)), [Effect::Release, gone]);
    assert_eq!(story.machine.master().unwrap().source, address(20));
}

#[test]
fn who_is_to_leave_stays_when_nobody_takes_its_place() {
    let mut story = Story::new(settings());
    story.run_to(4000);
    story.tell(Event::Failover);
    assert_eq!(story.run_to(12_000), None, "it never gave anything up");
    assert_eq!(story.machine.state(), State::Master);
    // It is as it was: the other is of lower priority.
    let claims = story.tell(advert(20, 50));
    assert!(
        claims.contains(&Effect::LowerMaster(address(20))),
        "{claims:?}"
    );
}

#[test]
fn who_is_to_leave_and_stops_or_fails_does_not_say_it_again() {
    for (event, state, cause) in [
        (Event::Stop, State::Stopped, Cause::Stopped),
        (Event::Fault, State::Fault, Cause::Fault),
    ] {
        let mut story = Story::new(settings());
        story.run_to(4000);
        story.tell(Event::Failover);
        let gone = entered(State::Master, state, cause);
        assert_eq!(story.tell(event), [Effect::Release, gone]);
    }
}

#[test]
fn whom_an_operator_made_give_way_comes_back_only_when_the_other_is_silent() {
    let mut story = Story::new(settings());
    assert_eq!(story.run_to(4000), Some(3609));
    story.tell(Event::Failover);
    for s in 5..20 {
        assert_eq!(story.run_to(s * 1000), None);
        story.tell(advert(20, 50));
    }
    assert_eq!(story.run_to(30_000), Some(19_000 + 3609));
    // Once master again it is as it was.
    story.tell(advert(30, 200));
    assert_eq!(story.machine.state(), State::Backup);
    story.tell(advert(20, 50));
    assert_eq!(story.run_to(40_000), Some(30_000 + 3609));
}

#[test]
fn a_master_announces_itself_twice_and_then_as_often_as_it_is_told() {
    let mut story = Story::new(Settings {
        announcements: Announcements {
            refresh: Some(Duration::from_secs(60)),
            ..Announcements::default()
        },
        ..settings()
    });
    story.run_to(3700);
    let mut volleys = Vec::new();
    while story.now < story.start + Duration::from_secs(140) {
        let due = story.machine.due().unwrap();
        story.now = due;
        let mut out = Vec::new();
        story.machine.tick(due, &mut out);
        if out.contains(&Effect::Announce) {
            volleys.push((due - story.start).as_secs());
        }
    }
    assert_eq!(volleys, [8, 68, 128]);
}

#[test]
fn adverts_keep_their_rhythm_when_timers_are_a_little_late() {
    let mut story = Story::new(settings());
    story.run_to(3610);
    let first = story.machine.due.unwrap();
    for n in 0..100 {
        let due = story.machine.due.unwrap();
        story
            .machine
            .tick(due + Duration::from_millis(7), &mut Vec::new());
        assert_eq!(story.machine.due.unwrap() - first, INTERVAL * (n + 1));
    }
}

#[test]
fn a_master_that_overslept_hears_its_successor_as_a_backup() {
    let mut story = Story::new(settings());
    story.run_to(3610);
    story.now += Duration::from_secs(5);
    let out = story.tell(advert(20, 50));
    assert_eq!(
        out,
        [
            Effect::Late(Duration::from_micros(4_000_625)),
            Effect::Release,
            entered(State::Master, State::Backup, Cause::Overslept),
        ]
    );
    assert_eq!(story.machine.due.map(|due| due - story.now), Some(DOWN));
}

#[test]
fn who_overslept_takes_the_part_back_when_it_has_been_awake_for_as_long() {
    let mut story = Story::new(settings());
    story.run_to(3610);
    story.now += Duration::from_secs(11);
    story.tell(advert(20, 50));
    let woke = story.now;
    // Ten seconds late, it hears one of lower priority every second.
    let hear = |story: &mut Story, times| {
        for _ in 0..times {
            story.now += INTERVAL;
            story.tell(advert(20, 50));
        }
    };
    hear(&mut story, 10);
    let heeded = Some(story.now + DOWN);
    assert_eq!(
        (story.now - woke, story.machine.due),
        (10 * INTERVAL, heeded)
    );
    hear(&mut story, 3);
    assert_eq!(
        story.machine.due, heeded,
        "from now on the priority decides"
    );
    story.now += INTERVAL;
    story.machine.tick(story.now, &mut Vec::new());
    assert_eq!(story.machine.state(), State::Master);

    // Who sleeps as a backup is tired, too; but not for ever.
    let mut story = Story::new(settings());
    story.now += Duration::from_secs(3_600);
    story.tell(advert(20, 50));
    hear(&mut story, 59);
    let heeded = Some(story.now + DOWN);
    assert_eq!(story.machine.due, heeded);
    hear(&mut story, 1);
    assert_eq!(story.machine.due, heeded);
}

#[test]
fn a_fault_before_the_start_is_a_fault_from_the_start() {
    let mut machine = Machine::new(settings(), address(10), false);
    let mut out = Vec::new();
    machine.handle(Instant::now(), Event::Fault, &mut out);
    machine.handle(Instant::now(), Event::Start, &mut out);
    assert_eq!(machine.state(), State::Fault);
}
