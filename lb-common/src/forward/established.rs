//! A packet to a VIP: which connection is it of?

use super::journey::{Journey, Next, Outcome, Packet};
use super::send::{self, To};
use super::{may_be_reply, may_be_request, now, table};
use crate::abi::{Real, Settings, real, setting};
use crate::conn::{Meta, State, Tick};
use crate::counter::Counter;
use crate::env::Env;
use crate::net::Proto;
use crate::packet::{Bytes, Network};
use crate::table::{Hit, Lookup};
use crate::tcp::{self, Event, View};

/// Forwards a packet of an established connection, and finds out what any other is.
#[inline(always)]
pub fn established<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &mut Journey) {
    let network = match Network::parse(frame) {
        Ok(network) => network,
        Err(counter) => return journey.end(Outcome::end(counter)),
    };
    let Some(settings) = env.settings() else {
        return journey.end(Outcome::end(Counter::DropInternal));
    };
    if !may_be_request(env, settings, network) {
        if may_be_reply(env, settings, network) {
            journey.next = Next::Reply;
        } else {
            journey.end(Outcome::end(Counter::PassNoService));
        }
        return;
    }
    let packet = match Packet::parse(frame, network) {
        Ok(packet) => packet,
        Err(counter) => return journey.end(Outcome::end(counter)),
    };
    let table = table(env, settings);
    let flow = packet.flow();
    let now = now(env, settings);
    let turned_away = match table.lookup(&flow, &table.place(&flow), now) {
        Lookup::Hit(hit) => {
            let slot = hit.meta.real();
            let Some(real) = env.real(slot) else {
                return journey.end(Outcome::end(Counter::DropInternal));
            };
            if !is_over(&packet, hit.meta, real, settings) {
                keep(env, settings, &packet, &hit, real, now);
                return send::forward(env, frame, packet, To { slot, real }, journey);
            }
            table.remove(&hit, env);
            false
        }
        Lookup::Miss { turned_away } => turned_away,
    };
    journey.packet = packet;
    journey.now = now;
    journey.turned_away = turned_away;
    journey.next = Next::Open;
}

/// Whether a recorded connection is over for a packet, which then may open another.
///
/// - A SYN on a connection that has ended opens another one at once: see [`reopens`].
/// - A real server found dead is left by UDP flows and by SYNs. Established TCP is not cut: only its server can tell.
///   One of weight 0 is left by them where the settings say so.
/// - Where connections of dead real servers are given up, every packet leaves it. A segment that opens nothing then goes
///   to the stack, which resets the connection for the VIP.
/// - A slot no longer in use means that the real server was removed by force.
#[inline(always)]
fn is_over(packet: &Packet, meta: Meta, real: &Real, settings: &Settings) -> bool {
    if !packet.opens() {
        return real.flags & (real::USED | real::RESET) != real::USED;
    }
    is_left(packet.transport.proto, meta, real, settings)
}

/// Whether a packet that may open a connection, a datagram or a SYN, opens another one in place of the recorded one.
#[inline(always)]
pub fn is_left(proto: Proto, meta: Meta, real: &Real, settings: &Settings) -> bool {
    let against = real::DOWN | real::RESET;
    match proto {
        Proto::Udp => real.flags & (real::USED | against | real::UDP_LEAVES) != real::USED,
        Proto::Tcp => {
            real.flags & (real::USED | against | real::SYN_LEAVES) != real::USED
                || reopens(meta, settings)
        }
    }
}

/// Whether a SYN ends the connection that its ports are of, by IPVS's `conn_reuse_mode`: usually in TIME_WAIT and CLOSE. One of
/// a persistent client goes on, for the client would come to the same real server.
#[inline(always)]
fn reopens(meta: Meta, settings: &Settings) -> bool {
    let has_ended = meta.state().is_closed()
        || settings.flags & setting::REUSE_FIN_WAIT != 0
            && meta.state() == State::FinWait
            && meta.no_output();
    has_ended && settings.flags & setting::NO_REUSE == 0 && meta.template().is_none()
}

/// Lets a connection go on by a packet from its client.
#[inline(always)]
fn keep<E: Env>(
    env: &E,
    settings: &Settings,
    packet: &Packet,
    hit: &Hit<'_, E::Atoms>,
    real: &Real,
    now: Tick,
) {
    let Some(timeouts) = env.timeouts(real.profile) else {
        return;
    };
    let next = |seen: Meta| {
        let state = match packet.transport.proto {
            Proto::Udp => State::UdpAssured,
            Proto::Tcp => {
                let view = if seen.no_output() {
                    View::InputOnly
                } else {
                    View::Input
                };
                tcp::next(view, Event::of(packet.transport.tcp_flags), seen.state())
            }
        };
        seen.with_state(state, now.plus(timeouts.ticks[state as usize & 15]))
    };
    // An entry that another CPU took out meanwhile was there when the packet came, so the packet goes its way.
    table(env, settings).update(hit, next, env);
}
