//! Whose packets concern us?
//!
//! `FILTER` and `NATREALS4` say so before anything else is looked up. They only ever grow before a change is made visible,
//! and shrink when nothing needs what they had ([`reap`](super::reap)).

use std::collections::HashMap;

use lb_common::abi::{FILTER_REAL, RealKey4, ServiceKey4, filter_cell, service, setting};
use lb_common::filter;
use lb_common::net::{Be16, Be32};

use super::error::MapError;
use super::state::State;
use super::target::Target;

/// In `NATREALS4`: several services have the real server.
const NOBODY: ServiceKey4 = ServiceKey4 {
    vip: Be32(0),
    port: Be16(0),
    proto: 0,
    host_bits: 0,
};

impl State {
    /// Lets packets of new addresses in: those of real servers' replies, and those for virtual addresses.
    pub(super) fn let_in(&mut self, targets: &[Target]) -> Result<(), MapError> {
        self.sync_nat_keys()?;
        self.note_kinds(targets)?;
        let mut needed = self.filter();
        for key in targets.iter().flat_map(|t| &t.keys) {
            admit(&mut needed, key);
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
                // A service that is being made, or drained, has but its first key.
                let alone = match service.keys[..] {
                    [] | [_] if service.key.host_bits == 0 => service.key,
                    _ => NOBODY,
                };
                needed
                    .entry(key)
                    .and_modify(|of: &mut ServiceKey4| {
                        if *of != alone {
                            *of = NOBODY;
                        }
                    })
                    .or_insert(alone);
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

    /// Notes whether replies may be to what is not recorded, and the sizes of virtual networks.
    fn note_kinds(&mut self, targets: &[Target]) -> Result<(), MapError> {
        let mut settings = self.maps.settings()?;
        for key in targets.iter().flat_map(|t| &t.keys) {
            settings.networks |= 1 << key.host_bits & !1;
        }
        settings.flags &= !setting::HAS_ONE_PACKET;
        if targets.iter().any(|t| t.flags & service::ONE_PACKET != 0) {
            settings.flags |= setting::HAS_ONE_PACKET;
        }
        self.maps.set_settings(&settings)
    }

    /// The words of `FILTER` that are not zero, for the services and real servers that there are.
    pub(super) fn filter(&self) -> HashMap<u32, u64> {
        let mut words = HashMap::new();
        for key in self
            .services
            .values()
            .flat_map(|s| s.keys.iter().chain([&s.key]))
        {
            admit(&mut words, key);
        }
        for key in self.nat_keys.keys() {
            let (word, shift) = filter_cell(key.addr);
            *words.entry(word).or_default() |= FILTER_REAL << shift;
        }
        words
    }
}

/// Sets the bits of all addresses that a service may have.
fn admit(words: &mut HashMap<u32, u64>, key: &ServiceKey4) {
    for (word, bits) in filter::cells(key) {
        *words.entry(word).or_default() |= bits;
    }
}
