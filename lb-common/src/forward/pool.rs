//! A service's real servers as its scheduler sees them.

use crate::abi::{LOADS_LEN, Load, Locality, LocalityKey, MEMBERS_LEN, Member, Plan};
use crate::atomic::{Atoms, Word};
use crate::conn::Tick;
use crate::env::Env;
use crate::sched::{self, CHUNK, Pool, Step};

/// The current generation of a service, and what a choice depends on.
pub(super) struct Service<'e, E: Env> {
    env: &'e E,
    plan: &'e Plan,
    turn: &'e <E::Atoms as Atoms>::U64,
    key: LocalityKey<E::Addr>,
    now: Tick,
}

impl<'e, E: Env> Service<'e, E> {
    /// The service of an index, asked for a connection to `destination`.
    #[inline(always)]
    pub(super) fn of(env: &'e E, service: u32, destination: E::Addr, now: Tick) -> Option<Self> {
        let generation = env.current(service)?;
        let (plan, turn) = (env.plan(generation)?, env.turn(generation)?);
        let key = LocalityKey {
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
    type Lists<'a>
        = Lists<'a, E::Atoms>
    where
        Self: 'a;

    #[inline(always)]
    fn plan(&self) -> &Plan {
        self.plan
    }

    #[inline(always)]
    fn lists(&self) -> Option<Lists<'_, E::Atoms>> {
        Some(Lists {
            members: self.env.members()?,
            loads: self.env.loads()?,
            first: self.plan.members_off,
        })
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
    fn repeat<S: Step<Self>>(&self, times: u32, step: S) -> S {
        self.env.repeat(self, times, step)
    }
}

/// The members of a plan, and all loads.
pub(super) struct Lists<'e, A: Atoms> {
    members: &'e [Member; MEMBERS_LEN as usize],
    loads: &'e [A::U64; LOADS_LEN as usize],
    first: u32,
}

impl<A: Atoms> Clone for Lists<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Atoms> Copy for Lists<'_, A> {}

impl<A: Atoms> sched::Lists for Lists<'_, A> {
    #[inline(always)]
    fn member(self, index: u32) -> Member {
        self.members[(self.first.wrapping_add(index) & (MEMBERS_LEN - 1)) as usize]
    }

    #[inline(always)]
    fn chunk(&self, first: u32) -> &[Member; CHUNK as usize] {
        let at = self.first.wrapping_add(first) & (MEMBERS_LEN - 1);
        // No list reaches into the last chunk, so none is read from elsewhere.
        let at = at.min(MEMBERS_LEN - CHUNK) as usize;
        let chunk = self.members.get(at..).and_then(<[Member]>::first_chunk);
        chunk.unwrap_or(sched::NOBODY)
    }

    #[inline(always)]
    fn load(self, real: u32) -> Load {
        let conns = self.loads[(real & (LOADS_LEN - 1)) as usize].load();
        Load { conns }
    }
}
