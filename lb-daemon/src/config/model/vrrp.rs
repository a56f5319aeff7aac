//! The virtual routers of a configuration: who is to have which virtual addresses, and when.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::core::vrrp::{
    Announcements, Auth, InitialState, Interval, Preempt, Priority, Settings, Signing, Version,
};

/// A virtual router, as this director takes part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    /// Its name, unique.
    pub name: String,
    /// Where it speaks to the other directors.
    pub interface: String,
    /// Its number on that network, 1 to 255.
    pub vrid: u8,
    /// The version that it speaks.
    pub version: Version,
    /// Its priority, before anything tracked moves it.
    pub priority: Priority,
    /// The time between advertisements.
    pub interval: Interval,
    /// How many intervals without an advertisement make a master dead.
    pub misses: u8,
    /// Whether a master of lower priority is made to give way.
    pub preempt: Preempt,
    /// How it begins.
    pub initial: InitialState,
    /// Version 2: the password.
    pub auth: Auth,
    /// How advertisements are signed with keys, where they are.
    pub signing: Option<Arc<Signing>>,
    /// The name of the interface that has the virtual MAC and with it the addresses; absent: the interface itself has them.
    pub virtual_mac: Option<String>,
    /// The address that it speaks from; absent: the first of the interface.
    pub source: Option<IpAddr>,
    /// The other directors, when they are spoken to one by one.
    pub peers: Vec<IpAddr>,
    /// The virtual addresses that are advertised, of one family.
    pub addresses: Vec<VirtualAddress>,
    /// Virtual addresses that go with them and are not advertised, of any family.
    pub excluded: Vec<VirtualAddress>,
    /// Routes that go with them.
    pub routes: Vec<VirtualRoute>,
    /// Those of one group are masters together or not at all.
    pub group: Option<String>,
    /// How neighbours are told about a new master.
    pub announcements: Announcements,
    /// Whether others are to agree on the addresses.
    pub check_addresses: bool,
    /// What moves its priority, or makes it unfit.
    pub track: Vec<Track>,
    /// What is run when its state changes.
    pub notify: Notify,
    /// For how long a change of its interfaces must last.
    pub debounce: LinkDelays,
}

impl VirtualRouter {
    /// What the state machine goes by.
    pub fn settings(&self) -> Settings {
        Settings {
            version: self.version,
            vrid: self.vrid,
            priority: self.priority,
            interval: self.interval,
            misses: self.misses,
            preempt: self.preempt,
            initial: self.initial,
            auth: self.auth,
            signing: self.signing.clone(),
            addresses: self.addresses.iter().map(|a| a.addr).collect(),
            peers: self.peers.clone(),
            announcements: self.announcements,
            check_addresses: self.check_addresses,
        }
    }

    /// All virtual addresses, advertised or not.
    pub fn all_addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.addresses.iter().chain(&self.excluded)
    }

    /// Whether it speaks IPv6.
    pub fn is_v6(&self) -> bool {
        self.addresses.first().is_some_and(|a| a.addr.is_ipv6())
    }
}

/// The interface with the virtual MAC of a virtual router that names none, as with keepalived.
pub fn default_virtual_interface(v6: bool, vrid: u8) -> String {
    format!("vrrp{}.{vrid}", if v6 { "6" } else { "" })
}

/// The version of a virtual router that names none, as with keepalived.
pub const fn default_version(v6: bool) -> Version {
    if v6 { Version::V3 } else { Version::V2 }
}

/// An address that the master has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    /// The address.
    pub addr: IpAddr,
    /// How many leading bits make its network.
    pub prefix: u8,
    /// The interface that gets it, where that is not the virtual router's.
    pub interface: Option<String>,
    /// Its label, an IPv4 alias such as `eth0:1`.
    pub label: Option<String>,
    /// How far it is valid.
    pub scope: Scope,
}

impl VirtualAddress {
    /// An address of which nothing else is said.
    pub const fn new(addr: IpAddr, prefix: u8) -> Self {
        Self {
            addr,
            prefix,
            interface: None,
            label: None,
            scope: Scope::Global,
        }
    }
}

/// How far an address is valid: what the kernel goes by when it chooses a source address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everywhere.
    #[default]
    Global,
    /// Within a site.
    Site,
    /// On its network.
    Link,
    /// On this director.
    Host,
}

/// A route that the master has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualRoute {
    /// Where it leads.
    pub to: IpNet,
    /// By way of this router; absent: directly.
    pub via: Option<IpAddr>,
    /// The interface; absent: the kernel finds it by `via`, or it is the virtual router's.
    pub interface: Option<String>,
    /// The source address of what the director itself sends there.
    pub source: Option<IpAddr>,
    /// Among several routes the lowest goes first.
    pub metric: Option<u32>,
    /// The routing table; absent: the main one.
    pub table: Option<u32>,
}

/// Something that moves the priority, or makes a virtual router unfit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Track {
    /// What is looked at.
    pub what: Tracked,
    /// How far it moves the priority: a positive number while it is up, a negative one while it is down. Absent: while
    /// it is down the virtual router is in fault.
    pub weight: Option<i16>,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tracked {
    /// Whether an interface is up.
    Interface(String),
    /// Whether a program ends with exit status 0.
    Script(Script),
    /// Whether a process of this name runs.
    Process(String),
    /// A number in a file: above 0 is down, and with a weight it is multiplied by it.
    File(PathBuf),
    /// Whether a service has as many live real servers as its quorum asks for.
    Service(String),
    /// Whether a router answers.
    Gateway(Gateway),
}

/// Which router is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gateway {
    /// The one of the default route.
    Default,
    /// This one.
    Address(IpAddr),
}

/// A program that is run again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Script {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The user that it runs as; absent: the daemon's.
    pub user: Option<String>,
    /// How often.
    pub interval: Duration,
    /// How long it may take.
    pub timeout: Duration,
    /// After so many successes it is up.
    pub rise: u8,
    /// After so many failures it is down.
    pub fall: u8,
}

impl Script {
    /// A program of which nothing else is said.
    pub const fn new(command: Vec<String>) -> Self {
        Self {
            command,
            user: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 1,
        }
    }
}

/// What is run when the state changes: programs with their arguments, none where empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// When it is master.
    pub master: Vec<String>,
    /// When it is a backup.
    pub backup: Vec<String>,
    /// When it is in fault.
    pub fault: Vec<String>,
    /// When it has stopped.
    pub stop: Vec<String>,
    /// At any change.
    pub any: Vec<String>,
    /// The user that they run as; absent: the daemon's.
    pub user: Option<String>,
    /// How long each may take.
    pub timeout: Duration,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            master: Vec::new(),
            backup: Vec::new(),
            fault: Vec::new(),
            stop: Vec::new(),
            any: Vec::new(),
            user: None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// For how long a change of an interface must last before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkDelays {
    /// Until it counts as up.
    pub up: Duration,
    /// Until it counts as down.
    pub down: Duration,
}
