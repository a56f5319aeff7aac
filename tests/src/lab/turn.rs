//! Which tests of a program run at the same time?
//!
//! A test that measures how long something takes has the machine for itself, however many threads run tests. Those that only
//! wait until something has happened say so, and run beside each other.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::new(());

/// The right to run, until it is dropped.
#[derive(Debug)]
pub enum Turn {
    /// Alone.
    Alone(RwLockWriteGuard<'static, ()>),
    /// Beside others that may.
    BesideOthers(RwLockReadGuard<'static, ()>),
}

impl Turn {
    /// Waits until nobody else runs.
    pub fn alone() -> Self {
        Self::Alone(TURN.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nobody runs who has to be alone.
    pub fn beside_others() -> Self {
        Self::BesideOthers(TURN.read().unwrap_or_else(PoisonError::into_inner))
    }
}
