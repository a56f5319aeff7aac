//! What one event does to a virtual router.

use std::time::{Duration, Instant};

use super::super::{Claim, InitialState, Preempt, Priority};
use super::{Cause, Effect, Event, Heard, Machine, State};

/// One event at one moment.
pub(super) struct Turn<'a> {
    pub machine: &'a mut Machine,
    pub now: Instant,
    pub out: &'a mut Vec<Effect>,
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
    pub(super) fn step(&mut self, event: Event) {
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
        machine.tired_until = None;
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
                    _ if machine.tired_until.is_some_and(|until| self.now < until) => false,
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
                // It had the addresses too, so neighbours may have learnt them from it.
                self.announce();
            }
            Rank::Higher => {
                self.two_owners(&heard);
                self.machine.master = Some(heard);
                // Both may have been master without hearing each other. This tells the other one, who has the neighbours
                // learn anew whose the addresses are.
                let last = Effect::Send(Claim::Priority(self.machine.priority));
                self.out.extend([Effect::Release, last]);
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
        self.out.extend([Effect::Serve, Effect::Assume]);
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
