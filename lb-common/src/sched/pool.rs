//! What a scheduler sees of a service: its plan, its members, their loads and its turn.

use crate::abi::{Load, Locality, Member, Plan};

/// One service's real servers and scheduler state, as maps or as a model of them.
///
/// Indices come from layouts that user space wrote. An implementation answers any index with some value
/// (the maps mask them) and never panics.
pub trait Pool {
    /// The current plan.
    fn plan(&self) -> &Plan;

    /// The member at a place of the plan's list.
    fn member(&self, index: u32) -> Member;

    /// The connections of a real server, by slot.
    fn load(&self, real: u32) -> Load;

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

    /// Calls `step` with 0, 1, … below `times` until it answers `false`. The kernel's verifier looks at a step once,
    /// however often it runs.
    fn repeat<S: Step<Self>>(&self, times: u32, step: &mut S);

    /// A 16-bit slot of the words from `base` on: four of them make a word, the first in its low bits.
    #[inline(always)]
    fn slot(&self, base: u32, index: u32) -> u32 {
        (self.word(base.wrapping_add(index / 4)) >> (index % 4 * 16)) as u32 & 0xFFFF
    }
}

/// The body of a loop over members or slots.
pub trait Step<P: ?Sized> {
    /// Does one round; `false` ends the loop.
    fn step(&mut self, pool: &P, round: u32) -> bool;
}
