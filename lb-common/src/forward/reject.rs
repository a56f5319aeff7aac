//! A packet that goes no further: what is its sender told?

use super::{Outcome, Packet, Verdict};
use crate::counter::Counter;
use crate::env::Env;
use crate::net::Be16;
use crate::packet::icmp::{self, Error, Kind};
use crate::packet::wire::Ethernet;
use crate::packet::{Bytes, Network};

/// Answers a packet with an ICMP error, from the address it was sent to.
///
/// Kept out of the caller: it is rare, and large.
#[inline(never)]
pub(super) fn packet<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    packet: &Packet,
    error: Error,
) -> Outcome {
    if is_martian(packet.network) || is_to_many(frame) {
        return Outcome::end(Counter::DropMartian);
    }
    if !is_due(env) {
        return Outcome::end(Counter::DropIcmpRate);
    }
    let counter = match error.kind {
        Kind::TimeExceeded => Counter::RejectTtl,
        Kind::PortUnreachable => Counter::RejectNoReal,
        Kind::FragmentationNeeded => Counter::RejectTooBig,
    };
    match icmp::reply(frame, packet.transport.len, error, ident(env)) {
        Some(()) => Outcome::new(Verdict::Tx, counter),
        None => Outcome::end(Counter::DropResize),
    }
}

/// Whether a source is no host's: nothing, loopback, multicast and above (RFC 1812 5.3.7), or the VIP itself.
#[inline(always)]
pub(super) fn is_martian(network: Network) -> bool {
    let [first, ..] = network.src.to_bytes();
    first == 0 || first == 127 || first >= 224 || network.src == network.dst
}

/// Whether a frame was sent to more than one host, who would all answer (RFC 1812 4.3.2.7).
#[inline(always)]
fn is_to_many<B: Bytes>(frame: &B) -> bool {
    frame
        .header::<Ethernet>(0)
        .is_none_or(|eth| eth.macs().dst & 1 != 0)
}

/// Whether the limit of ICMP errors a second leaves room for one more.
#[inline(always)]
fn is_due<E: Env>(env: &E) -> bool {
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
    settings.icmp_per_second == 0 || due.is_some_and(|due| due <= settings.icmp_per_second)
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
