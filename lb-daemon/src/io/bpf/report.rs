//! What the data plane says of itself: plain values, ready for the API to render.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_common::abi::Method;
use lb_common::net::Proto;

use crate::core::desired::ServiceId;

/// What [`Dataplane::apply`](super::Dataplane::apply) changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Services made.
    pub added: Vec<ServiceId>,
    /// Services that got another generation, or whose real servers changed.
    pub changed: Vec<ServiceId>,
    /// Services taken away; their connections are served until they end.
    pub removed: Vec<ServiceId>,
    /// Writes to maps. Zero when everything was already as desired.
    pub writes: u64,
}

/// What one slice of maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Expired connections freed.
    pub connections_freed: u32,
    /// Loads of real servers that were off, and were put right.
    pub loads_mended: u32,
    /// Removed real servers whose last connection ended, and whose slot is free again.
    pub reals_freed: u32,
    /// The slice ended a walk over the whole connection table.
    pub walk_done: bool,
}

/// Packets and bytes, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficSum {
    /// Connections scheduled.
    pub conns: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Packets to clients; NAT only.
    pub out_packets: u64,
    /// Bytes to clients; NAT only.
    pub out_bytes: u64,
}

impl TrafficSum {
    /// From the words of [`Traffic`](lb_common::abi::Traffic), in its order.
    pub const fn from_words(
        [conns, in_packets, in_bytes, out_packets, out_bytes]: [u64; 5],
    ) -> Self {
        Self {
            conns,
            in_packets,
            in_bytes,
            out_packets,
            out_bytes,
        }
    }

    /// As words, in the same order.
    pub const fn to_words(self) -> [u64; 5] {
        [
            self.conns,
            self.in_packets,
            self.in_bytes,
            self.out_packets,
            self.out_bytes,
        ]
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (mut sum, other) = (self.to_words(), other.to_words());
        for (a, b) in sum.iter_mut().zip(other) {
            *a = a.wrapping_add(b);
        }
        Self::from_words(sum)
    }
}

/// Rates a second, by the estimator of IPVS: every 2 s, a quarter of the way to the new sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Connections scheduled.
    pub conns: f64,
    /// Packets from clients.
    pub in_packets: f64,
    /// Bytes from clients.
    pub in_bytes: f64,
    /// Packets to clients; NAT only.
    pub out_packets: f64,
    /// Bytes to clients; NAT only.
    pub out_bytes: f64,
}

/// A service as the maps have it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceReading {
    /// What it serves.
    pub id: ServiceId,
    /// Its real servers, newest first, as the data plane scans them.
    pub reals: Vec<RealReading>,
    /// Real servers that were removed and are kept until their last connection ends.
    pub draining: Vec<RealReading>,
    /// Everything sent to its real servers since it was made, also to those that are gone.
    pub traffic: TrafficSum,
    /// How fast `traffic` grows.
    pub rates: Rates,
}

/// A real server as the maps have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RealReading {
    /// Its slot, by which connections name it.
    pub slot: u32,
    /// Its address and port.
    pub addr: SocketAddr,
    /// How packets reach it; [`Method::Local`] when it is the director itself.
    pub method: Method,
    /// Its weight; 0 for one that is being drained.
    pub weight: u32,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Persistent clients, as of the last walk over them.
    pub templates: u32,
    /// It reached its upper threshold and has not fallen below the lower one since.
    pub overloaded: bool,
    /// Found dead by a health check.
    pub down: bool,
    /// Its next hop is known.
    pub resolved: bool,
    /// Everything sent to it since it was made.
    pub traffic: TrafficSum,
    /// How fast `traffic` grows.
    pub rates: Rates,
}

/// One connection; or a persistent client, listed as `ipvsadm` lists its template: from port 0 of the address under the
/// service's mask, in the state `ASSURED` if a connection of it was established and `NONE` if not, and to port 65535 if
/// a later template succeeded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its protocol.
    pub proto: Proto,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The virtual address and port.
    pub vip: SocketAddr,
    /// The real server's address and port.
    pub real: SocketAddr,
    /// Its state as `ipvsadm` writes it.
    pub state: &'static str,
    /// How long until it expires without a packet.
    pub expires: Duration,
    /// How long ago the last packet was seen, to within a second or so.
    pub idle: Duration,
    /// Its client's next SYN or datagram opens another one, which is scheduled anew.
    pub is_left: bool,
}

impl Connection {
    /// Whether both ends are done with it, so that it is only remembered.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, "CLOSE" | "TIME_WAIT")
    }
}

/// Which connections to list; what is `None` does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Only of this protocol.
    pub proto: Option<Proto>,
    /// Only of this client.
    pub client: Option<IpAddr>,
    /// Only to this virtual address.
    pub vip: Option<IpAddr>,
    /// Only to this virtual port.
    pub vip_port: Option<u16>,
    /// Only at this real server.
    pub real: Option<IpAddr>,
    /// Persistent clients too: see [`Connection`].
    pub templates: bool,
}

/// How the program is attached to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceStatus {
    /// The interface's name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// The program runs in the driver (native) rather than in the kernel's stack (generic).
    pub native: bool,
    /// Why the driver did not take it, where this daemon has tried that.
    pub refused: Option<String>,
}

/// The state of the data plane as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This daemon found the maps of an earlier one and went on with them.
    pub adopted: bool,
    /// The kernel's id of the program.
    pub program: u32,
    /// Where it is attached.
    pub interfaces: Vec<InterfaceStatus>,
    /// The connection table of IPv4.
    pub connections: Occupied,
    /// That of IPv6.
    pub connections6: Occupied,
    /// Real servers in use, with those that are being drained.
    pub reals: u32,
    /// How many there can be.
    pub reals_max: u32,
    /// Services in use.
    pub services: u32,
    /// How many there can be.
    pub services_max: u32,
    /// Bytes of kernel memory that all maps take.
    pub memory: u64,
}

impl Status {
    /// The connection table that is fuller.
    pub const fn fuller_table(&self) -> Occupied {
        let (v4, v6) = (self.connections, self.connections6);
        if v6.used.saturating_mul(v4.max) > v4.used.saturating_mul(v6.max) {
            v6
        } else {
            v4
        }
    }
}

/// How full a connection table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupied {
    /// Entries, as of the last walk over it.
    pub used: u64,
    /// How many entries it has room for.
    pub max: u64,
}

/// What [`detach`](super::detach) took out of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detached {
    /// Interfaces that carried the program.
    pub interfaces: Vec<String>,
    /// Maps that were pinned.
    pub maps: usize,
}
