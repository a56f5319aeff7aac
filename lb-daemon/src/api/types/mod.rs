//! What goes over the API: one set of types for the server and for `lbctl`.
//!
//! Durations are whole seconds. Requests refuse fields that do not exist; answers may gain fields within a
//! version of the API.

mod config;
mod conns;
mod doctor;
mod foresight;
mod health;
mod problem;
mod service;
mod stats;
mod status;
mod vrrp;

pub use config::{Change, Checked, Diff, ReloadRequest, Reloaded, Removed, Saved, TimeoutsPatch};
pub use conns::{Connection, ConnectionFilter};
pub use doctor::{Diagnosis, Finding, Standing};
pub use foresight::{
    Both, Candidate, DecidedBy, Explanation, FlowQuery, Live, SimulatedEdit, SimulatedReal,
    Simulation, SimulationRequest,
};
pub use health::{
    AskHealth, Asked, CheckReport, HealthReport, LastAnswer, Percentiles, Place, ProbeReport,
    RealReport, ServiceReport, SorryReport, Verdict,
};
pub use problem::{Kind, Problem};
pub use service::{
    AddReal, AddService, DrainRequest, Drained, EditReal, EditService, Listener, MethodName,
    Persistence, Protocol, Real, RealState, Service, Timeouts,
};
pub use stats::{CounterValue, Rates, RealStats, ServiceStats, Stats, Totals};
pub use status::{Attachment, Occupancy, Status, Versions};
pub use vrrp::{FailedOver, Rejected, VirtualRouter, Vrrp, VrrpEvent};

#[cfg(test)]
mod tests;
