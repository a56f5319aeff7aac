//! What do the maps say of services and real servers?

use std::collections::HashMap;

use lb_common::abi::{Method, real};

use super::error::MapError;
use super::ledger;
use super::rates::Estimator;
use super::report::{Rates, RealReading, ServiceReading, TrafficSum};
use super::state::{RealServer, Service, State, service_id};

/// How fast the traffic of each real server and each service grows.
#[derive(Debug, Default)]
pub(super) struct Growth {
    reals: Estimator<u32>,
    services: Estimator<u32>,
}

impl Growth {
    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: std::time::Instant) -> bool {
        self.reals.is_due(now)
    }
}

impl State {
    /// Every service, in the order of their indices, with its real servers.
    pub(super) fn services(&self, growth: &Growth) -> Result<Vec<ServiceReading>, MapError> {
        let traffic = self.traffic()?;
        let listed = self.services.iter().filter(|(_, s)| !s.is_removed());
        listed
            .filter_map(|(index, s)| self.service(*index, s, &traffic, growth).transpose())
            .collect()
    }

    /// Looks at all traffic for its growth.
    pub(super) fn look_at_growth(
        &self,
        growth: &mut Growth,
        now: std::time::Instant,
    ) -> Result<(), MapError> {
        let traffic = self.traffic()?;
        let mut services = Vec::with_capacity(self.services.len());
        for index in self.services.keys() {
            services.push((*index, self.service_traffic(*index, &traffic)?));
        }
        growth.services.look(now, services);
        growth.reals.look(now, traffic);
        Ok(())
    }

    /// Every real server's traffic, by slot.
    fn traffic(&self) -> Result<HashMap<u32, TrafficSum>, MapError> {
        self.reals
            .keys()
            .map(|slot| Ok((*slot, self.maps.traffic(*slot)?)))
            .collect()
    }

    /// The traffic of a service: of its real servers, and of those that are gone.
    fn service_traffic(
        &self,
        index: u32,
        traffic: &HashMap<u32, TrafficSum>,
    ) -> Result<TrafficSum, MapError> {
        let own = self.reals.iter().filter(|(_, r)| r.record.service == index);
        let sums = own.filter_map(|(slot, _)| traffic.get(slot));
        Ok(sums.fold(ledger::traffic(&self.maps, index)?, |sum, one| {
            sum.plus(*one)
        }))
    }

    fn service(
        &self,
        index: u32,
        service: &Service,
        traffic: &HashMap<u32, TrafficSum>,
        growth: &Growth,
    ) -> Result<Option<ServiceReading>, MapError> {
        let Some(id) = service_id(service.key) else {
            return Ok(None);
        };
        let entries = service.written.as_ref().map_or(&[][..], |w| &w.entries);
        let read = |slot: u32, weight: u16| -> Result<Option<RealReading>, MapError> {
            let Some(server) = self.reals.get(&slot) else {
                return Ok(None);
            };
            let sum = traffic.get(&slot).copied().unwrap_or_default();
            self.real(slot, server, weight, sum, growth.reals.rates(&slot))
                .map(Some)
        };
        let reals = entries
            .iter()
            .filter_map(|e| read(e.slot, e.weight).transpose());
        let draining = self
            .reals
            .iter()
            .filter(|(_, r)| r.record.service == index && !r.is_live());
        Ok(Some(ServiceReading {
            id,
            reals: reals.collect::<Result<_, _>>()?,
            draining: draining
                .filter_map(|(slot, _)| read(*slot, 0).transpose())
                .collect::<Result<_, _>>()?,
            traffic: self.service_traffic(index, traffic)?,
            rates: growth.services.rates(&index),
        }))
    }

    fn real(
        &self,
        slot: u32,
        server: &RealServer,
        weight: u16,
        traffic: TrafficSum,
        rates: Rates,
    ) -> Result<RealReading, MapError> {
        let record = &server.record;
        let load = self.maps.load(slot)?;
        let local = record.method == Method::Local as u8;
        Ok(RealReading {
            slot,
            addr: server.addr(),
            method: if local { Method::Local } else { server.method },
            weight: weight.into(),
            active: load.active(),
            inactive: load.inactive(),
            overloaded: load.overloaded(),
            down: record.flags & real::DOWN != 0,
            resolved: local || record.dst != 0,
            traffic,
            rates,
        })
    }
}
