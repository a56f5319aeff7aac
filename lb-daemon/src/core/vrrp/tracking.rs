//! What do interfaces, scripts and the like make of a virtual router's priority?

use std::time::{Duration, Instant};

/// What it means when something tracked is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The virtual router cannot be master.
    Fault,
    /// A positive number is added to the priority while it is up, a negative one while it is down.
    Shift(i32),
}

/// Something tracked, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// What it means when it is down.
    pub weight: Weight,
    /// Whether it is up.
    pub up: bool,
}

/// What all that is tracked comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How far the priority is moved.
    pub shift: i32,
    /// The virtual router cannot be master.
    pub fault: bool,
}

/// Adds up what is tracked.
pub fn standing(tracked: impl IntoIterator<Item = Tracked>) -> Standing {
    let mut sum = Standing::default();
    for Tracked { weight, up } in tracked {
        match weight {
            Weight::Fault => sum.fault |= !up,
            Weight::Shift(by) if (by > 0) == up => sum.shift = sum.shift.saturating_add(by),
            Weight::Shift(_) => {}
        }
    }
    sum
}

/// Believes a change only when it has lasted.
#[derive(Clone, Copy, Debug)]
pub struct Debounce {
    up_delay: Duration,
    down_delay: Duration,
    believed: bool,
    changing_since: Option<Instant>,
}

impl Debounce {
    /// Believes `up` for a start.
    pub const fn new(up: bool, up_delay: Duration, down_delay: Duration) -> Self {
        Self {
            up_delay,
            down_delay,
            believed: up,
            changing_since: None,
        }
    }

    /// What is believed.
    pub const fn up(&self) -> bool {
        self.believed
    }

    /// What is seen now. Returns whether what is believed has changed.
    pub fn see(&mut self, now: Instant, up: bool) -> bool {
        if up == self.believed {
            self.changing_since = None;
            return false;
        }
        self.changing_since.get_or_insert(now);
        self.wait(now)
    }

    /// When to look again, if nothing is seen before.
    pub fn due(&self) -> Option<Instant> {
        Some(self.changing_since? + self.delay())
    }

    /// Believes what was seen if it has lasted. Returns whether what is believed has changed.
    pub fn wait(&mut self, now: Instant) -> bool {
        let over = self.due().is_some_and(|due| now >= due);
        if over {
            self.believed = !self.believed;
            self.changing_since = None;
        }
        over
    }

    const fn delay(&self) -> Duration {
        if self.believed {
            self.down_delay
        } else {
            self.up_delay
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_count_on_their_own_side() {
        let tracked = |weight, up| Tracked { weight, up };
        let sum = |items: &[Tracked]| standing(items.iter().copied());
        assert_eq!(sum(&[]), Standing::default());
        let plus = Weight::Shift(20);
        let minus = Weight::Shift(-50);
        assert_eq!(sum(&[tracked(plus, true), tracked(minus, true)]).shift, 20);
        assert_eq!(
            sum(&[tracked(plus, false), tracked(minus, false)]).shift,
            -50
        );
        assert!(!sum(&[tracked(Weight::Fault, true)]).fault);
        assert!(sum(&[tracked(Weight::Fault, false), tracked(plus, true)]).fault);
    }

    #[test]
    fn a_link_that_flaps_is_believed_when_it_has_settled() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut link = Debounce::new(true, Duration::from_secs(2), Duration::from_millis(100));
        assert!(!link.see(at(0), false));
        assert!(!link.see(at(50), true));
        assert_eq!(link.due(), None);
        assert!(!link.see(at(60), false));
        assert!(!link.see(at(100), false), "seen again, but not for long");
        assert_eq!(link.due(), Some(at(160)));
        assert!(link.wait(at(160)));
        assert!(!link.up());
        assert!(!link.see(at(200), true));
        assert!(!link.wait(at(2_199)));
        assert!(link.wait(at(2_200)));
        assert!(link.up());
        let mut plain = Debounce::new(true, Duration::ZERO, Duration::ZERO);
        assert!(plain.see(start, false), "without delays at once");
    }
}
