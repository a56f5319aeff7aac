//! A packet of no recorded connection: does it open one, and with whom?
//!
//! It happens once a connection, so each step is a function of its own, kept out of the path of established ones. The
//! steps are called one after the other rather than one from the other, because the kernel limits the stack of nested calls.

use super::pool::Service;
use super::send::{self, To};
use super::{Arrival, Outcome, Packet, opens, reject, table};
use crate::abi::{Method, Real, ServiceKey4, setting};
use crate::conn::{Meta, Spare, State};
use crate::counter::Counter;
use crate::env::Env;
use crate::net::{Flow4, Proto};
use crate::packet::Bytes;
use crate::packet::icmp::Error;
use crate::packet::wire::tcp_flag;
use crate::sched::{self, Request};
use crate::table::Insert;
use crate::tcp::{self, Event, View};

/// Forwards a packet whose flow has no connection; `None` when it is of no service.
#[inline(always)]
pub(super) fn forward<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    arrival: &Arrival,
) -> Option<Outcome> {
    let packet = &arrival.packet;
    let settings = env.settings()?;
    let service = env.service(&key(packet))?;
    let opens = opens(packet) || settings.flags & setting::SLOPPY_TCP != 0 && !is_reset(packet);
    if !opens && !arrival.turned_away {
        return Some(Outcome::end(Counter::PassNoConnection));
    }
    if reject::is_martian(packet.network) {
        return Some(Outcome::end(Counter::DropMartian));
    }
    // A datagram of a flow that may be under way without a record keeps to its hash, as segments do.
    let by_hash = arrival.turned_away && (!opens || packet.transport.proto == Proto::Udp);
    let Some(chosen) = choose(env, arrival, service, by_hash).get() else {
        return Some(reject::packet(env, frame, packet, Error::PORT_UNREACHABLE));
    };
    if let Some(slot) = record(env, arrival, chosen).get() {
        return Some(deliver(env, frame, packet, slot));
    }
    Some(match choose(env, arrival, service, true).get() {
        Some(slot) => without_record(deliver(env, frame, packet, slot)),
        None => reject::packet(env, frame, packet, Error::PORT_UNREACHABLE),
    })
}

/// The slot of a real server or none, in one register.
#[derive(Clone, Copy)]
struct Slot(u32);

impl Slot {
    const NONE: Self = Self(u32::MAX);

    #[inline(always)]
    fn get(self) -> Option<u32> {
        (self.0 != Self::NONE.0).then_some(self.0)
    }
}

impl From<Option<u32>> for Slot {
    #[inline(always)]
    fn from(slot: Option<u32>) -> Self {
        slot.map_or(Self::NONE, Self)
    }
}

/// Chooses the real server for a packet.
#[inline(never)]
fn choose<E: Env>(env: &E, arrival: &Arrival, service: u32, by_hash: bool) -> Slot {
    let flow = arrival.packet.flow();
    let Some(pool) = Service::of(env, service, flow.vip, arrival.now) else {
        return Slot::NONE;
    };
    let choice = if by_hash {
        sched::fallback(&pool, hash(&flow))
    } else {
        sched::choose(&pool, &Request::from(&flow))
    };
    choice.map(|choice| choice.real).into()
}

/// Records a connection with a real server: the slot of the one that it is with then, or none when there is no place.
#[inline(never)]
fn record<E: Env>(env: &E, arrival: &Arrival, slot: u32) -> Slot {
    recorded(env, arrival, slot).into()
}

#[inline(always)]
fn recorded<E: Env>(env: &E, arrival: &Arrival, slot: u32) -> Option<u32> {
    let real = env.real(slot)?;
    let timeouts = env.timeouts(real.profile)?;
    let table = table(env, env.settings()?);
    let ticks = |state: State| timeouts.ticks[state as usize & 15];
    let now = arrival.now;
    let flow = arrival.packet.flow();
    let state = first_state(&arrival.packet, real);
    let new =
        Meta::new(flow.proto, state, slot, now.plus(ticks(state))).with_no_output(no_output(real));
    let spare = Spare::new(now, ticks(State::SynRecv), ticks(State::UdpOnce));
    match table.insert(&flow, &table.place(&flow), new, now, spare, env) {
        Insert::Done(_) => {
            count(env, slot);
            Some(slot)
        }
        Insert::Lost(hit) => Some(hit.meta.real()),
        Insert::TurnedAway => None,
    }
}

/// Sends a packet of a connection that was looked up just now.
#[inline(never)]
fn deliver<E: Env, B: Bytes>(env: &E, frame: &mut B, packet: &Packet, slot: u32) -> Outcome {
    match env.real(slot) {
        Some(real) => send::forward(env, frame, packet, To { slot, real }),
        None => Outcome::end(Counter::DropInternal),
    }
}

/// The outcome of a packet of which no record is kept.
#[inline(always)]
const fn without_record(outcome: Outcome) -> Outcome {
    match outcome.counter {
        Counter::ForwardedDr | Counter::ForwardedTun | Counter::ForwardedNat => {
            outcome.counted_as(Counter::ForwardedStateless)
        }
        _ => outcome,
    }
}

/// Counts a connection.
#[inline(always)]
fn count<E: Env>(env: &E, slot: u32) {
    env.traffic(slot, |t| t.conns = t.conns.wrapping_add(1));
}

/// The service that a packet is for.
#[inline(always)]
fn key(packet: &Packet) -> ServiceKey4 {
    ServiceKey4 {
        vip: packet.network.dst,
        port: packet.destination_port(),
        proto: packet.transport.proto as u8,
        pad: 0,
    }
}

/// The state of a connection after its first packet.
#[inline(always)]
fn first_state(packet: &Packet, real: &Real) -> State {
    match packet.transport.proto {
        Proto::Udp => State::UdpOnce,
        Proto::Tcp => {
            let view = if no_output(real) {
                View::InputOnly
            } else {
                View::Input
            };
            tcp::next(view, Event::of(packet.transport.tcp_flags), State::None)
        }
    }
}

/// Whether a real server's replies do not pass the director.
#[inline(always)]
const fn no_output(real: &Real) -> bool {
    real.method != Method::Nat as u8
}

#[inline(always)]
const fn is_reset(packet: &Packet) -> bool {
    packet.transport.tcp_flags & tcp_flag::RST != 0
}

/// The hash by which a flow without a record goes: the same on every CPU and every director.
#[inline(always)]
fn hash(flow: &Flow4) -> u32 {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let ports =
        u64::from(flow.client_port.to_host()) << 32 | u64::from(flow.vip_port.to_host()) << 48;
    let client = u64::from(flow.client.to_host()) | ports;
    let mut x = client.wrapping_mul(MIX);
    x ^= x >> 32;
    x = (x ^ u64::from(flow.vip.to_host()) ^ (flow.proto as u64) << 32).wrapping_mul(MIX);
    (x >> 32) as u32
}
