//! What do choices go by at this moment? Reading, for `explain` and `simulate`.

use lb_common::abi::ServiceKey4;
use lb_common::net::{Be16, Flow4};
use lb_common::sched::Scheduler;

use super::conns::Connections;
use super::error::MapError;
use super::report::{Connection, ConnectionFilter};
use super::state::{State, be32};
use crate::core::outlook::Outlook;
use crate::core::schedule::Layout;

impl State {
    /// What a service's choices go by; `None` when there is no such service.
    pub(super) fn outlook(&self, key: ServiceKey4) -> Result<Option<Outlook>, MapError> {
        let found = self
            .services
            .values()
            .find(|service| service.keys.contains(&key));
        let Some((service, written)) =
            found.and_then(|service| Some((service, service.written.as_ref()?)))
        else {
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
        }))
    }

    /// The connection that is recorded of a flow.
    pub(super) fn connection(&self, flow: &Flow4) -> Result<Option<Connection>, MapError> {
        let table = self.maps.connections()?;
        let shift = self.maps.settings()?.clock_shift;
        Ok(Connections::new(table, ConnectionFilter::default(), shift).of(flow))
    }
}

/// A flow from its addresses.
pub(super) fn flow(
    proto: lb_common::net::Proto,
    client: std::net::SocketAddrV4,
    vip: std::net::SocketAddrV4,
) -> Flow4 {
    Flow4 {
        client: be32(*client.ip()),
        vip: be32(*vip.ip()),
        client_port: Be16::from_host(client.port()),
        vip_port: Be16::from_host(vip.port()),
        proto,
    }
}
