//! `check`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::api::types::{Checked, Problem, Status};
use crate::cli::render::number::plural;
use crate::cli::render::plan::changes;
use crate::cli::{Context, Failure};

/// What to check.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The file; `-` is standard input [the daemon's configuration file].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// More than the daemon would read anyway.
const MAX_BYTES: u64 = 1 << 20;

impl Check {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let file = match self.file {
            Some(file) => file,
            None => {
                let status: Status = context.client.get("/v1/status").await?;
                status.config.into()
            }
        };
        let name = file.display().to_string();
        let text = read(&file)
            .map_err(|err| Problem::invalid(format!("cannot read {name}")).why(err.to_string()))?;
        let path = format!(
            "/v1/config/check{}",
            crate::api::client::query(&[("name", Some(name.clone()))])
        );
        let checked: Checked = context.client.post_text(&path, text).await?;
        context.print(&checked, |checked| {
            format!(
                "{name} is valid; to reload it would make {}\n{}",
                plural(checked.changes.len(), "change"),
                changes(&checked.changes, context.style),
            )
        })
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(MAX_BYTES + 1)
            .read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?
            .take(MAX_BYTES + 1)
            .read_to_string(&mut text)?;
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 1 MB"));
    }
    Ok(text)
}
