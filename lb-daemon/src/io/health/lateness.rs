//! How late do probes start?

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Percentiles in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half are below.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

/// Steps of a quarter of an octave: each is about a fifth longer than the one before.
const STEPS: usize = 128;
const PER_OCTAVE: f64 = 4.0;

/// Counts of how late probes started, by steps from a microsecond on.
#[derive(Clone, Debug)]
pub(super) struct Lateness {
    counts: [u64; STEPS],
    total: u64,
    max: Duration,
}

impl Default for Lateness {
    fn default() -> Self {
        Self {
            counts: [0; STEPS],
            total: 0,
            max: Duration::ZERO,
        }
    }
}

impl Lateness {
    pub(super) fn add(&mut self, late: Duration) {
        let micros = late.as_secs_f64() * 1e6;
        let step = if micros <= 1.0 {
            0.0
        } else {
            (micros.log2() * PER_OCTAVE).ceil()
        };
        let step = (step as usize).min(STEPS - 1);
        if let Some(count) = self.counts.get_mut(step) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(late);
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let max = self.max.as_secs_f64() * 1e3;
        Percentiles {
            p50: self.below(0.50).min(max),
            p99: self.below(0.99).min(max),
            max,
        }
    }

    /// Below which lateness, in milliseconds, this part of all is.
    fn below(&self, part: f64) -> f64 {
        let wanted = (self.total as f64 * part).ceil();
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen as f64 >= wanted && seen > 0 {
                return (step as f64 / PER_OCTAVE).exp2() / 1e3;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_step() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.percentiles(), Percentiles::default());
        for n in 1..=1000 {
            lateness.add(Duration::from_micros(n * 100));
        }
        let Percentiles { p50, p99, max } = lateness.percentiles();
        assert!((50.0..60.0).contains(&p50), "{p50}");
        assert!((99.0..=100.0).contains(&p99), "{p99}");
        assert_eq!((max, lateness.total()), (100.0, 1000));
    }

    #[test]
    fn any_lateness_has_a_step() {
        let mut lateness = Lateness::default();
        for late in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_secs(1 << 40),
            Duration::MAX,
        ] {
            lateness.add(late);
        }
        assert_eq!(lateness.total(), 4);
    }
}
