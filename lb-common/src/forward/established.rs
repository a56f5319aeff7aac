//! A packet to a VIP: which connection is it of, and does anything change in it?

use super::journey::{Journey, Next, Outcome, Packet};
use super::send::{self, To};
use super::{may_be_reply, may_be_request, now, table};
use crate::abi::{Real, Settings, Timeouts, own_macs_place, real, setting};
use crate::conn::{Meta, State, Tick};
use crate::counter::Counter;
use crate::env::Env;
use crate::net::Proto;
use crate::packet::wire::Ethernet;
use crate::packet::{Bytes, Ip, Network, parse};
use crate::table::Lookup;
use crate::tcp::{self, Event, View};

/// Forwards a packet of an established connection, or ends one of no concern; `None` where it takes more than that, and the frame
/// is as it was.
///
/// This is the way of nearly every packet, so it is a straight one. It hands nothing over to [`look`]: what it knows of the
/// packet would have to be kept at hand all along the way.
#[inline(always)]
pub fn established<E: Env, B: Bytes>(env: &E, frame: &mut B) -> Option<Outcome> {
    let network = match Network::parse(frame) {
        Ok(network) => network,
        Err(counter) => return Some(Outcome::end(counter)),
    };
    let settings = env.settings()?;
    let is_request = match sort(env, settings, frame, network) {
        Ok(is_request) => is_request,
        Err(counter) => return Some(Outcome::end(counter)),
    };
    // Where headers are is known beforehand in a plain packet, and so is much else.
    if !is_request || !parse::is_plain::<E::Addr, B>(frame) {
        return None;
    }
    let packet = match Packet::parse_plain(frame, network) {
        Ok(packet) => packet,
        Err(Counter::PassFragment) => return None,
        Err(Counter::PassProtocol) if E::Addr::is_icmp(frame) => return None,
        Err(counter) => return Some(Outcome::end(counter)),
    };
    let now = now(env, settings);
    let table = table(env, settings);
    let flow = packet.flow();
    let Lookup::Hit(hit) = table.lookup(&flow, &table.place(&flow), now) else {
        return None;
    };
    let slot = hit.meta.real();
    let real = env.real(slot)?;
    let timeouts = env.timeouts(real.profile)?;
    let goes_on = !is_over(&packet, hit.meta, real, settings)
        && table.renew(&hit, next(&packet, hit.meta, timeouts, now));
    if !goes_on {
        return None;
    }
    send::forward(env, frame, &packet, To { slot, real }).ok()
}

/// Whether a packet may be to a virtual address, and not only from a real server, or ICMP.
///
/// # Errors
///
/// The counter of one that does not concern us.
#[inline(always)]
fn sort<E: Env, B: Bytes>(
    env: &E,
    settings: &Settings,
    frame: &B,
    network: Network<E::Addr>,
) -> Result<bool, Counter> {
    let is_request = may_be_request(env, settings, network);
    if !is_request && !may_be_reply(env, settings, network) && !E::Addr::is_icmp(frame) {
        return Err(Counter::PassNoService);
    }
    if is_for_us(env, frame) {
        Ok(is_request)
    } else {
        Err(Counter::PassOtherHost)
    }
}

/// Whether a frame is for this host, by its MAC. A switch that has forgotten where a MAC is sends its frames to everybody: a backup would
/// forward what is for the master, and two directors with one segment would pass a packet of DR to and fro.
#[inline(always)]
fn is_for_us<E: Env, B: Bytes>(env: &E, frame: &B) -> bool {
    let ingress = env.ingress();
    match (
        frame.header::<Ethernet>(0),
        env.own_macs(own_macs_place(ingress)),
    ) {
        (Some(eth), Some(own)) => own.has(ingress, eth.dst()),
        _ => true,
    }
}

/// Finds out what a packet is that takes more: its connection is to be changed in a way that counts, or is over, or it has none.
#[inline(always)]
pub fn look<E: Env, B: Bytes>(env: &E, frame: &B, journey: &mut Journey<E::Addr>) {
    let network = match Network::parse(frame) {
        Ok(network) => network,
        Err(counter) => return journey.end(Outcome::end(counter)),
    };
    let Some(settings) = env.settings() else {
        return journey.end(Outcome::end(Counter::DropInternal));
    };
    let is_request = match sort(env, settings, frame, network) {
        Ok(is_request) => is_request,
        Err(counter) => return journey.end(Outcome::end(counter)),
    };
    if !is_request {
        journey.next = if E::Addr::is_icmp(frame) {
            Next::Quote
        } else {
            Next::Reply
        };
        return;
    }
    let packet = match Packet::parse(frame, network) {
        Ok(packet) => packet,
        Err(Counter::PassProtocol) if E::Addr::is_icmp(frame) => {
            journey.next = Next::Quote;
            return;
        }
        Err(counter) => return journey.end(Outcome::end(counter)),
    };
    let now = now(env, settings);
    journey.packet = packet;
    journey.now = now;
    journey.next = Next::Open;
    let table = table(env, settings);
    let flow = packet.flow();
    match table.lookup(&flow, &table.place(&flow), now) {
        Lookup::Hit(hit) => {
            let slot = hit.meta.real();
            let Some(real) = env.real(slot) else {
                return journey.end(Outcome::end(Counter::DropInternal));
            };
            if is_over(&packet, hit.meta, real, settings) {
                table.remove(&hit, env);
                return;
            }
            if let Some(timeouts) = env.timeouts(real.profile) {
                let next = |seen| next(&packet, seen, timeouts, now);
                // An entry that another CPU took out meanwhile was there when the packet came, so the packet goes its way.
                table.update(&hit, next, env);
            }
            journey.slot = slot;
            journey.next = Next::Deliver;
        }
        Lookup::Miss { turned_away } => journey.turned_away = turned_away,
    }
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
fn is_over<A: Ip>(packet: &Packet<A>, meta: Meta, real: &Real, settings: &Settings) -> bool {
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
    let has_ended = meta.is_closed()
        || settings.flags & setting::REUSE_FIN_WAIT != 0
            && meta.state() == State::FinWait
            && meta.no_output();
    has_ended && settings.flags & setting::NO_REUSE == 0 && meta.template().is_none()
}

/// The word of a connection after a packet from its client.
#[inline(always)]
fn next<A: Ip>(packet: &Packet<A>, seen: Meta, timeouts: &Timeouts, now: Tick) -> Meta {
    let state = match packet.transport.proto {
        Proto::Udp => State::UdpAssured as u32,
        Proto::Tcp => {
            let view = if seen.no_output() {
                View::InputOnly
            } else {
                View::Input
            };
            let event = Event::of(packet.transport.tcp_flags as u8);
            tcp::next_number(view, event, seen.state_number())
        }
    };
    seen.with_state_number(state, now.plus(timeouts.ticks[state as usize & 15]))
}
