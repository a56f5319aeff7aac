//! Which real servers has the operator taken out of use, and what is left of their connections?
//!
//! A drain is no part of the configuration: the weight stays as it is configured and holds again after the drain, a
//! reload of the file does not end it, and it is remembered over restarts.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::plane::Listing;
use super::{Engine, Request, detached, find, listing, problem};
use crate::api::types::{DrainRequest, Drained, Problem};
use crate::config::Model;
use crate::core::desired::{Desired, ServiceId};
use crate::core::health::plan::ServicePlan;
use crate::io::bpf;
use crate::io::store::{Found, Item, Store};

/// Takes a real server out of use in every service that has it.
#[derive(Clone, Debug)]
pub struct Drain(pub DrainRequest);

impl Request for Drain {
    type Answer = Remaining;

    async fn perform(self, engine: &mut Engine) -> Result<Remaining, Problem> {
        engine.set_drained(&self.0, true).await
    }
}

/// Takes it into use again.
#[derive(Clone, Debug)]
pub struct Undrain(pub DrainRequest);

impl Request for Undrain {
    type Answer = Remaining;

    async fn perform(self, engine: &mut Engine) -> Result<Remaining, Problem> {
        engine.set_drained(&self.0, false).await
    }
}

/// Asks what is left of a real server's connections.
#[derive(Clone, Debug)]
pub struct ReadRemaining(pub DrainRequest);

impl Request for ReadRemaining {
    type Answer = Remaining;

    async fn perform(self, engine: &mut Engine) -> Result<Remaining, Problem> {
        engine.remaining(&engine.drained_places(&self.0)?)
    }
}

/// What is left of a real server's connections, before the open ones are told from the closed ones.
pub struct Remaining(Vec<(Drained, Option<Listing>)>);

impl Remaining {
    /// Looks at each connection of those that may all be closed: this may take a tenth of a second.
    pub fn count(self) -> Vec<Drained> {
        let count = |(left, listing): (Drained, Option<Listing>)| match listing {
            None => left,
            Some(listing) => {
                let open = listing.filter(|connection| !connection.is_closed()).count();
                Drained {
                    open: u32::try_from(open).unwrap_or(u32::MAX),
                    ..left
                }
            }
        };
        self.0.into_iter().map(count).collect()
    }
}

impl Engine {
    async fn set_drained(
        &mut self,
        request: &DrainRequest,
        drained: bool,
    ) -> Result<Remaining, Problem> {
        let places = self.drained_places(request)?;
        let before = self.drains.clone();
        for place in &places {
            let (service, real) = self.id_at(*place)?;
            if self.drains.set(service, real, drained) {
                let what = if drained { "drained" } else { "in use again" };
                info!("service {service}: {real} is {what}");
            }
        }
        if self.drains != before {
            let model = self.model.clone();
            if let Err(problem) = self.put(&model).await {
                self.drains = before;
                return Err(problem);
            }
            self.drains.keep(&self.store);
        }
        self.remaining(&places)
    }

    /// Makes an edited configuration the running one, in which a real server was given a weight: that ends its drain.
    pub(super) async fn change_and_use(
        &mut self,
        model: Model,
        place: (usize, usize),
    ) -> Result<(), Problem> {
        let (service, real) = self.id_at(place)?;
        let ended = self.drains.set(service, real, false);
        if let Err(problem) = self.change(model).await {
            if ended {
                self.drains.set(service, real, true);
            }
            return Err(problem);
        }
        if ended {
            self.drains.keep(&self.store);
        }
        Ok(())
    }

    fn drained_places(&self, request: &DrainRequest) -> Result<Vec<(usize, usize)>, Problem> {
        find::everywhere(&self.model, &request.real, request.service.as_deref())
    }

    fn id_at(&self, (service, real): (usize, usize)) -> Result<(ServiceId, SocketAddr), Problem> {
        let service = self.model.services.get(service).ok_or_else(detached)?;
        let real = service.reals.get(real).ok_or_else(detached)?;
        Ok((service.id, real.id()))
    }

    fn remaining(&self, places: &[(usize, usize)]) -> Result<Remaining, Problem> {
        let left = places.iter().map(|place| {
            let left = self.left_at(*place)?;
            // An active connection is open; of inactive ones only a look at each can tell.
            let listing = (left.active == 0 && left.inactive > 0)
                .then(|| self.connections_at(*place))
                .transpose()?;
            Ok((left, listing))
        });
        Ok(Remaining(left.collect::<Result<_, Problem>>()?))
    }

    /// The connections of one real server of a service.
    fn connections_at(&self, place: (usize, usize)) -> Result<Listing, Problem> {
        let (service, real) = self.id_at(place)?;
        let listeners: Vec<ServiceId> = self
            .model
            .services
            .get(place.0)
            .map(|service| service.listeners().collect())
            .unwrap_or_default();
        let filter = bpf::ConnectionFilter {
            proto: Some(service.proto),
            real: Some(real.ip()),
            ..bpf::ConnectionFilter::default()
        };
        let found = self
            .plane()?
            .connections(filter)
            .map_err(|err| problem("cannot list the connections", &err))?;
        Ok(Box::new(found.filter(move |connection| {
            connection.real.ip() == real.ip()
                && (real.port() == 0 || connection.real.port() == real.port())
                && listeners.iter().any(|id| listing::serves(id, connection))
        })))
    }
}

/// The real servers that are drained, by service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Drains(BTreeSet<Key>);

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Key {
    service: String,
    real: SocketAddr,
}

impl Key {
    fn new(service: ServiceId, real: SocketAddr) -> Self {
        Self {
            service: service.to_string(),
            real,
        }
    }
}

impl Drains {
    /// As they were written down; none if that cannot be read.
    pub(super) fn remembered(store: &Store) -> Self {
        let read = match store.read(Item::Drains) {
            Ok(Found::Remembered(bytes)) => {
                serde_json::from_slice(&bytes).map_err(|err| err.to_string())
            }
            Ok(Found::Nothing) => return Self::default(),
            Ok(Found::Unusable(unusable)) => Err(unusable.to_string()),
            Err(err) => Err(err.to_string()),
        };
        read.map(Self).unwrap_or_else(|err| {
            warn!("no real server is drained any more: {err}");
            Self::default()
        })
    }

    fn keep(&self, store: &Store) {
        let written = serde_json::to_vec(&self.0).map_err(|err| err.to_string());
        if let Err(err) = written.and_then(|bytes| {
            store
                .write(Item::Drains, &bytes)
                .map_err(|err| err.to_string())
        }) {
            warn!("which real servers are drained is not kept over a restart: {err}");
        }
    }

    /// Whether a real server is drained.
    pub(super) fn has(&self, service: ServiceId, real: SocketAddr) -> bool {
        !self.0.is_empty() && self.0.contains(&Key::new(service, real))
    }

    /// Drains a real server, or ends that; whether it was different before.
    fn set(&mut self, service: ServiceId, real: SocketAddr, drained: bool) -> bool {
        let key = Key::new(service, real);
        if drained {
            self.0.insert(key)
        } else {
            self.0.remove(&key)
        }
    }

    /// Forgets real servers that are configured no more.
    pub(super) fn forget_removed(&mut self, model: &Model, store: &Store) {
        if self.0.is_empty() {
            return;
        }
        let there: BTreeSet<Key> = model
            .services
            .iter()
            .flat_map(|service| {
                let key = |real: &crate::config::model::Real| Key::new(service.id, real.id());
                service.reals.iter().map(key)
            })
            .collect();
        let before = self.0.len();
        self.0.retain(|key| there.contains(key));
        if self.0.len() != before {
            self.keep(store);
        }
    }

    /// What the health checks shall know of the real servers that are drained: that a person has set them to weight 0.
    pub(super) fn over_health(&self, mut plans: Vec<ServicePlan>) -> Vec<ServicePlan> {
        for plan in &mut plans {
            let id = plan.id;
            for real in plan.reals.iter_mut().filter(|real| self.has(id, real.id)) {
                real.weight = 0;
            }
        }
        plans
    }

    /// What the data plane shall do with the real servers that are drained: give them nothing new.
    pub(super) fn over(&self, mut desired: Desired) -> Desired {
        if self.0.is_empty() {
            return desired;
        }
        for service in &mut desired.services {
            let id = service.id;
            for real in &mut service.reals {
                if self.has(id, real.id()) {
                    real.drained = true;
                }
            }
        }
        desired
    }
}
