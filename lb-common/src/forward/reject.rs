//! A packet that goes no further: what is its sender told?

use super::journey::{Journey, Outcome, Verdict};
use crate::counter::Counter;
use crate::env::Env;
use crate::net::{Be16, Proto};
use crate::packet::icmp::{self, Error, Kind};
use crate::packet::wire::Ethernet;
use crate::packet::{Bytes, reset};

/// Answers a packet with an ICMP error or a reset, from the address it was sent to.
#[inline(always)]
pub fn refuse<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &mut Journey<E::Addr>) {
    let outcome = answer(env, frame, journey);
    journey.end(outcome);
}

#[inline(always)]
fn answer<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &Journey<E::Addr>) -> Outcome {
    let packet = &journey.packet;
    if packet.is_martian() || is_to_many(frame) {
        return Outcome::end(Counter::DropMartian);
    }
    if !is_due(env) {
        return Outcome::end(Counter::DropIcmpRate);
    }
    let counter = match journey.refusal {
        Kind::TimeExceeded => Counter::RejectTtl,
        Kind::PortUnreachable => Counter::RejectNoReal,
        Kind::PortClosed => Counter::RejectNoPort,
        Kind::FragmentationNeeded => Counter::RejectTooBig,
    };
    let error = Error {
        kind: journey.refusal,
        mtu: journey.mtu,
    };
    let transport = &packet.transport;
    let answered = if journey.refusal == Kind::PortClosed && transport.proto == Proto::Tcp {
        reset::reply::<E::Addr, B>(frame, transport)
    } else {
        icmp::reply::<E::Addr, B>(frame, transport.len as u16, error, ident(env))
    };
    match answered {
        Some(()) => Outcome::new(Verdict::Tx, counter, 0),
        None => Outcome::end(Counter::DropResize),
    }
}

/// Whether a frame was sent to more than one host, who would all answer (RFC 1812 4.3.2.7).
#[inline(always)]
fn is_to_many<B: Bytes>(frame: &B) -> bool {
    frame
        .header::<Ethernet>(0)
        .is_none_or(|eth| eth.dst() & 1 != 0)
}

/// Whether the limit of ICMP errors a second leaves room for one more.
#[inline(always)]
pub(super) fn is_due<E: Env>(env: &E) -> bool {
    let Some(settings) = env.settings() else {
        return false;
    };
    let second = env.clock().wrapping_add(settings.clock_shift) / 1_000_000_000;
    let due = env.cpu(|cpu| {
        if cpu.icmp_second != second {
            cpu.icmp_second = second;
            cpu.icmp_due = 0;
        }
        cpu.icmp_due = cpu.icmp_due.saturating_add(1);
        cpu.icmp_due
    });
    // A number in any case: the compiler compares it even when there is none, and the verifier refuses that.
    let due = due.unwrap_or(u32::MAX);
    settings.icmp_per_second == 0 || due <= settings.icmp_per_second
}

/// The identification of the next packet that is made here: a counter of each CPU, far from those of the others.
#[inline(always)]
pub(super) fn ident<E: Env>(env: &E) -> Be16 {
    let ident = env.cpu(|cpu| {
        cpu.ident = cpu.ident.wrapping_add(1);
        cpu.ident
    });
    Be16(ident.unwrap_or_default() as u16)
}
