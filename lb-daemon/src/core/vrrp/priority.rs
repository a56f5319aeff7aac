//! A virtual router's priority.

use std::fmt;

/// 1 to 255: who has the highest is master. 255 is the owner of the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Of the owner of the addresses.
    pub const OWNER: Self = Self(255);
    /// Of the slowest backup.
    pub const LOWEST: Self = Self(1);
    /// What RFC 9568 gives a backup by default.
    pub const DEFAULT: Self = Self(100);

    /// The priority of a number; 0 is none, but says that a master leaves.
    pub const fn new(n: u8) -> Option<Self> {
        if n == 0 { None } else { Some(Self(n)) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether it is the owner's.
    pub const fn is_owner(self) -> bool {
        self.0 == 255
    }

    /// Moved by the weights of what is tracked: it stays between 1 and 254, and an owner's stays as it is.
    #[must_use]
    pub fn shifted(self, by: i32) -> Self {
        if self.is_owner() {
            return self;
        }
        let moved = i32::from(self.0).saturating_add(by).clamp(1, 254);
        Self(u8::try_from(moved).unwrap_or(self.0))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_never_make_an_owner_or_a_leaver() {
        let hundred = Priority::DEFAULT;
        assert_eq!(hundred.shifted(-50).get(), 50);
        assert_eq!(hundred.shifted(-1000).get(), 1);
        assert_eq!(hundred.shifted(i32::MAX).get(), 254);
        assert_eq!(Priority::OWNER.shifted(-50), Priority::OWNER);
        assert_eq!(Priority::new(0), None);
    }
}
