//! Whose packets concern us?
//!
//! `FILTER`, `NATREALS4` and `NATREALS6` say so before anything else is looked up. They only ever grow before a change is made visible,
//! and shrink when nothing needs what they had ([`reap`](super::reap)).

use std::collections::HashMap;

use lb_common::abi::{Configured as _, FILTER_REAL, ServiceKey4, filter_cell, service, setting};
use lb_common::filter;
use lb_common::net::{Be16, Be32, Be128};

use super::error::MapError;
use super::family::{Family, folded};
use super::state::{Source, State, service_parts};
use super::target::Target;
use crate::core::desired::ServiceId;

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

    /// What `NATREALS4` and `NATREALS6` must have for the real servers that there are: each with the service that alone has it.
    pub(super) fn needed_nat_keys(&self) -> HashMap<Source, Option<ServiceId>> {
        let mut needed = HashMap::new();
        for server in self.reals.values() {
            if let Some(key) = server.nat_key()
                && let Some(service) = self.services.get(&server.record.service)
            {
                // A service that is being made, or drained, has but its first key.
                let alone = match service.keys[..] {
                    [] | [_] if service.key.is_host() => Some(service.key),
                    _ => None,
                };
                needed
                    .entry(key)
                    .and_modify(|of: &mut Option<ServiceId>| {
                        if *of != alone {
                            *of = None;
                        }
                    })
                    .or_insert(alone);
            }
        }
        needed
    }

    /// Adds what `NATREALS4`, `NATREALS6` and the settings lack for the real servers that there are.
    pub(super) fn sync_nat_keys(&mut self) -> Result<(), MapError> {
        for (key, service) in self.needed_nat_keys() {
            if self.nat_keys.get(&key) != Some(&service) {
                self.maps.put_nat_real(key, service)?;
                self.nat_keys.insert(key, service);
            }
        }
        let mut settings = self.maps.settings()?;
        for (family, flag) in [(Family::V4, Be32::HAS_NAT), (Family::V6, Be128::HAS_NAT)] {
            let is_of = |key: &Source| Family::of(key.addr.ip()) == family;
            settings.flags &= !flag;
            if self.nat_keys.keys().any(is_of) {
                settings.flags |= flag;
            }
        }
        self.maps.set_settings(&settings)
    }

    /// Notes whether replies may be to what is not recorded, and the sizes of virtual networks.
    fn note_kinds(&mut self, targets: &[Target]) -> Result<(), MapError> {
        let mut settings = self.maps.settings()?;
        for key in targets.iter().flat_map(|t| &t.keys) {
            settings.networks |= network_bit(*key);
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
            let (word, shift) = filter_cell(folded(key.addr.ip()));
            *words.entry(word).or_default() |= FILTER_REAL << shift;
        }
        words
    }
}

/// The bit of [`Settings::networks`](lb_common::abi::Settings::networks) for a virtual network. None for a single address, and for
/// IPv6, of which there are no networks.
pub(super) fn network_bit(id: ServiceId) -> u64 {
    match Family::of(id.addr) {
        Family::V4 => 1 << service_parts(id).host_bits & !1,
        Family::V6 => 0,
    }
}

/// Sets the bits of all addresses that a service may have.
fn admit(words: &mut HashMap<u32, u64>, key: &ServiceId) {
    let parts = service_parts(*key);
    let key = ServiceKey4 {
        vip: folded(parts.addr),
        port: Be16::from_host(parts.port),
        proto: parts.proto,
        // Of IPv6 there are single addresses only.
        host_bits: if key.is_host() { 0 } else { parts.host_bits },
    };
    for (word, bits) in filter::cells(&key) {
        *words.entry(word).or_default() |= bits;
    }
}
