//! Going before everybody else: what measures must not be what is measured.

#![expect(
    unsafe_code,
    reason = "no library that we have sets a thread's scheduling"
)]

use std::io;

use anyhow::{Context, Result};

/// Above all that runs by default, below the VRRP thread.
const PRIORITY: i32 = 10;

/// Gives the calling thread real-time priority, which what it starts does not inherit.
pub(super) fn before_all_others() -> Result<()> {
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the parameters are initialised and outlive the call.
    let failed = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error()).context("cannot take real-time priority")
    }
}
