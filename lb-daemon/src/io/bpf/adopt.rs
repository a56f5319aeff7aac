//! What did an earlier daemon leave in the maps?
//!
//! Everything that a daemon knows of the maps is read from them here: which service has which index, which
//! generation and blocks are current, which slots real servers have. What an interrupted change wrote aside
//! is not referred to by anything, and so is free again without further ado.

use std::collections::{BTreeMap, HashSet};

use lb_common::abi::{Member, Method, Real, real};
use lb_common::sched::Scheduler;

use super::alloc::Block;
use super::error::MapError;
use super::grace::Grace;
use super::layout::EGRESS;
use super::ledger;
use super::maps::Maps;
use super::state::{Phase, RealServer, Room, Service, State, Written};
use crate::core::desired::ServiceId;
use crate::core::schedule::{Course, Entry};

impl State {
    /// Goes on with maps that an earlier daemon wrote.
    pub(super) fn adopt(maps: Maps, grace: Grace) -> Result<Self, MapError> {
        let mut state = Self::new(maps, grace);
        state.read()?;
        Ok(state)
    }

    /// Forgets what is known of the maps, and reads it again. For when a write failed half-way.
    pub(super) fn reread(&mut self) -> Result<(), MapError> {
        self.room = Room::new(&self.maps);
        self.services.clear();
        self.reals.clear();
        self.leaving.clear();
        self.retired.clear();
        self.profiles.fill(None);
        self.read()
    }

    fn read(&mut self) -> Result<(), MapError> {
        // Packets that found something in a generation which is free now may still be on their way.
        self.grace.wait();
        self.read_egress()?;
        self.nat_keys = self.maps.nat_reals()?.into_iter().collect();
        self.closed = self.maps.closed()?.into_iter().collect();
        self.read_reals()?;
        self.read_services()?;
        self.keep_filter = self.services.values().any(Service::is_removed);
        self.settle_reals();
        Ok(())
    }

    fn read_egress(&mut self) -> Result<(), MapError> {
        for slot in 0..EGRESS {
            let ifindex = self.maps.egress(slot)?;
            if let Some(entry) = self.egress.get_mut(slot as usize) {
                *entry = ifindex;
            }
        }
        Ok(())
    }

    fn read_reals(&mut self) -> Result<(), MapError> {
        for slot in 0..self.maps.reals_len() {
            let record = self.maps.real(slot)?;
            if record.flags & (real::USED | real::REMOVED) == 0 {
                continue;
            }
            self.room.reals.mark(slot);
            self.read_profile(record.profile)?;
            // A record of no method is no work of ours; as one of DR it drains at once.
            let method = Method::from_number(record.method).unwrap_or(Method::Dr);
            let phase = if record.flags & real::REMOVED == 0 {
                Phase::Live
            } else {
                Phase::Draining
            };
            self.reals.insert(
                slot,
                RealServer {
                    record,
                    method,
                    phase,
                    inherited_hop: record.dst != 0,
                },
            );
        }
        Ok(())
    }

    fn read_services(&mut self) -> Result<(), MapError> {
        let mut keys: BTreeMap<u32, Vec<ServiceId>> = BTreeMap::new();
        for (key, service) in self.maps.service_keys()? {
            keys.entry(service).or_default().push(key);
        }
        for service in 0..self.maps.services_len() {
            let listed = keys.remove(&service).unwrap_or_default();
            let Some(key) = ledger::key(&self.maps, service)?.or(listed.first().copied()) else {
                continue;
            };
            ledger::finish(&mut self.maps, service)?;
            self.room.services.mark(service);
            let mut known = Service {
                keys: listed,
                ..Service::new(key)
            };
            if !known.is_removed()
                && let Some(written) = self.read_generation(service)?
            {
                known.course = self.read_course(&written)?;
                known.written = Some(written);
            }
            self.services.insert(service, known);
        }
        Ok(())
    }

    /// A service's current generation; `None` if it is not whole. The next change writes another one then.
    fn read_generation(&mut self, service: u32) -> Result<Option<Written>, MapError> {
        let index = self.maps.current(service)?;
        let Ok(generation) = self.maps.generation(index) else {
            return Ok(None);
        };
        let plan = generation.plan;
        let written = Written {
            index,
            plan,
            entries: Vec::new(),
            members: Block {
                start: plan.members_off,
                len: plan.members_len,
            },
            schedule: Block {
                start: plan.slots_off,
                len: plan.slots_len,
            },
            fallback: Block {
                start: plan.fallback_off,
                len: plan.fallback_len.div_ceil(4),
            },
        };
        if plan.service != service
            || Scheduler::from_number(plan.scheduler).is_none()
            || !self.mark(&written)
        {
            return Ok(None);
        }
        self.read_profile(plan.profile.into())?;
        let members = self.maps.members(plan.members_off, plan.members_len)?;
        let entries = members.iter().filter_map(|m| self.entry(m)).collect();
        Ok(Some(Written { entries, ..written }))
    }

    fn mark(&mut self, written: &Written) -> bool {
        self.room.generations.mark(written.index)
            && self.room.members.mark(written.members)
            && self.room.slots.mark(written.schedule)
            && self.room.slots.mark(written.fallback)
    }

    fn entry(&self, member: &Member) -> Option<Entry> {
        let server = self.reals.get(&member.real)?;
        let Real {
            upper,
            lower,
            flags,
            ..
        } = server.record;
        Some(Entry {
            id: server.addr(),
            slot: member.real,
            weight: member.weight,
            upper,
            lower,
            out: flags & real::DOWN != 0,
        })
    }

    fn read_course(&self, written: &Written) -> Result<Course, MapError> {
        let Some(scheduler) = Scheduler::from_number(written.plan.scheduler) else {
            return Ok(Course::default());
        };
        let members = self
            .maps
            .members(written.members.start, written.members.len)?;
        let entries = members
            .into_iter()
            .filter_map(|m| Some((self.entry(&m)?, m)))
            .collect();
        Ok(Course::adopt(scheduler, written.plan.start, entries))
    }

    fn read_profile(&mut self, profile: u32) -> Result<(), MapError> {
        if let Ok(index) = u8::try_from(profile)
            && let Some(slot @ None) = self.profiles.get_mut(usize::from(index))
        {
            *slot = Some(self.maps.timeouts(index)?);
        }
        Ok(())
    }

    /// Real servers of services that are gone drain; those that a generation names are in use, whatever their flags say.
    fn settle_reals(&mut self) {
        let named: HashSet<u32> = self
            .services
            .values()
            .filter_map(|s| s.written.as_ref())
            .flat_map(|w| w.entries.iter().map(|e| e.slot))
            .collect();
        for (slot, server) in &mut self.reals {
            let gone = self
                .services
                .get(&server.record.service)
                .is_none_or(Service::is_removed);
            if gone {
                server.phase = Phase::Draining;
            } else if named.contains(slot) {
                server.phase = Phase::Live;
            }
            if !server.is_live() {
                self.leaving.insert(*slot);
                if server.is_cut() {
                    self.cut.push(*slot);
                }
            }
        }
    }
}
