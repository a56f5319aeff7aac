//! `check`

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;

use crate::api::types::{Checked, Problem};
use crate::cli::render::number::plural;
use crate::cli::render::plan::changes;
use crate::cli::{Context, Failure};

/// What to check.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// More than the daemon would read anyway.
const MAX_BYTES: u64 = 1 << 20;

impl Check {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let name = self.file.display().to_string();
        let text = self
            .read()
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

    fn read(&self) -> std::io::Result<String> {
        let mut text = String::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin()
                .lock()
                .take(MAX_BYTES + 1)
                .read_to_string(&mut text)?;
        } else {
            std::fs::File::open(&self.file)?
                .take(MAX_BYTES + 1)
                .read_to_string(&mut text)?;
        }
        if text.len() as u64 > MAX_BYTES {
            return Err(std::io::Error::other("it is larger than 1 MB"));
        }
        Ok(text)
    }
}
