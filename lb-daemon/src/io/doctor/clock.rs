//! Is the clock of this machine kept right? The kernel knows from whoever does it.

use std::io;
use std::mem::zeroed;
use std::time::Duration;

use crate::core::doctor::facts::Clock;

/// Asks the kernel. Under a system-call filter that protects the clock (`ProtectClock=`) it does not say.
///
/// # Errors
///
/// The kernel does not say.
pub fn look() -> io::Result<Clock> {
    // SAFETY: `timex` is plain data for which all zeroes is a value: it asks, and sets nothing.
    let mut clock: libc::timex = unsafe { zeroed() };
    // SAFETY: the structure is initialised and writable, and outlives the call.
    let state = unsafe { libc::adjtimex(&raw mut clock) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Clock {
        synchronised: clock.status & libc::STA_UNSYNC == 0 && state != libc::TIME_ERROR,
        error: Duration::from_micros(u64::try_from(clock.maxerror).unwrap_or(u64::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_wrong_the_clock_may_be() {
        match look() {
            Ok(clock) => assert!(!clock.synchronised || clock.error < Duration::from_secs(60)),
            Err(why) => println!("SKIP: {why}"),
        }
    }
}
