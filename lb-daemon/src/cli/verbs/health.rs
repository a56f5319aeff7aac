//! `health`

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::api::client::query;
use crate::api::types::{AskHealth, Asked, HealthReport};
use crate::cli::context::columns;
use crate::cli::render::health::{asked, health};
use crate::cli::target::{OptionalService, host};
use crate::cli::{Context, Failure};

/// Whose health to show, and how.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Health {
    #[command(subcommand)]
    verb: Option<HealthVerb>,
    #[command(flatten)]
    service: OptionalService,
    /// Again every second, until interrupted.
    #[arg(short = 'w', long)]
    watch: bool,
}

/// What else to do about health.
#[derive(Clone, Debug, Subcommand)]
pub enum HealthVerb {
    /// Make a real server's checks now, and show what was sent and answered. It counts for nothing; the exit status is 1
    /// if one fails.
    Check(Check),
}

/// Whose checks to make.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The real server; without a port, at each of its ports.
    #[arg(value_name = "RIP[:PORT]", value_parser = host)]
    real: String,
    #[command(flatten)]
    service: OptionalService,
}

/// How often it is shown with `--watch`.
const AGAIN: Duration = Duration::from_secs(1);
/// Moves to the upper left corner of a terminal and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

impl Health {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(HealthVerb::Check(check)) = self.verb {
            return check.run(context).await;
        }
        let path = format!(
            "/v1/health{}",
            query(&[("service", self.service.reference())])
        );
        loop {
            let report: HealthReport = context.client.get(&path).await?;
            if self.watch && !context.json && std::io::stdout().is_terminal() {
                context.say(CLEAR)?;
            }
            // Asked again each time: the window may be another size.
            context.print(&report, |report| health(report, columns(), context.style))?;
            if !self.watch {
                return Ok(());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Check {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = AskHealth {
            real: self.real,
            service: self.service.reference(),
        };
        let answers: Vec<Asked> = context.client.post("/v1/health/check", &request).await?;
        context.print(&answers, |answers| asked(answers, context.style))?;
        if answers.iter().all(|asked| asked.passed) {
            Ok(())
        } else {
            Err(Failure::Quiet)
        }
    }
}
