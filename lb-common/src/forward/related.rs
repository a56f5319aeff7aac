//! An ICMP error: whose connection does it tell of, and who has to know?
//!
//! ```text
//! about what a real server sent to a client      to the VIP           -> to that real server, by its method
//! about what a NAT real server was sent          to the client        -> to the client, from the VIP
//! about a tunnel to a real server                to the tunnel's end  -> to the client, about the packet that was inside
//! ```
//!
//! An error changes no connection and opens none, so a forged one does no more than one that reaches its addressee directly. It
//! is trusted as far as the flow that it quotes is known, or is one that NAT answers without a record; any other is the stack's.

use super::journey::{Journey, Next, Outcome, Packet, Verdict};
use super::reject;
use super::send::{self, To};
use super::{may_be_reply, may_be_request, now, table};
use crate::abi::{Method, Real, Settings, real};
use crate::counter::Counter;
use crate::env::{Env, Query, Route};
use crate::net::{Be16, Flow};
use crate::packet::quote::{Quote, TunnelError};
use crate::packet::{Bytes, Ip, Network};
use crate::table::Lookup;

/// Finds out which packet an ICMP error quotes. Any other ICMP is the stack's, echo requests for a VIP among it.
#[inline(always)]
pub fn quote<E: Env, B: Bytes>(env: &E, frame: &B, journey: &mut Journey<E::Addr>) {
    let Some(quote) = Quote::parse(frame) else {
        return journey.end(Outcome::end(left_to_stack(env, frame)));
    };
    journey.packet = Packet::of_len(quote.len.into());
    journey.packet.network = quote.network;
    journey.packet.transport.ports = quote.ports;
    journey.packet.transport.proto = quote.proto;
    journey.packet.transport.l4 = quote.l4.into();
    journey.icmp = quote.icmp;
    journey.quoted_at = quote.l3;
    journey.next = Next::Related;
}

/// Sends an ICMP error on to whom it concerns; what it quotes is the journey's packet.
#[inline(always)]
pub fn related<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &mut Journey<E::Addr>) {
    let quote = journey.quoted();
    if pass_on(env, frame, &quote, journey).is_none() {
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
fn pass_on<E: Env, B: Bytes>(
    env: &E,
    frame: &mut B,
    quote: &Quote<E::Addr>,
    journey: &mut Journey<E::Addr>,
) -> Option<()> {
    let settings = env.settings()?;
    if !quote.is_tunnelled() && !may_be_request(env, settings, answer_to(quote)) {
        return to_client(env, settings, quote, journey);
    }
    let flow = client_flow(quote);
    let to = real_of(env, settings, &flow)?;
    if !quote.is_tunnelled() {
        return to_real(env, frame, quote, flow.vip_port, to, journey);
    }
    let error = quote.tunnel(frame)?;
    if !is_tunnel_of(to.real, error.ends) {
        return None;
    }
    journey.end(tell_client(env, frame, quote, &error, &flow)?);
    Some(())
}

/// The flow of what is quoted, as its client names it: in a tunnel is what the client sent, else what the real server did.
#[inline(always)]
const fn client_flow<A: Ip>(quote: &Quote<A>) -> Flow<A> {
    let (src, dst) = (quote.network.src, quote.network.dst);
    let (from, to) = (quote.source_port(), quote.destination_port());
    let (client, client_port, vip, vip_port) = if quote.is_tunnelled() {
        (src, from, dst, to)
    } else {
        (dst, to, src, from)
    };
    Flow {
        client,
        vip,
        client_port,
        vip_port,
        proto: quote.proto,
    }
}

/// The real server of a flow, and its slot.
#[inline(always)]
fn real_of<'e, E: Env>(env: &'e E, settings: &Settings, flow: &Flow<E::Addr>) -> Option<To<'e>> {
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
    quote: &Quote<E::Addr>,
    vip_port: Be16,
    to: To<'_>,
    journey: &mut Journey<E::Addr>,
) -> Option<()> {
    let packet = Packet::of_len(quote.len.into());
    let method = Method::from_number(to.real.method)?;
    let header = if method == Method::Tun {
        E::Addr::LEN
    } else {
        0
    };
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

/// Has an error about a packet to a NAT real server given back to the client who sent it.
#[inline(always)]
fn to_client<E: Env>(
    env: &E,
    settings: &Settings,
    quote: &Quote<E::Addr>,
    journey: &mut Journey<E::Addr>,
) -> Option<()> {
    journey.packet.network = answer_to(quote);
    journey.packet.transport.ports = quote.ports.rotate_left(16);
    if !may_be_reply(env, settings, journey.packet.network) {
        return None;
    }
    journey.next = Next::Reply;
    Some(())
}

impl<A: Ip> Journey<A> {
    /// Whether the packet is an ICMP error, and the journey's packet what it quotes.
    #[inline(always)]
    pub(super) const fn is_error(&self) -> bool {
        self.icmp != 0
    }

    /// What is quoted, if the journey's packet is an answer to that.
    #[inline(always)]
    pub(super) const fn quoted_by_answer(&self) -> Quote<A> {
        Quote {
            network: Network {
                src: self.packet.network.dst,
                dst: self.packet.network.src,
            },
            ports: self.packet.transport.ports.rotate_left(16),
            ..self.quoted()
        }
    }

    /// What is quoted, if that is the journey's packet.
    #[inline(always)]
    const fn quoted(&self) -> Quote<A> {
        let Packet { network, transport } = &self.packet;
        Quote {
            network: *network,
            ports: transport.ports,
            proto: transport.proto,
            len: transport.len as u16,
            icmp: self.icmp,
            l3: self.quoted_at,
            l4: transport.l4 as u8,
        }
    }
}

/// The addresses of an answer to what is quoted.
#[inline(always)]
const fn answer_to<A: Ip>(quote: &Quote<A>) -> Network<A> {
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
    quote: &Quote<E::Addr>,
    error: &TunnelError<E::Addr>,
    flow: &Flow<E::Addr>,
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
        match quote.without_tunnel(frame, error, macs, reject::ident(env)) {
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
fn is_tunnel_of<A: Ip>(real: &Real, tunnel: Network<A>) -> bool {
    real.method == Method::Tun as u8
        && A::of_real(real) == tunnel.dst
        && A::tunnel_source(real) == tunnel.src
}
