//! What a doctor found.

use serde::{Deserialize, Serialize};

use crate::core::doctor::{Facts, examine, is_well};
pub use crate::core::doctor::{Finding, Standing};

/// `POST /v1/doctor`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Whether lbd runs; without it less can be looked at.
    pub daemon: bool,
    /// VRRP advertisements are signed with the time of day in them.
    pub signs: bool,
    /// Nothing is wrong.
    pub well: bool,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// What was found of these facts.
    pub fn of(facts: &Facts) -> Self {
        Self {
            daemon: facts.machine.daemon.is_ok(),
            signs: facts.routers.iter().any(|router| router.signs),
            well: true,
            findings: Vec::new(),
        }
        .with(examine(facts))
    }

    /// With these findings, too.
    #[must_use]
    pub fn with(mut self, more: impl IntoIterator<Item = Finding>) -> Self {
        self.findings.extend(more);
        self.well = is_well(&self.findings);
        self
    }
}
