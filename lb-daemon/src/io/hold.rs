//! Keeping signals from a thread for a while.

use std::marker::PhantomData;

use nix::sys::signal::{SigSet, SigmaskHow};

/// As long as this is there, signals are for other threads. Who loads programs has one: the kernel breaks off the verification of a BPF
/// program (`EAGAIN`) when a signal is pending for the thread that loads it, such as the hangup of somebody who has the file read
/// anew while we start.
#[derive(Debug)]
pub(crate) struct Hold {
    before: Option<SigSet>,
    /// It is of this thread.
    stays_here: PhantomData<*const ()>,
}

impl Hold {
    /// Holds signals off the calling thread.
    pub(crate) fn new() -> Self {
        // Where it fails we may be disturbed, as everybody else.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
        Self {
            before,
            stays_here: PhantomData,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // It was taken when it was made, so it is a mask that can be set.
            let _ = before.thread_set_mask();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    #[test]
    fn a_signal_waits_for_the_end_of_it() {
        // This one is ignored by default, so that it does no harm when it comes.
        let signal = Signal::SIGURG;
        let is_blocked = || SigSet::thread_get_mask().unwrap().contains(signal);
        let hold = Hold::new();
        raise(signal).unwrap();
        assert!(is_blocked());
        drop(hold);
        assert!(!is_blocked());
    }
}
