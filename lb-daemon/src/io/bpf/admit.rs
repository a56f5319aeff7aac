//! Whose packets concern us?
//!
//! `FILTER` and `NATREALS4` say so before anything else is looked up. They only ever grow before a change is made visible,
//! and shrink when nothing needs what they had ([`reap`](super::reap)).

use std::collections::HashMap;

use lb_common::abi::{
    FILTER_REAL, FILTER_VIP, RealKey4, ServiceKey4, filter_cell, service, setting,
};
use lb_common::net::{Be16, Be32};

use super::error::MapError;
use super::state::State;
use super::target::Target;

/// In `NATREALS4`: several services have the real server.
const NOBODY: ServiceKey4 = ServiceKey4 {
    vip: Be32(0),
    port: Be16(0),
    proto: 0,
    pad: 0,
};

impl State {
    /// Lets packets of new addresses in: those of real servers' replies, and those for virtual addresses.
    pub(super) fn let_in(&mut self, targets: &[Target]) -> Result<(), MapError> {
        self.sync_nat_keys()?;
        self.note_one_packet(targets)?;
        let mut needed = self.filter();
        for key in targets.iter().flat_map(|t| &t.keys) {
            let (word, shift) = filter_cell(key.vip);
            *needed.entry(word).or_default() |= FILTER_VIP << shift;
        }
        for (word, bits) in needed {
            let now = self.maps.filter(word)?;
            self.maps.set_filter(word, now | bits)?;
        }
        Ok(())
    }

    /// What `NATREALS4` must have for the real servers that there are.
    pub(super) fn needed_nat_keys(&self) -> HashMap<RealKey4, ServiceKey4> {
        let mut needed = HashMap::new();
        for server in self.reals.values() {
            if let Some(key) = server.nat_key()
                && let Some(service) = self.services.get(&server.record.service)
            {
                needed
                    .entry(key)
                    .and_modify(|of: &mut ServiceKey4| {
                        if *of != service.key {
                            *of = NOBODY;
                        }
                    })
                    .or_insert(service.key);
            }
        }
        needed
    }

    /// Adds what `NATREALS4` and the settings lack for the real servers that there are.
    pub(super) fn sync_nat_keys(&mut self) -> Result<(), MapError> {
        for (key, service) in self.needed_nat_keys() {
            if self.nat_keys.get(&key) != Some(&service) {
                self.maps.put_nat_real(key, service)?;
                self.nat_keys.insert(key, service);
            }
        }
        let mut settings = self.maps.settings()?;
        if self.nat_keys.is_empty() {
            settings.flags &= !setting::HAS_NAT;
        } else {
            settings.flags |= setting::HAS_NAT;
        }
        self.maps.set_settings(&settings)
    }

    /// Notes whether replies may be to what is not recorded.
    fn note_one_packet(&mut self, targets: &[Target]) -> Result<(), MapError> {
        let mut settings = self.maps.settings()?;
        settings.flags &= !setting::HAS_ONE_PACKET;
        if targets.iter().any(|t| t.flags & service::ONE_PACKET != 0) {
            settings.flags |= setting::HAS_ONE_PACKET;
        }
        self.maps.set_settings(&settings)
    }

    /// The words of `FILTER` that are not zero, for the services and real servers that there are.
    pub(super) fn filter(&self) -> HashMap<u32, u64> {
        let mut words = HashMap::new();
        let vips = self
            .services
            .values()
            .flat_map(|s| s.keys.iter().chain([&s.key]))
            .map(|k| (k.vip, FILTER_VIP));
        let reals = self.nat_keys.keys().map(|k| (k.addr, FILTER_REAL));
        for (addr, bits) in vips.chain(reals) {
            let (word, shift) = filter_cell(addr);
            *words.entry(word).or_default() |= bits << shift;
        }
        words
    }
}
