//! What do the maps say of services and real servers?

use std::collections::BTreeMap;
use std::time::Instant;

use lb_common::abi::{Method, real};

use super::error::MapError;
use super::ledger;
use super::rates::{Estimator, PERIOD};
use super::report::{Rates, RealReading, ServiceReading, TrafficSum};
use super::state::{RealServer, Service, State};

/// How fast the traffic of each real server and each service grows.
///
/// To look at a real server is a system call, so a few services are looked at each time, and each of them every two
/// seconds.
#[derive(Debug, Default)]
pub(super) struct Growth {
    reals: Estimator<u32>,
    services: Estimator<u32>,
    /// Services that have not been looked at in this round, and their real servers.
    due: Vec<(u32, Vec<u32>)>,
    /// How many there were when the round began, and when that was.
    round: Option<(usize, Instant)>,
}

impl State {
    /// Looks at as much traffic as is due, for its growth.
    pub(super) fn look_at_growth(&self, growth: &mut Growth, now: Instant) -> Result<(), MapError> {
        let (len, began) = match growth.round {
            Some(round) if now.saturating_duration_since(round.1) < PERIOD => round,
            _ => self.begin_round(growth, now),
        };
        let passed = now.saturating_duration_since(began).as_secs_f64() / PERIOD.as_secs_f64();
        // All of them before the round is over.
        let done = (len as f64 * passed * 1.1).ceil() as usize;
        while growth.due.len() + done > len
            && let Some((service, slots)) = growth.due.pop()
        {
            let mut sum = ledger::traffic(&self.maps, service)?;
            for slot in slots {
                let traffic = self.maps.traffic(slot)?;
                growth.reals.look(slot, now, traffic);
                sum = sum.plus(traffic);
            }
            growth.services.look(service, now, sum);
        }
        Ok(())
    }

    fn begin_round(&self, growth: &mut Growth, now: Instant) -> (usize, Instant) {
        growth.reals.retain(|slot| self.reals.contains_key(slot));
        growth
            .services
            .retain(|index| self.services.contains_key(index));
        let mut due: Vec<_> = self.slots_by_service().into_iter().collect();
        // They are taken from the end.
        due.reverse();
        let round = (due.len(), now);
        growth.due = due;
        growth.round = Some(round);
        round
    }

    /// The slots of every service.
    fn slots_by_service(&self) -> BTreeMap<u32, Vec<u32>> {
        let mut slots: BTreeMap<u32, Vec<u32>> = self
            .services
            .keys()
            .map(|index| (*index, Vec::new()))
            .collect();
        for (slot, server) in &self.reals {
            if let Some(of) = slots.get_mut(&server.record.service) {
                of.push(*slot);
            }
        }
        slots
    }

    /// Every service, in the order of their indices, with its real servers.
    pub(super) fn read_all(
        &self,
        growth: &Growth,
        templates: impl Fn(u32) -> u32,
    ) -> Result<Vec<ServiceReading>, MapError> {
        let mut readings = Vec::with_capacity(self.services.len());
        for (index, slots) in self.slots_by_service() {
            let Some(service) = self.services.get(&index).filter(|s| !s.is_removed()) else {
                continue;
            };
            let mut reading = self.read_service(index, service, &slots, growth)?;
            for real in reading.reals.iter_mut().chain(&mut reading.draining) {
                real.templates = templates(real.slot);
            }
            // What is only kept because clients would come back to it, were it added again, is gone for everybody else.
            reading
                .draining
                .retain(|r| r.templates == 0 || r.active + r.inactive > 0);
            readings.push(reading);
        }
        Ok(readings)
    }

    fn read_service(
        &self,
        index: u32,
        service: &Service,
        slots: &[u32],
        growth: &Growth,
    ) -> Result<ServiceReading, MapError> {
        let mut reading = ServiceReading {
            id: service.key,
            reals: Vec::new(),
            draining: Vec::new(),
            traffic: ledger::traffic(&self.maps, index)?,
            rates: growth.services.rates(&index),
        };
        let mut read: BTreeMap<u32, RealReading> = BTreeMap::new();
        for slot in slots {
            let Some(server) = self.reals.get(slot) else {
                continue;
            };
            let real = self.read_real(*slot, server, growth.reals.rates(slot))?;
            reading.traffic = reading.traffic.plus(real.traffic);
            read.insert(*slot, real);
        }
        let entries = service.written.as_ref().map_or(&[][..], |w| &w.entries);
        for entry in entries {
            let real = read.remove(&entry.slot);
            reading.reals.extend(real.map(|r| RealReading {
                weight: entry.weight.into(),
                ..r
            }));
        }
        reading.draining = read.into_values().collect();
        Ok(reading)
    }

    fn read_real(
        &self,
        slot: u32,
        server: &RealServer,
        rates: Rates,
    ) -> Result<RealReading, MapError> {
        let record = &server.record;
        let load = self.maps.load(slot)?;
        let local = record.method == Method::Local as u8;
        let traffic: TrafficSum = self.maps.traffic(slot)?;
        Ok(RealReading {
            slot,
            addr: server.addr(),
            method: if local { Method::Local } else { server.method },
            weight: 0,
            active: load.active(),
            inactive: load.inactive(),
            templates: 0,
            overloaded: load.overloaded(),
            down: record.flags & real::DOWN != 0,
            resolved: local || record.dst != 0,
            traffic,
            rates,
        })
    }
}
