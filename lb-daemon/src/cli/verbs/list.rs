//! `list`

use std::net::SocketAddr;

use clap::Args;

use super::{conns, stats, timeout};
use crate::api::client::segment;
use crate::api::types::Service;
use crate::cli::render::list::{Columns, services};
use crate::cli::target::OptionalService;
use crate::cli::{Context, Failure};

/// What to list, and how.
#[derive(Clone, Debug, Args)]
pub struct List {
    #[command(flatten)]
    service: OptionalService,
    /// Connections, packets and bytes instead.
    #[arg(long, group = "columns")]
    stats: bool,
    /// Connections, packets and bytes per second instead.
    #[arg(long, group = "columns")]
    rate: bool,
    /// Thresholds instead.
    #[arg(long, group = "columns")]
    thresholds: bool,
    /// Persistence templates instead.
    #[arg(long, group = "columns")]
    persistent_conn: bool,
    /// Timeouts instead: `lbctl set-timeout` without a time.
    #[arg(long, group = "columns")]
    timeout: bool,
    /// Connections instead: `lbctl conns`.
    #[arg(short = 'c', long, group = "columns")]
    connection: bool,
    /// Sort by protocol, address and port (the default).
    #[arg(long, conflicts_with = "nosort")]
    sort: bool,
    /// In the order in which the scheduler looks: newest first.
    #[arg(long)]
    nosort: bool,
    /// Every digit of large numbers.
    #[arg(long)]
    exact: bool,
    /// Addresses as numbers (they always are).
    #[arg(short = 'n', long)]
    numeric: bool,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.timeout {
            return timeout::SetTimeout::shown(self.service).run(context).await;
        }
        let service = self.service.reference();
        if self.connection {
            return conns::Conns::of_service(service).run(context).await;
        }
        if self.stats || self.rate {
            return stats::show(context, service, self.rate, self.exact, !self.nosort).await;
        }
        let mut answer: Vec<Service> = match service {
            None => context.client.get("/v1/services").await?,
            Some(service) => vec![
                context
                    .client
                    .get(&format!("/v1/services/{}", segment(&service)))
                    .await?,
            ],
        };
        if self.nosort {
            newest_first(&mut answer);
        } else {
            sort(&mut answer);
        }
        let columns = match (self.thresholds, self.persistent_conn) {
            (true, _) => Columns::Thresholds,
            (_, true) => Columns::Persistent,
            _ => Columns::Connections,
        };
        context.print(&answer, |answer| services(answer, columns, context.style))
    }
}

fn newest_first(services: &mut [Service]) {
    services
        .iter_mut()
        .for_each(|service| service.reals.reverse());
}

fn sort(services: &mut [Service]) {
    services.sort_by_cached_key(|service| {
        (
            service.listener.protocol,
            address_key(&service.listener.address),
        )
    });
    for service in services {
        service
            .reals
            .sort_by_cached_key(|real| address_key(&real.address));
    }
}

/// Addresses in the order of their numbers; what is no plain address, such as a network, by its text after them.
pub(super) fn address_key(address: &str) -> (Option<SocketAddr>, String) {
    (address.parse().ok(), address.to_owned())
}
