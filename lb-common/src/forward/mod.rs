//! Which way does a packet go?
//!
//! ```text
//! parse -> filter -> to a VIP:   connection lookup --hit----------------------------.
//!             |                     \--miss--> service lookup -> schedule -> record -+-> dr | tun | nat | local
//!             |                                   \--none--> PASS     \--no real--> ICMP
//!             +----> from a NAT real server: reply lookup -> nat back -> route
//!             \----> neither: PASS
//! ```
//!
//! [`handle`] is the whole data plane. It returns what to do with the frame and the one counter of how the packet ended;
//! only the caller counts, so no packet is counted twice or not at all.
//!
//! The way of a packet of an established connection is one function: one bucket, one real server, one rewrite. What happens
//! once a connection, and what packets that go nowhere need, is in functions of their own. [`handle`] calls one after the
//! other rather than one from the other, because the kernel limits the stack of nested calls, and its verifier would look at
//! the inner ones once for each way there.

mod client;
mod open;
mod pool;
mod reject;
mod reply;
mod send;

use crate::abi::{FILTER_REAL, Settings, filter_cell, setting};
use crate::conn::Tick;
use crate::counter::Counter;
use crate::env::Env;
use crate::net::{Be16, Be32, Flow4, Proto};
use crate::packet::wire::tcp_flag;
use crate::packet::{Bytes, Network, Transport};
use crate::table::Table;

/// What to do with the frame.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Leave it to the director's own stack.
    Pass,
    /// Drop it.
    Drop,
    /// Send it by the interface it came from.
    Tx,
    /// Send it by the interface in slot [`Outcome::to`] of `EGRESS`.
    Slot,
    /// Send it by the interface of index [`Outcome::to`].
    Interface,
}

/// How a packet ended: eight bytes, so that it fits a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What to do with the frame.
    pub verdict: Verdict,
    /// What to count.
    pub counter: Counter,
    /// Where to send it, if the verdict needs to say.
    pub to: u32,
}

impl Outcome {
    #[inline(always)]
    const fn new(verdict: Verdict, counter: Counter) -> Self {
        Self {
            verdict,
            counter,
            to: 0,
        }
    }

    /// A packet that goes no further here: dropped if the counter is one of drops, else left to the stack.
    #[inline(always)]
    const fn end(counter: Counter) -> Self {
        let verdict = if counter.is_drop() {
            Verdict::Drop
        } else {
            Verdict::Pass
        };
        Self::new(verdict, counter)
    }

    #[inline(always)]
    const fn counted_as(self, counter: Counter) -> Self {
        Self { counter, ..self }
    }
}

/// What is known of a packet when no established connection was found.
///
/// Functions that stay functions hand it on in memory: the kernel knows no type that is one of several.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    packet: Packet,
    /// When it came.
    now: Tick,
    /// The connection table may have had no place for its flow: then a segment within a connection is not left to the
    /// stack, which would reset it, but goes where the flow's hash says.
    turned_away: bool,
    next: Next,
}

/// What else is to be done with a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// Nothing: its outcome is known.
    Nothing,
    /// It may open a connection.
    Open,
    /// It may be from a NAT real server.
    Reply,
}

impl Default for Arrival {
    #[inline(always)]
    fn default() -> Self {
        let network = Network {
            src: Be32(0),
            dst: Be32(0),
        };
        let transport = Transport {
            proto: Proto::Tcp,
            ports: 0,
            tcp_flags: 0,
            l4: 0,
            len: 0,
        };
        Self {
            packet: Packet { network, transport },
            now: Tick(0),
            turned_away: false,
            next: Next::Nothing,
        }
    }
}

/// A whole TCP segment or UDP datagram, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packet {
    network: Network,
    transport: Transport,
}

impl Packet {
    #[inline(always)]
    fn parse<B: Bytes>(frame: &B, network: Network) -> Result<Self, Counter> {
        Ok(Self {
            network,
            transport: Transport::parse(frame)?,
        })
    }

    #[inline(always)]
    const fn source_port(&self) -> Be16 {
        let [a, b, ..] = self.transport.ports.to_ne_bytes();
        Be16(u16::from_ne_bytes([a, b]))
    }

    #[inline(always)]
    const fn destination_port(&self) -> Be16 {
        let [.., c, d] = self.transport.ports.to_ne_bytes();
        Be16(u16::from_ne_bytes([c, d]))
    }

    /// The flow of a packet that a client sent.
    #[inline(always)]
    const fn flow(&self) -> Flow4 {
        Flow4 {
            client: self.network.src,
            vip: self.network.dst,
            client_port: self.source_port(),
            vip_port: self.destination_port(),
            proto: self.transport.proto,
        }
    }
}

/// Decides what becomes of a frame, and changes it accordingly.
#[inline(always)]
pub fn handle<E: Env, B: Bytes>(env: &E, frame: &mut B) -> Outcome {
    let mut arrival = Arrival::default();
    let outcome = client::forward(env, frame, &mut arrival);
    match arrival.next {
        Next::Nothing => return outcome,
        Next::Open => {
            if let Some(outcome) = open::forward(env, frame, &arrival) {
                return outcome;
            }
        }
        Next::Reply => {}
    }
    reply::forward(env, frame)
}

/// Whether a packet may be from a NAT real server.
#[inline(always)]
fn may_be_reply<E: Env>(env: &E, settings: &Settings, network: Network) -> bool {
    settings.flags & setting::HAS_NAT != 0 && concerns(env, network.src, FILTER_REAL)
}

/// Whether the filter says that an address may be of a kind.
#[inline(always)]
fn concerns<E: Env>(env: &E, addr: Be32, kind: u64) -> bool {
    let (word, shift) = filter_cell(addr);
    env.filter(word) >> shift & kind != 0
}

/// Whether a packet may open a connection: any datagram, and a segment with SYN, whatever else but RST is set.
#[inline(always)]
const fn opens(packet: &Packet) -> bool {
    match packet.transport.proto {
        Proto::Udp => true,
        Proto::Tcp => packet.transport.tcp_flags & (tcp_flag::SYN | tcp_flag::RST) == tcp_flag::SYN,
    }
}

/// The connection table under the current settings.
#[inline(always)]
const fn table<'e, E: Env>(env: &'e E, settings: &Settings) -> Table<'e, E> {
    Table::new(env, settings.bucket_mask, settings.hash_key)
}

/// The time that connections go by.
#[inline(always)]
fn now<E: Env>(env: &E, settings: &Settings) -> Tick {
    Tick::at(env.clock().wrapping_add(settings.clock_shift))
}
