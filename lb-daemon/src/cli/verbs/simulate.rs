//! `simulate`

use clap::Args;

use crate::api::types::{AddReal, EditReal, SimulatedEdit, Simulation, SimulationRequest};
use crate::cli::render::foresight::simulation;
use crate::cli::target::{MethodArg, SchedulerArg, ServiceArg, host, weighted};
use crate::cli::{Context, Failure};

/// Which change, of which service. Nothing is changed.
#[derive(Clone, Debug, Args)]
#[command(override_usage = "lbctl simulate -t|-u VIP[:PORT] | --service NAME [OPTIONS]")]
pub struct Simulate {
    #[command(flatten)]
    service: ServiceArg,
    #[command(flatten)]
    scheduler: SchedulerArg,
    /// Give this real server no new connections.
    #[arg(long, value_name = "RIP[:PORT]", value_parser = host)]
    drain: Vec<String>,
    /// Remove this real server.
    #[arg(long, value_name = "RIP[:PORT]", value_parser = host)]
    remove: Vec<String>,
    /// The connections of those removed are cut.
    #[arg(short = 'f', long, requires = "remove")]
    force: bool,
    /// Give this real server another weight.
    #[arg(short = 'w', long = "weight", value_name = "RIP[:PORT]=WEIGHT", value_parser = weighted)]
    weights: Vec<(String, Option<u32>)>,
    /// Add this real server.
    #[arg(long, value_name = "RIP[:PORT][=WEIGHT]", value_parser = weighted)]
    add: Vec<(String, Option<u32>)>,
    #[command(flatten)]
    method: MethodArg,
    /// How many new connections to try with, 10000 if it is not given.
    #[arg(long, value_name = "COUNT")]
    connections: Option<u32>,
}

impl Simulate {
    /// The request that it makes.
    pub fn request(&self) -> SimulationRequest {
        let weight = |real: &String, weight| SimulatedEdit {
            real: real.clone(),
            change: EditReal {
                weight,
                ..EditReal::default()
            },
        };
        let drained = self.drain.iter().map(|real| weight(real, Some(0)));
        let weighted = self.weights.iter().map(|(real, new)| weight(real, *new));
        SimulationRequest {
            service: self.service.reference(),
            scheduler: self.scheduler.scheduler.clone(),
            scheduler_flags: self.scheduler.flags(),
            remove: self.remove.clone(),
            force: self.force,
            edit: drained.chain(weighted).collect(),
            add: self
                .add
                .iter()
                .map(|(address, weight)| AddReal {
                    address: address.clone(),
                    method: self.method.method(),
                    weight: *weight,
                    upper: None,
                    lower: None,
                })
                .collect(),
            connections: self.connections,
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let answer: Simulation = context.client.post("/v1/simulate", &self.request()).await?;
        context.print(&answer, |answer| simulation(answer, context.style))
    }
}
