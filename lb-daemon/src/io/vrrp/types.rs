//! What the VRRP thread is told, and what it tells.

use std::net::IpAddr;
use std::ops::{Add, AddAssign};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::model::VirtualRouter;
use crate::core::hop::Mac;
use crate::core::vrrp::{Cause, Reject, State};

/// A virtual router that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its number in the data plane.
    pub number: u32,
    /// What an operator says about it.
    pub router: VirtualRouter,
}

/// What something tracked was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Up or down.
    Up(bool),
    /// A number, which the weight is multiplied by; above 0 is down.
    Number(i32),
}

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// These are to run, and no others.
    Configure(Vec<Wanted>, oneshot::Sender<()>),
    /// What the so manieth thing that a virtual router tracks was found to be.
    Found {
        router: String,
        track: usize,
        finding: Finding,
    },
    /// Another director shall be master of this virtual router. The answer is its state before.
    Failover(String, oneshot::Sender<Option<State>>),
    /// How all are.
    Report(oneshot::Sender<Report>),
    /// Leave everything to others, and end.
    Stop,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A virtual router has another state.
    Entered {
        /// Its name.
        router: String,
        /// It was this.
        from: State,
        /// It is this.
        to: State,
        /// For this reason.
        cause: Cause,
        /// Its priority.
        priority: u8,
        /// What is wrong, if it is in fault.
        faults: Vec<String>,
    },
    /// Something that an operator should know.
    Noticed {
        /// The virtual router's name.
        router: String,
        /// What.
        notice: Notice,
    },
    /// A timer was late by so much, which is more than [`LATE`].
    Late(Duration),
    /// Something failed that concerns all.
    Trouble(String),
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A master of lower priority was heard, and put right.
    LowerMaster(IpAddr),
    /// Another director says that it owns the addresses too.
    TwoOwners(IpAddr),
    /// We were asleep for so long that others may have taken over.
    Overslept(Duration),
    /// Somebody has removed an address, which was put back.
    AddressPutBack(IpAddr),
    /// Somebody else says that he has an address of ours.
    Claimed(IpAddr, Mac),
    /// An address, a route or a socket could not be had.
    Failed(String),
}

/// How all are.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Why the thread has no real-time priority, if it has none.
    pub not_realtime: Option<String>,
    /// How many timers were late by more than [`LATE`].
    pub late: u64,
    /// By how much the worst of them was late.
    pub latest: Duration,
    /// Packets that were of none of our virtual routers, and came past the kernel's filter.
    pub strangers: u64,
    /// Packets that came faster than they were read.
    pub unread: Unread,
    /// The virtual routers.
    pub routers: Vec<RouterReport>,
}

/// Packets that came faster than they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// They seemed to come from a master that we know.
    pub masters: u64,
    /// Others.
    pub others: u64,
}

impl Add for Unread {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            masters: self.masters + other.masters,
            others: self.others + other.others,
        }
    }
}

impl AddAssign for Unread {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// A timer that is late by so much is counted.
pub const LATE: Duration = Duration::from_millis(10);

/// How one is.
#[derive(Clone, Debug)]
pub struct RouterReport {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Option<Instant>,
    /// Its priority now.
    pub priority: u8,
    /// What has moved the priority, in words.
    pub moved_by: Vec<String>,
    /// What is wrong.
    pub faults: Vec<String>,
    /// Where it speaks from.
    pub source: Option<IpAddr>,
    /// Its virtual MAC, if its addresses are at it.
    pub virtual_mac: Option<Mac>,
    /// The master, if it is another and was heard.
    pub master: Option<IpAddr>,
    /// The priority that the master has claimed last.
    pub master_priority: Option<u8>,
    /// How often it has become master.
    pub masterships: u64,
    /// Advertisements that were sent.
    pub sent: u64,
    /// How often somebody else has said that he has one of its addresses while it was master.
    pub claims: u64,
    /// Who was the last of them.
    pub claimed_by: Option<Mac>,
    /// Advertisements that were heeded.
    pub heard: u64,
    /// Advertisements that were not, by reason; only those that there were.
    pub rejects: Vec<(Reject, u64)>,
}
