//! An ICMP error: whose connection does it tell of, and who has to know?
//!
//! ```text
//! about what a real server sent to a client      to the VIP           -> to that real server, by its method
//! about what a NAT real server was sent          to the client        -> to the client, from the VIP
//! about a tunnel to a real server                to the tunnel's end  -> to the client, about the packet that was inside
//! ```
//!
//! An error changes no connection and opens none, so a forged one does no more than one that reaches its addressee directly. It
//! is trusted as far as the flow that it quotes is known; any other is the stack's.

use super::journey::{Journey, Next, Outcome, Packet, Verdict};
use super::reject;
use super::reply;
use super::send::{self, To};
use super::{may_be_reply, may_be_request, now, table};
use crate::abi::{Method, Real, Settings, real};
use crate::counter::Counter;
use crate::env::{Env, Query, Route};
use crate::net::{Be16, Flow4};
use crate::packet::parse::L3;
use crate::packet::quote::Quote;
use crate::packet::wire::{IPV4_LEN, Ipv4, PROTO_ICMP};
use crate::packet::{Bytes, Network};
use crate::table::Lookup;

/// Whether a frame that holds an IPv4 header carries ICMP.
#[inline(always)]
pub(super) fn is_icmp<B: Bytes>(frame: &B) -> bool {
    frame
        .header::<Ipv4>(L3)
        .is_some_and(|ip| ip.proto() == PROTO_ICMP)
}

/// Sends an ICMP error on to whom it concerns. Any other ICMP is the stack's, echo requests for a VIP among it.
#[inline(always)]
pub fn related<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &mut Journey) {
    if pass_on(env, frame, journey).is_none() {
        journey.end(Outcome::end(left_to_stack(env, frame)));
    }
}

/// Why an ICMP message is left to the stack.
#[inline(always)]
fn left_to_stack<E: Env, B: Bytes>(env: &E, frame: &B) -> Counter {
    match (env.settings(), Network::parse(frame)) {
        (Some(settings), Ok(network)) if may_be_request(env, settings, network) => {
            Counter::PassProtocol
        }
        _ => Counter::PassNoService,
    }
}

#[inline(always)]
fn pass_on<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &mut Journey) -> Option<()> {
    let settings = env.settings()?;
    let quote = Quote::parse(frame)?;
    if quote.tunnel.is_none() && !may_be_request(env, settings, answer_to(&quote)) {
        return to_client(env, frame, settings, &quote, journey);
    }
    let flow = client_flow(&quote);
    let to = real_of(env, settings, &flow)?;
    match quote.tunnel {
        Some(tunnel) if is_tunnel_of(to.real, tunnel) => {
            journey.end(tell_client(env, frame, &quote, &flow)?);
            Some(())
        }
        Some(_) => None,
        None => to_real(env, frame, &quote, flow.vip_port, to, journey),
    }
}

/// The flow of what is quoted, as its client names it: in a tunnel is what the client sent, else what the real server did.
#[inline(always)]
const fn client_flow(quote: &Quote) -> Flow4 {
    let (src, dst) = (quote.network.src, quote.network.dst);
    let (from, to) = (quote.source_port(), quote.destination_port());
    let (client, client_port, vip, vip_port) = if quote.tunnel.is_some() {
        (src, from, dst, to)
    } else {
        (dst, to, src, from)
    };
    Flow4 {
        client,
        vip,
        client_port,
        vip_port,
        proto: quote.proto,
    }
}

/// The real server of a flow, and its slot.
#[inline(always)]
fn real_of<'e, E: Env>(env: &'e E, settings: &Settings, flow: &Flow4) -> Option<To<'e>> {
    let table = table(env, settings);
    match table.lookup(flow, &table.place(flow), now(env, settings)) {
        Lookup::Hit(hit) => {
            let slot = hit.meta.real();
            let real = env.real(slot)?;
            (real.flags & real::USED != 0).then_some(To { slot, real })
        }
        Lookup::Miss { .. } => None,
    }
}

/// Sends an error about a packet of a real server on to it.
#[inline(always)]
fn to_real<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    quote: &Quote,
    vip_port: Be16,
    to: To<'_>,
    journey: &mut Journey,
) -> Option<()> {
    let packet = Packet::of_len(quote.len.into());
    let method = Method::from_number(to.real.method)?;
    let header = if method == Method::Tun { IPV4_LEN } else { 0 };
    // Nobody is told of an error that does not arrive (RFC 1122 3.2.2).
    send::admit(frame, &packet, to.real, header as u16).ok()?;
    if method != Method::Nat {
        journey.packet = packet;
        journey.slot = to.slot;
        journey.next = Next::Deliver;
        return Some(());
    }
    let sent = send::nat(env, frame, &packet, to.real, vip_port, quote).ok()?;
    env.traffic(to.slot, |t| t.count_in(quote.len.into()));
    journey.end(sent);
    Some(())
}

/// Sends an error about a packet to a NAT real server on to the client who sent it.
#[inline(always)]
fn to_client<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    settings: &Settings,
    quote: &Quote,
    journey: &mut Journey,
) -> Option<()> {
    // The connection is found as by an answer to what is quoted.
    journey.packet = Packet::of_len(quote.len.into());
    journey.packet.network = answer_to(quote);
    journey.packet.transport.proto = quote.proto;
    journey.packet.transport.ports = quote.ports.rotate_left(16);
    if !may_be_reply(env, settings, journey.packet.network) {
        return None;
    }
    let found = reply::find(env, settings, &journey.packet, now(env, settings))?;
    journey.slot = found.hit.meta.real();
    journey.vip = found.vip;
    journey.vip_port = found.vip_port;
    let sent = reply::send(env, frame, journey, quote);
    journey.end(sent);
    Some(())
}

/// The addresses of an answer to what is quoted.
#[inline(always)]
const fn answer_to(quote: &Quote) -> Network {
    Network {
        src: quote.network.dst,
        dst: quote.network.src,
    }
}

/// Tells a client what a router says of the tunnel that its packet was in.
///
/// The message comes from the VIP then, and is about the packet as the client sent it; an MTU in it has room for the tunnel's header.
#[inline(always)]
fn tell_client<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    quote: &Quote,
    flow: &Flow4,
) -> Option<Outcome> {
    if !reject::is_due(env) {
        return Some(Outcome::end(Counter::DropIcmpRate));
    }
    let query = Query {
        src: flow.vip,
        dst: flow.client,
        tos: 0,
        len: quote.len,
    };
    let Route::Via { ifindex, macs } = env.route(&query) else {
        return None;
    };
    Some(
        match quote.without_tunnel(frame, macs, reject::ident(env)) {
            Some(()) if ifindex == env.ingress() => {
                Outcome::new(Verdict::Tx, Counter::RejectTunnel, 0)
            }
            Some(()) => Outcome::new(Verdict::Interface, Counter::RejectTunnel, ifindex),
            None => Outcome::end(Counter::DropResize),
        },
    )
}

/// Whether a real server is behind a tunnel with these ends.
#[inline(always)]
fn is_tunnel_of(real: &Real, tunnel: Network) -> bool {
    real.method == Method::Tun as u8
        && real.addr.0 == tunnel.dst.0
        && real.tun_src.0 == tunnel.src.0
}
