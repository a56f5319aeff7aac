//! The state machine of one virtual router.
//!
//! ```text
//!                      Start, owner
//!            ┌──────────────────────────────────────────┐
//!            │                                          ▼
//!       ┌─────────┐  Start   ┌────────┐  MasterDown  ┌────────┐
//!       │ Stopped │─────────►│ Backup │─────────────►│ Master │──┐ AdvertDue: advert
//!       └─────────┘          └────────┘◄─────────────└────────┘◄─┘
//!            ▲                 ▲    │   higher advert   │
//!            │ Stop       Heal │    │ Fault             │ Fault: advert of priority 0
//!            │                 │    ▼                   │
//!            │               ┌────────┐                 │
//!            └───────────────│ Fault  │◄────────────────┘
//!                            └────────┘
//! ```
//!
//! A [`Machine`] is told events with the time at which they happen, and answers with effects in the order in which
//! they are to be carried out. Of its timers it only tells the next deadline.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Claim, InitialState, Interval, Preempt, Priority, Settings};

/// The states of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It takes no part.
    Stopped,
    /// It listens for a master.
    Backup,
    /// It has the addresses, and says so.
    Master,
    /// Something that it needs is down.
    Fault,
}

/// What a virtual router is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It shall take part.
    Start,
    /// It shall no longer take part.
    Stop,
    /// It has heard another.
    Advert(Heard),
    /// No master was heard for long enough. So much too late is the timer.
    MasterDown(Duration),
    /// An advertisement is to be sent. So much too late is the timer.
    AdvertDue(Duration),
    /// Another volley of announcements is to be sent.
    AnnounceDue,
    /// What is tracked makes it have this priority.
    Priority(Priority),
    /// Something of its own that it needs is down.
    Fault,
    /// Everything of its own that it needs is up.
    Heal,
    /// An operator wants another to be master.
    Failover,
    /// Every member of its sync group may be master now.
    GroupMaster,
    /// A member of its sync group is no longer master, nor wants to be.
    GroupBackup,
    /// A member of its sync group is in fault.
    GroupFault,
    /// No member of its sync group is in fault.
    GroupHeal,
    /// Another member of its sync group had to assert itself.
    GroupAssert,
}

/// What another said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its address.
    pub source: IpAddr,
    /// What it claims.
    pub claim: Claim,
    /// The time between its advertisements.
    pub interval: Interval,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send an advertisement.
    Send(Claim),
    /// Take the addresses, and serve.
    Assume,
    /// Give up the addresses.
    Release,
    /// Announce the addresses to the neighbours.
    Announce,
    /// The state is another one now.
    Entered {
        /// It was this.
        from: State,
        /// It is this.
        to: State,
        /// For this reason.
        cause: Cause,
    },
    /// As a member of a sync group, it would be master if the others are.
    WantsMaster,
    /// A master of lower priority was put right.
    LowerMaster(IpAddr),
    /// Another says that it owns the addresses too.
    TwoOwners(IpAddr),
    /// A timer was late by this much, and for that nothing was done.
    Late(Duration),
}

/// Why a state was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It was started.
    Started,
    /// It was stopped.
    Stopped,
    /// No master was heard.
    MasterSilent,
    /// The master left.
    MasterResigned,
    /// It owns the addresses.
    Owner,
    /// Another has a higher priority, or the same and a higher address.
    Outranked(IpAddr),
    /// Something of its own went down.
    Fault,
    /// What was down is up.
    Healed,
    /// An operator wanted it.
    Operator,
    /// Its sync group went that way.
    Group,
    /// It was asleep for so long that another may be master by now.
    Overslept,
}

/// One virtual router.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    /// Our address on the interface, which decides between equal priorities.
    address: IpAddr,
    grouped: bool,
    state: State,
    since: Option<Instant>,
    priority: Priority,
    own_fault: bool,
    group_fault: bool,
    /// Backup: when the master is taken for dead. Master: when to advertise.
    due: Option<Instant>,
    announce_due: Option<Instant>,
    master: Option<Heard>,
    /// From when on a master of lower priority is made to give way.
    preempt_from: Option<Instant>,
    /// Whom an operator made give way does not come back by priority alone.
    yielded: bool,
    /// Master still, until somebody else is, or until it is clear that nobody will be.
    leaving: bool,
    resigned: bool,
    wants_master: bool,
}

impl Machine {
    /// A virtual router that takes no part yet. `grouped`: a sync group says when it may be master.
    pub fn new(settings: Settings, address: IpAddr, grouped: bool) -> Self {
        Self {
            address,
            grouped,
            state: State::Stopped,
            since: None,
            priority: settings.priority,
            own_fault: false,
            group_fault: false,
            due: None,
            announce_due: None,
            master: None,
            preempt_from: None,
            yielded: false,
            leaving: false,
            resigned: false,
            wants_master: false,
            settings,
        }
    }

    /// Its state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// When it entered its state.
    pub const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Its priority now.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The master that it heard last, if it is not master itself.
    pub const fn master(&self) -> Option<Heard> {
        self.master
    }

    /// What an operator said about it.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Our address on the interface.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// An operator says something else about it. Timers that run go on to their end.
    pub(super) fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Our address on the interface is another one now.
    pub const fn set_address(&mut self, address: IpAddr) {
        self.address = address;
    }

    /// Whether, as a member of a sync group, it is master or would be.
    pub(super) fn ready(&self) -> bool {
        self.wants_master || self.state == State::Master
    }

    /// Whether something of its own is down.
    pub(super) const fn faulty(&self) -> bool {
        self.own_fault
    }

    /// Whether it was told that something of another member of its sync group is down.
    pub(super) const fn group_faulty(&self) -> bool {
        self.group_fault
    }

    /// When [`Machine::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        [self.due, self.announce_due].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if let Some(due) = self.due.filter(|due| *due <= now) {
            let late = now - due;
            if self.state == State::Master {
                self.handle(now, Event::AdvertDue(late), out);
            } else {
                self.handle(now, Event::MasterDown(late), out);
            }
        }
        if self.announce_due.is_some_and(|due| due <= now) {
            self.handle(now, Event::AnnounceDue, out);
        }
    }

    /// Does what follows from an event.
    ///
    /// A master that was asleep for so long that others have given it up is a backup before it looks at anything
    /// else: what it then hears was said by somebody who may have taken its place.
    pub fn handle(&mut self, now: Instant, event: Event, out: &mut Vec<Effect>) {
        let late = self.due.and_then(|due| now.checked_duration_since(due));
        let overslept = self.state == State::Master && late.is_some_and(|l| self.overslept(l));
        let mut turn = Turn {
            machine: self,
            now,
            out,
        };
        if overslept {
            turn.step(Event::AdvertDue(late.unwrap_or_default()));
        }
        turn.step(event);
    }

    /// How long a master may be silent: by its own interval where that was heard, for version 3 learns it.
    fn master_down(&self) -> Duration {
        let timing = self.settings.timing();
        timing.master_down(self.priority, self.master_interval())
    }

    fn skew(&self) -> Duration {
        let timing = self.settings.timing();
        timing.skew(self.priority, self.master_interval())
    }

    fn master_interval(&self) -> Interval {
        self.master.map_or(self.settings.interval, |m| m.interval)
    }

    /// Whether a timer was so late that others have given us up.
    fn overslept(&self, late: Duration) -> bool {
        let given_up = self.settings.interval.duration() * u32::from(self.settings.misses);
        late >= given_up
    }
}

/// One event at one moment.
struct Turn<'a> {
    machine: &'a mut Machine,
    now: Instant,
    out: &'a mut Vec<Effect>,
}

/// How an advertisement compares with us.
enum Rank {
    /// It says that its sender leaves.
    Resigns,
    /// Its sender goes before us.
    Higher,
    /// Its sender goes after us.
    Lower,
}

impl Turn<'_> {
    /// Every state and every event: nothing is left to a default.
    fn step(&mut self, event: Event) {
        match (self.machine.state, event) {
            (State::Stopped, Event::Start) => self.start(),
            (State::Backup | State::Master | State::Fault, Event::Start) => {}

            (State::Stopped, Event::Stop) => {}
            (State::Backup | State::Fault, Event::Stop) => self.enter_stopped(),
            (State::Master, Event::Stop) => {
                self.resign();
                self.enter_stopped();
            }

            (State::Stopped | State::Fault, Event::Advert(_)) => {}
            (State::Backup, Event::Advert(heard)) => self.backup_hears(heard),
            (State::Master, Event::Advert(heard)) => self.master_hears(heard),

            (State::Backup, Event::MasterDown(late)) => self.master_is_silent(late),
            (State::Stopped | State::Master | State::Fault, Event::MasterDown(_)) => {}

            (State::Master, Event::AdvertDue(late)) => self.advert_is_due(late),
            (State::Stopped | State::Backup | State::Fault, Event::AdvertDue(_)) => {}

            (State::Master, Event::AnnounceDue) => self.announce_again(),
            (State::Stopped | State::Backup | State::Fault, Event::AnnounceDue) => {
                self.machine.announce_due = None;
            }

            (State::Stopped | State::Master | State::Fault, Event::Priority(priority)) => {
                self.machine.priority = priority;
            }
            (State::Backup, Event::Priority(priority)) => self.backup_changes_priority(priority),

            (State::Stopped, Event::Fault) => self.machine.own_fault = true,
            (State::Fault, Event::Fault) => self.machine.own_fault = true,
            (State::Backup, Event::Fault) => {
                self.machine.own_fault = true;
                self.enter_fault(Cause::Fault);
            }
            (State::Master, Event::Fault) => {
                self.machine.own_fault = true;
                self.resign();
                self.enter_fault(Cause::Fault);
            }

            (State::Stopped | State::Backup | State::Master, Event::Heal) => {
                self.machine.own_fault = false;
            }
            (State::Fault, Event::Heal) => {
                self.machine.own_fault = false;
                self.leave_fault(Cause::Healed);
            }

            (State::Stopped | State::Backup | State::Fault, Event::Failover) => {}
            (State::Master, Event::Failover) => self.begin_to_leave(),

            (State::Backup, Event::GroupMaster) => self.enter_master(Cause::Group),
            (State::Stopped | State::Master | State::Fault, Event::GroupMaster) => {}

            (State::Master, Event::GroupBackup) => {
                self.resign();
                self.enter_backup(Cause::Group, self.machine.master_down());
            }
            (State::Backup, Event::GroupBackup) => self.machine.wants_master = false,
            (State::Stopped | State::Fault, Event::GroupBackup) => {}

            (State::Stopped | State::Fault, Event::GroupFault) => self.machine.group_fault = true,
            (State::Backup, Event::GroupFault) => {
                self.machine.group_fault = true;
                self.enter_fault(Cause::Group);
            }
            (State::Master, Event::GroupFault) => {
                self.machine.group_fault = true;
                self.resign();
                self.enter_fault(Cause::Group);
            }

            (State::Stopped | State::Backup | State::Master, Event::GroupHeal) => {
                self.machine.group_fault = false;
            }
            (State::Fault, Event::GroupHeal) => {
                self.machine.group_fault = false;
                self.leave_fault(Cause::Group);
            }

            (State::Master, Event::GroupAssert) => self.announce(),
            (State::Stopped | State::Backup | State::Fault, Event::GroupAssert) => {}
        }
    }

    fn start(&mut self) {
        let machine = &mut *self.machine;
        machine.master = None;
        machine.preempt_from = None;
        machine.yielded = false;
        if machine.own_fault || machine.group_fault {
            self.enter_fault(Cause::Started);
            return;
        }
        let wait = match machine.settings.initial {
            InitialState::Backup => machine.master_down(),
            InitialState::Master => machine.settings.interval.duration() + machine.skew(),
        };
        let at_once = machine.priority.is_owner();
        self.enter_backup(Cause::Started, if at_once { Duration::ZERO } else { wait });
        if at_once && !self.machine.grouped {
            self.enter_master(Cause::Owner);
        }
    }

    fn backup_hears(&mut self, heard: Heard) {
        let rank = self.rank(&heard);
        let machine = &mut *self.machine;
        match rank {
            Rank::Resigns => {
                machine.resigned = true;
                machine.due = Some(self.now + machine.skew());
                return;
            }
            Rank::Higher => machine.preempt_from = None,
            Rank::Lower => {
                let discard = match machine.settings.preempt {
                    _ if machine.yielded => false,
                    Preempt::AtOnce => true,
                    Preempt::Never => false,
                    Preempt::After(delay) => {
                        let from = *machine.preempt_from.get_or_insert(self.now + delay);
                        self.now >= from
                    }
                };
                if discard {
                    // The deadline stays: when it comes, the priority decides.
                    return;
                }
            }
        }
        machine.resigned = false;
        machine.wants_master = false;
        machine.master = Some(heard);
        machine.due = Some(self.now + machine.master_down());
    }

    /// Says that it leaves, and goes on serving until another is master.
    fn begin_to_leave(&mut self) {
        let machine = &mut *self.machine;
        if machine.leaving {
            return;
        }
        machine.yielded = true;
        machine.leaving = true;
        // As if the farewell were lost, too.
        let (timing, interval) = (machine.settings.timing(), machine.settings.interval);
        machine.due = Some(self.now + timing.master_down(Priority::LOWEST, interval));
        self.out.push(Effect::Send(Claim::Resigns));
    }

    fn master_hears(&mut self, heard: Heard) {
        if self.machine.leaving {
            if heard.claim != Claim::Resigns {
                self.machine.master = Some(heard);
                self.out.push(Effect::Release);
                self.enter_backup(Cause::Operator, self.machine.master_down());
            }
            return;
        }
        match self.rank(&heard) {
            Rank::Resigns => {
                let claim = Claim::Priority(self.machine.priority);
                self.advertise(claim);
            }
            Rank::Higher => {
                self.two_owners(&heard);
                self.machine.master = Some(heard);
                self.out.push(Effect::Release);
                let wait = self.machine.master_down();
                self.enter_backup(Cause::Outranked(heard.source), wait);
            }
            Rank::Lower => {
                self.two_owners(&heard);
                let claim = Claim::Priority(self.machine.priority);
                self.advertise(claim);
                self.announce();
                self.out.push(Effect::LowerMaster(heard.source));
            }
        }
    }

    fn two_owners(&mut self, heard: &Heard) {
        let ours = self.machine.priority.is_owner();
        if ours && heard.claim == Claim::Priority(Priority::OWNER) {
            self.out.push(Effect::TwoOwners(heard.source));
        }
    }

    fn rank(&self, heard: &Heard) -> Rank {
        let machine = &*self.machine;
        let Claim::Priority(theirs) = heard.claim else {
            return Rank::Resigns;
        };
        // Between equals the address decides, but a backup never displaces its equal.
        let equal_goes_first = machine.state == State::Backup || heard.source > machine.address;
        if theirs > machine.priority || (theirs == machine.priority && equal_goes_first) {
            Rank::Higher
        } else {
            Rank::Lower
        }
    }

    fn master_is_silent(&mut self, late: Duration) {
        if self.machine.overslept(late) {
            // Advertisements may have come while we slept: one interval is left for them to be heard.
            let wait = self.machine.settings.interval.duration() + self.machine.skew();
            self.machine.due = Some(self.now + wait);
            self.out.push(Effect::Late(late));
            return;
        }
        if self.machine.grouped {
            self.machine.wants_master = true;
            self.machine.due = Some(self.now + self.machine.master_down());
            self.out.push(Effect::WantsMaster);
            return;
        }
        let cause = if self.machine.resigned {
            Cause::MasterResigned
        } else {
            Cause::MasterSilent
        };
        self.enter_master(cause);
    }

    fn advert_is_due(&mut self, late: Duration) {
        if self.machine.overslept(late) {
            self.out.extend([Effect::Late(late), Effect::Release]);
            let wait = self.machine.settings.interval.duration() + self.machine.skew();
            self.enter_backup(Cause::Overslept, wait);
            return;
        }
        if self.machine.leaving {
            // Nobody has taken its place: the addresses are not left alone.
            self.machine.leaving = false;
            self.machine.yielded = false;
        }
        let claim = Claim::Priority(self.machine.priority);
        self.advertise(claim);
        // A timer that is a little late does not make the next one later.
        let interval = self.machine.settings.interval.duration();
        let due = self.machine.due.filter(|_| late < interval);
        self.machine.due = due
            .and_then(|due| due.checked_sub(late))
            .or(self.machine.due);
    }

    /// Its deadline moves by as much as its skew does.
    fn backup_changes_priority(&mut self, priority: Priority) {
        let machine = &mut *self.machine;
        let before = machine.skew();
        machine.priority = priority;
        let after = machine.skew();
        machine.due = machine.due.map(|due| {
            (due + after)
                .checked_sub(before)
                .unwrap_or(due)
                .max(self.now)
        });
    }

    fn advertise(&mut self, claim: Claim) {
        self.out.push(Effect::Send(claim));
        self.machine.due = Some(self.now + self.machine.settings.interval.duration());
    }

    /// A volley now and another after a while.
    fn announce(&mut self) {
        self.out.push(Effect::Announce);
        self.machine.announce_due = Some(self.now + self.machine.settings.announcements.delay);
    }

    fn announce_again(&mut self) {
        self.out.push(Effect::Announce);
        let refresh = self.machine.settings.announcements.refresh;
        self.machine.announce_due = refresh.map(|refresh| self.now + refresh);
    }

    /// Says that we leave, unless that was said, and leaves.
    fn resign(&mut self) {
        if !self.machine.leaving {
            self.out.push(Effect::Send(Claim::Resigns));
        }
        self.out.push(Effect::Release);
    }

    fn enter_master(&mut self, cause: Cause) {
        let claim = Claim::Priority(self.machine.priority);
        self.machine.yielded = false;
        self.machine.master = None;
        self.advertise(claim);
        self.out.push(Effect::Assume);
        self.announce();
        self.enter(State::Master, cause);
    }

    fn enter_backup(&mut self, cause: Cause, wait: Duration) {
        self.machine.due = Some(self.now + wait);
        self.machine.announce_due = None;
        self.enter(State::Backup, cause);
    }

    fn enter_fault(&mut self, cause: Cause) {
        self.machine.due = None;
        self.machine.announce_due = None;
        self.machine.master = None;
        self.enter(State::Fault, cause);
    }

    fn leave_fault(&mut self, cause: Cause) {
        if !self.machine.own_fault && !self.machine.group_fault {
            self.enter_backup(cause, self.machine.master_down());
        }
    }

    fn enter_stopped(&mut self) {
        self.machine.due = None;
        self.machine.announce_due = None;
        self.machine.master = None;
        self.enter(State::Stopped, Cause::Stopped);
    }

    fn enter(&mut self, to: State, cause: Cause) {
        let machine = &mut *self.machine;
        let from = machine.state;
        machine.state = to;
        machine.since = Some(self.now);
        machine.wants_master = false;
        machine.leaving = false;
        machine.resigned = false;
        machine.preempt_from = None;
        self.out.push(Effect::Entered { from, to, cause });
    }
}
