//! Requests that change real servers, and the one that takes everything down.

use std::net::SocketAddr;

use tracing::{info, warn};

use super::{Engine, Request, edit, find, problem};
use crate::api::types::{self, Drained, Problem, Real, Removed};
use crate::core::desired::ServiceId;

/// Adds a real server to a service.
#[derive(Clone, Debug)]
pub struct NewReal {
    /// Which service: `tcp:ADDRESS:PORT`, or its name.
    pub service: String,
    /// The real server.
    pub real: types::AddReal,
}

impl Request for NewReal {
    type Answer = Real;

    async fn perform(self, engine: &mut Engine) -> Result<Real, Problem> {
        let service = find::service(&engine.model, &self.service)?;
        let (model, real) = edit::add_real(&engine.model, service, &self.real)?;
        engine.change(model).await?;
        engine.real_at((service, real))
    }
}

/// Changes a real server.
#[derive(Clone, Debug)]
pub struct EditReal {
    /// Which service: `tcp:ADDRESS:PORT`, or its name.
    pub service: String,
    /// Which real server: `ADDRESS`, or `ADDRESS:PORT`.
    pub real: String,
    /// What to change.
    pub change: types::EditReal,
}

impl Request for EditReal {
    type Answer = Real;

    async fn perform(self, engine: &mut Engine) -> Result<Real, Problem> {
        let place = engine.find_real(&self.service, &self.real)?;
        let model = edit::edit_real(&engine.model, place, &self.change)?;
        if self.change.weight.is_some_and(|weight| weight > 0) {
            engine.change_and_use(model, place).await?;
        } else {
            engine.change(model).await?;
        }
        engine.real_at(place)
    }
}

/// Removes a real server; answers which connections it leaves.
#[derive(Clone, Debug)]
pub struct RemoveReal {
    /// Which service: `tcp:ADDRESS:PORT`, or its name.
    pub service: String,
    /// Which real server: `ADDRESS`, or `ADDRESS:PORT`.
    pub real: String,
    /// End its connections too.
    pub force: bool,
}

impl Request for RemoveReal {
    type Answer = Drained;

    async fn perform(self, engine: &mut Engine) -> Result<Drained, Problem> {
        let place = engine.find_real(&self.service, &self.real)?;
        let left = engine.left_at(place)?;
        let reals = engine.reals_of(place.0);
        let model = edit::remove_real(&engine.model, place)?;
        engine.change(model).await?;
        match reals.get(place.1) {
            Some((id, real)) if self.force => {
                engine.cut(*id, *real)?;
                Ok(Drained {
                    active: 0,
                    inactive: 0,
                    open: 0,
                    ..left
                })
            }
            _ => Ok(left),
        }
    }
}

/// Takes everything out of the kernel. The daemon stops after it.
#[derive(Clone, Copy, Debug)]
pub struct Detach;

impl Request for Detach {
    type Answer = Removed;

    async fn perform(self, engine: &mut Engine) -> Result<Removed, Problem> {
        engine.leave().await;
        let plane = engine.plane.take().ok_or_else(super::detached)?;
        let gone = tokio::task::block_in_place(|| plane.detach())
            .map_err(|err| problem("not everything could be taken out of the kernel", &err))?;
        info!("detached from {}", gone.interfaces.join(", "));
        Ok(Removed {
            interfaces: gone.interfaces,
        })
    }
}

impl Engine {
    /// Places of a service and its real server.
    fn find_real(&self, service: &str, real: &str) -> Result<(usize, usize), Problem> {
        let place = find::service(&self.model, service)?;
        let service = self.model.services.get(place).ok_or_else(super::detached)?;
        Ok((place, find::real(service, real)?))
    }

    /// The real servers of a service.
    pub(super) fn reals_of(&self, place: usize) -> Vec<(ServiceId, SocketAddr)> {
        let service = self.model.services.get(place);
        service
            .map(|s| s.reals.iter().map(|real| (s.id, real.id())).collect())
            .unwrap_or_default()
    }

    /// Ends all connections to a real server that was removed.
    pub(super) fn cut(&mut self, id: ServiceId, real: SocketAddr) -> Result<(), Problem> {
        let plane = self.plane.as_deref_mut().ok_or_else(super::detached)?;
        let cut = plane
            .cut(id, real)
            .map_err(|err| problem("cannot cut the connections", &err))?;
        if cut {
            warn!("service {id}: the connections to {real} are cut");
        }
        Ok(())
    }
}
