//! `check`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::api::types::{Checked, Problem, Status};
use crate::cli::render::number::plural;
use crate::cli::render::plan::changes;
use crate::cli::{Context, Failure};
use crate::config::MAX_BYTES;
use crate::engine::{Network, read_text};
use crate::io::net::{Net, Settings};

/// What to check. Without a daemon that runs, a file is checked against its rules, and as root against this machine.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The file; `-` is standard input [the daemon's configuration file].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What was found, where no daemon says what a reload would change.
#[derive(Clone, Debug, Serialize)]
struct Valid {
    /// Always: what is not valid is a failure.
    valid: bool,
    /// Services.
    services: usize,
    /// Real servers.
    reals: usize,
    /// Whether it was compared with this machine's interfaces and routes, which takes root.
    machine: bool,
}

impl Check {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if let (Some(file), false) = (&self.file, context.client.is_there().await) {
            return alone(file, context).await;
        }
        let file = match self.file {
            Some(file) => file,
            None => {
                let status: Status = context.client.get("/v1/status").await?;
                status.config.into()
            }
        };
        let (name, text) = named(&file)?;
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

/// Checks a file without a daemon.
async fn alone(file: &Path, context: &Context) -> Result<(), Failure> {
    let (name, text) = named(file)?;
    let network = Net::start(Settings::default()).await.ok();
    let network = network.as_ref().map(|(net, _)| net as &dyn Network);
    let model = read_text(network, text.as_bytes(), file).await?;
    let valid = Valid {
        valid: true,
        services: model.services.len(),
        reals: model.services.iter().map(|s| s.reals.len()).sum(),
        machine: network.is_some(),
    };
    context.print(&valid, |valid| {
        let more = match valid.machine {
            true => "",
            false => "whether it fits this machine was not looked at: that takes root\n",
        };
        format!(
            "{name} is valid: {} with {}; lbd does not run\n{more}",
            plural(valid.services, "service"),
            plural(valid.reals, "real server"),
        )
    })
}

/// A file's name and what it has in it.
fn named(file: &Path) -> Result<(String, String), Problem> {
    let name = file.display().to_string();
    let text = read(file).map_err(|err| {
        Problem::invalid(format!("cannot read {name}"))
            .why(err.to_string())
            .hint("name a file of YAML that this user may read, or pipe one in with `-`")
    })?;
    Ok((name, text))
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(MAX_BYTES as u64 + 1)
            .read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?
            .take(MAX_BYTES as u64 + 1)
            .read_to_string(&mut text)?;
    }
    if text.len() > MAX_BYTES {
        return Err(std::io::Error::other(
            "it is larger than 16 MiB, the most that is read",
        ));
    }
    Ok(text)
}
