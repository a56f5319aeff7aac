//! Why a connection goes where it goes, and what a change would make of it.

use serde::{Deserialize, Serialize};

use super::{AddReal, Connection, EditReal, Listener, Protocol, RealState};

/// The query of `GET /v1/explain`: a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowQuery {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The client's address and port.
    pub client: String,
    /// The virtual address and port.
    pub vip: String,
}

/// What happens to a packet of a flow that could open a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The flow.
    pub flow: FlowQuery,
    /// What decides.
    pub decided_by: DecidedBy,
    /// The service, if there is one: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What of the service the flow matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
    /// The real server that it goes to, if to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
    /// The connection that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Why, in sentences that follow from each other.
    pub reasons: Vec<String>,
    /// The real servers in the order in which the scheduler looks at them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// What decides where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// No service has the virtual address and port.
    NoService,
    /// The connection is recorded.
    Connection,
    /// The client is kept at a real server.
    Template,
    /// The service's scheduler chooses.
    Scheduler,
    /// Another director is the master of the service's virtual router.
    Standby,
    /// The scheduler finds nobody.
    Nobody,
}

/// A real server as the scheduler sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its address and port.
    pub address: String,
    /// Its weight.
    pub weight: u16,
    /// Connections that count as active.
    pub active: u32,
    /// Connections that are closing or of UDP.
    pub inactive: u32,
    /// What it is doing.
    pub state: RealState,
    /// What the scheduler compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// How often it would be chosen, in per cent, where lots are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<u8>,
    /// It is the one.
    pub chosen: bool,
}

/// `POST /v1/simulate`: a change to try out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulationRequest {
    /// The service: its name, or `tcp:ADDRESS:PORT`.
    pub service: String,
    /// Another scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Other options of the scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_flags: Option<Vec<String>>,
    /// Real servers to remove: `ADDRESS`, or `ADDRESS:PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// The connections of those removed are cut.
    #[serde(default)]
    pub force: bool,
    /// Real servers to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edit: Vec<SimulatedEdit>,
    /// Real servers to add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<AddReal>,
    /// How many new connections to try with; absent: 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}

/// A real server to change, as [`EditReal`] does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulatedEdit {
    /// Which: `ADDRESS`, or `ADDRESS:PORT`.
    pub real: String,
    /// What to change.
    #[serde(flatten)]
    pub change: EditReal,
}

/// What a change would make of new connections and of those that there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulation {
    /// The service's name.
    pub service: String,
    /// Its scheduler before and after.
    pub scheduler: Both<String>,
    /// How many new connections were tried, each from another client, all of which stay open.
    pub connections: u32,
    /// How many of them nobody could take.
    pub refused: Both<u64>,
    /// The real servers of both.
    pub reals: Vec<SimulatedReal>,
    /// The connections that there are.
    pub live: Live,
}

/// Something before and after a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Both<T> {
    /// Before.
    pub before: T,
    /// After.
    pub after: T,
}

/// A real server before and after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulatedReal {
    /// Its address and port.
    pub address: String,
    /// Its weight; `null` where it is not there.
    pub weight: Both<Option<u16>>,
    /// How many of the new connections it gets.
    pub share: Both<u64>,
    /// The connections that it has.
    pub live: u64,
}

/// What a change does to the connections that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// At real servers that go on getting new ones.
    pub stay: u64,
    /// At real servers that get no more: they go on there until they end.
    pub finish: u64,
    /// Cut, and scheduled anew.
    pub moved: u64,
    /// Of all of them, how many would come to another real server if they were opened anew, where the scheduler goes by
    /// a hash before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<u64>,
}
