//! How fast does traffic grow? By the estimator of IPVS: every two seconds, each rate goes a quarter of the way to what
//! the last two seconds gave.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::report::{Rates, TrafficSum};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);

/// The rates of many things, by what tells them apart.
#[derive(Debug)]
pub(super) struct Estimator<K> {
    known: HashMap<K, Known>,
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    sum: TrafficSum,
    rates: [f64; 5],
}

impl<K> Default for Estimator<K> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            last: None,
        }
    }
}

impl<K: std::hash::Hash + Eq> Estimator<K> {
    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= PERIOD)
    }

    /// Looks at all sums. What is not among them any more is forgotten; what is new begins with no rate.
    pub(super) fn look(&mut self, now: Instant, sums: impl IntoIterator<Item = (K, TrafficSum)>) {
        let passed = self
            .last
            .replace(now)
            .map(|last| now.saturating_duration_since(last).as_secs_f64());
        let mut before = std::mem::take(&mut self.known);
        self.known = sums
            .into_iter()
            .map(|(key, sum)| {
                let known = match (before.remove(&key), passed) {
                    (Some(known), Some(seconds)) if seconds > 0.0 => known.after(sum, seconds),
                    (Some(known), _) => Known { sum, ..known },
                    (None, _) => Known {
                        sum,
                        rates: [0.0; 5],
                    },
                };
                (key, known)
            })
            .collect();
    }

    /// The rates of one thing; none when it is not known.
    pub(super) fn rates(&self, key: &K) -> Rates {
        let [conns, in_packets, in_bytes, out_packets, out_bytes] =
            self.known.get(key).map_or([0.0; 5], |k| k.rates);
        Rates {
            conns,
            in_packets,
            in_bytes,
            out_packets,
            out_bytes,
        }
    }
}

impl Known {
    fn after(mut self, sum: TrafficSum, seconds: f64) -> Self {
        let grown = sum.to_words().into_iter().zip(self.sum.to_words());
        for (rate, (now, before)) in self.rates.iter_mut().zip(grown) {
            let sample = now.saturating_sub(before) as f64 / seconds;
            *rate += (sample - *rate) / 4.0;
        }
        Self { sum, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(packets: u64) -> TrafficSum {
        TrafficSum {
            in_packets: packets,
            ..TrafficSum::default()
        }
    }

    #[test]
    fn a_rate_goes_a_quarter_of_the_way_each_time() {
        let start = Instant::now();
        let mut estimator = Estimator::default();
        assert!(estimator.is_due(start));
        estimator.look(start, [("web", sum(1000))]);
        assert_eq!(estimator.rates(&"web").in_packets, 0.0);
        assert!(!estimator.is_due(start + PERIOD / 2));

        estimator.look(start + PERIOD, [("web", sum(1200))]);
        assert_eq!(estimator.rates(&"web").in_packets, 25.0);
        estimator.look(start + 2 * PERIOD, [("web", sum(1400))]);
        assert_eq!(estimator.rates(&"web").in_packets, 43.75);
        estimator.look(start + 4 * PERIOD, [("web", sum(1400))]);
        assert_eq!(estimator.rates(&"web").in_packets, 43.75 * 0.75);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_is_new_has_no_rate() {
        let start = Instant::now();
        let mut estimator = Estimator::default();
        estimator.look(start, [("web", sum(0))]);
        estimator.look(start + PERIOD, [("dns", sum(1_000_000))]);
        assert_eq!(estimator.rates(&"dns"), Rates::default());
        assert_eq!(estimator.rates(&"web"), Rates::default());
        estimator.look(
            start + 2 * PERIOD,
            [("web", sum(10)), ("dns", sum(1_000_000))],
        );
        assert_eq!(estimator.rates(&"web"), Rates::default());
    }
}
