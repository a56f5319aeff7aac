//! What was found of a director, its network and its real servers.
//!
//! A fact that could not be looked at is an `Err` that says why.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::core::desired::{Method, Proto, XdpMode};
use crate::core::hop::{Mac, Reach, Via};
use crate::core::vrrp::{Auth, State, Version};

/// Everything.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The machine, and what runs on it.
    pub machine: Machine,
    /// The interfaces on which the program runs or shall run.
    pub interfaces: Vec<Interface>,
    /// The interface of the default route.
    pub default_route: Option<String>,
    /// The virtual addresses of services.
    pub vips: Vec<Vip>,
    /// The real servers' addresses.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// Each real server of each service.
    pub reals: Vec<Real>,
    /// The virtual routers.
    pub routers: Vec<Router>,
    /// What was heard of other directors; nobody listens where there is no virtual router.
    pub adverts: Result<Vec<Advert>, String>,
    /// For how long was listened.
    pub listened: Duration,
}

/// The machine, and what runs on it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// lbd, if it runs; else why it cannot be asked.
    pub daemon: Result<Daemon, String>,
    /// The kernel's release.
    pub release: String,
    /// Whether the kernel has all that the program needs.
    pub kernel: Result<(), Lack>,
    /// Whether this process may do what lbd does.
    pub capabilities: Result<(), Lack>,
    /// Where program and maps are pinned.
    pub pin_dir: String,
    /// Whether that is on a BPF file system.
    pub bpf_fs: bool,
    /// Whether BPF programs are compiled; absent where the kernel knows no other way.
    pub jit: Option<bool>,
    /// Whether the kernel forwards packets, of each family of which real servers are reached by nat.
    pub forwarding: Vec<Forwarding>,
}

/// Whether the kernel forwards packets of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The kernel's parameter, as sysctl(8) names it.
    pub parameter: &'static str,
    /// It does.
    pub on: bool,
}

/// What a running lbd says of itself.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    /// What it complains of.
    pub alarms: Vec<String>,
    /// Entries in the connection table.
    pub connections: u64,
    /// Entries that it has room for.
    pub connections_max: u64,
    /// How many connections the configuration asks for: the table has room for more, that of IPv6 for fewer.
    pub connections_set: u32,
}

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What, and how it shows.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// The state of the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Something keeps it right.
    pub synchronised: bool,
    /// By how much it may be wrong.
    pub error: Duration,
}

/// An interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it is like; absent: there is none of this name.
    pub link: Option<Link>,
    /// How the program shall run there.
    pub wanted: XdpMode,
    /// The programs on it.
    pub programs: Result<Vec<Program>, String>,
    /// Why the driver did not take the program, where lbd has tried it.
    pub refused: Option<String>,
    /// Whether it joins packets to larger ones: in the card or driver, in the kernel.
    pub offloads: Result<Joins, String>,
    /// `rp_filter`, the greater of its own and that of all.
    pub rp_filter: Option<u8>,
}

/// What an interface is like.
#[derive(Clone, Debug)]
pub struct Link {
    /// Switched on, with a carrier.
    pub up: bool,
    /// Its MTU.
    pub mtu: u32,
    /// Its driver, where the kernel tells it.
    pub driver: Option<String>,
}

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// It runs in the driver.
    pub native: bool,
}

/// What joins packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joins {
    /// The card or its driver, for good: the joined packet cannot be passed on.
    pub lro: bool,
    /// The kernel, so that it can be taken apart again.
    pub gro: bool,
}

/// A virtual address.
#[derive(Clone, Debug)]
pub struct Vip {
    /// The address.
    pub addr: IpAddr,
    /// Interfaces that have it.
    pub on: Vec<String>,
    /// Interfaces on a network that it is of.
    pub near: Vec<String>,
    /// Whether this director must have it.
    pub duty: Duty,
    /// Who answers for it, by ARP or neighbour discovery.
    pub answers: Result<Vec<Answer>, String>,
}

/// Whether this director must have a virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Always.
    Always,
    /// Its virtual router is in this state here.
    Router(String, State),
    /// Its virtual router may be in any state: lbd does not run.
    Unknown(String),
}

/// A station that says that it has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// On which interface it was heard.
    pub interface: String,
    /// Its MAC.
    pub mac: Mac,
    /// Other addresses that are known to be at this MAC.
    pub known_as: Vec<IpAddr>,
}

/// A machine with real servers.
#[derive(Clone, Debug)]
pub struct Host {
    /// The way to it; else why there is none.
    pub way: Result<Way, String>,
    /// Of real servers of method tun: what comes through on the way to it.
    pub path: Option<Result<Path, String>>,
    /// Of real servers of method nat: whether replies to far clients come back to the director.
    pub returns: Option<Result<bool, String>>,
}

/// The way to a real server.
#[derive(Clone, Debug)]
pub struct Way {
    /// The interface.
    pub interface: String,
    /// By way of what.
    pub via: Via,
    /// The director's address there.
    pub source: Option<IpAddr>,
    /// The greatest packet that fits, by what the director knows.
    pub mtu: u32,
    /// The next hop's MAC.
    pub mac: Option<Mac>,
    /// Whether the next hop answers.
    pub reach: Reach,
    /// Other stations that say that they have its address.
    pub others: Vec<Mac>,
}

/// What comes through on a way, of packets that nobody may take apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Packets of the way's MTU.
    Full,
    /// Packets of this size, and none much greater.
    UpTo(u32),
}

/// A real server of a service.
#[derive(Clone, Debug)]
pub struct Real {
    /// Its address and port.
    pub id: SocketAddr,
    /// The service's name.
    pub service: String,
    /// The virtual address and port that were asked for.
    pub vip: SocketAddr,
    /// The protocol.
    pub proto: Proto,
    /// How packets reach it.
    pub method: Method,
    /// Its answer to a packet that went the way of the service's.
    pub probe: Probe,
}

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It was answered, after this time.
    Answered(Duration),
    /// Nothing contradicts it, which is all that this protocol tells.
    Silent,
    /// It was not, for this reason.
    Failed(String),
    /// It was not sent, for this reason.
    NotSent(String),
}

/// A virtual router of the configuration.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its number there.
    pub vrid: u8,
    /// The version that it speaks.
    pub version: Version,
    /// Its password.
    pub auth: Auth,
    /// Its advertisements are signed, with the time of day in them.
    pub signs: bool,
    /// The addresses that are advertised.
    pub addresses: Vec<IpAddr>,
    /// Its state here, if lbd runs.
    pub state: Option<State>,
}

/// An advertisement of another director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Where it was heard.
    pub interface: String,
    /// Who sent it.
    pub source: IpAddr,
    /// The virtual router's number.
    pub vrid: u8,
    /// What it says; else why it is none.
    pub says: Result<Says, String>,
}

/// What an advertisement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// Its version.
    pub version: Version,
    /// The sender's priority; 0 when it leaves.
    pub priority: u8,
    /// The password.
    pub auth: Auth,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}
