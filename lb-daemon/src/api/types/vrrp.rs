//! Virtual routers: who is master of which addresses.

use serde::{Deserialize, Serialize};

/// `GET /v1/vrrp`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vrrp {
    /// Whether advertisements go before everything else in the machine.
    pub realtime: bool,
    /// Timers that were more than 10 ms late.
    pub late_timers: u64,
    /// By how much the worst of them was late, in milliseconds.
    pub latest_timer: u64,
    /// Packets that came faster than they were looked at, as in a flood.
    pub unread: u64,
    /// Those of them that seemed to come from a master; more than a few may make a backup take over.
    pub unread_of_masters: u64,
    /// The virtual routers, in the order of the configuration.
    pub routers: Vec<VirtualRouter>,
}

/// A virtual router on this director.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualRouter {
    /// Its name.
    pub name: String,
    /// The interface on which it speaks.
    pub interface: String,
    /// Its number on that network.
    pub virtual_router_id: u8,
    /// The version that it speaks, 2 or 3.
    pub version: u8,
    /// `master`, `backup`, `fault` or `stop`.
    pub state: String,
    /// For how many seconds it has been in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Its priority now.
    pub priority: u8,
    /// Its priority without what is tracked.
    pub base_priority: u8,
    /// What has moved the priority.
    pub moved_by: Vec<String>,
    /// What is wrong, if it is in fault or cannot start yet.
    pub faults: Vec<String>,
    /// The time between advertisements, in milliseconds.
    pub advert_interval: u64,
    /// The address that it speaks from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The virtual MAC, if the addresses are at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_mac: Option<String>,
    /// The master, if it is another director that was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The priority that was heard last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_priority: Option<u8>,
    /// The virtual addresses, advertised or not.
    pub addresses: Vec<String>,
    /// The sync group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How often it has become master.
    pub masterships: u64,
    /// How often somebody else has said by ARP or as an IPv6 neighbour that he has one of the addresses, while this
    /// director was master.
    #[serde(default)]
    pub claims: u64,
    /// The MAC of the last who has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<String>,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements heard and heeded.
    pub heard: u64,
    /// Advertisements not heeded, by reason.
    pub rejected: Vec<Rejected>,
}

/// Advertisements that were not heeded for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The reason's name.
    pub reason: String,
    /// The reason, in words.
    pub about: String,
    /// How many.
    pub packets: u64,
}

/// `POST /v1/vrrp/{router}/failover`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedOver {
    /// The virtual router.
    pub router: String,
    /// Its state before.
    pub before: String,
}

/// A line of `GET /v1/vrrp/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpEvent {
    /// The virtual router.
    pub router: String,
    /// Its state before: `master`, `backup`, `fault` or `stop`.
    pub from: String,
    /// Its state.
    pub to: String,
    /// Its priority.
    pub priority: u8,
    /// Why.
    pub why: String,
}
