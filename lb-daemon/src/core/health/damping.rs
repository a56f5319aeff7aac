//! When is a real server that comes and goes kept out?
//!
//! After [`Damping::failures`] failures within [`Damping::within`] it is let in again only when it has been well for
//! [`Damping::hold`]. So it changes the pool at most once in that time, however its checks flap.

use std::collections::VecDeque;
use std::time::Instant;

use super::plan::Damping;

/// The recent failures of one real server.
#[derive(Clone, Debug, Default)]
pub(super) struct Flaps {
    failures: VecDeque<Instant>,
}

impl Flaps {
    /// It has failed.
    pub(super) fn failed(&mut self, rule: Option<Damping>, now: Instant) {
        let keep = rule.map_or(0, |rule| rule.failures.max(1) as usize);
        self.failures.push_back(now);
        while self.failures.len() > keep {
            self.failures.pop_front();
        }
    }

    /// Until when it is kept out although it is well since `well_since`; `None` if it may come in.
    pub(super) fn held_until(
        &self,
        rule: Option<Damping>,
        well_since: Instant,
        now: Instant,
    ) -> Option<Instant> {
        let rule = rule?;
        let last = *self.failures.back()?;
        let enough = self.failures.len() >= rule.failures.max(1) as usize;
        let span = last.duration_since(*self.failures.front()?);
        let until = well_since + rule.hold;
        (enough && span <= rule.within && until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RULE: Damping = Damping {
        failures: 3,
        within: Duration::from_secs(60),
        hold: Duration::from_secs(30),
    };

    fn flaps(start: Instant, at: &[u64]) -> Flaps {
        let mut flaps = Flaps::default();
        for &second in at {
            flaps.failed(Some(RULE), start + Duration::from_secs(second));
        }
        flaps
    }

    #[test]
    fn only_failures_close_together_hold() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        for (name, failures, well, now, held) in [
            ("never failed", &[][..], 0, 0, None),
            ("too few", &[0, 10], 12, 12, None),
            ("enough", &[0, 10, 20], 22, 22, Some(52)),
            ("enough, long ago", &[0, 10, 20], 22, 52, None),
            ("too far apart", &[0, 40, 80], 82, 82, None),
            (
                "the last three count",
                &[0, 100, 110, 120],
                122,
                122,
                Some(152),
            ),
        ] {
            let until = flaps(start, failures).held_until(Some(RULE), at(well), at(now));
            assert_eq!(until, held.map(at), "{name}");
        }
    }

    #[test]
    fn without_a_rule_nothing_holds() {
        let start = Instant::now();
        let mut flaps = Flaps::default();
        for _ in 0..100 {
            flaps.failed(None, start);
        }
        assert_eq!(flaps.held_until(None, start, start), None);
        assert!(flaps.failures.is_empty(), "and nothing is kept");
    }
}
