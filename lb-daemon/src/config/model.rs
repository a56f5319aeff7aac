//! What does a valid configuration say?
//!
//! A [`Model`] comes from a file, or from another model by an edit; either way it has passed every check, and
//! nobody checks it again.

pub mod health;
mod vrrp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use vrrp::{
    Gateway, LinkDelays, Notify, Scope, Script, Track, Tracked, VirtualAddress, VirtualRoute,
    VirtualRouter, default_version, default_virtual_interface,
};

use crate::core::desired::{
    Connections, Desired, DesiredReal, DesiredService, Forwarding, Method, Persistence, Proto,
    Scheduler, SchedulerFlags, ServiceId, Timeouts, XdpMode,
};
use health::{CheckRule, Health};

/// A valid configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Interfaces on which the program runs; empty: those that lead to the real servers and to clients.
    pub interfaces: Vec<String>,
    /// How it is attached to them.
    pub mode: XdpMode,
    /// The connection table, and the timeouts of services that have none of their own.
    pub connections: Connections,
    /// How much the maps hold besides connections.
    pub limits: Limits,
    /// What holds for the packets of all services.
    pub forwarding: Forwarding,
    /// Who may use the control socket.
    pub api: Api,
    /// The virtual routers, in the order of the file.
    pub vrrp: Vec<VirtualRouter>,
    /// The virtual services, in the order of the file.
    pub services: Vec<Service>,
}

/// How many services and real servers the maps hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Virtual services.
    pub services: u32,
    /// Real servers over all services, with those that are being drained.
    pub reals: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 4_096,
            reals: 16_384,
        }
    }
}

/// Who may use the control socket besides root and the daemon's own user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// A group whose members may change things.
    pub group: Option<String>,
    /// Everybody else may look.
    pub others_read: bool,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
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
    /// Timeouts of its own; those absent are the director's.
    pub timeouts: OwnTimeouts,
    /// UDP flows leave a real server of weight 0 with their next datagram.
    pub udp_leaves_quiesced: bool,
    /// The method of real servers that name none.
    pub method: Method,
    /// How its real servers are checked, and what follows from it.
    pub health: Health,
    /// Its real servers, in the order of adding.
    pub reals: Vec<Real>,
}

impl Service {
    /// A service of which nothing is said but what it serves.
    pub fn new(id: ServiceId) -> Self {
        Self {
            id,
            also: Vec::new(),
            name: default_name(id),
            scheduler: default_scheduler(),
            scheduler_flags: SchedulerFlags::default(),
            persistence: None,
            one_packet: false,
            timeouts: OwnTimeouts::default(),
            udp_leaves_quiesced: false,
            method: Method::Dr,
            health: Health::default(),
            reals: Vec::new(),
        }
    }

    /// All that it serves.
    pub fn listeners(&self) -> impl Iterator<Item = ServiceId> + '_ {
        std::iter::once(self.id).chain(self.also.iter().copied())
    }

    /// The port of real servers that name none: the service's; 0, which keeps the client's choice, when the
    /// service has several.
    pub fn real_port(&self) -> u16 {
        let one = self.listeners().all(|l| l.port == self.id.port);
        if one { self.id.port } else { 0 }
    }
}

/// Timeouts that a service may have of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnTimeouts {
    /// An established TCP connection.
    pub tcp: Option<Duration>,
    /// A TCP connection after a FIN.
    pub tcp_fin: Option<Duration>,
    /// A UDP flow.
    pub udp: Option<Duration>,
}

impl OwnTimeouts {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The timeouts that hold, given those of the director.
    pub fn over(&self, director: &Timeouts) -> Timeouts {
        Timeouts {
            tcp: self.tcp.unwrap_or(director.tcp),
            tcp_fin: self.tcp_fin.unwrap_or(director.tcp_fin),
            udp: self.udp.unwrap_or(director.udp),
        }
    }
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Real {
    /// Its address (RIP).
    pub addr: IpAddr,
    /// Its port; 0 keeps the port that the client chose.
    pub port: u16,
    /// How packets reach it, where that is not the service's method.
    pub method: Option<Method>,
    /// Its share; with 0 it gets no new connections.
    pub weight: u16,
    /// At so many connections it gets no more; 0 is no limit.
    pub upper: u32,
    /// Below so many it gets connections again; 0 is three quarters of `upper`.
    pub lower: u32,
    /// Its own checks, in place of the service's.
    pub checks: Option<Vec<CheckRule>>,
}

impl Real {
    /// A real server of which nothing is said but where it is.
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self {
            addr,
            port,
            method: None,
            weight: 1,
            upper: 0,
            lower: 0,
            checks: None,
        }
    }

    /// What tells real servers of one service apart.
    pub fn id(&self) -> SocketAddr {
        SocketAddr::new(self.addr, self.port)
    }
}

/// The name of a service that was given none: `tcp-192.0.2.1-80`.
pub fn default_name(id: ServiceId) -> String {
    let proto = proto_name(id.proto);
    let ServiceId {
        addr, prefix, port, ..
    } = id;
    if id.is_host() {
        format!("{proto}-{addr}-{port}")
    } else {
        format!("{proto}-{addr}-{prefix}-{port}")
    }
}

/// `tcp`, `udp`.
pub const fn proto_name(proto: Proto) -> &'static str {
    match proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
    }
}

/// `dr`, `tun`, `nat`.
pub const fn method_name(method: Method) -> &'static str {
    match method {
        Method::Dr => "dr",
        Method::Tun => "tun",
        Method::Nat => "nat",
        Method::Local => "local",
    }
}

/// The scheduler of a service that names none: `wlc`, as with ipvsadm.
pub fn default_scheduler() -> Scheduler {
    Scheduler::from_name("wlc").unwrap_or(Scheduler::Wrr)
}

impl Model {
    /// What the data plane shall do while every real server is well, on a director that is alone.
    pub fn desired(&self) -> Desired {
        Desired {
            interfaces: self.interfaces.clone(),
            mode: self.mode,
            connections: self.connections,
            forwarding: self.forwarding,
            services: self.services.iter().map(|s| self.service(s)).collect(),
        }
    }

    fn service(&self, service: &Service) -> DesiredService {
        let own = !service.timeouts.is_empty();
        DesiredService {
            id: service.id,
            also: service.also.clone(),
            name: service.name.clone(),
            scheduler: service.scheduler,
            scheduler_flags: service.scheduler_flags,
            persistence: service.persistence,
            one_packet: service.one_packet,
            timeouts: own.then(|| service.timeouts.over(&self.connections.timeouts)),
            udp_leaves_quiesced: service.udp_leaves_quiesced,
            method: service.method,
            router: 0,
            reals: service
                .reals
                .iter()
                .map(|real| DesiredReal {
                    addr: real.addr,
                    port: real.port,
                    method: real.method.unwrap_or(service.method),
                    weight: real.weight,
                    upper: real.upper,
                    lower: real.lower,
                    down: false,
                    reset: false,
                    drained: false,
                })
                .collect(),
        }
    }
}
