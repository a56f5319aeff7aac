//! What time is it? Nobody else in the daemon asks the kernel.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Now, for everything that measures how long.
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day, in whole seconds since 1970: for what is written down, never for measuring.
pub fn wall() -> u64 {
    time_of_day().as_secs()
}

/// The time of day since 1970: for what other machines compare with theirs, never for measuring.
pub fn time_of_day() -> Duration {
    // A clock before 1970 is one that was never set.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The clock that the XDP program reads (`bpf_ktime_get_coarse_ns`), since boot without suspends. It moves in steps
/// of the kernel's timer tick.
pub fn coarse() -> Duration {
    // The kernel has had this clock since 2.6.32; without it time would stand still, and nothing would expire.
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_follows_the_fine_one() {
        let fine = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
        let coarse = coarse();
        assert!(
            fine.abs_diff(coarse) < Duration::from_millis(100),
            "{fine:?} {coarse:?}"
        );
    }
}
