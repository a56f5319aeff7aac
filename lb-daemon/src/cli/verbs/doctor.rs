//! `doctor`

use std::path::PathBuf;

use clap::Args;

use crate::api::types::{Diagnosis, Problem};
use crate::cli::context::columns;
use crate::cli::render::doctor::diagnosis;
use crate::cli::{Context, Failure};
use crate::core::doctor::clock;
use crate::engine::begin;
use crate::io::doctor::{self, Case};
use crate::io::store::Store;

/// Lines are no longer than this however wide the terminal is, as are those of a file.
const WIDTH: usize = 80;

/// What to show, and where to look while lbd does not run.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit status: 0 nothing is wrong, 1 something is, 2 wrong usage.")]
pub struct Doctor {
    /// Show what is well, too.
    #[arg(short = 'a', long)]
    all: bool,
    /// While lbd does not run: where its running configuration is kept.
    #[arg(
        long,
        env = "LBD_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/lbd"
    )]
    state_dir: PathBuf,
    /// While lbd does not run: its configuration file.
    #[arg(
        long,
        env = "LBD_CONFIG",
        value_name = "FILE",
        default_value = "/etc/lbd/lbd.yaml"
    )]
    config: PathBuf,
    /// While lbd does not run: where program and maps are pinned.
    #[arg(
        long,
        env = "LBD_PIN_DIR",
        value_name = "DIR",
        default_value = "/sys/fs/bpf/lbd"
    )]
    pin_dir: PathBuf,
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let found: Diagnosis = match context.client.is_there().await {
            true => context.client.post("/v1/doctor", &()).await?,
            false => self.without_daemon(context).await?,
        };
        // lbd may not ask for the clock: its unit keeps it off that.
        let time = doctor::clock::look().map_err(|err| err.to_string());
        let signs = found.signs;
        let found = found.with([clock(time, signs)]);
        let width = columns().min(WIDTH);
        context.print(&found, |found| {
            diagnosis(found, self.all, width, context.style)
        })?;
        if found.well {
            Ok(())
        } else {
            Err(Failure::Quiet)
        }
    }

    /// Looks from here, for what lbd would begin with.
    async fn without_daemon(&self, context: &Context) -> Result<Diagnosis, Problem> {
        let store = Store::look(&self.state_dir);
        let beginning = begin(store.as_ref(), &self.config, None).await?;
        let case = Case {
            model: beginning.model,
            pin_dir: self.pin_dir.clone(),
            live: Err(format!("nobody answers at {}", context.socket().display())),
        };
        let facts = doctor::gather(case)
            .await
            .map_err(|err| Problem::failed("nothing could be looked at").why(err.to_string()))?;
        Ok(Diagnosis::of(&facts))
    }
}
