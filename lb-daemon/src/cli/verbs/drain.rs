//! `drain` and `undrain`

use std::time::{Duration, Instant};

use clap::Args;

use crate::api::client::query;
use crate::api::types::{DrainRequest, Drained, Problem};
use crate::cli::render::number::grouped;
use crate::cli::target::{OptionalService, host, seconds};
use crate::cli::{Context, Failure};

/// Which real server, and how long to wait.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Its connections go on until they end, and no new ones come. This holds over restarts of lbd and reloads of the \
                  configuration, until `lbctl undrain`, or `lbctl edit-real` with a weight."
)]
pub struct Drain {
    #[command(flatten)]
    which: Which,
    /// Return only when the server can be stopped: when no connection is open any more.
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after this time, with exit status 1.
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "wait")]
    deadline: Option<u64>,
}

/// Which real server.
#[derive(Clone, Debug, Args)]
pub struct Undrain {
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Debug, Args)]
struct Which {
    /// The real server; without a port, at each of its ports.
    #[arg(value_name = "RIP[:PORT]", value_parser = host)]
    real: String,
    #[command(flatten)]
    service: OptionalService,
}

impl Which {
    fn request(&self) -> DrainRequest {
        DrainRequest {
            real: self.real.clone(),
            service: self.service.reference(),
        }
    }

    fn path(&self) -> String {
        let DrainRequest { real, service } = self.request();
        format!(
            "/v1/drain{}",
            query(&[("real", Some(real)), ("service", service)])
        )
    }
}

/// How often the connections that are left are counted.
const INTERVAL: Duration = Duration::from_secs(1);

impl Drain {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let began = Instant::now();
        let request = self.which.request();
        let mut left: Vec<Drained> = context.client.post("/v1/drain", &request).await?;
        if !self.wait {
            return context.print(&left, |left| report(left));
        }
        let real = &self.which.real;
        let mut shown = String::new();
        loop {
            let progress = progress(&left);
            if !context.json && shown != progress {
                context.say(&format!("{real}: {progress}\n"))?;
                shown = progress;
            }
            let open = sum(&left, |one| one.open);
            if open == 0 {
                return context.print(&left, |_| format!("{real} can be stopped\n"));
            }
            let is_over = |seconds| began.elapsed() >= Duration::from_secs(seconds);
            if self.deadline.is_some_and(is_over) {
                let open = grouped(open);
                return Err(Problem::failed(format!("{real} still has {open} open connections"))
                    .why("the deadline is over; it stays drained")
                    .hint("wait longer, cut them with `lbctl del-real --force`, or end the drain with `lbctl undrain`")
                    .into());
            }
            tokio::time::sleep(INTERVAL).await;
            left = context.client.get(&self.which.path()).await?;
        }
    }
}

impl Undrain {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let left: Vec<Drained> = context.client.delete(&self.which.path()).await?;
        context.print(&left, |left| {
            left.iter()
                .map(|one| format!("{} {}: is in use\n", one.service, one.address))
                .collect()
        })
    }
}

fn sum(left: &[Drained], what: impl Fn(&Drained) -> u32) -> u64 {
    left.iter().map(|one| u64::from(what(one))).sum()
}

/// What is left, over all services.
fn progress(left: &[Drained]) -> String {
    let (active, inactive, open) = (
        sum(left, |one| one.active),
        sum(left, |one| one.inactive),
        sum(left, |one| one.open),
    );
    let mut text = format!(
        "{} active and {} inactive connections left",
        grouped(active),
        grouped(inactive)
    );
    if open < active + inactive {
        text.push_str(&format!(", {} of them open", grouped(open)));
    }
    text
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
