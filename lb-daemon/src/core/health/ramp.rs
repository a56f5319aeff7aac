//! Which share does a real server get that has just returned?
//!
//! It gets a tenth of its weight at first, and a tenth more after each tenth of the time.

use std::time::{Duration, Instant};

/// How many steps there are to the full share.
pub(super) const STEPS: u32 = 10;

/// A real server's way back to its full share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ramp {
    start: Instant,
    length: Duration,
}

impl Ramp {
    /// Begins now.
    pub(super) fn new(length: Duration, now: Instant) -> Self {
        Self { start: now, length }
    }

    /// The share in tenths.
    pub(super) fn tenths(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.start).as_nanos();
        let step = (self.length.as_nanos() / u128::from(STEPS)).max(1);
        u32::try_from(passed / step + 1).unwrap_or(STEPS).min(STEPS)
    }

    /// When the share grows next; `None` if it is full.
    pub(super) fn next_step(&self, now: Instant) -> Option<Instant> {
        let tenths = self.tenths(now);
        (tenths < STEPS).then(|| {
            let at = self.start + (self.length / STEPS) * tenths;
            at.max(now + Duration::from_millis(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_by_a_tenth_and_ends_full() {
        let start = Instant::now();
        let ramp = Ramp::new(Duration::from_secs(30), start);
        let mut now = start;
        let mut steps = vec![(0, ramp.tenths(now))];
        while let Some(next) = ramp.next_step(now) {
            assert!(next > now);
            now = next;
            steps.push(((now - start).as_secs(), ramp.tenths(now)));
        }
        let wanted: Vec<_> = (0..10)
            .map(|n| (n * 3, u32::try_from(n).unwrap() + 1))
            .collect();
        assert_eq!(steps, wanted);
        assert_eq!(ramp.tenths(start + Duration::from_secs(1 << 40)), STEPS);
    }

    #[test]
    fn a_ramp_without_length_is_over_at_once_and_never_turns_in_place() {
        let now = Instant::now();
        let ramp = Ramp::new(Duration::ZERO, now);
        let next = ramp.next_step(now);
        assert!(next.is_none_or(|next| next > now && ramp.next_step(next).is_none()));
    }
}
