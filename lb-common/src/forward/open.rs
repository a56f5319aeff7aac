//! A packet of no recorded connection: does it open one, and with whom?

use super::journey::{Journey, Next, Outcome, Packet};
use super::pool::Service;
use super::send::{self, To};
use super::{RECORD_TRIES, table};
use crate::abi::{Configured, Method, Plan, Real, ServiceKey, closed, service, setting};
use crate::conn::{Meta, Spare, State};
use crate::counter::Counter;
use crate::env::Env;
use crate::net::{Address, Be16, Flow, Proto};
use crate::packet::icmp::Error;
use crate::packet::{Bytes, Ip};
use crate::sched::{self, Choice, Pool, Request, Scheduler};
use crate::table::Insert;
use crate::tcp::{self, Event, View};

/// Finds out whether a packet may open a connection, and how its real server is to be chosen.
#[inline(always)]
pub fn open<E: Env>(env: &E, journey: &mut Journey<E::Addr>) {
    let Some(service) = service_of(env, &journey.packet) else {
        return at_no_service(env, journey);
    };
    journey.service = service;
    if let Err(counter) = admit(env, journey) {
        journey.end(Outcome::end(counter));
    }
}

/// What becomes of a packet that is for no service: it may be a reply, or for a port of the director that is closed.
#[inline(always)]
fn at_no_service<E: Env>(env: &E, journey: &mut Journey<E::Addr>) {
    journey.next = Next::Reply;
    let Some(closed) = env.service(&ServiceKey::of_closed(journey.packet.network.dst)) else {
        return;
    };
    let router = closed & closed::ROUTER;
    if !journey.packet.knocks() || router != 0 && env.standby(router) {
        return;
    }
    if closed & closed::REJECT != 0 {
        journey.refuse(Error::PORT_CLOSED);
    } else {
        journey.end(Outcome::end(Counter::DropNoPort));
    }
}

/// Finds how the real server of a packet is to be chosen, or how the packet ends.
#[inline(always)]
fn admit<E: Env>(env: &E, journey: &mut Journey<E::Addr>) -> Result<(), Counter> {
    let packet = &journey.packet;
    let settings = env.settings().ok_or(Counter::DropInternal)?;
    let plan = current_plan(env, journey.service).ok_or(Counter::DropInternal)?;
    let is_sloppy = settings.flags & setting::SLOPPY_TCP != 0 && !packet.is_reset();
    let opens = packet.opens() || is_sloppy;
    if !opens && !journey.turned_away {
        return Err(Counter::PassNoConnection);
    }
    if packet.is_martian() {
        return Err(Counter::DropMartian);
    }
    let is_udp = packet.transport.proto == Proto::Udp;
    journey.is_one_packet = is_udp && plan.flags & service::ONE_PACKET != 0;
    journey.is_persistent = plan.persistence != 0;
    // What may be of a flow that is under way without a record keeps to the flow's hash.
    journey.is_by_hash = journey.turned_away && (!opens || is_udp) && !journey.is_one_packet;
    journey.next = if journey.is_persistent {
        Next::Recall
    } else {
        journey.unbound()
    };
    Ok(())
}

/// The plan of a service's current generation.
#[inline(always)]
pub(super) fn current_plan<E: Env>(env: &E, service: u32) -> Option<&Plan> {
    env.plan(env.current(service)?)
}

/// Whether new connections of a service are another director's, which is master of its virtual router.
#[inline(always)]
pub(super) fn is_standby<E: Env>(env: &E, plan: &Plan) -> bool {
    plan.router != 0 && env.standby(plan.router)
}

impl<A: Ip> Journey<A> {
    /// The next step of a packet whose client is not kept at a real server.
    #[inline(always)]
    pub(super) const fn unbound(&self) -> Next {
        if self.is_by_hash {
            Next::Hash
        } else {
            Next::Schedule
        }
    }

    /// The next step of a packet whose real server is known.
    #[inline(always)]
    pub(super) const fn settled(&self) -> Next {
        if self.has_no_place || self.is_one_packet {
            Next::Deliver
        } else {
            Next::Record
        }
    }
}

/// Has the service's scheduler choose a real server.
#[inline(always)]
pub fn schedule<E: Env>(env: &E, journey: &mut Journey<E::Addr>) {
    choose(env, journey, |pool, request| {
        by_scheduler(
            Scheduler::from_number(pool.plan().scheduler)?,
            pool,
            request,
        )
    });
}

macro_rules! each_by_itself {
    ($($name:ident)+) => {
        /// Runs a scheduler. Each is a function of its own: together they would need more of the stack than there is.
        #[inline(always)]
        fn by_scheduler<E: Env>(
            scheduler: Scheduler,
            pool: &Service<'_, E>,
            request: &Request,
        ) -> Option<Choice> {
            match scheduler {
                $(Scheduler::$name => run::<E, { Scheduler::$name as u8 }>(pool, request),)+
            }
        }
    };
}

each_by_itself!(Rr Wrr Lc Wlc Sed Nq Sh Dh Lblc Lblcr Mh Fo Ovf Twos);

#[inline(never)]
fn run<E: Env, const NUMBER: u8>(pool: &Service<'_, E>, request: &Request) -> Option<Choice> {
    sched::choose_as(Scheduler::from_number(NUMBER)?, pool, request)
}

/// Chooses a real server by the flow's hash.
#[inline(always)]
pub fn hash<E: Env>(env: &E, journey: &mut Journey<E::Addr>) {
    let hash = flow_hash(&journey.packet.flow());
    journey.is_by_hash = true;
    choose(env, journey, |pool, _| sched::fallback(pool, hash));
}

/// Chooses a real server: the packet is then to be recorded, or delivered if there was no place for it.
#[inline(always)]
fn choose<E: Env>(
    env: &E,
    journey: &mut Journey<E::Addr>,
    how: impl FnOnce(&Service<'_, E>, &Request) -> Option<Choice>,
) {
    let flow = journey.packet.flow();
    let Some(pool) = Service::of(env, journey.service, flow.vip, journey.now) else {
        return journey.end(Outcome::end(Counter::DropInternal));
    };
    if is_standby(env, pool.plan()) {
        return journey.end(Outcome::end(Counter::PassStandby));
    }
    match how(&pool, &Request::from(&flow)) {
        Some(choice) => {
            journey.slot = choice.real();
            journey.next = if journey.is_persistent && !journey.is_by_hash {
                Next::Bind
            } else {
                journey.settled()
            };
        }
        None => journey.refuse(Error::PORT_UNREACHABLE),
    }
}

/// Records the connection that a packet opens with the real server that was chosen, or finds that there is no place.
#[inline(always)]
pub fn record<E: Env>(env: &E, journey: &mut Journey<E::Addr>) {
    match insert(env, journey) {
        Recorded::With(slot) => {
            journey.slot = slot;
            journey.next = Next::Deliver;
        }
        Recorded::NotYet => journey.contended += 1,
        Recorded::NoPlace => {
            journey.has_no_place = true;
            // Its later segments will be by the client's template again, if it has one, and by the flow's hash if not.
            journey.next = if journey.is_by_hash || journey.template != 0 {
                Next::Deliver
            } else {
                Next::Hash
            };
        }
    }
}

/// What became of an attempt to record a connection.
enum Recorded {
    /// It is recorded, with the real server of this slot.
    With(u32),
    /// Another CPU took its place: one more try.
    NotYet,
    /// There is no place for it.
    NoPlace,
}

/// Records a connection.
#[inline(always)]
fn insert<E: Env>(env: &E, journey: &Journey<E::Addr>) -> Recorded {
    let (Some(real), Some(settings)) = (env.real(journey.slot), env.settings()) else {
        return Recorded::NoPlace;
    };
    let Some(timeouts) = env.timeouts(real.profile) else {
        return Recorded::NoPlace;
    };
    let table = table(env, settings);
    let ticks = |state: State| timeouts.ticks[state as usize & 15];
    let now = journey.now;
    let flow = journey.packet.flow();
    let state = first_state(&journey.packet, real);
    let mut new = Meta::new(flow.proto, state, journey.slot, now.plus(ticks(state)))
        .with_no_output(no_output(real));
    if let Some(generation) = journey.template.checked_sub(1) {
        new = new.with_template(generation.into());
    }
    let spare = Spare::new(now, ticks(State::SynRecv), ticks(State::UdpOnce));
    let place = table.place(&flow);
    match table.insert(&flow, &place, new, now, spare, env) {
        Insert::Done(_) => {
            env.traffic(journey.slot, |t| t.conns = t.conns.wrapping_add(1));
            Recorded::With(journey.slot)
        }
        Insert::Lost(hit) => Recorded::With(hit.meta.real()),
        Insert::TurnedAway => Recorded::NoPlace,
        Insert::Contended if journey.contended + 1 < RECORD_TRIES => Recorded::NotYet,
        Insert::Contended => {
            table.turn_away(&place, now, new.expires());
            Recorded::NoPlace
        }
    }
}

/// Sends a packet to the real server that was chosen.
#[inline(always)]
pub fn deliver<E: Env, B: Bytes>(env: &E, frame: &mut B, journey: &mut Journey<E::Addr>) {
    let slot = journey.slot;
    let Some(real) = env.real(slot) else {
        return journey.end(Outcome::end(Counter::DropInternal));
    };
    if journey.is_one_packet {
        env.traffic(slot, |t| t.conns = t.conns.wrapping_add(1));
    }
    match send::forward(env, frame, &journey.packet, To { slot, real }) {
        Ok(outcome) => journey.end(outcome),
        Err(error) => journey.refuse(error),
    }
    if let Counter::ForwardedDr | Counter::ForwardedTun | Counter::ForwardedNat = journey.counter {
        if journey.has_no_place {
            journey.counter = Counter::ForwardedStateless;
        } else if journey.is_unkept {
            journey.counter = Counter::ForwardedUnkept;
        }
    }
}

/// The service that a packet is for: that of its address, or else of the smallest network around it; of its port, or else of all
/// ports.
#[inline(always)]
fn service_of<E: Env>(env: &E, packet: &Packet<E::Addr>) -> Option<u32> {
    if let Some(service) = service_around(env, packet, 0) {
        return Some(service);
    }
    let networks = E::Addr::networks(env.settings()?);
    if networks == 0 {
        return None;
    }
    let mut host_bits = 1;
    while host_bits <= 32 {
        if networks >> host_bits & 1 != 0
            && let Some(service) = service_around(env, packet, host_bits)
        {
            return Some(service);
        }
        host_bits += 1;
    }
    None
}

/// The service of the network of this size around a packet's destination.
#[inline(always)]
fn service_around<E: Env>(env: &E, packet: &Packet<E::Addr>, host_bits: u32) -> Option<u32> {
    let key = |port| ServiceKey {
        vip: packet.network.dst.network(host_bits),
        port,
        proto: packet.transport.proto as u8,
        host_bits: host_bits as u8,
    };
    env.service(&key(packet.destination_port()))
        .or_else(|| env.service(&key(Be16(0))))
}

/// The state of a connection after its first packet.
#[inline(always)]
fn first_state<A: Ip>(packet: &Packet<A>, real: &Real) -> State {
    match packet.transport.proto {
        Proto::Udp => State::UdpOnce,
        Proto::Tcp => {
            let view = if no_output(real) {
                View::InputOnly
            } else {
                View::Input
            };
            tcp::next(
                view,
                Event::of(packet.transport.tcp_flags as u8),
                State::None,
            )
        }
    }
}

/// Whether a real server's replies do not pass the director.
#[inline(always)]
const fn no_output(real: &Real) -> bool {
    real.method != Method::Nat as u8
}

/// The hash by which a flow without a record goes: the same on every CPU and every director.
#[inline(always)]
fn flow_hash<A: Address>(flow: &Flow<A>) -> u32 {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let ports =
        u64::from(flow.client_port.to_host()) << 32 | u64::from(flow.vip_port.to_host()) << 48;
    let mut x = (u64::from(flow.client.folded().to_host()) | ports).wrapping_mul(MIX);
    x ^= x >> 32;
    x = (x ^ u64::from(flow.vip.folded().to_host()) ^ (flow.proto as u64) << 32).wrapping_mul(MIX);
    (x >> 32) as u32
}
