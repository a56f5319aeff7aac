//! What a virtual router can be, is told, and answers.

use std::net::IpAddr;
use std::time::Duration;

use super::super::{Claim, Interval, Priority};

/// The states of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It takes no part.
    Stopped,
    /// It listens for a master.
    Backup,
    /// It has the addresses, and says so.
    Master,
    /// Something that it needs is down.
    Fault,
}

/// What a virtual router is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It shall take part.
    Start,
    /// It shall no longer take part.
    Stop,
    /// It has heard another.
    Advert(Heard),
    /// No master was heard for long enough. So much too late is the timer.
    MasterDown(Duration),
    /// An advertisement is to be sent. So much too late is the timer.
    AdvertDue(Duration),
    /// Another volley of announcements is to be sent.
    AnnounceDue,
    /// What is tracked makes it have this priority.
    Priority(Priority),
    /// Something of its own that it needs is down.
    Fault,
    /// Everything of its own that it needs is up.
    Heal,
    /// An operator wants another to be master.
    Failover,
    /// Every member of its sync group may be master now.
    GroupMaster,
    /// A member of its sync group is no longer master, nor wants to be.
    GroupBackup,
    /// A member of its sync group is in fault.
    GroupFault,
    /// No member of its sync group is in fault.
    GroupHeal,
    /// Another member of its sync group had to assert itself.
    GroupAssert,
}

/// What another said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its address.
    pub source: IpAddr,
    /// What it claims.
    pub claim: Claim,
    /// The time between its advertisements.
    pub interval: Interval,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send an advertisement.
    Send(Claim),
    /// Serve, and say so: neither waits for anything.
    Serve,
    /// Take the addresses.
    Assume,
    /// Give up the addresses.
    Release,
    /// Announce the addresses to the neighbours.
    Announce,
    /// The state is another one now.
    Entered {
        /// It was this.
        from: State,
        /// It is this.
        to: State,
        /// For this reason.
        cause: Cause,
    },
    /// As a member of a sync group, it would be master if the others are.
    WantsMaster,
    /// A master of lower priority was put right.
    LowerMaster(IpAddr),
    /// Another says that it owns the addresses too.
    TwoOwners(IpAddr),
    /// A timer was late by this much, and for that nothing was done.
    Late(Duration),
}

/// Why a state was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It was started.
    Started,
    /// It was stopped.
    Stopped,
    /// No master was heard.
    MasterSilent,
    /// The master left.
    MasterResigned,
    /// It owns the addresses.
    Owner,
    /// Another has a higher priority, or the same and a higher address.
    Outranked(IpAddr),
    /// Something of its own went down.
    Fault,
    /// What was down is up.
    Healed,
    /// An operator wanted it.
    Operator,
    /// Its sync group went that way.
    Group,
    /// It was asleep for so long that another may be master by now.
    Overslept,
}
