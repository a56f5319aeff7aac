//! By which MACs is this host reached on each interface, as the program knows them?

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lb_common::abi::{NO_MAC, OWN_MACS, OwnMacs as Record, own_macs_place};
use lb_common::packet::wire::mac_word;

use super::region::{self, Region};
use crate::core::hop::Mac;
use crate::core::station::Station;

/// The MACs of this host, those of virtual routers that it is master of among them. All clones are one.
#[derive(Clone, Debug)]
pub struct OwnMacs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    region: Region,
    /// Held for as long as a few hundred words take.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    stations: Vec<Station>,
    /// The interface and the MAC of each virtual router that is served.
    routers: BTreeMap<u32, (u32, Mac)>,
}

/// Why the program takes every frame that comes in by an interface, whomever it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crowd {
    /// This host has so many MACs there, more than the program compares.
    Macs(usize),
    /// Its record has the place of that of another interface, of this index.
    Place(u32),
}

impl OwnMacs {
    pub(super) fn new(region: Region) -> Self {
        Self(Arc::new(Shared {
            region,
            known: Mutex::default(),
        }))
    }

    pub(super) fn in_memory() -> io::Result<Self> {
        Ok(Self::new(Region::in_memory(
            OWN_MACS,
            size_of::<Record>() as u32,
        )?))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the interfaces at which the program sees frames.
    pub fn set_stations(&self, stations: Vec<Station>) {
        let mut known = self.known();
        known.stations = stations;
        self.write(&known);
    }

    /// A virtual router is served at a MAC of its own on an interface, or at none.
    pub(super) fn set_router(&self, router: u32, at: Option<(u32, Mac)>) {
        let mut known = self.known();
        let before = match at {
            Some(at) => known.routers.insert(router, at),
            None => known.routers.remove(&router),
        };
        if before != at {
            self.write(&known);
        }
    }

    /// The interfaces where the program takes every frame, and why.
    pub fn crowds(&self) -> Vec<(u32, Crowd)> {
        let known = self.known();
        let crowd = |station: &Station| Some((station.ifindex, known.record(station).err()?));
        known.stations.iter().filter_map(crowd).collect()
    }

    /// Whether the program takes a frame for a MAC that comes in by an interface.
    pub fn has(&self, ifindex: u32, mac: Mac) -> bool {
        let words = self.0.region.entry(own_macs_place(ifindex));
        let record = words.and_then(region::load::<Record>);
        record.is_some_and(|record| record.has(ifindex, mac_word(mac.bytes())))
    }

    /// Writes what differs. A MAC that stays keeps its place in the record, so that the program finds it at every moment.
    fn write(&self, known: &Known) {
        for place in 0..OWN_MACS {
            let Some(([ifindex, macs @ ..], record)) = self
                .0
                .region
                .entry(place)
                .map(|words| (words, known.record_at(place)))
            else {
                continue;
            };
            let Some((of, wanted)) = record else {
                ifindex.store(0, Ordering::Release);
                continue;
            };
            if ifindex.load(Ordering::Acquire) != of {
                // Another interface's: everything is let through until all are written.
                ifindex.store(0, Ordering::Release);
            }
            let mut missing = wanted.clone();
            missing.retain(|mac| macs.iter().all(|has| has.load(Ordering::Acquire) != *mac));
            for has in macs {
                if !wanted.contains(&has.load(Ordering::Acquire)) {
                    has.store(missing.pop_first().unwrap_or(NO_MAC), Ordering::Release);
                }
            }
            ifindex.store(of, Ordering::Release);
        }
    }
}

impl Known {
    /// The index of the interface whose record is at a place, and its MACs; `None` where the program is to take everything.
    fn record_at(&self, place: u32) -> Option<(u64, BTreeSet<u64>)> {
        let mut here = self.stations.iter();
        let station = here.find(|station| own_macs_place(station.ifindex) == place)?;
        Some((station.ifindex.into(), self.record(station).ok()?))
    }

    /// The MACs by which this host is reached at a station.
    fn record(&self, station: &Station) -> Result<BTreeSet<u64>, Crowd> {
        let place = own_macs_place(station.ifindex);
        let mut others = self.stations.iter().map(|other| other.ifindex);
        let other = others.find(|i| *i != station.ifindex && own_macs_place(*i) == place);
        if let Some(other) = other {
            return Err(Crowd::Place(other));
        }
        let routers = self.routers.values();
        let routers = routers.filter(|(ifindex, _)| station.gets.contains(ifindex));
        let macs = station.macs.iter().chain(routers.map(|(_, mac)| mac));
        let macs: BTreeSet<u64> = macs.map(|mac| mac_word(mac.bytes())).collect();
        if macs.len() > Record::MOST {
            return Err(Crowd::Macs(macs.len()));
        }
        Ok(macs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> Mac {
        Mac::new([2, 0, 0, 0, 0, last]).unwrap()
    }

    fn station(ifindex: u32, macs: impl IntoIterator<Item = u8>) -> Station {
        Station {
            ifindex,
            macs: macs.into_iter().map(mac).collect(),
            gets: BTreeSet::from([ifindex]),
        }
    }

    #[test]
    fn before_anything_is_known_every_frame_is_taken() {
        let own = OwnMacs::in_memory().unwrap();
        assert!(own.has(2, mac(9)));
        own.set_stations(vec![station(2, [1])]);
        assert!(own.has(2, mac(1)) && !own.has(2, mac(9)));
        assert!(own.has(3, mac(9)), "of the others nothing is known");
        own.set_stations(Vec::new());
        assert!(own.has(2, mac(9)));
    }

    #[test]
    fn macs_come_and_go_and_those_that_stay_keep_their_place() {
        let own = OwnMacs::in_memory().unwrap();
        let words = || -> Vec<u64> {
            let entry = own.0.region.entry(2).unwrap();
            entry.iter().map(|w| w.load(Ordering::Acquire)).collect()
        };
        own.set_stations(vec![station(2, [1, 2, 3])]);
        let before = words();
        own.set_stations(vec![station(2, [3, 4])]);
        let after = words();
        assert_eq!(before[3], after[3]);
        assert_eq!(
            [1, 2, 3, 4].map(|n| own.has(2, mac(n))),
            [false, false, true, true]
        );
    }

    #[test]
    fn a_virtual_routers_mac_is_taken_where_its_interface_gets_frames_while_it_is_served() {
        let own = OwnMacs::in_memory().unwrap();
        let mut vlans = station(2, [1]);
        vlans.gets.insert(7);
        own.set_stations(vec![vlans, station(3, [2])]);
        own.set_router(1, Some((7, mac(51))));
        assert!(own.has(2, mac(51)) && !own.has(3, mac(51)));
        own.set_router(1, Some((3, mac(51))));
        assert!(!own.has(2, mac(51)) && own.has(3, mac(51)));
        own.set_router(1, None);
        assert!(!own.has(3, mac(51)) && own.has(3, mac(2)));
    }

    #[test]
    fn where_there_are_too_many_every_frame_is_taken() {
        let own = OwnMacs::in_memory().unwrap();
        own.set_stations(vec![station(2, 1..=7), station(3, [1]), station(67, [1])]);
        assert!(!own.has(2, mac(9)) && own.has(3, mac(9)) && own.has(67, mac(9)));
        own.set_router(1, Some((2, mac(8))));
        assert!(own.has(2, mac(9)));
        let crowds = [
            (2, Crowd::Macs(8)),
            (3, Crowd::Place(67)),
            (67, Crowd::Place(3)),
        ];
        assert_eq!(own.crowds(), crowds);
        own.set_router(1, None);
        own.set_stations(vec![station(2, 1..=7), station(67, [1])]);
        assert!(!own.has(2, mac(9)) && !own.has(67, mac(9)));
        assert_eq!(own.crowds(), []);
    }
}
