//! When do passes and failures in a row become a verdict?
//!
//! ```text
//!            fail x fall
//!      Up ----------------> Down
//!       ^                    |
//!       +--------------------+
//!            pass x rise
//! ```
//!
//! An answer that agrees with the verdict begins the count anew.

use super::plan::Verdict;

/// A verdict, and how far the evidence against it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RiseFall {
    rise: u32,
    fall: u32,
    verdict: Verdict,
    against: u32,
}

impl RiseFall {
    /// Begins with a verdict for which nothing speaks yet.
    pub(super) fn new(rise: u32, fall: u32, verdict: Verdict) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            verdict,
            against: 0,
        }
    }

    /// The verdict.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How many answers in a row speak against the verdict, and how many overturn it.
    pub(super) fn progress(&self) -> (u32, u32) {
        let needed = match self.verdict {
            Verdict::Up => self.fall,
            Verdict::Down => self.rise,
        };
        (self.against, needed)
    }

    /// Takes an answer. `Some` is a new verdict.
    pub(super) fn answer(&mut self, passed: bool) -> Option<Verdict> {
        let says = match (self.verdict, passed) {
            (Verdict::Up, true) | (Verdict::Down, false) => {
                self.against = 0;
                return None;
            }
            (Verdict::Up, false) => Verdict::Down,
            (Verdict::Down, true) => Verdict::Up,
        };
        self.against += 1;
        if self.against < self.progress().1 {
            return None;
        }
        self.verdict = says;
        self.against = 0;
        Some(says)
    }

    /// Goes on with other counts. The verdict stays.
    pub(super) fn set_counts(&mut self, rise: u32, fall: u32) {
        self.rise = rise.max(1);
        self.fall = fall.max(1);
        // A verdict is overturned by an answer, not by a change of the configuration.
        self.against = self.against.min(self.progress().1 - 1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Answers (`+` pass, `-` fail) and the verdict after each (`U` or `D`).
    #[rustfmt::skip]
    const TABLE: &[(&str, u32, u32, Verdict, &str, &str)] = &[
        ("stays up while it passes",             2, 3, Verdict::Up,   "++++",       "UUUU"),
        ("fewer failures than fall",             2, 3, Verdict::Up,   "--+--+",     "UUUUUU"),
        ("fall failures in a row",               2, 3, Verdict::Up,   "---",        "UUD"),
        ("rise passes in a row",                 2, 3, Verdict::Down, "++",         "DU"),
        ("a failure begins the rise anew",       2, 3, Verdict::Down, "+-+-++",     "DDDDDU"),
        ("a pass begins the fall anew",          2, 3, Verdict::Up,   "--+---",     "UUUUUD"),
        ("down and up again",                    2, 3, Verdict::Up,   "---++",      "UUDDU"),
        ("one is enough where one is asked for", 1, 1, Verdict::Up,   "-+-+",       "DUDU"),
        ("as keepalived: up at once",            1, 2, Verdict::Up,   "--+--",      "UDUUD"),
        ("0 counts as 1",                        0, 0, Verdict::Up,   "-+",         "DU"),
    ];

    #[test]
    fn verdicts_follow_the_table() {
        for &(name, rise, fall, initial, answers, verdicts) in TABLE {
            let mut machine = RiseFall::new(rise, fall, initial);
            let said: String = answers
                .chars()
                .map(|answer| {
                    let before = machine.verdict();
                    let change = machine.answer(answer == '+');
                    assert_eq!(change.is_some(), machine.verdict() != before, "{name}");
                    if machine.verdict() == Verdict::Up {
                        'U'
                    } else {
                        'D'
                    }
                })
                .collect();
            assert_eq!(said, verdicts, "{name}");
        }
    }

    proptest! {
        /// The definition, without a machine: the verdict is that of the latest run that was long enough.
        #[test]
        fn the_machine_agrees_with_the_definition(
            rise in 1..5u32, fall in 1..5u32, up in any::<bool>(), answers in proptest::collection::vec(any::<bool>(), 0..64),
        ) {
            let mut machine = RiseFall::new(rise, fall, if up { Verdict::Up } else { Verdict::Down });
            let mut verdict = up;
            let mut run = 0;
            let mut last = None;
            for answer in answers {
                machine.answer(answer);
                run = if last == Some(answer) { run + 1 } else { 1 };
                last = Some(answer);
                if run >= if answer { rise } else { fall } {
                    verdict = answer;
                }
                prop_assert_eq!(machine.verdict() == Verdict::Up, verdict);
                let (against, needed) = machine.progress();
                prop_assert!(against < needed);
            }
        }

        #[test]
        fn other_counts_never_change_the_verdict(
            answers in proptest::collection::vec(any::<bool>(), 0..16), rise in 0..9u32, fall in 0..9u32,
        ) {
            let mut machine = RiseFall::new(3, 5, Verdict::Up);
            for answer in answers {
                machine.answer(answer);
            }
            let before = machine.verdict();
            machine.set_counts(rise, fall);
            prop_assert_eq!(machine.verdict(), before);
            let (against, needed) = machine.progress();
            prop_assert!(against < needed);
        }
    }
}
