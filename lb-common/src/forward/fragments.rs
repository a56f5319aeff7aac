//! A datagram in fragments: where do those go that do not name its ports?
//!
//! Where the first one went. That one is forwarded as any packet, and [`note`] keeps where, for as long as Linux waits for the rest;
//! each [`later`] one is looked up by what it has in common with the first. Nothing is ever read as ports that are none.
//!
//! A later one that comes before the first, or long after, is the stack's, and so are those of a datagram whose first one was.
//! When two are first, the last one that came counts. Fragments that overlap go where the others went: whoever puts them together
//! judges them (Linux drops the datagram). One that parts the transport header is dropped (RFC 1858).

use super::journey::{Journey, Next, Outcome, Packet};
use super::now;
use super::reply::{self, Back};
use super::send::{self, To};
use crate::abi::{DATAGRAM_SECONDS, Datagram, DatagramKey, datagram, real, seconds_to_ticks};
use crate::conn::Tick;
use crate::counter::Counter;
use crate::env::Env;
use crate::net::Be16;
use crate::packet::piece::Piece;
use crate::packet::rewrite::{Endpoint, Translate};
use crate::packet::{Bytes, Ip, Network};

/// Keeps where the first fragment of a datagram goes, before it is changed on its way.
#[inline(always)]
pub fn note<E: Env, B: Bytes>(env: &E, frame: &B, journey: &mut Journey<E::Addr>) {
    let Some(piece) = E::Addr::piece(frame) else {
        return journey.end(Outcome::end(Counter::DropInternal));
    };
    let flags = if journey.next == Next::Return {
        datagram::REPLY
    } else {
        0
    };
    let stateless = if journey.has_no_place {
        datagram::STATELESS
    } else {
        0
    };
    let datagram = Datagram {
        vip: journey.vip,
        slot: journey.slot,
        until: journey.now.plus(seconds_to_ticks(DATAGRAM_SECONDS)).0,
        flags: flags | stateless,
    };
    env.keep_datagram(&key(journey.packet.network, piece), &datagram);
}

/// What the fragments of a datagram have in common.
#[inline(always)]
const fn key<A: Ip>(network: Network<A>, piece: Piece) -> DatagramKey<A> {
    DatagramKey {
        src: network.src,
        dst: network.dst,
        id: piece.id,
    }
}

/// Forwards a fragment that is not the first of its datagram.
#[inline(always)]
pub fn later<E: Env, B: Bytes>(env: &E, frame: &mut B) -> Outcome {
    match pass_on(env, frame) {
        Ok(outcome) if outcome.counter.is_answer() => Outcome::end(Counter::DropLaterFragment),
        Ok(outcome) => outcome,
        Err(counter) => Outcome::end(counter),
    }
}

/// How a fragment that is not the first ends.
///
/// # Errors
///
/// The counter of one that is not forwarded.
#[inline(always)]
fn pass_on<E: Env, B: Bytes>(env: &E, frame: &mut B) -> Result<Outcome, Counter> {
    let settings = env.settings().ok_or(Counter::DropInternal)?;
    let network = Network::parse(frame)?;
    let piece = E::Addr::piece(frame).ok_or(Counter::PassFragment)?;
    let datagram = env
        .datagram(&key(network, piece))
        .ok_or(Counter::PassFragment)?;
    if Tick(datagram.until).since(now(env, settings)) <= 0 {
        return Err(Counter::PassFragment);
    }
    if piece.is_in_header() {
        return Err(Counter::DropTinyFragment);
    }
    if datagram.flags & datagram::REPLY != 0 {
        return reply_to(env, frame, network.dst, &piece, &datagram);
    }
    let slot = datagram.slot;
    let real = env.real(slot).ok_or(Counter::DropInternal)?;
    // The slot may have become another real server's meanwhile: that one then waits for the rest in vain, as for any stray fragment.
    if real.flags & real::USED == 0 {
        return Err(Counter::PassFragment);
    }
    let mut packet = Packet::of_len(piece.len.into());
    packet.network = network;
    // Of a later fragment nobody is told that it goes no further (RFC 1122 3.2.2).
    send::forward_as(env, frame, &packet, To { slot, real }, &piece)
        .map_err(|_| Counter::DropLaterFragment)
}

/// Sends a fragment of a NAT real server's reply on to the client.
#[inline(always)]
fn reply_to<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    client: E::Addr,
    piece: &Piece,
    datagram: &Datagram<E::Addr>,
) -> Result<Outcome, Counter> {
    let is_recorded = datagram.flags & datagram::STATELESS == 0;
    let back = Back {
        vip: datagram.vip,
        client,
        len: piece.len,
        is_recorded,
    };
    let (onward, outcome) = match reply::way_back(env, frame, back) {
        Ok(way) => way,
        Err(outcome) => return Ok(outcome),
    };
    let from = Endpoint {
        addr: datagram.vip,
        port: Be16(0),
    };
    piece
        .nat_source(frame, from, onward)
        .ok_or(Counter::DropResize)?;
    if is_recorded {
        env.traffic(datagram.slot, |t| t.count_out(piece.len.into()));
    }
    Ok(outcome)
}
