//! Health checks.

use serde::{Deserialize, Serialize};

pub use crate::core::health::plan::Verdict;
pub use crate::core::health::{
    CheckReport, LastAnswer, Place, RealReport, ServiceReport, SorryReport,
};
pub use crate::io::health::{Asked, HealthReport, Percentiles, ProbeReport};

/// `POST /v1/health/check`: of which real server the checks are made now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskHealth {
    /// Its address; without a port, at each of its ports.
    pub real: String,
    /// Only in this service; absent: in each that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}
