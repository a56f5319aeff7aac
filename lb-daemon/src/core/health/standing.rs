//! What health changes in what the data plane shall do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::plan::Sorry;
use crate::core::desired::{Desired, DesiredReal, DesiredService, ServiceId};

/// How a real server stands in its service's pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The weight to use.
    pub weight: u16,
    /// It gets nothing new, and keeps its place and its counters.
    pub out: bool,
    /// Its checks say that it does not serve.
    pub dead: bool,
    /// Its established connections are given up.
    pub reset: bool,
    /// The weight that its checks ask for in place of the configured one.
    pub asked: Option<u16>,
}

/// How the real servers of a service stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceStanding {
    /// By real server.
    pub reals: HashMap<SocketAddr, Standing>,
    /// The sorry server, and whether it serves.
    pub sorry: Option<(Sorry, bool)>,
    /// As many real servers live as the quorum asks for.
    pub has_quorum: bool,
}

/// How all real servers stand. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standings(pub(super) HashMap<ServiceId, Arc<ServiceStanding>>);

impl Standings {
    /// How a service's real servers stand.
    pub fn get(&self, service: ServiceId) -> Option<&ServiceStanding> {
        self.0.get(&service).map(Arc::as_ref)
    }

    /// Changes what would be done if every real server were well into what is to be done.
    pub fn apply(&self, desired: &mut Desired) {
        for service in &mut desired.services {
            if let Some(standing) = self.get(service.id) {
                standing.apply(service, |_, standing| standing.weight);
            }
        }
    }

    /// As [`Self::apply`], but real servers that are well keep the weights that `desired` gives them: for what somebody
    /// thinks of doing.
    pub fn apply_places(&self, desired: &mut Desired) {
        for service in &mut desired.services {
            if let Some(standing) = self.get(service.id) {
                standing.apply(service, |real, standing| match standing.dead {
                    true => standing.weight,
                    false => real.weight,
                });
            }
        }
    }
}

impl ServiceStanding {
    fn apply(&self, service: &mut DesiredService, weight: impl Fn(&DesiredReal, &Standing) -> u16) {
        for real in &mut service.reals {
            if let Some(standing) = self.reals.get(&real.id()) {
                real.weight = weight(real, standing);
                real.down = standing.out;
                real.reset = standing.reset;
            }
        }
        // The sorry server is there from the beginning, so that its next hop is known when it is needed.
        service
            .reals
            .extend(self.sorry.map(|(sorry, serves)| DesiredReal {
                method: sorry.method,
                down: !serves,
                ..DesiredReal::new(sorry.id.ip(), sorry.id.port())
            }));
    }
}
