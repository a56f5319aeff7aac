//! What would the data plane choose?
//!
//! A generation held in memory instead of maps, for the rules of [`lb_common::sched`]: what `explain`, `simulate` and
//! the tests choose with.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::{Load, Locality, Member, Plan};
use lb_common::sched::{CHUNK, Lists, NOBODY, Pool, Scheduler, Step};

use super::Layout;

/// A generation and the loads of its real servers.
#[derive(Debug)]
pub struct Model {
    plan: Plan,
    /// With some of none behind them: they are read in chunks.
    members: Vec<Member>,
    words: Vec<u64>,
    /// By slot. Slots beyond the end have no connections.
    pub loads: Vec<Load>,
    turn: AtomicU64,
    random: AtomicU64,
    /// The time, in ticks.
    pub now: u32,
    /// What lblc and lblcr remember of the connection's destination; whoever chooses sets it, and keeps it.
    pub locality: Cell<Option<Locality>>,
}

impl Model {
    /// A generation as [`Course::next`](super::Course::next) laid it out; `flags` are bits of
    /// [`lb_common::abi::service`].
    pub fn new(scheduler: Scheduler, flags: u16, layout: Layout, loads: Vec<Load>) -> Self {
        let mut words = layout.schedule;
        let slots_len = words.len() as u32;
        words.extend(layout.fallback);
        let plan = Plan {
            scheduler: scheduler as u8,
            flags,
            members_len: layout.members.len() as u32,
            eligible_len: layout.eligible,
            slots_len,
            fallback_off: slots_len,
            fallback_len: layout.fallback_len,
            start: layout.start,
            ..Plan::default()
        };
        let mut members = layout.members;
        members.resize(members.len() + CHUNK as usize, Member::default());
        Self {
            plan,
            members,
            words,
            loads,
            turn: AtomicU64::new(layout.start.into()),
            random: AtomicU64::new(1),
            now: 0,
            locality: Cell::new(None),
        }
    }

    /// The turn that comes next.
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Goes on from this turn.
    pub fn set_turn(&mut self, turn: u64) {
        *self.turn.get_mut() = turn;
    }

    /// Begins another sequence of random numbers.
    pub fn seed(&mut self, seed: u64) {
        *self.random.get_mut() = seed;
    }
}

impl Lists for &Model {
    fn member(self, index: u32) -> Member {
        let at = self.plan.members_off.wrapping_add(index);
        self.members.get(at as usize).copied().unwrap_or_default()
    }

    fn chunk(&self, first: u32) -> &[Member; CHUNK as usize] {
        let at = self.plan.members_off.wrapping_add(first) as usize;
        self.members
            .get(at..)
            .and_then(<[Member]>::first_chunk)
            .unwrap_or(NOBODY)
    }

    fn load(self, real: u32) -> Load {
        self.loads.get(real as usize).copied().unwrap_or_default()
    }
}

impl Pool for Model {
    type Lists<'a> = &'a Self;

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn lists(&self) -> Option<&Self> {
        Some(self)
    }

    fn word(&self, index: u32) -> u64 {
        self.words.get(index as usize).copied().unwrap_or_default()
    }

    fn take_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn move_turn(&self, from: u64, to: u64) {
        // When somebody took a turn meanwhile, theirs stands.
        let _ = self
            .turn
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// SplitMix64: the same sequence for the same seed.
    fn random(&self) -> u32 {
        let step = 0x9E37_79B9_7F4A_7C15;
        let mut z = self
            .random
            .fetch_add(step, Ordering::Relaxed)
            .wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as u32
    }

    fn now(&self) -> u32 {
        self.now
    }

    fn locality(&self) -> Option<Locality> {
        self.locality.get()
    }

    fn remember(&self, locality: &Locality) {
        self.locality.set(Some(*locality));
    }

    fn repeat<S: Step<Self>>(&self, times: u32, mut step: S) -> S {
        for round in 0..times {
            if !step.step(self, round) {
                break;
            }
        }
        step
    }
}
