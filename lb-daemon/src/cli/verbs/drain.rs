//! `drain`

use std::time::{Duration, Instant};

use clap::Args;

use crate::api::client::query;
use crate::api::types::{DrainRequest, Drained, Problem};
use crate::cli::render::number::grouped;
use crate::cli::target::{OptionalService, host, seconds};
use crate::cli::{Context, Failure};

/// Which real server, and how long to wait.
#[derive(Clone, Debug, Args)]
pub struct Drain {
    /// The real server; without a port, at each of its ports.
    #[arg(value_name = "RIP[:PORT]", value_parser = host)]
    real: String,
    #[command(flatten)]
    service: OptionalService,
    /// Return only when no connection is left.
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after this time, with exit status 1.
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "wait")]
    deadline: Option<u64>,
}

/// How often the connections that are left are counted.
const INTERVAL: Duration = Duration::from_secs(1);

impl Drain {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = DrainRequest {
            real: self.real.clone(),
            service: self.service.reference(),
        };
        let mut left: Vec<Drained> = context.client.post("/v1/drain", &request).await?;
        if !self.wait {
            return context.print(&left, |left| report(left));
        }
        let give_up = self
            .deadline
            .map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let path = format!(
            "/v1/drain{}",
            query(&[("real", Some(request.real)), ("service", request.service)])
        );
        let mut shown = None;
        loop {
            let conns = connections(&left);
            if !context.json && shown != Some(conns) {
                context.say(&format!(
                    "{}: {} connections left\n",
                    self.real,
                    grouped(conns)
                ))?;
                shown = Some(conns);
            }
            if conns == 0 {
                break;
            }
            if give_up.is_some_and(|at| Instant::now() >= at) {
                return Err(Problem::failed(format!(
                    "{} still has {} connections",
                    self.real,
                    grouped(conns)
                ))
                .why("the deadline is over")
                .hint("wait longer, or cut them with `lbctl del-real --force`")
                .into());
            }
            tokio::time::sleep(INTERVAL).await;
            left = context.client.get(&path).await?;
        }
        context.print(&left, |_| format!("{} can be stopped\n", self.real))
    }
}

fn connections(left: &[Drained]) -> u64 {
    left.iter()
        .map(|one| u64::from(one.active) + u64::from(one.inactive))
        .sum()
}

fn report(left: &[Drained]) -> String {
    left.iter()
        .map(|one| {
            format!(
                "{} {}: gets no new connections; {} active and {} inactive are left\n",
                one.service, one.address, one.active, one.inactive,
            )
        })
        .collect()
}
