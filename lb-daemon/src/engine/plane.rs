//! The data plane as the engine needs it, so that tests can stand in for the kernel.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lb_common::counter::Counter;
use lb_common::net::Proto;

use crate::core::desired::{Desired, ServiceId, XdpMode};
use crate::core::outlook::{Kept, Outlook};
use crate::io::bpf::{
    Applied, ApplyError, Connection, ConnectionFilter, Dataplane, DetachError, Detached, Gate, Hop,
    Maintained, ReadError, ServiceReading, StartError, Status,
};

/// Connections, read at leisure on another thread.
pub(crate) type Listing = Box<dyn Iterator<Item = Connection> + Send>;

/// What the engine asks of the data plane; [`Dataplane`] says what each means.
pub trait Plane: Send {
    /// Makes the maps equal to what is desired.
    fn apply(
        &mut self,
        desired: &Desired,
        hop: &dyn Fn(IpAddr) -> Hop,
    ) -> Result<Applied, ApplyError>;
    /// The switch by which new connections are served or left to another director.
    fn gate(&self) -> Gate;
    /// Runs the program on these interfaces and no others.
    fn set_interfaces(
        &mut self,
        interfaces: &[String],
        mode: XdpMode,
        replace: bool,
    ) -> Result<(), StartError>;
    /// The names of interfaces from which somebody has taken the program.
    fn taken_off(&self) -> Vec<String>;
    /// Whose next hops matter.
    fn real_addresses(&self) -> Vec<IpAddr>;
    /// Tells how a real server's address is reached now.
    fn set_next_hop(&mut self, addr: IpAddr, hop: Hop) -> Result<usize, ApplyError>;
    /// One slice of upkeep.
    fn maintain(&mut self, now: Instant, budget: Duration) -> Result<Maintained, ReadError>;
    /// Takes out all connections of a real server that was removed; whether there is such a one.
    fn cut(&mut self, service: ServiceId, real: SocketAddr) -> Result<bool, ApplyError>;
    /// Every service as the maps have it.
    fn services(&self) -> Result<Vec<ServiceReading>, ReadError>;
    /// How many packets ended in each way.
    fn counters(&self) -> Result<Vec<(Counter, u64)>, ReadError>;
    /// The connections that a filter lets through.
    fn connections(&self, filter: ConnectionFilter) -> Result<Listing, ReadError>;
    /// What the choices of the service with this virtual address and port go by now, for connections to a destination.
    fn outlook(
        &self,
        proto: Proto,
        vip: SocketAddr,
        destination: IpAddr,
    ) -> Result<Option<Outlook>, ReadError>;
    /// At which real server of this service a persistent client is kept.
    fn kept(
        &self,
        proto: Proto,
        vip: SocketAddr,
        client: IpAddr,
    ) -> Result<Option<Kept>, ReadError>;
    /// The connection that is recorded of a flow.
    fn connection(
        &self,
        proto: Proto,
        client: SocketAddr,
        vip: SocketAddr,
    ) -> Result<Option<Connection>, ReadError>;
    /// The state of the whole.
    fn status(&self) -> Result<Status, ReadError>;
    /// Takes everything out of the kernel.
    fn detach(self: Box<Self>) -> Result<Detached, DetachError>;
}

impl Plane for Dataplane {
    fn apply(
        &mut self,
        desired: &Desired,
        hop: &dyn Fn(IpAddr) -> Hop,
    ) -> Result<Applied, ApplyError> {
        Self::apply(self, desired, hop)
    }

    fn gate(&self) -> Gate {
        Self::gate(self)
    }

    fn set_interfaces(
        &mut self,
        interfaces: &[String],
        mode: XdpMode,
        replace: bool,
    ) -> Result<(), StartError> {
        Self::set_interfaces(self, interfaces, mode, replace)
    }

    fn taken_off(&self) -> Vec<String> {
        Self::taken_off(self)
    }

    fn real_addresses(&self) -> Vec<IpAddr> {
        Self::real_addresses(self)
    }

    fn set_next_hop(&mut self, addr: IpAddr, hop: Hop) -> Result<usize, ApplyError> {
        Self::set_next_hop(self, addr, hop)
    }

    fn maintain(&mut self, now: Instant, budget: Duration) -> Result<Maintained, ReadError> {
        Self::maintain(self, now, budget)
    }

    fn cut(&mut self, service: ServiceId, real: SocketAddr) -> Result<bool, ApplyError> {
        Self::cut(self, service, real)
    }

    fn services(&self) -> Result<Vec<ServiceReading>, ReadError> {
        Self::services(self)
    }

    fn counters(&self) -> Result<Vec<(Counter, u64)>, ReadError> {
        Self::counters(self)
    }

    fn connections(&self, filter: ConnectionFilter) -> Result<Listing, ReadError> {
        Ok(Box::new(Self::connections(self, filter)?))
    }

    fn outlook(
        &self,
        proto: Proto,
        vip: SocketAddr,
        destination: IpAddr,
    ) -> Result<Option<Outlook>, ReadError> {
        Self::outlook(self, proto, vip, destination)
    }

    fn kept(
        &self,
        proto: Proto,
        vip: SocketAddr,
        client: IpAddr,
    ) -> Result<Option<Kept>, ReadError> {
        Self::kept(self, proto, vip, client)
    }

    fn connection(
        &self,
        proto: Proto,
        client: SocketAddr,
        vip: SocketAddr,
    ) -> Result<Option<Connection>, ReadError> {
        Self::connection(self, proto, client, vip)
    }

    fn status(&self) -> Result<Status, ReadError> {
        Self::status(self)
    }

    fn detach(self: Box<Self>) -> Result<Detached, DetachError> {
        Self::detach(*self)
    }
}
