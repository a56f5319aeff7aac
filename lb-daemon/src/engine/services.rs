//! Requests that change services.

use super::{Engine, Request, edit, find};
use crate::api::types::{self, AddService, Problem, Service, Timeouts, TimeoutsPatch};

impl Request for AddService {
    type Answer = Service;

    async fn perform(self, engine: &mut Engine) -> Result<Service, Problem> {
        let mut model = engine.model.clone();
        let place = model.services.len();
        edit::push_service(&mut model, &self)?;
        engine.change(model).await?;
        engine.service_at(place)
    }
}

/// Adds services, all of them or none.
#[derive(Clone, Debug)]
pub struct Restore(pub Vec<AddService>);

impl Request for Restore {
    type Answer = Vec<Service>;

    async fn perform(self, engine: &mut Engine) -> Result<Vec<Service>, Problem> {
        let mut model = engine.model.clone();
        let first = model.services.len();
        for (item, request) in self.0.iter().enumerate() {
            edit::push_service(&mut model, request).map_err(|problem| Problem {
                item: Some(item),
                ..problem
            })?;
        }
        let end = model.services.len();
        engine.change(model).await?;
        (first..end).map(|place| engine.service_at(place)).collect()
    }
}

/// Changes a service.
#[derive(Clone, Debug)]
pub struct EditService {
    /// Which: `tcp:ADDRESS:PORT`, or its name.
    pub service: String,
    /// What to change.
    pub change: types::EditService,
}

impl Request for EditService {
    type Answer = Service;

    async fn perform(self, engine: &mut Engine) -> Result<Service, Problem> {
        let place = find::service(&engine.model, &self.service)?;
        let model = edit::edit_service(&engine.model, place, &self.change)?;
        engine.change(model).await?;
        engine.service_at(place)
    }
}

/// Removes a service; answers what it was.
#[derive(Clone, Debug)]
pub struct RemoveService {
    /// Which: `tcp:ADDRESS:PORT`, or its name.
    pub service: String,
    /// End its connections too.
    pub force: bool,
}

impl Request for RemoveService {
    type Answer = Service;

    async fn perform(self, engine: &mut Engine) -> Result<Service, Problem> {
        let place = find::service(&engine.model, &self.service)?;
        let was = engine.service_at(place)?;
        let reals = engine.reals_of(place);
        let model = edit::remove_service(&engine.model, place);
        engine.change(model).await?;
        if self.force {
            reals
                .into_iter()
                .try_for_each(|(id, real)| engine.cut(id, real))?;
        }
        Ok(was)
    }
}

impl Request for TimeoutsPatch {
    type Answer = Timeouts;

    async fn perform(self, engine: &mut Engine) -> Result<Timeouts, Problem> {
        let model = edit::set_timeouts(&engine.model, self)?;
        engine.change(model).await?;
        ReadTimeouts.perform(engine).await
    }
}

/// The director's timeouts.
#[derive(Clone, Copy, Debug)]
pub struct ReadTimeouts;

impl Request for ReadTimeouts {
    type Answer = Timeouts;

    async fn perform(self, engine: &mut Engine) -> Result<Timeouts, Problem> {
        Ok(engine.model.connections.timeouts.into())
    }
}
