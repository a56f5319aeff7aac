//! With which configuration does the daemon begin?
//!
//! | remembered | changed by `lbctl`, not saved | file | begins with |
//! |---|---|---|---|
//! | nothing | - | valid | the file |
//! | nothing | - | refused | does not start |
//! | a configuration | no | valid | the file |
//! | a configuration | no | refused | what is remembered, with a warning |
//! | a configuration | yes | as it was | what is remembered |
//! | a configuration | yes | edited since, or refused | what is remembered, with a warning |
//!
//! So an edit of the file counts at the next start, unless it would throw away what was done with `lbctl`; and a file
//! that somebody is in the middle of writing stops no director that has been running.

use std::path::Path;

use tracing::info;

use super::config::read_file;
use super::{Network, problem};
use crate::api::types::Problem;
use crate::config::Model;
use crate::io::store::{Digest, Found, Running, Store};

/// What to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The configuration.
    pub model: Model,
    /// What the configuration file had in it.
    pub origin: Option<Digest>,
    /// `lbctl` has changed something that was not saved.
    pub edited: bool,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Decides what to begin with. Without a store nothing is remembered; without a network a file is checked against the
/// rules alone.
pub async fn begin(
    store: Option<&Store>,
    path: &Path,
    network: Option<&dyn Network>,
) -> Result<Beginning, Problem> {
    let mut warnings = Vec::new();
    let remembered = match store.map_or(Ok(Found::Nothing), Store::read_running) {
        Ok(Found::Remembered(running)) => Some(running),
        Ok(Found::Nothing) => None,
        Ok(Found::Unusable(unusable)) => {
            warnings.push(unusable.to_string());
            None
        }
        Err(err) => {
            warnings.push(problem("the state cannot be read", &err).to_string());
            None
        }
    };
    let beginning = match (remembered, read_file(network, path).await) {
        (None, Err(problem)) => return Err(problem),
        (None | Some(Running { edited: false, .. }), Ok((model, digest))) => {
            info!("the configuration is that of {}", path.display());
            Beginning {
                model,
                origin: Some(digest),
                edited: false,
                warnings,
            }
        }
        (Some(running), Ok((_, digest))) => {
            info!("the configuration is the one that ran before, with the changes made by lbctl");
            if running.origin != Some(digest) {
                warnings.push(format!(
                    "{} has been edited, but lbctl had changed what ran: `lbctl diff` compares, `lbctl reload` applies the file",
                    path.display(),
                ));
            }
            Beginning {
                model: running.model,
                origin: running.origin,
                edited: true,
                warnings,
            }
        }
        (Some(running), Err(problem)) => {
            warnings.push(format!(
                "the configuration that ran before goes on: {problem}"
            ));
            Beginning {
                model: running.model,
                origin: running.origin,
                edited: running.edited,
                warnings,
            }
        }
    };
    Ok(beginning)
}
