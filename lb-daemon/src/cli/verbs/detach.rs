//! `detach`

use clap::Args;

use crate::api::types::Removed;
use crate::cli::{Context, Failure};

/// Nothing to choose.
#[derive(Clone, Debug, Args)]
pub struct Detach {}

impl Detach {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let removed: Removed = context.client.post("/v1/detach", &()).await?;
        context.print(&removed, |removed| {
            let interfaces = if removed.interfaces.is_empty() { "no interface".to_owned() } else { removed.interfaces.join(", ") };
            format!("detached from {interfaces}; nothing of lbd is left in the kernel, and the daemon has stopped\n")
        })
    }
}
