//! How fast does traffic grow? By the estimator of IPVS: every two seconds, each rate goes a quarter of the way to what
//! the last two seconds gave.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::report::{Rates, TrafficSum};

/// Between two looks at the same thing.
pub(super) const PERIOD: Duration = Duration::from_secs(2);

/// The rates of many things, by what tells them apart.
#[derive(Debug)]
pub(super) struct Estimator<K> {
    known: HashMap<K, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    at: Instant,
    sum: TrafficSum,
    rates: [f64; 5],
}

impl<K> Default for Estimator<K> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
        }
    }
}

impl<K: std::hash::Hash + Eq> Estimator<K> {
    /// Looks at one thing. What is new begins with no rate; a look too soon after the last one changes nothing.
    pub(super) fn look(&mut self, key: K, now: Instant, sum: TrafficSum) {
        let new = Known {
            at: now,
            sum,
            rates: [0.0; 5],
        };
        let known = self.known.entry(key).or_insert(new);
        let passed = now.saturating_duration_since(known.at);
        if passed >= PERIOD / 2 {
            *known = known.after(now, sum, passed);
        }
    }

    /// Forgets what is gone.
    pub(super) fn retain(&mut self, still_there: impl Fn(&K) -> bool) {
        self.known.retain(|key, _| still_there(key));
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
    fn after(mut self, now: Instant, sum: TrafficSum, passed: Duration) -> Self {
        let grown = sum.to_words().into_iter().zip(self.sum.to_words());
        for (rate, (now, before)) in self.rates.iter_mut().zip(grown) {
            let sample = now.saturating_sub(before) as f64 / passed.as_secs_f64();
            *rate += (sample - *rate) / 4.0;
        }
        Self {
            at: now,
            sum,
            ..self
        }
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
        estimator.look("web", start, sum(1000));
        assert_eq!(estimator.rates(&"web").in_packets, 0.0);
        estimator.look("web", start + PERIOD / 4, sum(1100));
        assert_eq!(estimator.rates(&"web").in_packets, 0.0);

        estimator.look("web", start + PERIOD, sum(1200));
        assert_eq!(estimator.rates(&"web").in_packets, 25.0);
        estimator.look("web", start + 2 * PERIOD, sum(1400));
        assert_eq!(estimator.rates(&"web").in_packets, 43.75);
        estimator.look("web", start + 4 * PERIOD, sum(1400));
        assert_eq!(estimator.rates(&"web").in_packets, 43.75 * 0.75);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_is_new_has_no_rate() {
        let start = Instant::now();
        let mut estimator = Estimator::default();
        estimator.look("web", start, sum(0));
        estimator.look("web", start + PERIOD, sum(100));
        estimator.look("dns", start + PERIOD, sum(1_000_000));
        assert_eq!(estimator.rates(&"dns"), Rates::default());
        estimator.retain(|key| *key == "dns");
        assert_eq!(estimator.rates(&"web"), Rates::default());
    }
}
