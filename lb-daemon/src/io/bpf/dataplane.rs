//! The data plane as the engine holds it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use lb_common::counter::Counter;

use super::{
    Applied, ApplyError, Connection, ConnectionFilter, DetachError, Detached, Hop, Maintained,
    Options, ReadError, ServiceReading, StartError, Status,
};
use crate::core::desired::{Desired, XdpMode};

/// The XDP program, its maps and what this daemon knows of them.
///
/// Dropping it leaves everything in the kernel as it is, pinned and forwarding.
#[derive(Debug)]
pub struct Dataplane {
    never: std::convert::Infallible,
}

impl Dataplane {
    /// Loads the program, or adopts what an earlier daemon left, and attaches it to the interfaces.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let _ = options;
        Err(StartError::NoProgram)
    }

    /// Makes the maps equal to what is desired; touches only what differs.
    ///
    /// `hop` says how a real server's address is reached; it is asked for each address that gets a new slot.
    pub fn apply(
        &mut self,
        desired: &Desired,
        hop: &dyn Fn(Ipv4Addr) -> Hop,
    ) -> Result<Applied, ApplyError> {
        let _ = (desired, hop);
        match self.never {}
    }

    /// Runs the program on these interfaces and no others.
    pub fn set_interfaces(
        &mut self,
        interfaces: &[String],
        mode: XdpMode,
        replace: bool,
    ) -> Result<(), StartError> {
        let _ = (interfaces, mode, replace);
        match self.never {}
    }

    /// The addresses of all real servers in use, with those that are being drained: whose next hops matter.
    pub fn real_addresses(&self) -> Vec<Ipv4Addr> {
        match self.never {}
    }

    /// Tells how a real server's address is reached now. Returns how many slots changed.
    pub fn set_next_hop(&mut self, addr: Ipv4Addr, hop: Hop) -> Result<usize, ApplyError> {
        let _ = (addr, hop);
        match self.never {}
    }

    /// One slice of upkeep: walks the connection table for about `budget`, frees what can be freed, and updates
    /// the rates when they are due. Call it a few times a second.
    pub fn maintain(&mut self, now: Instant, budget: Duration) -> Result<Maintained, ReadError> {
        let _ = (now, budget);
        match self.never {}
    }

    /// Every service, with its real servers' loads, traffic and rates.
    pub fn services(&self) -> Result<Vec<ServiceReading>, ReadError> {
        match self.never {}
    }

    /// How many packets ended in each way.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, ReadError> {
        match self.never {}
    }

    /// A listing of the connections. It holds the maps by itself: read it on another thread, as slowly as the
    /// reader wants.
    pub fn connections(&self, filter: ConnectionFilter) -> Connections {
        let _ = filter;
        match self.never {}
    }

    /// The state of the whole.
    pub fn status(&self) -> Result<Status, ReadError> {
        match self.never {}
    }

    /// Takes everything out of the kernel.
    pub fn detach(self) -> Result<Detached, DetachError> {
        match self.never {}
    }
}

/// Takes out of the kernel what a daemon that no longer runs left under `pin_dir`.
pub fn detach(pin_dir: &Path) -> Result<Detached, DetachError> {
    let _ = pin_dir;
    Ok(Detached::default())
}

/// A walk over the connection table, one connection at a time.
#[derive(Debug)]
pub struct Connections {
    never: std::convert::Infallible,
}

impl Iterator for Connections {
    type Item = Connection;

    fn next(&mut self) -> Option<Connection> {
        match self.never {}
    }
}
