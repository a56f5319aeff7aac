//! A service's real servers as its scheduler sees them.

use crate::abi::{Load, Locality, LocalityKey4, Member, Plan};
use crate::atomic::{Atoms, Word};
use crate::conn::Tick;
use crate::env::Env;
use crate::net::Be32;
use crate::sched::{Pool, Step};

/// The current generation of a service, and what a choice depends on.
pub(super) struct Service<'e, E: Env> {
    env: &'e E,
    plan: &'e Plan,
    turn: &'e <E::Atoms as Atoms>::U64,
    key: LocalityKey4,
    now: Tick,
}

impl<'e, E: Env> Service<'e, E> {
    /// The service of an index, asked for a connection to `destination`.
    #[inline(always)]
    pub(super) fn of(env: &'e E, service: u32, destination: Be32, now: Tick) -> Option<Self> {
        let generation = env.current(service)?;
        let (plan, turn) = (env.plan(generation)?, env.turn(generation)?);
        let key = LocalityKey4 {
            service,
            destination,
        };
        Some(Self {
            env,
            plan,
            turn,
            key,
            now,
        })
    }
}

impl<E: Env> Pool for Service<'_, E> {
    #[inline(always)]
    fn plan(&self) -> &Plan {
        self.plan
    }

    #[inline(always)]
    fn member(&self, index: u32) -> Member {
        self.env.member(self.plan.members_off.wrapping_add(index))
    }

    #[inline(always)]
    fn load(&self, real: u32) -> Load {
        let conns = self.env.load(real).map_or(0, Word::load);
        Load { conns }
    }

    #[inline(always)]
    fn word(&self, index: u32) -> u64 {
        self.env.slots(index)
    }

    #[inline(always)]
    fn take_turn(&self) -> u64 {
        self.turn.fetch_add(1)
    }

    #[inline(always)]
    fn move_turn(&self, from: u64, to: u64) {
        let _ = self.turn.compare_exchange(from, to);
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        self.env.random()
    }

    #[inline(always)]
    fn now(&self) -> u32 {
        self.now.0
    }

    #[inline(always)]
    fn locality(&self) -> Option<Locality> {
        self.env.locality(&self.key)
    }

    #[inline(always)]
    fn remember(&self, locality: &Locality) {
        self.env.remember(&self.key, locality);
    }

    #[inline(always)]
    fn repeat<S: Step<Self>>(&self, times: u32, step: &mut S) {
        self.env.repeat(self, times, step);
    }
}
