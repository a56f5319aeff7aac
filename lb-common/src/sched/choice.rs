//! Who was chosen, in one word: a function of a BPF program returns no more than that.

use core::num::NonZeroU64;

use crate::abi::Member;

/// The member that takes a connection.
///
/// ```text
///   63   62  49  48  32  31   16  15   0
/// | 1  |  zero | real | weight | index |
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Choice(NonZeroU64);

const IS_SOMEBODY: u64 = 1 << 63;

impl Choice {
    /// The member at a place of the list.
    #[inline(always)]
    pub(super) const fn of(index: u32, member: Member) -> Self {
        Self::from_word(Self::word(index, member))
    }

    /// The word of a member.
    #[inline(always)]
    pub(super) const fn word(index: u32, member: Member) -> u64 {
        IS_SOMEBODY
            | (member.real as u64) << 32
            | (member.weight as u64) << 16
            | (index & 0xFFFF) as u64
    }

    #[inline(always)]
    const fn from_word(word: u64) -> Self {
        match NonZeroU64::new(word | IS_SOMEBODY) {
            Some(word) => Self(word),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// The choice of a word, where 0 is none.
    #[inline(always)]
    pub(super) const fn from_any_word(word: u64) -> Option<Self> {
        match NonZeroU64::new(word) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    /// Its place in the generation's list.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        (self.0.get() & 0xFFFF) as u32
    }

    /// Its slot in `REALS`.
    #[inline(always)]
    pub const fn real(self) -> u32 {
        (self.0.get() >> 32) as u32 & crate::abi::MAX_REALS
    }

    /// Its weight.
    #[inline(always)]
    pub const fn weight(self) -> u32 {
        (self.0.get() >> 16) as u32 & 0xFFFF
    }
}

impl core::fmt::Debug for Choice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Choice")
            .field("index", &self.index())
            .field("real", &self.real())
            .field("weight", &self.weight())
            .finish()
    }
}

/// A place for a choice that a loop may find: a word, because a missing one's other fields would not be written.
#[derive(Clone, Copy)]
pub(super) struct Found(u64);

impl Found {
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    pub(super) const fn set(&mut self, index: u32, member: Member) {
        self.0 = Choice::word(index, member);
    }

    #[inline(always)]
    pub(super) const fn is_some(self) -> bool {
        self.0 != 0
    }

    #[inline(always)]
    pub(super) const fn get(self) -> Option<Choice> {
        Choice::from_any_word(self.0)
    }
}

impl From<Option<Choice>> for Found {
    #[inline(always)]
    fn from(choice: Option<Choice>) -> Self {
        Self(choice.map_or(0, |choice| choice.0.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::MAX_REALS;

    #[test]
    fn a_choice_keeps_its_parts() {
        let member = Member {
            real: MAX_REALS,
            weight: u16::MAX,
            last_weight: 1,
        };
        let choice = Choice::of(1023, member);
        assert_eq!(
            (choice.index(), choice.real(), choice.weight()),
            (1023, MAX_REALS, 65535)
        );
        let first = Choice::of(0, Member::default());
        assert_eq!((first.index(), first.real(), first.weight()), (0, 0, 0));
        assert_eq!(size_of::<Option<Choice>>(), 8);
    }
}
