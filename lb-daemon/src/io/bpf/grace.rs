//! When can no packet still be reading what was current before?
//!
//! An XDP program runs inside an RCU read-side section from its first to its last instruction. So what was taken
//! out of sight before a grace period of RCU began cannot be in any program's hands after it ended. User space can
//! wait for exactly that: an update of a map of maps returns only after every program that ran when it began has
//! ended (`maybe_wait_bpf_programs` in the kernel), on any number of CPUs, with or without `nohz_full`, where
//! `membarrier` refuses to. A fixed time would be a guess that a preempted virtual CPU makes wrong.
//!
//! Such a wait takes some 10 ms, so a thread of its own does it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::sys;

/// A moment after which nothing that was out of sight is read any more; compare with [`Grace::passed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Hands out [`Ticket`]s and waits for them in the background.
#[derive(Debug)]
pub struct Grace {
    asked: u64,
    passed: Arc<Passed>,
    waiter: Waiter,
}

/// Who waits.
#[derive(Debug)]
enum Waiter {
    /// A thread, for the kernel's programs.
    Kernel(Sender<u64>),
    /// Nobody: no program reads the maps.
    #[cfg(test)]
    Nobody,
    /// The test says when.
    #[cfg(test)]
    Test,
}

impl Grace {
    /// Waits for the kernel's programs.
    pub fn of_kernel() -> io::Result<Self> {
        let sync = Sync::new()?;
        let passed = Arc::new(Passed::default());
        let (waiter, asked) = mpsc::channel();
        thread::Builder::new().name("lbd-grace".into()).spawn({
            let passed = Arc::clone(&passed);
            move || wait_for_all(&sync, &asked, &passed)
        })?;
        Ok(Self {
            asked: 0,
            passed,
            waiter: Waiter::Kernel(waiter),
        })
    }

    /// For maps that no program reads: everything passes at once.
    #[cfg(test)]
    pub(super) fn of_nobody() -> Self {
        Self {
            asked: 0,
            passed: Arc::default(),
            waiter: Waiter::Nobody,
        }
    }

    /// Passes only when told to.
    #[cfg(test)]
    pub(super) fn of_test() -> Self {
        Self {
            waiter: Waiter::Test,
            ..Self::of_nobody()
        }
    }

    /// Ends all grace periods.
    #[cfg(test)]
    pub(super) fn pass(&self) {
        self.passed.set(self.asked);
    }

    /// Begins a grace period for all that is out of sight by now.
    pub fn begin(&mut self) -> Ticket {
        self.asked += 1;
        match &self.waiter {
            // Should the thread be gone, the ticket never passes, and what waits for it stays in place.
            Waiter::Kernel(waiter) => drop(waiter.send(self.asked)),
            #[cfg(test)]
            Waiter::Nobody => self.passed.set(self.asked),
            #[cfg(test)]
            Waiter::Test => {}
        }
        Ticket(self.asked)
    }

    /// Whether the grace period that gave the ticket is over.
    pub fn passed(&self, ticket: Ticket) -> bool {
        self.passed.get() >= ticket.0
    }

    /// Waits for a grace period that begins now: some 10 ms. Whether it is over.
    pub fn wait(&mut self) -> bool {
        let ticket = self.begin();
        self.passed.wait_for(ticket.0, LONGEST)
    }
}

/// No grace period takes so long, unless a processor hangs.
const LONGEST: Duration = Duration::from_secs(5);

/// The last ticket that has passed.
#[derive(Debug, Default)]
struct Passed {
    ticket: Mutex<u64>,
    changed: Condvar,
}

impl Passed {
    fn get(&self) -> u64 {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, ticket: u64) {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = ticket;
        self.changed.notify_all();
    }

    fn wait_for(&self, ticket: u64, longest: Duration) -> bool {
        let passed = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(passed, longest, |passed| *passed < ticket);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// Ends when the [`Grace`] is dropped.
fn wait_for_all(sync: &Sync, asked: &Receiver<u64>, passed: &Passed) {
    while let Ok(mut ticket) = asked.recv() {
        // One wait serves all that were asked for before it began.
        while let Ok(later) = asked.try_recv() {
            ticket = later;
        }
        match sync.wait() {
            Ok(()) => passed.set(ticket),
            Err(e) => tracing::error!(
                "cannot wait for running XDP programs: {e}; old generations stay in place"
            ),
        }
    }
}

/// A map of maps whose only use is that updating it waits for running programs.
#[derive(Debug)]
struct Sync {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Sync {
    fn new() -> io::Result<Self> {
        let inner = sys::tiny_array()?;
        let outer = sys::array_of_maps(&inner)?;
        Ok(Self { outer, inner })
    }

    fn wait(&self) -> io::Result<()> {
        sys::map_set_inner(self.outer.as_fd(), 0, self.inner.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_nobody_reading_everything_passes_at_once() {
        let mut grace = Grace::of_nobody();
        let ticket = grace.begin();
        assert!(grace.passed(ticket));
    }
}
