//! Which way does a packet go?
//!
//! ```text
//! established: parse -> sort -> to a VIP: connection lookup --hit--> dr | tun | nat | local
//!                          |-> neither to a VIP nor from a NAT real server, or for another host's MAC: PASS
//!                          `-> all else
//!                                 v
//!        look: parse -> sort -> to a VIP: connection lookup --hit--> change it -> deliver: dr | tun | nat | local
//!                          |                `-- miss --> open: service? may it open?
//!                          |                                |-> recall --its client is known--> record -> deliver
//!                          |                                |-> schedule | hash -> bind -> record -> deliver
//!                          |                                |-> refuse: no real server, a closed port; ICMP, reset
//!                          |                                `-> no service: PASS, or a closed port
//!                          |-> from a NAT real server --> reply: connection lookup -> give_back: nat back -> route
//!                          |-> no first fragment --> later: the way of the first one
//!                          `-> ICMP, wherever to --> quote --> related: quoted flow -> its real server | its client
//! ```
//!
//! Most packets need only [`established()`], a straight line: one bucket, one real server, one rewrite. It answers for a
//! packet of an established connection in which nothing changes that counts, and for one of no concern. Any other goes through
//! [`Steps`], from one to the next by what its [`Journey`] says, from the start again. In the kernel each step is a function that the
//! verifier checks by itself, whatever way led there, and whose stack is free again when it returns. What comes out is what to
//! do with the frame and the one counter of how the packet ended; only the caller counts, so no packet is counted twice or not at all.

mod established;
mod fragments;
mod journey;
mod open;
mod persist;
mod pool;
mod reject;
mod related;
mod reply;
mod send;

pub use established::{established, is_left, look};
pub use fragments::{later, note};
pub use journey::{Journey, Next, Outcome, Verdict};
pub use open::{deliver, hash, open, record, schedule};
pub use persist::{bind, keeps_clients, recall};
pub use reject::refuse;
pub use related::{quote, related};
pub use reply::{give_back, reply};

use crate::abi::{Configured, FILTER_REAL, FILTER_VIP, Settings, filter_cell};
use crate::conn::Tick;
use crate::counter::Counter;
use crate::env::Env;
use crate::filter::{BLOCK_BITS, block};
use crate::net::Address;
use crate::packet::{Bytes, Ip, Network};
use crate::table::Table;

/// The steps that a packet may need; each does what the function of its name in this module does.
pub trait Steps {
    /// The packet's family of addresses.
    type Addr: Ip;

    /// Finds out what a packet is that takes more.
    fn look(&mut self, journey: &mut Journey<Self::Addr>);
    /// Finds out whether a packet may open a connection.
    fn open(&mut self, journey: &mut Journey<Self::Addr>);
    /// Finds the real server that a persistent client is kept at.
    fn recall(&mut self, journey: &mut Journey<Self::Addr>);
    /// Has a scheduler choose a real server.
    fn schedule(&mut self, journey: &mut Journey<Self::Addr>);
    /// Chooses a real server by the flow's hash.
    fn hash(&mut self, journey: &mut Journey<Self::Addr>);
    /// Keeps a persistent client at the real server that was chosen.
    fn bind(&mut self, journey: &mut Journey<Self::Addr>);
    /// Records a new connection.
    fn record(&mut self, journey: &mut Journey<Self::Addr>);
    /// Keeps where the first fragment of a datagram goes.
    fn note(&mut self, journey: &mut Journey<Self::Addr>);
    /// Sends a packet to the real server that was chosen.
    fn deliver(&mut self, journey: &mut Journey<Self::Addr>);
    /// Tells the sender that its packet goes no further.
    fn refuse(&mut self, journey: &mut Journey<Self::Addr>);
    /// Finds the connection of a packet from a NAT real server.
    fn reply(&mut self, journey: &mut Journey<Self::Addr>);
    /// Forwards a packet from a NAT real server.
    fn give_back(&mut self, journey: &mut Journey<Self::Addr>);
    /// Finds out which packet an ICMP error quotes.
    fn quote(&mut self, journey: &mut Journey<Self::Addr>);
    /// Sends an ICMP error on to whom it concerns.
    fn related(&mut self, journey: &mut Journey<Self::Addr>);
}

/// Decides what becomes of a frame for which [`established()`] had no answer, and changes it accordingly.
#[inline(always)]
pub fn travel(steps: &mut impl Steps) -> Outcome {
    travel_in(steps, &mut Journey::start())
}

/// The same with the memory for what is known of the packet on its way.
#[inline(always)]
pub fn travel_in<S: Steps>(steps: &mut S, journey: &mut Journey<S::Addr>) -> Outcome {
    *journey = Journey::start();
    walk(steps, journey);
    journey.outcome()
}

/// Takes a packet from step to step to its end.
#[inline(always)]
fn walk<S: Steps>(steps: &mut S, journey: &mut Journey<S::Addr>) {
    // No step leads back, so one way down is enough: a choice by hash follows a record that had no place, or leads to one.
    // (Only a record may be tried again.)
    steps.look(journey);
    if journey.next == Next::Quote {
        steps.quote(journey);
    }
    if journey.next == Next::Related {
        steps.related(journey);
    }
    if journey.next == Next::Open {
        steps.open(journey);
    }
    if journey.next == Next::Recall {
        steps.recall(journey);
    }
    if journey.next == Next::Schedule {
        steps.schedule(journey);
        if journey.next == Next::Bind {
            steps.bind(journey);
        }
    }
    record_in_tries(steps, journey);
    if journey.next == Next::Hash {
        steps.hash(journey);
        record_in_tries(steps, journey);
    }
    if journey.next == Next::Reply {
        steps.reply(journey);
    }
    if journey.is_piece() {
        steps.note(journey);
    }
    if journey.next == Next::Deliver {
        steps.deliver(journey);
    }
    if journey.next == Next::Refuse {
        steps.refuse(journey);
    }
    if journey.next == Next::Return {
        steps.give_back(journey);
    }
}

/// How often a flow is recorded: again when another CPU took its place at the same moment.
const RECORD_TRIES: u8 = 2;

/// Records the flow, if that is next.
#[inline(always)]
fn record_in_tries<S: Steps>(steps: &mut S, journey: &mut Journey<S::Addr>) {
    for _ in 0..RECORD_TRIES {
        if journey.next == Next::Record {
            steps.record(journey);
        }
    }
}

/// Decides what becomes of a frame, and changes it accordingly, with the steps as plain calls: for the host.
pub fn handle<E: Env, B: Bytes>(env: &E, frame: &mut B) -> Outcome {
    let outcome = established(env, frame).unwrap_or_else(|| travel(&mut Direct { env, frame }));
    if outcome.counter == Counter::PassFragment {
        later(env, frame)
    } else {
        outcome
    }
}

/// The steps as plain calls.
struct Direct<'a, E, B> {
    env: &'a E,
    frame: &'a mut B,
}

impl<E: Env, B: Bytes> Steps for Direct<'_, E, B> {
    type Addr = E::Addr;

    fn look(&mut self, journey: &mut Journey<Self::Addr>) {
        look(self.env, self.frame, journey);
    }

    fn open(&mut self, journey: &mut Journey<Self::Addr>) {
        open(self.env, journey);
    }

    fn recall(&mut self, journey: &mut Journey<Self::Addr>) {
        recall(self.env, journey);
    }

    fn schedule(&mut self, journey: &mut Journey<Self::Addr>) {
        schedule(self.env, journey);
    }

    fn hash(&mut self, journey: &mut Journey<Self::Addr>) {
        hash(self.env, journey);
    }

    fn bind(&mut self, journey: &mut Journey<Self::Addr>) {
        bind(self.env, journey);
    }

    fn record(&mut self, journey: &mut Journey<Self::Addr>) {
        record(self.env, journey);
    }

    fn note(&mut self, journey: &mut Journey<Self::Addr>) {
        note(self.env, self.frame, journey);
    }

    fn deliver(&mut self, journey: &mut Journey<Self::Addr>) {
        deliver(self.env, self.frame, journey);
    }

    fn refuse(&mut self, journey: &mut Journey<Self::Addr>) {
        refuse(self.env, self.frame, journey);
    }

    fn reply(&mut self, journey: &mut Journey<Self::Addr>) {
        reply(self.env, self.frame, journey);
    }

    fn give_back(&mut self, journey: &mut Journey<Self::Addr>) {
        give_back(self.env, self.frame, journey);
    }

    fn quote(&mut self, journey: &mut Journey<Self::Addr>) {
        quote(self.env, self.frame, journey);
    }

    fn related(&mut self, journey: &mut Journey<Self::Addr>) {
        related(self.env, self.frame, journey);
    }
}

/// Whether a packet may be from a NAT real server.
#[inline(always)]
fn may_be_reply<E: Env>(env: &E, settings: &Settings, network: Network<E::Addr>) -> bool {
    settings.flags & E::Addr::HAS_NAT != 0 && concerns(env, network.src, FILTER_REAL)
}

/// Whether a packet may be to a virtual address, or into a virtual network.
#[inline(always)]
fn may_be_request<E: Env>(env: &E, settings: &Settings, network: Network<E::Addr>) -> bool {
    concerns(env, network.dst, FILTER_VIP)
        || E::Addr::networks(settings) >> BLOCK_BITS != 0
            && concerns(env, block(network.dst), FILTER_VIP)
}

/// Whether the filter says that an address may be of a kind.
#[inline(always)]
fn concerns<E: Env>(env: &E, addr: E::Addr, kind: u64) -> bool {
    let (word, shift) = filter_cell(addr.folded());
    env.filter(word) >> shift & kind != 0
}

/// The connection table under the current settings.
#[inline(always)]
fn table<'e, E: Env>(env: &'e E, settings: &Settings) -> Table<'e, E> {
    Table::new(env, E::Addr::bucket_mask(settings), settings.hash_key)
}

/// The time that connections go by.
#[inline(always)]
fn now<E: Env>(env: &E, settings: &Settings) -> Tick {
    match settings.clock_shift {
        0 => env.tick(),
        shift => Tick::at(env.clock().wrapping_add(shift)),
    }
}
