//! What an operator says about one virtual router.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::packet::{Auth, Signing, Version};
use super::{Interval, Priority, Timing};

/// One virtual router, as configured on this director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The version that it speaks.
    pub version: Version,
    /// Its number on the network, 1 to 255.
    pub vrid: u8,
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
    /// The virtual addresses that are advertised, of one family.
    pub addresses: Vec<IpAddr>,
    /// The other directors, when advertisements go to each of them instead of to the multicast group.
    pub peers: Vec<IpAddr>,
    /// How neighbours are told about a new master.
    pub announcements: Announcements,
    /// Whether others are to agree on the addresses.
    pub check_addresses: bool,
}

impl Settings {
    /// One of which an operator says no more than this.
    pub fn new(version: Version, vrid: u8, interval: Interval, addresses: Vec<IpAddr>) -> Self {
        Self {
            version,
            vrid,
            priority: Priority::DEFAULT,
            interval,
            misses: 3,
            preempt: Preempt::default(),
            initial: InitialState::default(),
            auth: Auth::None,
            signing: None,
            addresses,
            peers: Vec::new(),
            announcements: Announcements::default(),
            check_addresses: true,
        }
    }

    /// How long it waits.
    pub const fn timing(&self) -> Timing {
        Timing {
            version: self.version,
            misses: self.misses,
        }
    }
}

/// Whether a master of lower priority is made to give way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preempt {
    /// As soon as its time is up.
    #[default]
    AtOnce,
    /// After it has been heard for so long.
    After(Duration),
    /// Never, as long as it lives.
    Never,
}

/// How a virtual router begins, unless it is the owner, who is master at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialState {
    /// Listens for as long as a master may be silent.
    #[default]
    Backup,
    /// Listens for one interval only.
    Master,
}

/// Gratuitous ARP and unsolicited neighbour advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcements {
    /// How many times each address is announced in a volley.
    pub repeat: u8,
    /// How long after the first volley there is a second one, for switches that had not learnt yet.
    pub delay: Duration,
    /// A master announces itself again this often; never without.
    pub refresh: Option<Duration>,
}

impl Default for Announcements {
    fn default() -> Self {
        Self {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: None,
        }
    }
}
