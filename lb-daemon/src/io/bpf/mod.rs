//! How does the daemon drive the data plane in the kernel?
//!
//! [`Dataplane`] is the answer: it loads or adopts the program and its maps, makes them equal to what is
//! [desired](crate::core::desired), keeps them tidy, and reads them.

pub mod dataplane;
pub mod error;
pub mod grace;
pub mod options;
pub mod region;
pub mod report;
pub mod sys;

pub use dataplane::{Connections, Dataplane, detach};
pub use error::{ApplyError, DetachError, ReadError, StartError};
pub use options::{Capacity, Hop, NextHop, Options};
pub use report::{
    Applied, Connection, ConnectionFilter, Detached, InterfaceStatus, Maintained, Rates,
    RealReading, ServiceReading, Status, TrafficSum,
};
