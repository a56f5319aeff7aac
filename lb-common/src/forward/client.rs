//! A packet to a VIP: which connection is it of?

use super::send::{self, To};
use super::{Arrival, Next, Outcome, Packet, concerns, may_be_reply, now, opens, table};
use crate::abi::{FILTER_VIP, Real, Settings, real};
use crate::conn::{Meta, State, Tick};
use crate::counter::Counter;
use crate::env::Env;
use crate::net::Proto;
use crate::packet::{Bytes, Network};
use crate::table::{Hit, Lookup};
use crate::tcp::{self, Event, View};

/// Forwards a packet of an established connection. Of any other it finds out what it may be, and says so in
/// [`Arrival::next`]; what is returned then counts for nothing.
#[inline(never)]
pub(super) fn forward<E: Env, B: Bytes>(env: &E, frame: &mut B, arrival: &mut Arrival) -> Outcome {
    let network = match Network::parse(frame) {
        Ok(network) => network,
        Err(counter) => return Outcome::end(counter),
    };
    let Some(settings) = env.settings() else {
        return Outcome::end(Counter::DropInternal);
    };
    if !concerns(env, network.dst, FILTER_VIP) {
        if may_be_reply(env, settings, network) {
            arrival.next = Next::Reply;
        }
        return Outcome::end(Counter::PassNoService);
    }
    let packet = match Packet::parse(frame, network) {
        Ok(packet) => packet,
        Err(counter) => return Outcome::end(counter),
    };
    let table = table(env, settings);
    let flow = packet.flow();
    let now = now(env, settings);
    let turned_away = match table.lookup(&flow, &table.place(&flow), now) {
        Lookup::Hit(hit) => {
            let slot = hit.meta.real();
            let Some(real) = env.real(slot) else {
                return Outcome::end(Counter::DropInternal);
            };
            if !is_void(&packet, hit.meta, real) {
                keep(env, settings, &packet, &hit, real, now);
                return send::forward(env, frame, &packet, To { slot, real });
            }
            table.remove(&hit, env);
            false
        }
        Lookup::Miss { turned_away } => turned_away,
    };
    *arrival = Arrival {
        packet,
        now,
        turned_away,
        next: Next::Open,
    };
    Outcome::end(Counter::PassNoService)
}

/// Whether a packet of a recorded connection is to be scheduled as if there were no record.
///
/// - A SYN on a connection that is over (TIME_WAIT, CLOSE) opens another one at once; in FIN_WAIT it stays, as with
///   IPVS's `conn_reuse_mode=1`.
/// - A real server found dead is left by UDP flows and by SYNs; established TCP is not cut, for only the server can tell.
/// - A slot no longer in use means that the real server was removed by force.
#[inline(always)]
fn is_void(packet: &Packet, meta: Meta, real: &Real) -> bool {
    if !opens(packet) {
        return real.flags & real::USED == 0;
    }
    real.flags & (real::USED | real::DOWN) != real::USED
        || packet.transport.proto == Proto::Tcp && meta.state().is_closed()
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
