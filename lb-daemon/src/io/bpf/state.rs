//! What does the daemon know of the maps?
//!
//! Nothing that the maps do not say themselves: [`adopt`](super::adopt) reads it all from there, after a start as
//! after a kill. It is kept because asking the maps each time would be slow.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{self, Method, Plan, Real, Timeouts, real};
use lb_common::net::Proto;
use lb_common::sched::CHUNK;

use super::alloc::{Block, Blocks, Places};
use super::family::{self, Parts};
use super::grace::{Grace, Ticket};
use super::layout::{EGRESS, PROFILES};
use super::maps::Maps;
use crate::core::desired::{ServiceId, full_prefix};
use crate::core::schedule::{Course, Entry};

/// The maps, and what is known of them.
#[derive(Debug)]
pub(super) struct State {
    /// The maps.
    pub maps: Maps,
    /// When what was taken out of sight is no longer read.
    pub grace: Grace,
    /// Services by index, with those that are being drained.
    pub services: BTreeMap<u32, Service>,
    /// Real servers by slot, with those that are being drained.
    pub reals: BTreeMap<u32, RealServer>,
    /// The real servers among them that are not live: few, and looked at often.
    pub leaving: BTreeSet<u32>,
    /// Those of them that were cut since the sweeper was last told.
    pub cut: Vec<u32>,
    /// What is out of sight, and to be given back once nobody reads it.
    pub retired: Vec<(Ticket, Written)>,
    /// Free places of the maps.
    pub room: Room,
    /// Timeout profiles that are written.
    pub profiles: Vec<Option<Timeouts>>,
    /// Interfaces of the egress slots; 0 is none.
    pub egress: Vec<u32>,
    /// What `NATREALS4` and `NATREALS6` have.
    pub nat_keys: HashMap<Source, Option<ServiceId>>,
    /// Virtual addresses that are closed but for the ports of services, with what the maps have for each.
    pub closed: BTreeMap<IpAddr, u32>,
    /// Filter bits are only added: removed services were adopted whose further addresses are not known.
    pub keep_filter: bool,
}

/// Free places of the maps.
#[derive(Debug)]
pub(super) struct Room {
    /// Indices of services.
    pub services: Places,
    /// Generations.
    pub generations: Places,
    /// Members.
    pub members: Blocks,
    /// Words of schedules.
    pub slots: Blocks,
    /// Slots of real servers.
    pub reals: Places,
}

impl Room {
    /// Nothing is taken.
    pub(super) fn new(maps: &Maps) -> Self {
        Self {
            services: Places::new(maps.services_len()),
            generations: Places::new(maps.generations_len()),
            // The least loaded are looked for in whole chunks.
            members: Blocks::new(abi::MEMBERS_LEN - CHUNK),
            slots: Blocks::new(maps.slots_len()),
            reals: Places::new(maps.reals_len()),
        }
    }
}

/// A service in the maps.
#[derive(Debug)]
pub(super) struct Service {
    /// What tells it apart: its first virtual address and port.
    pub key: ServiceId,
    /// All its virtual addresses and ports. Empty when it is removed and its real servers are being drained.
    pub keys: Vec<ServiceId>,
    /// Its current generation; none when it is removed, or was adopted damaged.
    pub written: Option<Written>,
    /// Its scheduler, from generation to generation.
    pub course: Course,
}

impl Service {
    /// A service of which nothing is written yet.
    pub(super) fn new(key: ServiceId) -> Self {
        Self {
            key,
            keys: Vec::new(),
            written: None,
            course: Course::default(),
        }
    }

    /// The mask of its persistent clients, as its plan has it.
    pub(super) fn mask(&self) -> u32 {
        self.written.as_ref().map_or(0, |w| w.plan.mask)
    }

    /// Whether it is only kept until its last connection ends.
    pub(super) fn is_removed(&self) -> bool {
        self.keys.is_empty()
    }
}

/// A generation and the blocks that belong to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    /// Its index in `GENERATIONS`.
    pub index: u32,
    /// Its plan.
    pub plan: Plan,
    /// Its real servers, newest first.
    pub entries: Vec<Entry>,
    /// Its members.
    pub members: Block,
    /// Its schedule.
    pub schedule: Block,
    /// Its fallback table.
    pub fallback: Block,
}

/// A real server in the maps.
#[derive(Clone, Debug)]
pub(super) struct RealServer {
    /// Its record as it was last written, or read.
    pub record: Real,
    /// How packets should reach it, were it not local.
    pub method: Method,
    /// Where it stands.
    pub phase: Phase,
    /// Its next hop is what an earlier daemon knew.
    pub inherited_hop: bool,
}

/// Where a real server stands between being added and its slot being free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In use.
    Live,
    /// Removed. Its last connections are served.
    Draining,
    /// Removed, and without connections since the ticket was given; packets that found one before may still be on their
    /// way.
    Empty(Ticket),
}

impl RealServer {
    /// Its address and port.
    pub(super) fn addr(&self) -> SocketAddr {
        family::endpoint_of(&self.record)
    }

    /// Whether packets from it may be replies.
    pub(super) fn nat_key(&self) -> Option<Source> {
        (self.record.method == Method::Nat as u8).then(|| Source {
            addr: self.addr(),
            proto: self.record.proto,
        })
    }

    /// Whether it was removed by force, so that its connections are not served any more.
    pub(super) fn is_cut(&self) -> bool {
        self.record.flags & real::USED == 0
    }

    /// Whether it is in use.
    pub(super) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }
}

impl State {
    /// Over maps in which nothing is written yet.
    pub(super) fn new(maps: Maps, grace: Grace) -> Self {
        Self {
            room: Room::new(&maps),
            maps,
            grace,
            services: BTreeMap::new(),
            reals: BTreeMap::new(),
            leaving: BTreeSet::new(),
            cut: Vec::new(),
            retired: Vec::new(),
            profiles: vec![None; PROFILES as usize],
            egress: vec![0; EGRESS as usize],
            nat_keys: HashMap::new(),
            closed: BTreeMap::new(),
            keep_filter: false,
        }
    }

    /// The service of an index as the configuration names it.
    pub(super) fn service_id(&self, index: u32) -> Option<ServiceId> {
        self.services.get(&index).map(|s| s.key)
    }

    /// The slots that a removed real server of a service still has.
    pub(super) fn removed(&self, service: ServiceId, real: SocketAddr) -> Vec<u32> {
        let is = |r: &RealServer| {
            !r.is_live() && r.addr() == real && self.service_id(r.record.service) == Some(service)
        };
        self.reals
            .iter()
            .filter(|(_, r)| is(r))
            .map(|(slot, _)| *slot)
            .collect()
    }

    /// How many real servers are being drained.
    pub(super) fn draining(&self) -> u32 {
        self.leaving.len() as u32
    }
}

/// Where replies come from: a real server that is reached by NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// Its address and port.
    pub addr: SocketAddr,
    /// IP protocol number.
    pub proto: u8,
}

impl Source {
    /// As a key of the maps.
    pub(super) fn parts(self) -> Parts {
        Parts {
            addr: self.addr.ip(),
            port: self.addr.port(),
            proto: self.proto,
            host_bits: 0,
        }
    }

    /// Of a key of the maps.
    pub(super) fn of(parts: Parts) -> Self {
        Self {
            addr: SocketAddr::new(parts.addr, parts.port),
            proto: parts.proto,
        }
    }
}

/// One virtual address or network and port as a key of the maps.
pub(super) fn service_parts(id: ServiceId) -> Parts {
    Parts {
        addr: id.addr,
        port: id.port,
        proto: id.proto as u8,
        host_bits: full_prefix(id.addr).saturating_sub(id.prefix),
    }
}

/// One virtual address or network and port of a key of the maps; `None` if it is nobody's.
pub(super) fn service_id(parts: Parts) -> Option<ServiceId> {
    let id = ServiceId::new(Proto::from_number(parts.proto)?, parts.addr, parts.port);
    Some(ServiceId {
        prefix: id.prefix.checked_sub(parts.host_bits)?,
        ..id
    })
}
