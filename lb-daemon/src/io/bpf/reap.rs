//! What can be given back?
//!
//! - A generation that was replaced: when the grace period after that is over.
//! - A removed real server: when it has no connections, by its load and by a walk over the table, no retired generation
//!   names it any more, and a grace period has passed since, so that no packet that found a connection of it is
//!   still under way.
//! - A removed service: when its last real server is gone.

use std::collections::{BTreeSet, HashSet};

use lb_common::abi::{Real, Settings};

use super::admit::network_bit;
use super::error::MapError;
use super::ledger;
use super::state::{Phase, Service, State};

impl State {
    /// Gives back all that can be. `found` says whether the last walk over the table found a connection of a real
    /// server. Returns how many real servers were given back.
    pub(super) fn reap(&mut self, found: impl Fn(u32) -> bool) -> Result<u32, MapError> {
        self.reap_generations();
        let freed = self.reap_reals(found)?;
        let services = self.reap_services()?;
        if freed > 0 || services {
            self.reap_nat_keys()?;
            self.reap_profiles();
            self.reap_filter()?;
            self.reap_networks()?;
        }
        Ok(freed)
    }

    /// Gives back the generations that nobody reads any more.
    pub(super) fn reap_generations(&mut self) {
        let (over, waiting) = std::mem::take(&mut self.retired)
            .into_iter()
            .partition(|(ticket, _)| self.grace.passed(*ticket));
        self.retired = waiting;
        let over: Vec<_> = over;
        for (_, written) in &over {
            self.give_back(written);
        }
        if !over.is_empty() {
            self.reap_profiles();
        }
    }

    fn reap_reals(&mut self, found: impl Fn(u32) -> bool) -> Result<u32, MapError> {
        let named: BTreeSet<u32> = self
            .retired
            .iter()
            .flat_map(|(_, w)| w.entries.iter().map(|e| e.slot))
            .collect();
        let mut empty = Vec::new();
        let mut begin = Vec::new();
        for &slot in self.leaving.difference(&named) {
            let Some(server) = self.reals.get_mut(&slot) else {
                continue;
            };
            let has_connections = self.maps.load(slot)?.total() > 0 || found(slot);
            match server.phase {
                Phase::Empty(_) if has_connections => server.phase = Phase::Draining,
                Phase::Empty(ticket) if self.grace.passed(ticket) => empty.push(slot),
                Phase::Draining if !has_connections => begin.push(slot),
                _ => {}
            }
        }
        if !begin.is_empty() {
            let ticket = self.grace.begin();
            for slot in begin {
                if let Some(server) = self.reals.get_mut(&slot) {
                    server.phase = Phase::Empty(ticket);
                }
            }
        }
        for &slot in &empty {
            self.free_real(slot)?;
        }
        Ok(empty.len() as u32)
    }

    fn free_real(&mut self, slot: u32) -> Result<(), MapError> {
        let Some(server) = self.reals.get(&slot) else {
            return Ok(());
        };
        ledger::fold(&mut self.maps, server.record.service, slot)?;
        self.maps.clear_load(slot)?;
        self.maps.set_real(slot, &Real::default())?;
        self.reals.remove(&slot);
        self.leaving.remove(&slot);
        self.room.reals.free(slot);
        Ok(())
    }

    fn reap_services(&mut self) -> Result<bool, MapError> {
        if !self.services.values().any(Service::is_removed) {
            return Ok(false);
        }
        let reals = self.reals.values().map(|r| r.record.service);
        let busy: HashSet<u32> = reals
            .chain(self.retired.iter().map(|(_, w)| w.plan.service))
            .collect();
        let over = |(index, _): &(&u32, &Service)| !busy.contains(index);
        let over: Vec<u32> = self
            .services
            .iter()
            .filter(|(_, s)| s.is_removed())
            .filter(over)
            .map(|(i, _)| *i)
            .collect();
        for &service in &over {
            ledger::close(&mut self.maps, service)?;
            self.services.remove(&service);
            self.room.services.free(service);
        }
        Ok(!over.is_empty())
    }

    /// Forgets sources of replies that no real server has any more.
    fn reap_nat_keys(&mut self) -> Result<(), MapError> {
        let needed = self.needed_nat_keys();
        let over: Vec<_> = self
            .nat_keys
            .keys()
            .copied()
            .filter(|key| !needed.contains_key(key))
            .collect();
        for key in over {
            self.maps.drop_nat_real(key)?;
            self.nat_keys.remove(&key);
        }
        self.sync_nat_keys()
    }

    /// Forgets timeout profiles that neither a service nor a real server names any more.
    fn reap_profiles(&mut self) {
        let plans = self
            .services
            .values()
            .filter_map(|s| s.written.as_ref())
            .chain(self.retired.iter().map(|(_, w)| w));
        let needed: HashSet<u32> = plans
            .map(|w| w.plan.profile.into())
            .chain(self.reals.values().map(|r| r.record.profile))
            .collect();
        for (profile, slot) in (0..).zip(&mut self.profiles) {
            if !needed.contains(&profile) {
                *slot = None;
            }
        }
    }

    /// Forgets the sizes of virtual networks that no service has any more.
    fn reap_networks(&mut self) -> Result<(), MapError> {
        let keys = self.services.values().flat_map(|s| &s.keys);
        let networks = keys.fold(0, |all, key| all | network_bit(*key));
        let settings = self.maps.settings()?;
        self.maps.set_settings(&Settings {
            networks,
            ..settings
        })
    }

    /// Clears the bits of addresses that concern us no more.
    fn reap_filter(&mut self) -> Result<(), MapError> {
        if self.keep_filter {
            self.keep_filter = self.services.values().any(Service::is_removed);
        }
        if self.keep_filter {
            return Ok(());
        }
        let needed = self.filter();
        for word in 0..lb_common::abi::FILTER_WORDS {
            self.maps
                .set_filter(word, needed.get(&word).copied().unwrap_or(0))?;
        }
        Ok(())
    }
}
