//! `stats` and `zero`

use clap::Args;

use super::list::address_key;
use crate::api::client::query;
use crate::api::types;
use crate::cli::render::stats::{counters, rates, totals};
use crate::cli::target::OptionalService;
use crate::cli::{Context, Failure};

/// What to show, and how.
#[derive(Clone, Debug, Args)]
pub struct Stats {
    #[command(flatten)]
    service: OptionalService,
    /// Per second.
    #[arg(long)]
    rate: bool,
    /// Every digit of large numbers.
    #[arg(long)]
    exact: bool,
    /// Addresses as numbers (they always are).
    #[arg(short = 'n', long)]
    numeric: bool,
}

impl Stats {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        show(
            context,
            self.service.reference(),
            self.rate,
            self.exact,
            true,
        )
        .await
    }
}

/// Prints the statistics of one service, or of all and how packets ended.
pub(super) async fn show(
    context: &Context,
    service: Option<String>,
    rate: bool,
    exact: bool,
    sorted: bool,
) -> Result<(), Failure> {
    let path = format!("/v1/stats{}", query(&[("service", service.clone())]));
    let mut stats: types::Stats = context.client.get(&path).await?;
    if sorted {
        stats
            .services
            .sort_by_cached_key(|s| (s.listener.protocol, address_key(&s.listener.address)));
        for service in &mut stats.services {
            service
                .reals
                .sort_by_cached_key(|real| address_key(&real.address));
        }
    }
    context.print(&stats, |stats| {
        let style = context.style;
        let table = if rate {
            rates(stats, exact, style)
        } else {
            totals(stats, exact, style)
        };
        if rate || service.is_some() {
            table
        } else {
            format!("{table}\n{}", counters(&stats.counters, style))
        }
    })
}

/// Whose counters to set to zero.
#[derive(Clone, Debug, Args)]
pub struct Zero {
    #[command(flatten)]
    service: OptionalService,
}

impl Zero {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let service = self.service.reference();
        let path = format!("/v1/stats/zero{}", query(&[("service", service.clone())]));
        let zeroed: Vec<String> = context.client.post(&path, &()).await?;
        context.print(&zeroed, |zeroed| {
            format!(
                "zeroed the counters of {}\n",
                crate::cli::render::number::plural(zeroed.len(), "service")
            )
        })
    }
}
