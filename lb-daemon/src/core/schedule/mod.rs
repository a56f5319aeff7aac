//! What does the data plane need to schedule a service's connections?
//!
//! When a service's real servers change, [`Course::next`] lays out the next generation: the members in the order in
//! which IPVS walks them, the tables of those schedulers that have one, the small Maglev table for flows
//! without an entry, and the turn to begin with, so that rr and wrr go on exactly where IPVS would.

mod buckets;
mod course;
mod cycle;
mod maglev;
mod model;
mod slots;
#[cfg(test)]
mod tests;

pub use course::Course;
pub use maglev::{MhTable, fold};
pub use model::Model;

use std::net::SocketAddr;

use lb_common::abi::Member;

/// A real server as a scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What tells it apart from the service's other real servers.
    pub id: SocketAddr,
    /// Its slot in `REALS`.
    pub slot: u32,
    /// Its weight; 0 while it is quiesced or down.
    pub weight: u16,
    /// Upper threshold of connections.
    pub upper: u32,
    /// Lower threshold of connections.
    pub lower: u32,
    /// Down: its weight is 0, and no table has a place for it, as if it had been removed. Clients would be turned away
    /// there, which is right for a quiesced real server only.
    pub out: bool,
}

/// What to write for a generation. Offsets in the plan are the writer's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// For `MEMBERS`: eligible ones first; within both parts the newest first.
    pub members: Vec<Member>,
    /// How many members are eligible: have a weight above zero.
    pub eligible: u32,
    /// For `SLOTS`, where `slots_off` will point: the scheduler's own table.
    pub schedule: Vec<u64>,
    /// For `SLOTS`, where `fallback_off` will point: the table for flows without an entry.
    pub fallback: Vec<u64>,
    /// Number of slots of the fallback table.
    pub fallback_len: u32,
    /// The turn to begin with, and the plan's `start`.
    pub start: u32,
}
