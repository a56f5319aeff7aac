//! Going before everybody else: an advertisement that is late makes another director take over.

#![expect(
    unsafe_code,
    reason = "no library that we have sets a thread's scheduling"
)]

use std::io;

/// Makes the calling thread one with this real-time priority, 1 to 99 (`SCHED_FIFO`). What it starts does not inherit that.
///
/// # Errors
///
/// The kernel refuses: `CAP_SYS_NICE` is missing, or there is no such priority.
pub fn take(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
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
