//! All maps of the data plane, typed.
//!
//! Every write passes here and is counted. A test can have the writing end after any of them, as a kill would.

mod connections;
mod words;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lb_common::abi::{Generation, Load, Locality, Member, Real, Settings, Timeouts, map};

use super::error::MapError;
use super::family::Family;
use super::gate::Gate;
use super::layout::{LEDGER, Layout};
use super::region::{self, Region};
use super::report::TrafficSum;
use super::state::Source;
use super::tables::Tables;
use super::templates::Templates;
use crate::core::desired::ServiceId;
pub(super) use connections::Connections;
use connections::Conns;
pub(super) use words::RealWord;
use words::{Writes, beyond, entry, read, store, store_if_other, word, write};

/// All maps of the data plane.
#[derive(Debug)]
pub(super) struct Maps {
    settings: Region,
    current: Region,
    gate: Gate,
    conns4: Arc<Region>,
    conns6: Arc<Region>,
    generations: Region,
    members: Region,
    slots: Region,
    reals: Arc<Region>,
    loads: Arc<Region>,
    filter: Region,
    timeouts: Arc<Region>,
    ledger: Region,
    tables: Box<dyn Tables>,
    writes: Writes,
}

impl Maps {
    /// Over regions that `open` makes, and tables.
    pub(super) fn new(
        layouts: &[Layout],
        mut open: impl FnMut(&Layout) -> Result<Region, MapError>,
        tables: Box<dyn Tables>,
    ) -> Result<Self, MapError> {
        let mut region = |name: &'static str| match layouts.iter().find(|l| l.name == name) {
            Some(layout) => open(layout),
            None => Err(MapError {
                action: "find",
                map: name,
                source: io::ErrorKind::NotFound.into(),
            }),
        };
        Ok(Self {
            settings: region(map::SETTINGS)?,
            current: region(map::CURRENT)?,
            gate: Gate::new(region(map::STANDBY)?, region(map::OWNMACS)?),
            conns4: Arc::new(region(map::CONNS4)?),
            conns6: Arc::new(region(map::CONNS6)?),
            generations: region(map::GENERATIONS)?,
            members: region(map::MEMBERS)?,
            slots: region(map::SLOTS)?,
            reals: Arc::new(region(map::REALS)?),
            loads: Arc::new(region(map::LOADS)?),
            filter: region(map::FILTER)?,
            timeouts: Arc::new(region(map::TIMEOUTS)?),
            ledger: region(LEDGER)?,
            tables,
            writes: Writes::default(),
        })
    }

    /// The switch between master and standby, to be held apart from the rest.
    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// What a walk over the connection table needs, to be held apart from the rest.
    pub(super) fn connections(&self) -> Result<Connections, MapError> {
        let Settings {
            bucket_mask,
            bucket_mask6,
            hash_key,
            ..
        } = self.settings()?;
        Ok(Connections {
            conns4: Conns::new(Arc::clone(&self.conns4), bucket_mask),
            conns6: Conns::new(Arc::clone(&self.conns6), bucket_mask6),
            reals: Arc::clone(&self.reals),
            loads: Arc::clone(&self.loads),
            timeouts: Arc::clone(&self.timeouts),
            key: hash_key,
        })
    }

    /// How many writes there were so far.
    pub(super) fn writes(&self) -> u64 {
        self.writes.done
    }

    /// From the `n`th further write on, everything fails: what a kill at that moment leaves behind.
    pub(super) fn stop_after(&mut self, n: u64) {
        self.writes.stop_at = Some(self.writes.done + n);
    }

    /// How many services there can be.
    pub(super) fn services_len(&self) -> u32 {
        self.current.len()
    }

    /// How many generations there can be.
    pub(super) fn generations_len(&self) -> u32 {
        self.generations.len()
    }

    /// How many real servers there can be.
    pub(super) fn reals_len(&self) -> u32 {
        self.reals.len()
    }

    /// How many words schedules can take.
    pub(super) fn slots_len(&self) -> u32 {
        self.slots.len()
    }

    /// What holds for the whole data plane.
    pub(super) fn settings(&self) -> Result<Settings, MapError> {
        read(&self.settings, 0, map::SETTINGS)
    }

    /// Sets what holds for the whole data plane, each word that differs by one store.
    pub(super) fn set_settings(&mut self, settings: &Settings) -> Result<(), MapError> {
        let words = entry(&self.settings, 0, map::SETTINGS)?;
        for (to, from) in words.iter().zip(region::words(settings)) {
            store_if_other(&mut self.writes, to, from, map::SETTINGS)?;
        }
        Ok(())
    }

    /// The index of a service's current generation.
    pub(super) fn current(&self, service: u32) -> Result<u32, MapError> {
        Ok(word(&self.current, service, map::CURRENT)?.load(Ordering::Acquire) as u32)
    }

    /// Makes a generation a service's current one, together with all that was written before.
    pub(super) fn set_current(&mut self, service: u32, generation: u32) -> Result<(), MapError> {
        let word = word(&self.current, service, map::CURRENT)?;
        store(&mut self.writes, word, generation.into(), map::CURRENT)
    }

    /// A generation; [`Generation::turn`] moves all the time.
    pub(super) fn generation(&self, index: u32) -> Result<Generation, MapError> {
        read(&self.generations, index, map::GENERATIONS)
    }

    /// Writes a generation that nobody reads yet.
    pub(super) fn set_generation(
        &mut self,
        index: u32,
        generation: &Generation,
    ) -> Result<(), MapError> {
        write(
            &mut self.writes,
            &self.generations,
            index,
            generation,
            map::GENERATIONS,
        )
    }

    /// Members of a generation.
    pub(super) fn members(&self, start: u32, len: u32) -> Result<Vec<Member>, MapError> {
        let words = self
            .members
            .words(start as usize, len as usize)
            .ok_or_else(|| beyond(map::MEMBERS))?;
        words
            .chunks(1)
            .map(|word| region::load(word).ok_or_else(|| beyond(map::MEMBERS)))
            .collect()
    }

    /// Writes members that nobody reads yet.
    pub(super) fn set_members(&mut self, start: u32, members: &[Member]) -> Result<(), MapError> {
        let words = self
            .members
            .words(start as usize, members.len())
            .ok_or_else(|| beyond(map::MEMBERS))?;
        self.writes.count(map::MEMBERS)?;
        for (to, from) in words.iter().zip(members.iter().flat_map(region::words)) {
            to.store(from, Ordering::Release);
        }
        Ok(())
    }

    /// Words of schedules.
    pub(super) fn slots(&self, start: u32, len: u32) -> Result<Vec<u64>, MapError> {
        let words = self
            .slots
            .words(start as usize, len as usize)
            .ok_or_else(|| beyond(map::SLOTS))?;
        Ok(words.iter().map(|w| w.load(Ordering::Acquire)).collect())
    }

    /// Writes words of schedules that nobody reads yet.
    pub(super) fn set_slots(&mut self, start: u32, slots: &[u64]) -> Result<(), MapError> {
        if slots.is_empty() {
            return Ok(());
        }
        let words = self
            .slots
            .words(start as usize, slots.len())
            .ok_or_else(|| beyond(map::SLOTS))?;
        self.writes.count(map::SLOTS)?;
        for (to, from) in words.iter().zip(slots) {
            to.store(*from, Ordering::Release);
        }
        Ok(())
    }

    /// A real server.
    pub(super) fn real(&self, slot: u32) -> Result<Real, MapError> {
        read(&self.reals, slot, map::REALS)
    }

    /// Writes a real server that nobody refers to.
    pub(super) fn set_real(&mut self, slot: u32, real: &Real) -> Result<(), MapError> {
        write(&mut self.writes, &self.reals, slot, real, map::REALS)
    }

    /// Changes one word of a real server, from what holds it in `real`; whether it differed.
    pub(super) fn set_real_word(
        &mut self,
        slot: u32,
        word: RealWord,
        real: &Real,
    ) -> Result<bool, MapError> {
        let words = entry(&self.reals, slot, map::REALS)?;
        let index = word as usize;
        match (words.get(index), region::words(real).nth(index)) {
            (Some(to), Some(value)) if to.load(Ordering::Acquire) != value => {
                store(&mut self.writes, to, value, map::REALS)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The connections that a real server has.
    pub(super) fn load(&self, slot: u32) -> Result<Load, MapError> {
        Ok(Load {
            conns: word(&self.loads, slot, map::LOADS)?.load(Ordering::Acquire),
        })
    }

    /// Adds to the connections of a real server, modulo 2^64.
    pub(super) fn add_load(&mut self, slot: u32, change: u64) -> Result<(), MapError> {
        self.writes.count(map::LOADS)?;
        word(&self.loads, slot, map::LOADS)?.fetch_add(change, Ordering::AcqRel);
        Ok(())
    }

    /// Clears a real server's connections and its overload flag.
    pub(super) fn clear_load(&mut self, slot: u32) -> Result<(), MapError> {
        let word = word(&self.loads, slot, map::LOADS)?;
        store_if_other(&mut self.writes, word, 0, map::LOADS)
    }

    /// Clears the overload flag of a real server, leaving its connections.
    pub(super) fn clear_overload(&mut self, slot: u32) -> Result<(), MapError> {
        let word = word(&self.loads, slot, map::LOADS)?;
        if word.load(Ordering::Acquire) & Load::OVERLOADED != 0 {
            self.writes.count(map::LOADS)?;
            word.fetch_and(!Load::OVERLOADED, Ordering::AcqRel);
        }
        Ok(())
    }

    /// A word of the filter.
    pub(super) fn filter(&self, at: u32) -> Result<u64, MapError> {
        word(&self.filter, at, map::FILTER).map(|w| w.load(Ordering::Acquire))
    }

    /// Sets a word of the filter.
    pub(super) fn set_filter(&mut self, at: u32, value: u64) -> Result<(), MapError> {
        let word = word(&self.filter, at, map::FILTER)?;
        store_if_other(&mut self.writes, word, value, map::FILTER)
    }

    /// A timeout profile.
    pub(super) fn timeouts(&self, profile: u8) -> Result<Timeouts, MapError> {
        read(&self.timeouts, profile.into(), map::TIMEOUTS)
    }

    /// Writes a timeout profile that nobody refers to.
    pub(super) fn set_timeouts(
        &mut self,
        profile: u8,
        timeouts: &Timeouts,
    ) -> Result<(), MapError> {
        write(
            &mut self.writes,
            &self.timeouts,
            profile.into(),
            timeouts,
            map::TIMEOUTS,
        )
    }

    /// A word of a service's record in the ledger.
    pub(super) fn ledger(&self, service: u32, word: usize) -> Result<u64, MapError> {
        let words = entry(&self.ledger, service, LEDGER)?;
        words
            .get(word)
            .map(|w| w.load(Ordering::Acquire))
            .ok_or_else(|| beyond(LEDGER))
    }

    /// Sets a word of a service's record in the ledger.
    pub(super) fn set_ledger(
        &mut self,
        service: u32,
        word: usize,
        value: u64,
    ) -> Result<(), MapError> {
        let words = entry(&self.ledger, service, LEDGER)?;
        let word = words.get(word).ok_or_else(|| beyond(LEDGER))?;
        store_if_other(&mut self.writes, word, value, LEDGER)
    }

    /// Every virtual address and port, with the index of its service.
    pub(super) fn service_keys(&self) -> Result<Vec<(ServiceId, u32)>, MapError> {
        self.tables.services()
    }

    /// Makes a virtual address and port a service's.
    pub(super) fn put_service_key(&mut self, key: ServiceId, index: u32) -> Result<(), MapError> {
        self.writes.count(Family::of(key.addr).maps().services)?;
        self.tables.put_service(key, index)
    }

    /// Makes a virtual address and port nobody's.
    pub(super) fn drop_service_key(&mut self, key: ServiceId) -> Result<(), MapError> {
        self.writes.count(Family::of(key.addr).maps().services)?;
        self.tables.drop_service(key)
    }

    /// Every virtual address that is closed, with how.
    pub(super) fn closed(&self) -> Result<Vec<(IpAddr, u32)>, MapError> {
        self.tables.closed()
    }

    /// Closes the ports of a virtual address that are of no service.
    pub(super) fn put_closed(&mut self, addr: IpAddr, how: u32) -> Result<(), MapError> {
        self.writes.count(Family::of(addr).maps().services)?;
        self.tables.put_closed(addr, how)
    }

    /// Leaves the ports of a virtual address that are of no service to the stack.
    pub(super) fn drop_closed(&mut self, addr: IpAddr) -> Result<(), MapError> {
        self.writes.count(Family::of(addr).maps().services)?;
        self.tables.drop_closed(addr)
    }

    /// Every source of replies, with the service that alone has it; `None` where several have.
    pub(super) fn nat_reals(&self) -> Result<Vec<(Source, Option<ServiceId>)>, MapError> {
        self.tables.nat_reals()
    }

    /// Lets packets from there be replies.
    pub(super) fn put_nat_real(
        &mut self,
        key: Source,
        service: Option<ServiceId>,
    ) -> Result<(), MapError> {
        self.writes
            .count(Family::of(key.addr.ip()).maps().nat_reals)?;
        self.tables.put_nat_real(key, service)
    }

    /// Lets no packet from there be a reply.
    pub(super) fn drop_nat_real(&mut self, key: Source) -> Result<(), MapError> {
        self.writes
            .count(Family::of(key.addr.ip()).maps().nat_reals)?;
        self.tables.drop_nat_real(key)
    }

    /// The interface of an egress slot; 0 is none.
    pub(super) fn egress(&self, slot: u32) -> Result<u32, MapError> {
        self.tables.egress(slot)
    }

    /// Sets the interface of an egress slot.
    pub(super) fn set_egress(&mut self, slot: u32, ifindex: u32) -> Result<(), MapError> {
        self.writes.count(map::EGRESS)?;
        self.tables.set_egress(slot, ifindex)
    }

    /// A real server's traffic, over all CPUs.
    pub(super) fn traffic(&self, slot: u32) -> Result<TrafficSum, MapError> {
        self.tables.traffic(slot)
    }

    /// Begins a real server's traffic at nothing.
    pub(super) fn clear_traffic(&mut self, slot: u32) -> Result<(), MapError> {
        self.writes.count(map::TRAFFIC)?;
        self.tables.clear_traffic(slot)
    }

    /// The persistent clients.
    pub(super) fn templates(&self) -> Arc<dyn Templates> {
        self.tables.templates()
    }

    /// What lblc and lblcr remember of a destination.
    pub(super) fn locality(
        &self,
        service: u32,
        destination: IpAddr,
    ) -> Result<Option<Locality>, MapError> {
        self.tables.locality(service, destination)
    }

    /// A counter, over all CPUs.
    pub(super) fn counter(&self, index: u32) -> Result<u64, MapError> {
        self.tables.counter(index)
    }
}
