//! What lbd knows that a doctor wants to know.

use super::{Engine, Request, problem};
use crate::api::types::Problem;
use crate::core::doctor::facts::Daemon;
use crate::io::doctor::{Case, Live};

/// The case to be looked at. Looking takes seconds, and is to be done without keeping the engine waiting.
#[derive(Clone, Copy, Debug)]
pub struct Examine;

impl Request for Examine {
    type Answer = Case;

    async fn perform(self, engine: &mut Engine) -> Result<Case, Problem> {
        let plane = engine
            .plane()?
            .status()
            .map_err(|err| problem("cannot read the data plane's state", &err))?;
        let report = engine.roles.report().await?;
        let fuller = plane.fuller_table();
        let refused = plane.interfaces.into_iter();
        Ok(Case {
            model: engine.model.clone(),
            pin_dir: engine.places.pins.clone(),
            live: Ok(Live {
                daemon: Daemon {
                    alarms: engine.alarms.texts().map(str::to_owned).collect(),
                    connections: fuller.used,
                    connections_max: fuller.max,
                    connections_set: engine.model.connections.max,
                },
                states: report
                    .routers
                    .into_iter()
                    .map(|router| (router.name, router.state))
                    .collect(),
                refused: refused
                    .filter_map(|interface| Some((interface.name, interface.refused?)))
                    .collect(),
            }),
        })
    }
}
