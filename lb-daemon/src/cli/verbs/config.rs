//! `diff`, `save`, `reload`

use clap::Args;

use crate::api::types::{self, ReloadRequest, Reloaded, Saved};
use crate::cli::render::number::plural;
use crate::cli::render::plan::changes;
use crate::cli::{Context, Failure};

/// How to answer.
#[derive(Clone, Debug, Args)]
pub struct Diff {
    /// Exit with status 1 if they differ.
    #[arg(long)]
    exit_code: bool,
}

impl Diff {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let diff: types::Diff = context.client.get("/v1/config/diff").await?;
        context.print(&diff, |diff| {
            if diff.changes.is_empty() {
                format!("{} is what runs\n", diff.file)
            } else {
                format!(
                    "To be as {}, what runs would change so:\n{}",
                    diff.file,
                    changes(&diff.changes, context.style)
                )
            }
        })?;
        if self.exit_code && !diff.changes.is_empty() {
            Err(Failure::Quiet)
        } else {
            Ok(())
        }
    }
}

/// Nothing to choose.
#[derive(Clone, Debug, Args)]
pub struct Save {}

impl Save {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let saved: Saved = context.client.post("/v1/config/save", &()).await?;
        context.print(&saved, |saved| {
            format!(
                "wrote {} to {}\n{}",
                plural(saved.changes.len(), "change"),
                saved.file,
                changes(&saved.changes, context.style)
            )
        })
    }
}

/// How to reload.
#[derive(Clone, Debug, Args)]
pub struct Reload {
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
}

impl Reload {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = ReloadRequest {
            dry_run: self.dry_run,
        };
        let reloaded: Reloaded = context.client.post("/v1/config/reload", &request).await?;
        context.print(&reloaded, |reloaded| {
            let count = plural(reloaded.changes.len(), "change");
            let done = if reloaded.applied {
                "applied"
            } else {
                "would apply"
            };
            format!(
                "{done} {count} from {}\n{}",
                reloaded.file,
                changes(&reloaded.changes, context.style)
            )
        })
    }
}
