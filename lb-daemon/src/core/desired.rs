//! What shall the data plane do?
//!
//! The answer is one plain value, [`Desired`], computed from the configuration and from what is known of the
//! real servers. The data plane is made equal to it; nothing here knows how.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use lb_common::abi::Method;
pub use lb_common::net::Proto;
pub use lb_common::sched::Scheduler;

/// All that the data plane shall do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Interfaces on which the program runs.
    pub interfaces: Vec<String>,
    /// How it is attached to them.
    pub mode: XdpMode,
    /// The connection table, and the timeouts of services that have none of their own.
    pub connections: Connections,
    /// What holds for the packets of all services.
    pub forwarding: Forwarding,
    /// The virtual services, in the order of the configuration.
    pub services: Vec<DesiredService>,
}

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// In the driver where it can, else generic.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's stack, on any interface.
    Generic,
}

/// The connection table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// How many connections the table shall hold.
    pub max: u32,
    /// How long connections are kept without a packet.
    pub timeouts: Timeouts,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 1_000_000,
            timeouts: Timeouts::default(),
        }
    }
}

/// What holds for the packets of all services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// A TCP segment without SYN may open a connection.
    pub sloppy_tcp: bool,
    /// When a SYN ends the connection that its ports are of, and opens another one.
    pub conn_reuse: ConnReuse,
    /// Connections of real servers that are removed, or out of the pool, are given up; those of weight 0 are left by SYNs.
    pub expire_nodest_conn: bool,
    /// The most ICMP errors and resets a second and CPU; 0 is no limit.
    pub icmp_per_second: u32,
    /// What becomes of packets to ports of no service on addresses of services.
    pub vip_default: VipDefault,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            sloppy_tcp: false,
            conn_reuse: ConnReuse::default(),
            expire_nodest_conn: false,
            icmp_per_second: 1_000,
            vip_default: VipDefault::default(),
        }
    }
}

/// What becomes of packets to ports of no service on an address of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VipDefault {
    /// They are for the director's own stack, as with IPVS.
    #[default]
    Stack,
    /// They are dropped.
    Drop,
    /// Their senders are told: TCP is reset, UDP gets ICMP port unreachable.
    Reject,
}

impl VipDefault {
    /// Each with its name.
    pub const NAMES: [(&str, Self); 3] = [
        ("stack", Self::Stack),
        ("drop", Self::Drop),
        ("reject", Self::Reject),
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stack => "stack",
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }
}

/// When a SYN ends the connection that its ports are of (IPVS's `conn_reuse_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConnReuse {
    /// Never: it goes where the connection goes (0).
    Never,
    /// In TIME_WAIT and CLOSE (1).
    #[default]
    Closed,
    /// Also in FIN_WAIT, where the real server's FIN does not pass the director (2).
    FinWait,
}

impl ConnReuse {
    /// What the kernel does in a mode; it looks at two bits.
    pub const fn of_mode(mode: u32) -> Self {
        match mode {
            0 => Self::Never,
            mode if mode & 2 == 0 => Self::Closed,
            _ => Self::FinWait,
        }
    }

    /// The kernel's mode.
    pub const fn mode(self) -> u32 {
        match self {
            Self::Never => 0,
            Self::Closed => 1,
            Self::FinWait => 2,
        }
    }
}

/// How long connections are kept without a packet, in the states whose timeout can be set. The others are
/// fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// An established TCP connection.
    pub tcp: Duration,
    /// A TCP connection after a FIN.
    pub tcp_fin: Duration,
    /// A UDP flow.
    pub udp: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(900),
            tcp_fin: Duration::from_secs(120),
            udp: Duration::from_secs(300),
        }
    }
}

/// What a packet must match to belong to a service.
///
/// It also tells services apart: no two services have one in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId {
    /// The transport protocol.
    pub proto: Proto,
    /// The virtual address, or the first address of a virtual network.
    pub addr: IpAddr,
    /// How many leading bits of `addr` must agree: all of them but with virtual networks.
    pub prefix: u8,
    /// The virtual port; 0 stands for all ports.
    pub port: u16,
}

impl ServiceId {
    /// One virtual address and port.
    pub fn new(proto: Proto, addr: impl Into<IpAddr>, port: u16) -> Self {
        let addr = addr.into();
        Self {
            proto,
            addr,
            prefix: full_prefix(addr),
            port,
        }
    }

    /// Whether a packet to this address and port matches it.
    pub fn covers(&self, proto: Proto, addr: IpAddr, port: u16) -> bool {
        let same_network = match (self.addr, addr) {
            (IpAddr::V4(network), IpAddr::V4(addr)) => {
                let host_bits = u32::from(32 - self.prefix.min(32));
                let differ = u64::from(network.to_bits() ^ addr.to_bits());
                differ >> host_bits == 0
            }
            (IpAddr::V6(network), IpAddr::V6(addr)) => {
                let host_bits = u32::from(128 - self.prefix.min(128));
                let differ = network.to_bits() ^ addr.to_bits();
                differ.checked_shr(host_bits).unwrap_or(0) == 0
            }
            _ => false,
        };
        same_network && self.proto == proto && (self.port == port || self.port == 0)
    }

    /// Of those that cover a packet, the service is that of the greatest: the longest prefix, and the port before all ports.
    pub const fn precedence(&self) -> (u8, bool) {
        (self.prefix, self.port != 0)
    }

    /// Whether it stands for a single address, not for a network.
    pub fn is_host(&self) -> bool {
        self.prefix == full_prefix(self.addr)
    }
}

/// The prefix length that leaves a single address.
pub const fn full_prefix(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// `tcp 192.0.2.1:80`, `udp [2001:db8::1]:53`, `tcp 10.20.0.0/16:80`.
impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proto = match self.proto {
            Proto::Tcp => "tcp",
            Proto::Udp => "udp",
        };
        let Self {
            addr, prefix, port, ..
        } = self;
        match (addr, self.is_host()) {
            (_, true) => write!(f, "{proto} {}", SocketAddr::new(*addr, *port)),
            (IpAddr::V4(_), false) => write!(f, "{proto} {addr}/{prefix}:{port}"),
            (IpAddr::V6(_), false) => write!(f, "{proto} [{addr}/{prefix}]:{port}"),
        }
    }
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// What it serves, and its identity: while this stays the same it is the same service.
    pub id: ServiceId,
    /// What else it serves, sharing real servers, scheduler state and persistence.
    pub also: Vec<ServiceId>,
    /// Its name, unique too.
    pub name: String,
    /// How a real server is chosen.
    pub scheduler: Scheduler,
    /// Options of the scheduler.
    pub scheduler_flags: SchedulerFlags,
    /// Clients stay with their real server.
    pub persistence: Option<Persistence>,
    /// Every datagram is scheduled by itself (UDP).
    pub one_packet: bool,
    /// Timeouts of its own.
    pub timeouts: Option<Timeouts>,
    /// UDP flows leave a real server of weight 0 with their next datagram.
    pub udp_leaves_quiesced: bool,
    /// The method of real servers added without one.
    pub method: Method,
    /// The number of the virtual router that its addresses are of; 0 if they are of none.
    pub router: u32,
    /// Its real servers, in the order of adding.
    pub reals: Vec<DesiredReal>,
}

impl DesiredService {
    /// A service as `ipvsadm -A` makes it: wlc, and nothing else asked for; without real servers.
    pub fn new(id: ServiceId) -> Self {
        Self {
            id,
            also: Vec::new(),
            name: id.to_string(),
            scheduler: Scheduler::Wlc,
            scheduler_flags: SchedulerFlags::default(),
            persistence: None,
            one_packet: false,
            timeouts: None,
            udp_leaves_quiesced: false,
            method: Method::Dr,
            router: 0,
            reals: Vec::new(),
        }
    }

    /// All that it serves.
    pub fn listeners(&self) -> impl Iterator<Item = ServiceId> + '_ {
        std::iter::once(self.id).chain(self.also.iter().copied())
    }
}

/// Clients stay with their real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// How long after a client's last connection was opened.
    pub timeout: Duration,
    /// How many leading bits of a client's address tell clients apart.
    pub mask: u8,
    /// Clients leave a real server once its weight is 0. Otherwise it keeps its clients, their new connections too.
    pub leave_quiesced: bool,
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredReal {
    /// Its address (RIP).
    pub addr: IpAddr,
    /// Its port. With DR and TUN it is the service's.
    pub port: u16,
    /// How packets reach it.
    pub method: Method,
    /// Its share, 0 to 65535; with 0 it gets no new connections.
    pub weight: u16,
    /// At so many connections it gets no more; 0 is no limit.
    pub upper: u32,
    /// Below so many it gets connections again; 0 is three quarters of `upper`.
    pub lower: u32,
    /// Found dead, or set aside: it gets nothing new, and keeps its place and its counters.
    pub down: bool,
    /// Its established connections are given up: each client is told with its next packet.
    pub reset: bool,
    /// Taken out of use by the operator: it gets nothing new, not even from its persistent clients.
    pub drained: bool,
}

impl DesiredReal {
    /// A real server as `ipvsadm -a` adds it: by DR, of weight 1, without thresholds.
    pub const fn new(addr: IpAddr, port: u16) -> Self {
        Self {
            addr,
            port,
            method: Method::Dr,
            weight: 1,
            upper: 0,
            lower: 0,
            down: false,
            reset: false,
            drained: false,
        }
    }

    /// What tells real servers of one service apart.
    pub fn id(&self) -> SocketAddr {
        SocketAddr::new(self.addr, self.port)
    }

    /// The weight with which it is scheduled.
    pub fn effective_weight(&self) -> u16 {
        if self.down || self.drained {
            0
        } else {
            self.weight
        }
    }
}

/// Options of schedulers that hash (`sh`, `mh`); the others ignore them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SchedulerFlags {
    /// Hash the source port too (`sh-port`, `mh-port`).
    pub port: bool,
    /// Look further when the hashed real server is not available (`sh-fallback`, `mh-fallback`).
    pub fallback: bool,
    /// `mh` has the stock kernel's table of 4,093 slots (`mh-kernel-table`), not our own of 65,537.
    pub kernel_table: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn ids_read_as_an_operator_writes_them() {
        let web = ServiceId::new(Proto::Tcp, Ipv4Addr::new(192, 0, 2, 1), 80);
        assert_eq!(web.to_string(), "tcp 192.0.2.1:80");
        assert_eq!(
            ServiceId::new(Proto::Udp, Ipv6Addr::LOCALHOST, 53).to_string(),
            "udp [::1]:53"
        );
        let caches = ServiceId {
            prefix: 16,
            addr: Ipv4Addr::new(10, 20, 0, 0).into(),
            ..web
        };
        assert_eq!(caches.to_string(), "tcp 10.20.0.0/16:80");
        assert!(!caches.is_host());
        let caches6 = ServiceId {
            prefix: 32,
            addr: "2001:db8::".parse().unwrap(),
            ..web
        };
        assert_eq!(caches6.to_string(), "tcp [2001:db8::/32]:80");
    }
}
