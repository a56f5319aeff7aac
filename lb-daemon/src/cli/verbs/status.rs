//! `status`

use clap::Args;

use crate::api::types;
use crate::cli::render::status::status;
use crate::cli::{Context, Failure};

/// Nothing to choose.
#[derive(Clone, Debug, Args)]
pub struct Status {}

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let answer: types::Status = context.client.get("/v1/status").await?;
        let socket = context.socket().display().to_string();
        context.print(&answer, |answer| status(answer, &socket, context.style))
    }
}
