//! Leaving everything to other directors, and serving until they do.

use std::time::{Duration, Instant};

use super::instance::Instance;
use super::run::{Thread, machine};
use crate::core::vrrp::{self, Priority, State};
use crate::io::clock;

/// What another director may need besides its skew.
const GRACE: Duration = Duration::from_millis(50);
/// Nobody waits for longer until a daemon has stopped.
const LONGEST: Duration = Duration::from_secs(3);

impl Thread {
    /// All masters say that they leave, and go on until another is master, or until nobody can be expected to be: the
    /// slowest backup takes over one skew after it was told.
    pub(super) fn begin_to_leave(&mut self) {
        if self.leaves_at.is_some() {
            return;
        }
        let skew = |i: &Instance| {
            let settings = i.config.settings();
            settings.timing().skew(Priority::LOWEST, settings.interval)
        };
        let masters = self.instances.values().filter(|i| self.is_master(i));
        let masters: Vec<(usize, Duration)> = masters.map(|i| (i.slot, skew(i))).collect();
        let longest = masters.iter().map(|(_, skew)| *skew + GRACE).max();
        self.leaves_at = Some(clock::now() + longest.unwrap_or_default().min(LONGEST));
        for (slot, _) in masters {
            self.tell(slot, vrrp::Event::Failover);
        }
    }

    /// Ends if it is to leave and nobody is waited for any more.
    pub(super) fn leave_when_over(&mut self, now: Instant) {
        let Some(at) = self.leaves_at else {
            return;
        };
        if now >= at || !self.instances.values().any(|i| self.is_master(i)) {
            self.configure(Vec::new());
            self.stopped = true;
        }
    }

    fn is_master(&self, instance: &Instance) -> bool {
        machine(&self.router, instance.slot).is_some_and(|m| m.state() == State::Master)
    }
}
