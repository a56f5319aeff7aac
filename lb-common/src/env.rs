//! What does the data plane need from outside?
//!
//! [`Env`] is all of it: maps, clock, routes. The XDP program implements it over BPF maps and helpers, the host model
//! over vectors, and [`forward`](crate::forward) is the same code in both.

use crate::abi::{
    CpuState, Datagram, DatagramKey, LOADS_LEN, Locality, LocalityKey, MEMBERS_LEN, Member,
    OwnMacs, Plan, Real, RealKey, ServiceKey, Settings, TemplateKey, Timeouts, Traffic,
};
use crate::atomic::Atoms;
use crate::conn::{Loads, Tick};
use crate::packet::Ip;
use crate::packet::wire::MacPair;
use crate::sched::{Pool, Step};
use crate::table::Buckets;
use crate::template::Template;

/// The maps, clock and routes that packets of one family of addresses meet.
///
/// A map that has no such entry answers `None`; indices are never trusted.
pub trait Env: Buckets<Addr: Ip> + Loads {
    /// What holds for the whole data plane.
    fn settings(&self) -> Option<&Settings>;

    /// The monotonic clock, in nanoseconds; a few milliseconds late is good enough.
    fn clock(&self) -> u64;

    /// The monotonic clock, in ticks.
    fn tick(&self) -> Tick {
        Tick::at(self.clock())
    }

    /// A random number.
    fn random(&self) -> u32;

    /// A word of `FILTER`.
    fn filter(&self, word: u32) -> u64;

    /// A real server by its slot.
    fn real(&self, slot: u32) -> Option<&Real>;

    /// Timeouts of a profile.
    fn timeouts(&self, profile: u32) -> Option<&Timeouts>;

    /// The index of a service.
    fn service(&self, key: &ServiceKey<Self::Addr>) -> Option<u32>;

    /// The index of a service's current generation.
    fn current(&self, service: u32) -> Option<u32>;

    /// The plan of a generation.
    fn plan(&self, generation: u32) -> Option<&Plan>;

    /// Whether another director is the master of a virtual router.
    fn standby(&self, router: u32) -> bool;

    /// The record at a place of `OWNMACS`.
    fn own_macs(&self, place: u32) -> Option<&OwnMacs>;

    /// The turn of a generation: [`Generation::turn`](crate::abi::Generation::turn).
    fn turn(&self, generation: u32) -> Option<&<Self::Atoms as Atoms>::U64>;

    /// The one value of `MEMBERS`.
    fn members(&self) -> Option<&[Member; MEMBERS_LEN as usize]>;

    /// A word of `SLOTS`; any index is answered.
    fn slots(&self, index: u32) -> u64;

    /// The one value of `LOADS`, as the words that change ([`Load::conns`](crate::abi::Load::conns)).
    fn loads(&self) -> Option<&[<Self::Atoms as Atoms>::U64; LOADS_LEN as usize]>;

    /// What lblc and lblcr remember of a destination.
    fn locality(&self, key: &LocalityKey<Self::Addr>) -> Option<Locality>;

    /// Remembers this of a destination.
    fn remember(&self, key: &LocalityKey<Self::Addr>, locality: &Locality);

    /// A persistent client's template.
    fn template(&self, key: &TemplateKey<Self::Addr>) -> Option<Template>;

    /// Keeps a template under a key that has none; whether there was room, and none.
    fn add_template(&self, key: &TemplateKey<Self::Addr>, template: Template) -> bool;

    /// Keeps a template under a key, whatever it had; whether there was room.
    fn put_template(&self, key: &TemplateKey<Self::Addr>, template: Template) -> bool;

    /// The service of a NAT real server, all zero where it has several.
    fn nat_real(&self, key: &RealKey<Self::Addr>) -> Option<ServiceKey<Self::Addr>>;

    /// Where the first fragment of a datagram went, if that is remembered.
    fn datagram(&self, key: &DatagramKey<Self::Addr>) -> Option<Datagram<Self::Addr>>;

    /// Remembers where the first fragment of a datagram goes.
    fn keep_datagram(&self, key: &DatagramKey<Self::Addr>, datagram: &Datagram<Self::Addr>);

    /// Changes what is counted of a real server on this CPU.
    fn traffic(&self, real: u32, change: impl FnOnce(&mut Traffic));

    /// Changes what is remembered on this CPU.
    fn cpu<R>(&self, change: impl FnOnce(&mut CpuState) -> R) -> Option<R>;

    /// The interface by which the packet came.
    fn ingress(&self) -> u32;

    /// Where the kernel would send a packet.
    fn route(&self, query: &Query<Self::Addr>) -> Route;

    /// Calls `step` with 0, 1, … below `times` until it answers `false`, and gives it back.
    fn repeat<P: Pool, S: Step<P>>(&self, pool: &P, times: u32, step: S) -> S;
}

/// A question to the routing table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<A> {
    /// Source of the packet.
    pub src: A,
    /// Destination of the packet.
    pub dst: A,
    /// TOS byte.
    pub tos: u8,
    /// Length of the IP packet.
    pub len: u16,
}

/// The routing table's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Through this interface, with these addresses.
    Via {
        /// Index of the interface.
        ifindex: u32,
        /// Addresses of the next hop and of the interface.
        macs: MacPair,
    },
    /// The packet is too big for the interface.
    TooBig,
    /// There is no route, the neighbour is not known, or the stack has to see to it for another reason.
    Stack,
}
