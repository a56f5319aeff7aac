//! A packet and its real server: how does it get there?

use super::journey::{Outcome, Packet, Verdict};
use super::reject;
use crate::abi::{Configured, Method, Real};
use crate::counter::Counter;
use crate::env::Env;
use crate::net::Be16;
use crate::packet::icmp::Error;
use crate::packet::parse::L3;
use crate::packet::rewrite::{self, Endpoint, Onward, Translate};
use crate::packet::wire::{MAC_MASK, MacPair};
use crate::packet::{Bytes, Ip, Network};

/// A real server.
#[derive(Clone, Copy, Debug)]
pub(super) struct To<'e> {
    /// Its slot.
    pub(super) slot: u32,
    /// What is known of it.
    pub(super) real: &'e Real,
}

/// Sends a packet on to a real server by its method.
///
/// # Errors
///
/// What the sender is to be told of a packet that does not get there.
#[inline(always)]
pub(super) fn forward<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    packet: &Packet<E::Addr>,
    to: To<'_>,
) -> Result<Outcome, Error> {
    forward_as(env, frame, packet, to, &packet.transport)
}

/// The same of a packet in which `translate` is what NAT changes.
///
/// # Errors
///
/// As of [`forward`].
#[inline(always)]
pub(super) fn forward_as<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    packet: &Packet<E::Addr>,
    to: To<'_>,
    translate: &impl Translate<E::Addr>,
) -> Result<Outcome, Error> {
    let sent = match Method::from_number(to.real.method) {
        Some(Method::Dr) => dr(env, frame, packet, to.real),
        Some(Method::Tun) => tun(env, frame, packet, to.real),
        Some(Method::Nat) => {
            let port = packet.destination_port();
            nat(env, frame, packet, to.real, port, translate)
        }
        Some(Method::Local) => Ok(Outcome::end(Counter::DeliveredLocal)),
        None => Err(Obstacle::Lost(Counter::DropInternal)),
    };
    match sent {
        Ok(outcome) => {
            env.traffic(to.slot, |t| t.count_in(packet.transport.len));
            Ok(outcome)
        }
        Err(Obstacle::Lost(counter)) => Ok(Outcome::end(counter)),
        Err(Obstacle::Refused(error)) => Err(error),
    }
}

/// Why a packet does not get there.
pub(super) enum Obstacle {
    /// It is dropped.
    Lost(Counter),
    /// Its sender is told.
    Refused(Error),
}

/// What the words of a real server's next hop say.
struct Hop {
    macs: MacPair,
    verdict: Verdict,
    to: u32,
}

impl Hop {
    /// The next hop; `None` while it is not resolved.
    #[inline(always)]
    fn of<E: Env>(env: &E, real: &Real) -> Option<Self> {
        let dst = real.dst;
        if dst & MAC_MASK == 0 {
            return None;
        }
        let verdict = if real.ifindex == env.ingress() {
            Verdict::Tx
        } else {
            Verdict::Slot
        };
        let macs = MacPair { dst, src: real.src };
        Some(Self {
            macs,
            verdict,
            to: (dst >> 48) as u32,
        })
    }

    #[inline(always)]
    const fn outcome(&self, counter: Counter) -> Outcome {
        Outcome::new(self.verdict, counter, self.to)
    }
}

/// Whether a packet may go on, `more` bytes longer than it came.
///
/// A packet that is too big is refused even where its sender allows fragments, which IPVS would make: a program that is given
/// one frame has one frame to send.
#[inline(always)]
pub(super) fn admit<A: Ip, B: Bytes>(
    frame: &B,
    packet: &Packet<A>,
    real: &Real,
    more: u16,
) -> Result<(), Obstacle> {
    let ip = frame.header::<A::Header>(L3).ok_or(LOST)?;
    if A::hop_limit(ip) <= 1 {
        return Err(Obstacle::Refused(Error::TIME_EXCEEDED));
    }
    let mtu = (real.src >> 48) as u16;
    if packet.transport.len + u32::from(more) > u32::from(mtu) && mtu != 0 {
        let fits = mtu.saturating_sub(more);
        return Err(Obstacle::Refused(Error::fragmentation_needed(fits)));
    }
    Ok(())
}

const LOST: Obstacle = Obstacle::Lost(Counter::DropResize);

#[inline(always)]
fn dr<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    packet: &Packet<E::Addr>,
    real: &Real,
) -> Result<Outcome, Obstacle> {
    admit(frame, packet, real, 0)?;
    let hop = Hop::of(env, real).ok_or(Obstacle::Lost(Counter::DropUnresolved))?;
    rewrite::dr::<E::Addr, B>(frame, hop.macs).ok_or(LOST)?;
    Ok(hop.outcome(Counter::ForwardedDr))
}

#[inline(always)]
fn tun<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    packet: &Packet<E::Addr>,
    real: &Real,
) -> Result<Outcome, Obstacle> {
    admit(frame, packet, real, E::Addr::LEN as u16)?;
    let hop = Hop::of(env, real).ok_or(Obstacle::Lost(Counter::DropUnresolved))?;
    let tunnel = Network {
        src: E::Addr::tunnel_source(real),
        dst: E::Addr::of_real(real),
    };
    let id = || reject::ident(env);
    rewrite::tun(frame, &packet.transport, tunnel, id, hop.macs).ok_or(LOST)?;
    Ok(hop.outcome(Counter::ForwardedTun))
}

/// By NAT, as `translate` does it; `port` is the one of the service that it is for.
///
/// Without a next hop the packet is rewritten all the same: the stack routes it by its new destination, and asks for the neighbour.
#[inline(always)]
pub(super) fn nat<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    packet: &Packet<E::Addr>,
    real: &Real,
    port: Be16,
    translate: &impl Translate<E::Addr>,
) -> Result<Outcome, Obstacle> {
    admit(frame, packet, real, 0)?;
    let to = Endpoint {
        addr: E::Addr::of_real(real),
        // A real server without a port of its own keeps the one that the client chose.
        port: if real.port.0 == 0 { port } else { real.port },
    };
    if let Some(hop) = Hop::of(env, real) {
        translate
            .nat_destination(frame, to, Onward::Send(hop.macs))
            .ok_or(LOST)?;
        Ok(hop.outcome(Counter::ForwardedNat))
    } else {
        translate
            .nat_destination(frame, to, Onward::Stack)
            .ok_or(LOST)?;
        Ok(Outcome::end(Counter::PassUnresolved))
    }
}
