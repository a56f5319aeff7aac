//! What becomes of the data plane when real servers fail and return, and what is known of their health.

use std::net::{IpAddr, SocketAddr};

use tracing::error;

use super::network::hop;
use super::{Engine, Request, detached, find};
use crate::api::types::{AskHealth, Problem};
use crate::config::Model;
use crate::core::desired::{Desired, ServiceId};
use crate::core::health::Standings;
use crate::io::health::Checks;

/// The alarm while the data plane could not be told how the real servers stand.
const UNTOLD: &str = "health";

impl Engine {
    /// Tells the data plane how the real servers stand now.
    pub(super) fn follow_health(&mut self) {
        self.roles
            .follow_services(&self.model, &self.checks.standings());
        let desired = self.desired_now(&self.model);
        let Some(plane) = self.plane.as_deref_mut() else {
            return;
        };
        let network = &*self.network;
        let look = |addr: IpAddr| hop(network.hop(addr).as_ref());
        match tokio::task::block_in_place(|| plane.apply(&desired, &look)) {
            Ok(_) => self.alarms.clear(UNTOLD),
            Err(err) => {
                let text = format!("the pools are not as the health checks say: {err}");
                error!("{text}");
                self.alarms.set(UNTOLD, text);
            }
        }
    }

    /// What a configuration asks of the data plane, with real servers as they stand now.
    pub(super) fn desired_now(&self, model: &Model) -> Desired {
        let mut desired = self.drains.over(model.desired());
        self.checks.standings().apply(&mut desired);
        self.roles.assign(model, &mut desired);
        desired
    }

    /// Tries again what the data plane could not be told.
    pub(super) fn follow_health_again(&mut self) {
        if self.alarms.has(UNTOLD) {
            self.follow_health();
        }
    }

    /// What the operator should know of the real servers' health.
    pub(super) fn health_warnings(&self) -> Vec<String> {
        let standings = self.checks.standings();
        let mut warnings = Vec::new();
        for service in &self.model.services {
            let Some(standing) = standings.get(service.id) else {
                continue;
            };
            let dead = standing.reals.values().filter(|real| real.dead).count();
            let of = standing.reals.len();
            let name = &service.name;
            if let Some((sorry, true)) = &standing.sorry {
                warnings.push(format!(
                    "service {name}: sorry server {} serves, for {dead} of {of} real servers are down",
                    sorry.id
                ));
            } else if dead > 0 {
                warnings.push(format!(
                    "service {name}: {dead} of {of} real servers are down; `lbctl health` says why"
                ));
            }
        }
        warnings
    }

    /// How the real servers of all services stand.
    pub(super) fn standings(&self) -> std::sync::Arc<Standings> {
        self.checks.standings()
    }
}

/// What is known of the real servers' health. The answer is to be fetched without keeping the engine waiting.
#[derive(Clone, Debug, Default)]
pub struct ReadHealth {
    /// Only of this service: `tcp:ADDRESS:PORT`, or its name.
    pub service: Option<String>,
}

impl Request for ReadHealth {
    /// Whom to ask, and the name of the only service that is meant.
    type Answer = (Checks, Option<String>);

    async fn perform(self, engine: &mut Engine) -> Result<Self::Answer, Problem> {
        let named = |reference| -> Result<String, Problem> {
            let place = find::service(&engine.model, reference)?;
            let service = engine.model.services.get(place).ok_or_else(detached)?;
            Ok(service.name.clone())
        };
        let only = self.service.as_deref().map(named).transpose()?;
        Ok((engine.checks.clone(), only))
    }
}

/// The health checks, and which real servers of which services somebody asks for.
#[derive(Clone, Debug)]
pub struct FindChecks(pub AskHealth);

impl Request for FindChecks {
    type Answer = (Checks, Vec<(ServiceId, SocketAddr)>);

    async fn perform(self, engine: &mut Engine) -> Result<Self::Answer, Problem> {
        let AskHealth { real, service } = &self.0;
        let places = find::everywhere(&engine.model, real, service.as_deref())?;
        let found = places.into_iter().filter_map(|(s, r)| {
            let service = engine.model.services.get(s)?;
            Some((service.id, service.reals.get(r)?.id()))
        });
        Ok((engine.checks.clone(), found.collect()))
    }
}
