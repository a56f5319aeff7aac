//! A persistent client: which real server is it kept at?
//!
//! The first connection of a client to a persistent service makes a [`Template`], which leads the later ones to the same real
//! server, full or not. A template whose real server is not to be had any more is succeeded by another one; it is kept
//! aside, for it lasts as long as its connections, which are counted with it.

use super::journey::{Journey, Outcome};
use super::open::{current_plan, is_standby};
use crate::abi::{Plan, Real, TemplateKey, real, service};
use crate::conn::Tick;
use crate::counter::Counter;
use crate::env::Env;
use crate::packet::Ip;
use crate::template::Template;

/// Finds the real server that a packet's client is kept at; its time begins anew.
#[inline(always)]
pub fn recall<E: Env>(env: &E, journey: &mut Journey<E::Addr>) {
    let Some(plan) = current_plan(env, journey.service) else {
        journey.next = journey.unbound();
        return;
    };
    if is_standby(env, plan) {
        return journey.end(Outcome::end(Counter::PassStandby));
    }
    let key = key(journey, plan);
    match env.template(&key).filter(|t| leads(env, plan, *t)) {
        Some(template) => {
            let rearmed = template.rearmed(expires(journey, plan));
            if rearmed != template {
                env.put_template(&key, rearmed);
            }
            follow(journey, template);
        }
        None => journey.next = journey.unbound(),
    }
}

/// Keeps a packet's client at the real server that was chosen.
///
/// Where another CPU did that a moment ago for another connection of the client, this one goes there too. Where there is no
/// room for a template, the connection is one of no persistent client's.
#[inline(always)]
pub fn bind<E: Env>(env: &E, journey: &mut Journey<E::Addr>) {
    journey.next = journey.settled();
    let Some(plan) = current_plan(env, journey.service) else {
        return;
    };
    let key = key(journey, plan);
    let ends = expires(journey, plan);
    let template = match env.template(&key) {
        None => {
            let first = Template::new(journey.slot, 0, ends);
            if env.add_template(&key, first) {
                return follow(journey, first);
            }
            match env.template(&key) {
                Some(other) => other,
                None => {
                    journey.is_unkept = true;
                    return;
                }
            }
        }
        Some(known) => known,
    };
    if leads(env, plan, template) {
        return follow(journey, template);
    }
    let next = template.succeeded(journey.slot, ends);
    env.put_template(&key.orphan(template), template);
    if env.put_template(&key, next) {
        follow(journey, next);
    } else {
        journey.is_unkept = true;
    }
}

/// Takes a packet where its client's template leads.
#[inline(always)]
fn follow<A: Ip>(journey: &mut Journey<A>, template: Template) {
    journey.slot = template.real();
    journey.template = 1 + template.generation() as u8;
    journey.next = journey.settled();
}

/// The template that a packet's client is under.
#[inline(always)]
fn key<A: Ip>(journey: &Journey<A>, plan: &Plan) -> TemplateKey<A> {
    TemplateKey::current(journey.service, journey.packet.network.src, plan.mask)
}

/// When a template ends that leads a connection now.
#[inline(always)]
const fn expires<A: Ip>(journey: &Journey<A>, plan: &Plan) -> Tick {
    journey.now.plus(plan.persistence)
}

#[inline(always)]
fn leads<E: Env>(env: &E, plan: &Plan, template: Template) -> bool {
    env.real(template.real())
        .is_some_and(|real| keeps_clients(plan, real))
}

/// Whether a real server is still to be had for clients that are kept at it: it is the service's, and well, and in
/// use, and not quiesced if the service then wants its clients elsewhere.
#[inline(always)]
pub fn keeps_clients(plan: &Plan, real: &Real) -> bool {
    let mut against = real::REMOVED | real::DOWN | real::DRAINED;
    if plan.flags & service::LEAVE_QUIESCED != 0 {
        against |= real::QUIESCED;
    }
    real.flags & (real::USED | against) == real::USED && real.service == plan.service
}
