//! Which virtual routers are served here, and which by another director?
//!
//! A word for each, that the program reads when a new connection comes in, and the MACs by which this host is reached. Whoever holds
//! a [`Gate`] opens and closes it by single stores, whatever else is being changed in the maps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lb_common::abi::MAX_ROUTERS;

use super::own_macs::OwnMacs;
use super::region::Region;
use crate::core::hop::Mac;

/// The switch between serving new connections and leaving them to another director. All clones are one.
#[derive(Clone, Debug)]
pub struct Gate {
    standby: Arc<Region>,
    own_macs: OwnMacs,
}

impl Gate {
    /// Over the maps `STANDBY` and `OWNMACS`.
    pub(super) fn new(standby: Region, own_macs: Region) -> Self {
        Self {
            standby: Arc::new(standby),
            own_macs: OwnMacs::new(own_macs),
        }
    }

    /// One that nobody reads: without a data plane.
    pub fn in_memory() -> io::Result<Self> {
        Ok(Self {
            standby: Arc::new(Region::in_memory(MAX_ROUTERS, 8)?),
            own_macs: OwnMacs::in_memory()?,
        })
    }

    /// The MACs by which this host is reached.
    pub const fn own_macs(&self) -> &OwnMacs {
        &self.own_macs
    }

    /// Serves the new connections of a virtual router, and takes frames for the MAC of its own that it has on an interface, if it has one.
    pub fn open(&self, router: u32, at: Option<(u32, Mac)>) {
        self.own_macs.set_router(router, at);
        self.set(router, true);
    }

    /// Leaves the new connections of a virtual router, and frames for a MAC of its own, to another director.
    pub fn close(&self, router: u32) {
        self.set(router, false);
        self.own_macs.set_router(router, None);
    }

    /// Number 0 is none, and always served.
    fn set(&self, router: u32, serves: bool) {
        if router == 0 {
            return;
        }
        if let Some(word) = self.standby.word(router) {
            word.store(u64::from(!serves), Ordering::Release);
        }
    }

    /// Whether new connections of a virtual router are served.
    pub fn serves(&self, router: u32) -> bool {
        let word = self.standby.word(router);
        word.is_some_and(|word| word.load(Ordering::Acquire) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::station::Station;

    #[test]
    fn each_virtual_router_is_switched_by_itself_and_none_is_always_served() {
        let gate = Gate::in_memory().unwrap();
        gate.close(1);
        gate.close(0);
        assert_eq!([0, 1, 2].map(|n| gate.serves(n)), [true, false, true]);
        let same = gate.clone();
        same.open(1, None);
        assert!(gate.serves(1));
        assert!(!gate.serves(MAX_ROUTERS), "there is none");
    }

    #[test]
    fn a_virtual_mac_is_taken_while_its_virtual_router_is_served() {
        let gate = Gate::in_memory().unwrap();
        let own = Mac::new([2, 0, 0, 0, 0, 1]).unwrap();
        let of_router = Mac::new([0, 0, 0x5e, 0, 1, 51]).unwrap();
        gate.own_macs().set_stations(vec![Station {
            ifindex: 2,
            macs: [own].into(),
            gets: [2].into(),
        }]);
        let takes = || [own, of_router].map(|mac| gate.own_macs().has(2, mac));
        assert_eq!(takes(), [true, false]);
        gate.open(1, Some((2, of_router)));
        assert_eq!(takes(), [true, true]);
        gate.close(1);
        assert_eq!(takes(), [true, false]);
    }
}
