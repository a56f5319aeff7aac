//! `vrrp`

use std::io::{self, Write};

use clap::{Args, Subcommand};

use crate::api::client::segment;
use crate::api::types::{self, FailedOver, VrrpEvent};
use crate::cli::render::vrrp::{event, table};
use crate::cli::{Context, Failure};

/// What about virtual routers; without a word, they are listed.
#[derive(Clone, Debug, Args)]
pub struct Vrrp {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Leave a virtual router that this director is master of to another one.
    Failover {
        /// Its name.
        #[arg(value_name = "NAME")]
        router: String,
    },
    /// Show changes of state as they happen, until interrupted.
    Events,
}

impl Vrrp {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.what {
            None => {
                let answer: types::Vrrp = context.client.get("/v1/vrrp").await?;
                context.print(&answer, |answer| table(answer, context.style))
            }
            Some(What::Failover { router }) => {
                let path = format!("/v1/vrrp/{}/failover", segment(&router));
                let answer: FailedOver = context.client.post(&path, &()).await?;
                context.print(&answer, |answer| {
                    format!(
                        "virtual router {} is left to another director; `lbctl vrrp` shows to whom\n",
                        answer.router
                    )
                })
            }
            Some(What::Events) => follow(context).await,
        }
    }
}

/// Each event as it comes.
async fn follow(context: &Context) -> Result<(), Failure> {
    let mut lines = context.client.lines("/v1/vrrp/events").await?;
    let mut out = io::stdout().lock();
    if context.json {
        while let Some(line) = lines.next_line().await? {
            out.write_all(line)?;
            out.write_all(b"\n")?;
            out.flush()?;
        }
    } else {
        while let Some(happened) = lines.next::<VrrpEvent>().await? {
            writeln!(out, "{}", event(&happened, context.style))?;
            out.flush()?;
        }
    }
    Ok(())
}
