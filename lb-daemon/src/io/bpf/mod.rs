//! How does the daemon drive the data plane in the kernel?
//!
//! [`Dataplane`] is the answer: it loads or adopts the program and its maps, makes them equal to what is
//! [desired](crate::core::desired), keeps them tidy, and reads them.

mod admit;
mod adopt;
mod alloc;
mod apply;
mod clients;
mod closed;
mod conns;
pub mod dataplane;
mod decap;
pub mod error;
mod family;
mod gate;
pub mod grace;
mod ground;
mod hops;
mod layout;
mod ledger;
mod links;
mod maps;
mod object;
pub mod options;
mod outlook;
mod own_macs;
mod packets;
mod pins;
mod rates;
mod readings;
mod reap;
mod region;
pub mod report;
mod stage;
mod state;
mod sweep;
pub mod sys;
mod tables;
mod target;
mod templates;
mod xdp;

pub use conns::Connections;
pub use dataplane::{Dataplane, is_built_in};
pub use decap::{DecapOptions, DecapState, Decapsulator, detach};
pub use error::{ApplyError, DetachError, ReadError, StartError};
pub use gate::Gate;
pub use object::verify;
pub use options::{Capacity, Hop, NextHop, Options};
pub use own_macs::{Crowd, OwnMacs};
pub use packets::PacketLog;
pub use report::{
    Applied, Connection, ConnectionFilter, Detached, InterfaceStatus, Maintained, Occupied, Rates,
    RealReading, ServiceReading, Status, TrafficSum,
};
pub use target::{mh_table, plan_flags};
pub use xdp::programs_on;

#[cfg(test)]
mod tests;
