//! A packet from a NAT real server: which connection is it a reply of, and where does it go from here?

use super::journey::{Journey, Next, Outcome, Packet, Verdict};
use super::open::current_plan;
use super::{may_be_reply, now, table};
use crate::abi::{Method, Real, RealKey, ServiceKey, Settings, service, setting};
use crate::conn::{Meta, State, Tick};
use crate::counter::Counter;
use crate::env::{Env, Query, Route};
use crate::net::{Be16, Proto};
use crate::packet::parse::L3;
use crate::packet::rewrite::{Endpoint, Onward, Translate};
use crate::packet::wire::tcp_flag;
use crate::packet::{Bytes, Ip, Network};
use crate::table::{Fit, Reply};
use crate::tcp::{self, Event, View};

/// Finds the connection of a packet whose source may be a NAT real server, or of an ICMP error about what one was sent: that is found
/// as by an answer, which is the journey's packet then.
///
/// A packet of a real server that belongs to no connection is left to the stack as it is, as IPVS does (`nat_icmp_send=0`).
#[inline(always)]
pub fn reply<E: Env, B: Bytes>(env: &E, frame: &B, journey: &mut Journey<E::Addr>) {
    match source_of(env, frame, journey) {
        Ok(vip) => {
            journey.vip = vip.addr;
            journey.vip_port = vip.port;
            journey.next = Next::Return;
        }
        Err(counter) => journey.end(Outcome::end(counter)),
    }
}

/// What a packet ends in that is no reply.
const NONE: Counter = Counter::PassNoService;

/// Finds out what a packet is to come from.
///
/// # Errors
///
/// The counter of a packet that is no reply, or a fragment that does not say.
#[inline(always)]
fn source_of<E: Env, B: Bytes>(
    env: &E,
    frame: &B,
    journey: &mut Journey<E::Addr>,
) -> Result<Endpoint<E::Addr>, Counter> {
    let settings = env.settings().ok_or(NONE)?;
    if !journey.is_error() {
        let network = Network::parse(frame).map_err(|_| NONE)?;
        if !may_be_reply(env, settings, network) {
            return Err(NONE);
        }
        match Packet::parse(frame, network) {
            Ok(packet) => journey.packet = packet,
            Err(Counter::PassFragment) => return Err(Counter::PassFragment),
            // What cannot be a reply is not counted as one: the filter only guesses.
            Err(_) => return Err(NONE),
        }
    }
    journey.now = now(env, settings);
    let (packet, now) = (&journey.packet, journey.now);
    match find(env, settings, packet, now) {
        Some(reply) => {
            if !journey.is_error() {
                keep(env, settings, packet, &reply, now).ok_or(NONE)?;
            }
            journey.slot = reply.hit.meta.real();
            Ok(Endpoint {
                addr: reply.vip,
                port: reply.vip_port,
            })
        }
        None => {
            journey.has_no_place = true;
            let turned_away = table(env, settings).turned_away(
                packet.network.dst,
                packet.destination_port(),
                packet.transport.proto,
                now,
            );
            stateless(env, settings, &journey.packet, turned_away).ok_or(NONE)
        }
    }
}

/// The connection that a packet is a reply of.
#[inline(always)]
fn find<'e, E: Env>(
    env: &'e E,
    settings: &Settings,
    packet: &Packet<E::Addr>,
    now: Tick,
) -> Option<Reply<'e, E::Atoms, E::Addr>> {
    let fit = |meta: Meta, vip_port| match env.real(meta.real()) {
        Some(real) if is_source(packet, real, vip_port) => fit(packet, meta, now),
        _ => Fit::NONE,
    };
    table(env, settings).lookup_reply(
        packet.network.dst,
        packet.destination_port(),
        packet.transport.proto,
        now,
        fit,
    )
}

/// Whether a real server of a connection to a virtual port is the packet's source, and reached by NAT.
#[inline(always)]
fn is_source<A: Ip>(packet: &Packet<A>, real: &Real, vip_port: Be16) -> bool {
    let port = if real.port.0 == 0 {
        vip_port
    } else {
        real.port
    };
    A::of_real(real) == packet.network.src
        && port == packet.source_port()
        && real.method == Method::Nat as u8
}

/// How well a reply of the real server fits one of its connections with the reply's client and port.
///
/// There are several when the client used one port for several services that share the real server's address and port. Nothing in
/// the reply tells which it is for; IPVS takes the connection that was made last. Here it is the one that the reply can be for by
/// its state, and among those the one used last.
#[inline(always)]
fn fit<A: Ip>(packet: &Packet<A>, meta: Meta, now: Tick) -> Fit {
    let state = meta.state();
    let likely = match packet.transport.proto {
        Proto::Udp => LIKELY,
        Proto::Tcp if state.is_closed() => UNLIKELY,
        Proto::Tcp => {
            let opens = packet.transport.tcp_flags as u8 & tcp_flag::SYN != 0;
            if state.is_half_open() == opens {
                return Fit::BEST;
            }
            LIKELY
        }
    };
    // The expiry moves once a second at most; within it, who waits for the first answer has asked last.
    let left = meta.expires().since(now).cast_unsigned() & MOST_TICKS;
    Fit(likely | left << 1 | u32::from(state.is_half_open()))
}

/// The connection may be the reply's.
const LIKELY: u32 = 2 << 30;
/// It is only if there is no other.
const UNLIKELY: u32 = 1 << 30;
/// What fits below these, as does every timeout: more than a year.
const MOST_TICKS: u32 = (1 << 29) - 1;

/// The virtual service of a reply to what is not recorded, if its real server has but one: the table had no place for the
/// connection, or the service schedules every datagram by itself.
#[inline(always)]
fn stateless<E: Env>(
    env: &E,
    settings: &Settings,
    packet: &Packet<E::Addr>,
    turned_away: bool,
) -> Option<Endpoint<E::Addr>> {
    let may_be_one_packet =
        packet.transport.proto == Proto::Udp && settings.flags & setting::HAS_ONE_PACKET != 0;
    if !turned_away && !may_be_one_packet {
        return None;
    }
    let source = |port| RealKey {
        addr: packet.network.src,
        port,
        proto: packet.transport.proto as u8,
        pad: 0,
    };
    let key = env
        .nat_real(&source(packet.source_port()))
        .or_else(|| env.nat_real(&source(Be16(0))))?;
    if key == ServiceKey::default() {
        return None;
    }
    if !turned_away {
        let plan = current_plan(env, env.service(&key)?)?;
        if plan.flags & service::ONE_PACKET == 0 {
            return None;
        }
    }
    // With all ports of its address, a service answers from the port that was asked, which is then the real server's too.
    let port = if key.port.0 == 0 {
        packet.source_port()
    } else {
        key.port
    };
    Some(Endpoint {
        addr: key.vip,
        port,
    })
}

/// Lets a connection go on by a reply.
#[inline(always)]
fn keep<E: Env>(
    env: &E,
    settings: &Settings,
    packet: &Packet<E::Addr>,
    reply: &Reply<'_, E::Atoms, E::Addr>,
    now: Tick,
) -> Option<()> {
    let real = env.real(reply.hit.meta.real())?;
    let timeouts = env.timeouts(real.profile)?;
    let next = |seen: Meta| {
        let state = match packet.transport.proto {
            Proto::Udp => State::UdpAssured,
            Proto::Tcp => tcp::next(
                View::Output,
                Event::of(packet.transport.tcp_flags as u8),
                seen.state(),
            ),
        };
        seen.with_no_output(false)
            .with_state(state, now.plus(timeouts.ticks[state as usize & 15]))
    };
    table(env, settings).update(&reply.hit, next, env);
    Some(())
}

/// Sends a reply on to the client from the VIP, as `translate` does it.
///
/// Where the stack has to tell the real server that its packet goes no further, it gets the packet as the real server sent it, and its
/// error quotes that. Where it has to find the client, it gets the packet as the client shall see it; its
/// source is then an address of the director, which the stack takes from outside only with `accept_local=1`.
#[inline(always)]
pub fn give_back<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &mut Journey<E::Addr>) {
    let outcome = send(env, frame, journey);
    journey.end(outcome);
}

/// Sends what a journey says that it is a reply on to its client from the VIP.
#[inline(always)]
fn send<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &Journey<E::Addr>) -> Outcome {
    let (packet, transport) = (&journey.packet, &journey.packet.transport);
    let vip = Endpoint {
        addr: journey.vip,
        port: journey.vip_port,
    };
    let is_recorded = !journey.has_no_place;
    let back = Back {
        vip: vip.addr,
        client: packet.network.dst,
        len: transport.len as u16,
        is_recorded,
    };
    let (onward, outcome) = match way_back(env, frame, back) {
        Ok(way) => way,
        Err(outcome) => return outcome,
    };
    let translated = if journey.is_error() {
        journey.quoted_by_answer().nat_source(frame, vip, onward)
    } else {
        transport.nat_source(frame, vip, onward)
    };
    if translated.is_none() {
        return Outcome::end(Counter::DropResize);
    }
    if is_recorded {
        env.traffic(journey.slot, |t| {
            t.count_out(transport.len);
        });
    }
    outcome
}

/// A packet on its way back.
#[derive(Clone, Copy)]
pub(super) struct Back<A> {
    /// Whom it is to come from.
    pub(super) vip: A,
    /// Whom it is for.
    pub(super) client: A,
    /// Length of the IP packet.
    pub(super) len: u16,
    /// Its connection is recorded.
    pub(super) is_recorded: bool,
}

/// Which way a packet from a NAT real server goes from here, and how it has ended then.
///
/// # Errors
///
/// How a packet ends that is left to the stack as it came, which tells its sender why it goes no further.
#[inline(always)]
pub(super) fn way_back<E: Env, B: Bytes>(
    env: &E,
    frame: &B,
    back: Back<E::Addr>,
) -> Result<(Onward, Outcome), Outcome> {
    let Some(ip) = frame.header::<<E::Addr as Ip>::Header>(L3) else {
        return Err(Outcome::end(Counter::DropInternal));
    };
    if E::Addr::hop_limit(ip) <= 1 {
        return Err(Outcome::new(Verdict::Pass, Counter::RejectTtl, 0));
    }
    let dont_fragment = E::Addr::dont_fragment(ip);
    let route = env.route(&Query {
        src: back.vip,
        dst: back.client,
        tos: E::Addr::traffic_class(ip),
        len: back.len,
    });
    match route {
        Route::Via { ifindex, macs } => {
            let verdict = if ifindex == env.ingress() {
                Verdict::Tx
            } else {
                Verdict::Interface
            };
            let counter = if back.is_recorded {
                Counter::ForwardedReply
            } else {
                Counter::ForwardedStateless
            };
            Ok((Onward::Send(macs), Outcome::new(verdict, counter, ifindex)))
        }
        Route::TooBig if dont_fragment => {
            Err(Outcome::new(Verdict::Pass, Counter::RejectTooBig, 0))
        }
        Route::TooBig | Route::Stack => Ok((Onward::Stack, Outcome::end(Counter::PassUnresolved))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Be32;
    use crate::packet::Transport;

    const NOW: Tick = Tick(u32::MAX - 5);

    fn reply(proto: Proto, tcp_flags: u8) -> Packet<Be32> {
        let mut transport = Transport::NONE;
        transport.proto = proto;
        transport.tcp_flags = tcp_flags.into();
        let network = Network {
            src: Be32(1),
            dst: Be32(2),
        };
        Packet { network, transport }
    }

    fn entry(proto: Proto, state: State, left: u32) -> Meta {
        Meta::new(proto, state, 0, NOW.plus(left))
    }

    #[test]
    fn a_synack_is_for_the_connection_that_is_being_opened() {
        let synack = reply(Proto::Tcp, tcp_flag::SYN | tcp_flag::ACK);
        let fit = |state, left| fit(&synack, entry(Proto::Tcp, state, left), NOW);
        assert_eq!(fit(State::SynRecv, 9), Fit::BEST);
        assert!(fit(State::Established, 1) > fit(State::TimeWait, 1000));
        assert!(fit(State::Close, 0) > Fit::NONE);
    }

    #[test]
    fn a_segment_is_for_a_connection_that_is_open() {
        let data = reply(Proto::Tcp, tcp_flag::ACK);
        let fit = |state, left| fit(&data, entry(Proto::Tcp, state, left), NOW);
        for open in [
            State::Established,
            State::FinWait,
            State::CloseWait,
            State::LastAck,
        ] {
            assert_eq!(fit(open, 9), Fit::BEST, "{open:?}");
        }
        assert!(fit(State::SynRecv, 1) > fit(State::TimeWait, 1000));
        assert!(fit(State::TimeWait, 11) > fit(State::TimeWait, 10));
        assert!(fit(State::TimeWait, u32::MAX >> 1) < fit(State::SynRecv, 0));
    }

    #[test]
    fn a_datagram_is_for_the_client_that_asked_last() {
        let answer = reply(Proto::Udp, 0);
        let fit = |state, left| fit(&answer, entry(Proto::Udp, state, left), NOW);
        assert!(fit(State::UdpAssured, 16) > fit(State::UdpOnce, 15));
        assert!(fit(State::UdpOnce, 15) > fit(State::UdpAssured, 15));
        assert!(fit(State::UdpAssured, 0) > Fit::NONE);
        assert!(fit(State::UdpOnce, u32::MAX >> 1) < Fit::BEST);
    }
}
