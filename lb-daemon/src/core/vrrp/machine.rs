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
mod turn;
mod words;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Interval, Priority, Settings};
use turn::Turn;
pub use words::{Cause, Effect, Event, Heard, State};

/// Nobody is tired for longer, however long he has slept.
const MOST_TIRED: Duration = Duration::from_secs(60);

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
    /// Until then it is tired: it has slept, may fall asleep again, and makes nobody give way.
    tired_until: Option<Instant>,
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
            tired_until: None,
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
    /// else: what it then hears was said by somebody who may have taken its place. For as long as it has slept it does not
    /// take that place back, so that a director that gets no processor does not take it again and again.
    pub fn handle(&mut self, now: Instant, event: Event, out: &mut Vec<Effect>) {
        let late = self.due.and_then(|due| now.checked_duration_since(due));
        let late = late.filter(|late| self.overslept(*late));
        if let Some(late) = late {
            self.tired_until = Some(now + late.min(MOST_TIRED));
        }
        let overslept = late.filter(|_| self.state == State::Master);
        let mut turn = Turn {
            machine: self,
            now,
            out,
        };
        if let Some(late) = overslept {
            turn.step(Event::AdvertDue(late));
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
