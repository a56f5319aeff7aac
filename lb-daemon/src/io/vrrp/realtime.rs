//! Going before everybody else: an advertisement that is late makes another director take over.

#![expect(
    unsafe_code,
    reason = "no library that we have sets a thread's scheduling"
)]

use std::io;

/// Above everything that runs by default, below the kernel's own threads.
const PRIORITY: i32 = 20;

/// Makes the calling thread one with real-time priority (`SCHED_FIFO`). What it starts does not inherit that.
pub(super) fn take() -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the parameters are initialised and outlive the call.
    let failed = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
