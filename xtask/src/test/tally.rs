//! How many tests passed, failed and were skipped, and why?

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// The outcome of some tests.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Tests that failed, a test program that broke off counting as one.
    pub(crate) failed: usize,
    /// Tests that could not run here.
    pub(crate) skipped: usize,
    /// How many tests were skipped for each reason.
    pub(crate) reasons: BTreeMap<String, usize>,
    /// The names of the failed tests.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// Count tests that could not run.
    pub(crate) fn skip(&mut self, count: usize, reason: &str) {
        if count > 0 {
            self.skipped += count;
            *self.reasons.entry(reason.to_owned()).or_default() += count;
        }
    }

    /// Count a test that failed.
    pub(crate) fn fail(&mut self, name: String) {
        self.failed += 1;
        self.failures.push(name);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}
