//! What a scheduler sees of a service: its plan, its members, their loads and its turn.

use crate::abi::{Load, Locality, Member, Plan};

/// One service's real servers and scheduler state, as maps or as a model of them.
///
/// Indices come from layouts that user space wrote. An implementation answers any index with some value
/// (the maps mask them) and never panics.
pub trait Pool {
    /// The members and loads.
    type Lists<'a>: Lists
    where
        Self: 'a;

    /// The current plan.
    fn plan(&self) -> &Plan;

    /// The members and loads, looked up once for many questions.
    fn lists(&self) -> Option<Self::Lists<'_>>;

    /// A word of `SLOTS`.
    fn word(&self, index: u32) -> u64;

    /// Takes the next turn: returns the turn and leaves the one after it, in one atomic addition.
    fn take_turn(&self) -> u64;

    /// Moves the turn if nobody took one meanwhile, in one atomic compare-and-swap.
    fn move_turn(&self, from: u64, to: u64);

    /// A random number.
    fn random(&self) -> u32;

    /// The time, in ticks.
    fn now(&self) -> u32;

    /// What is remembered of the connection's destination.
    fn locality(&self) -> Option<Locality>;

    /// Remembers this of the connection's destination.
    fn remember(&self, locality: &Locality);

    /// Calls `step` with 0, 1, … below `times` until it answers `false`, and returns what the step has become.
    ///
    /// Loops do not nest: the XDP program keeps the step in memory of the CPU's, where the kernel's verifier, which
    /// looks at a loop's body once for every state that it can be in, keeps no track of it.
    fn repeat<S: Step<Self>>(&self, times: u32, step: S) -> S;

    /// A 16-bit slot of the words from `base` on: four of them make a word, the first in its low bits.
    #[inline(always)]
    fn slot(&self, base: u32, index: u32) -> u32 {
        (self.word(base.wrapping_add(index / 4)) >> (index % 4 * 16)) as u32 & 0xFFFF
    }
}

/// So many members are read together.
pub const CHUNK: u32 = 16;

/// A chunk without a member.
pub const NOBODY: &[Member; CHUNK as usize] = &[Member {
    real: 0,
    weight: 0,
    last_weight: 0,
}; CHUNK as usize];

/// The members of a plan, and the loads of all real servers.
pub trait Lists: Copy {
    /// The member at a place of the plan's list.
    fn member(self, index: u32) -> Member;

    /// The members from a place of the plan's list on, side by side; behind its end they are any.
    fn chunk(&self, first: u32) -> &[Member; CHUNK as usize];

    /// The connections of a real server, by slot.
    fn load(self, real: u32) -> Load;
}

/// The body of a loop over members or slots, and what it remembers from round to round.
pub trait Step<P: ?Sized>: Copy {
    /// Does one round; `false` ends the loop.
    fn step(&mut self, pool: &P, round: u32) -> bool;
}
