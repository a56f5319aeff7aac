//! What do choices go by at this moment? Reading, for `explain` and `simulate`.

use std::net::{IpAddr, SocketAddr};

use lb_common::forward::keeps_clients;
use lb_common::net::{Be16, Flow, Proto};
use lb_common::sched::Scheduler;

use super::conns::{self, Connections};
use super::error::MapError;
use super::family::endpoint_of;
use super::report::{Connection, ConnectionFilter};
use super::state::{Service, State, Written};
use super::templates::Client;
use crate::core::desired::ServiceId;
use crate::core::outlook::{Kept, Outlook};
use crate::core::schedule::Layout;

impl State {
    /// What a service's choices go by for connections to a destination; `None` when there is no such service.
    pub(super) fn outlook(
        &self,
        key: ServiceId,
        destination: IpAddr,
    ) -> Result<Option<Outlook>, MapError> {
        let Some((index, service, written)) = self.written(key) else {
            return Ok(None);
        };
        let generation = self.maps.generation(written.index)?;
        let plan = generation.plan;
        let Some(scheduler) = Scheduler::from_number(plan.scheduler) else {
            return Ok(None);
        };
        let layout = Layout {
            members: self.maps.members(plan.members_off, plan.members_len)?,
            eligible: plan.eligible_len,
            schedule: self.maps.slots(plan.slots_off, plan.slots_len)?,
            fallback: self
                .maps
                .slots(plan.fallback_off, plan.fallback_len.div_ceil(4))?,
            fallback_len: plan.fallback_len,
            start: plan.start,
        };
        let loads = written
            .entries
            .iter()
            .map(|entry| Ok((entry.slot, self.maps.load(entry.slot)?)));
        Ok(Some(Outlook {
            scheduler,
            flags: plan.flags,
            entries: written.entries.clone(),
            course: service.course.clone(),
            layout,
            turn: generation.turn,
            loads: loads.collect::<Result<_, MapError>>()?,
            locality: self.maps.locality(index, destination)?,
            now: conns::now(self.maps.settings()?.clock_shift).0,
            standby: !self.maps.gate().serves(plan.router),
        }))
    }

    /// At which real server of a service a client is kept.
    pub(super) fn kept(&self, key: ServiceId, client: IpAddr) -> Result<Option<Kept>, MapError> {
        let Some((index, _, Written { plan, .. })) = self.written(key) else {
            return Ok(None);
        };
        if plan.persistence == 0 {
            return Ok(None);
        }
        let key = Client::current(index, client, plan.mask);
        let Some(template) = self.maps.templates().get(&key)? else {
            return Ok(None);
        };
        let real = self.maps.real(template.real())?;
        let now = conns::now(self.maps.settings()?.clock_shift);
        Ok(Some(Kept {
            real: endpoint_of(&real),
            expires: conns::ticks(u32::try_from(template.expires().since(now)).unwrap_or(0)),
            leads: keeps_clients(plan, &real),
        }))
    }

    /// A service that is in use, with its index and its current generation.
    fn written(&self, key: ServiceId) -> Option<(u32, &Service, &Written)> {
        let (index, service) = self
            .services
            .iter()
            .find(|(_, service)| service.keys.contains(&key))?;
        Some((*index, service, service.written.as_ref()?))
    }

    /// The key by which the program finds the service of an address and port.
    pub(super) fn key_of(&self, proto: Proto, vip: SocketAddr) -> Option<ServiceId> {
        let keys = self.services.values().flat_map(|s| &s.keys).copied();
        keys.filter(|id| id.covers(proto, vip.ip(), vip.port()))
            .max_by_key(ServiceId::precedence)
    }

    /// The connection that is recorded of a flow.
    pub(super) fn connection(&self, flow: &Flow<IpAddr>) -> Result<Option<Connection>, MapError> {
        let table = self.maps.connections()?;
        let settings = self.maps.settings()?;
        Ok(Connections::new(table, ConnectionFilter::default(), settings).of(flow))
    }
}

/// A flow from its addresses.
pub(super) fn flow(proto: Proto, client: SocketAddr, vip: SocketAddr) -> Flow<IpAddr> {
    Flow {
        client: client.ip(),
        vip: vip.ip(),
        client_port: Be16::from_host(client.port()),
        vip_port: Be16::from_host(vip.port()),
        proto,
    }
}
