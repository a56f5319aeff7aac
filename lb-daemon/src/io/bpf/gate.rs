//! Which virtual routers are served here, and which by another director?
//!
//! A word for each, that the program reads when a new connection comes in. Whoever holds a [`Gate`] opens and closes it
//! by one store, whatever else is being changed in the maps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lb_common::abi::MAX_ROUTERS;

use super::region::Region;

/// The switch between serving new connections and leaving them to another director. All clones are one.
#[derive(Clone, Debug)]
pub struct Gate(pub(super) Arc<Region>);

impl Gate {
    /// One that nobody reads: without a data plane.
    pub fn in_memory() -> io::Result<Self> {
        Ok(Self(Arc::new(Region::in_memory(MAX_ROUTERS, 8)?)))
    }

    /// Serves the new connections of a virtual router, or leaves them to another director. Number 0 is none, and always served.
    pub fn set(&self, router: u32, serves: bool) {
        if router == 0 {
            return;
        }
        if let Some(word) = self.0.word(router) {
            word.store(u64::from(!serves), Ordering::Release);
        }
    }

    /// Whether new connections of a virtual router are served.
    pub fn serves(&self, router: u32) -> bool {
        let word = self.0.word(router);
        word.is_some_and(|word| word.load(Ordering::Acquire) == 0)
    }

    /// Serves everything, as without virtual routers.
    pub fn open_all(&self) {
        (1..MAX_ROUTERS).for_each(|router| self.set(router, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_virtual_router_is_switched_by_itself_and_none_is_always_served() {
        let gate = Gate::in_memory().unwrap();
        gate.set(1, false);
        gate.set(0, false);
        assert_eq!([0, 1, 2].map(|n| gate.serves(n)), [true, false, true]);
        let same = gate.clone();
        same.set(1, true);
        assert!(gate.serves(1));
        assert!(!gate.serves(MAX_ROUTERS), "there is none");
    }
}
