//! Which virtual addresses are closed but for the ports of services?
//!
//! The maps say so under a key of the address alone. It is written once the services' own keys are there, and taken away
//! before theirs would be missed: a packet never meets a closed port that a service has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::closed;

use super::error::MapError;
use super::state::State;
use super::target::Target;
use crate::core::desired::{ServiceId, VipDefault};

impl State {
    /// Closes the addresses of services, or opens them, and forgets those that have no service any more.
    pub(super) fn close_ports(
        &mut self,
        targets: &[Target],
        vip_default: VipDefault,
    ) -> Result<(), MapError> {
        let wanted = wanted(targets, vip_default);
        let gone: Vec<IpAddr> = self
            .closed
            .keys()
            .filter(|addr| !wanted.contains_key(addr))
            .copied()
            .collect();
        for addr in gone {
            self.maps.drop_closed(addr)?;
            self.closed.remove(&addr);
        }
        for (addr, value) in wanted {
            if self.closed.get(&addr) != Some(&value) {
                self.maps.put_closed(addr, value)?;
                self.closed.insert(addr, value);
            }
        }
        Ok(())
    }
}

/// What the maps shall have for each address. Networks stay as they are: their addresses are other hosts' more often than ours.
fn wanted(targets: &[Target], vip_default: VipDefault) -> BTreeMap<IpAddr, u32> {
    let bits = match vip_default {
        VipDefault::Stack => return BTreeMap::new(),
        VipDefault::Drop => closed::DROP,
        VipDefault::Reject => closed::REJECT,
    };
    let of = |target: &Target| bits | target.router & closed::ROUTER;
    targets
        .iter()
        .flat_map(|target| target.keys.iter().map(move |key| (key, of(target))))
        .filter(|(key, _)| ServiceId::is_host(key))
        .map(|(key, value)| (key.addr, value))
        .collect()
}
