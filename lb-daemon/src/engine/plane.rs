//! The data plane as the engine needs it, so that tests can stand in for the kernel.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use lb_common::counter::Counter;

use crate::core::desired::{Desired, ServiceId, XdpMode};
use crate::io::bpf::{
    Applied, ApplyError, Connection, ConnectionFilter, DetachError, Detached, Hop, Maintained,
    ReadError, ServiceReading, StartError, Status,
};

/// Connections, read at leisure on another thread.
pub(crate) type Listing = Box<dyn Iterator<Item = Connection> + Send>;

/// What the engine asks of the data plane; [`Dataplane`] says what each means.
pub trait Plane: Send {
    /// Makes the maps equal to what is desired.
    fn apply(
        &mut self,
        desired: &Desired,
        hop: &dyn Fn(Ipv4Addr) -> Hop,
    ) -> Result<Applied, ApplyError>;
    /// Runs the program on these interfaces and no others.
    fn set_interfaces(
        &mut self,
        interfaces: &[String],
        mode: XdpMode,
        replace: bool,
    ) -> Result<(), StartError>;
    /// Whose next hops matter.
    fn real_addresses(&self) -> Vec<Ipv4Addr>;
    /// Tells how a real server's address is reached now.
    fn set_next_hop(&mut self, addr: Ipv4Addr, hop: Hop) -> Result<usize, ApplyError>;
    /// One slice of upkeep.
    fn maintain(&mut self, now: Instant, budget: Duration) -> Result<Maintained, ReadError>;
    /// Ends all connections to a real server of a service at once. Returns how many there were.
    fn cut(&mut self, service: ServiceId, real: SocketAddrV4) -> Result<u32, ReadError>;
    /// Every service as the maps have it.
    fn services(&self) -> Result<Vec<ServiceReading>, ReadError>;
    /// How many packets ended in each way.
    fn counters(&self) -> Result<Vec<(Counter, u64)>, ReadError>;
    /// The connections that a filter lets through.
    fn connections(&self, filter: ConnectionFilter) -> Listing;
    /// The state of the whole.
    fn status(&self) -> Result<Status, ReadError>;
    /// Takes everything out of the kernel.
    fn detach(self: Box<Self>) -> Result<Detached, DetachError>;
}
