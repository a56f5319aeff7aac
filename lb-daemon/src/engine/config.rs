//! Requests about the configuration: the file's and the running one.

use std::path::Path;

use super::apply::changes;
use super::{Engine, Machine, Network, Request, problem};
use crate::api::types::{self, Checked, Problem, ReloadRequest, Reloaded, Saved};
use crate::config::{self, Anywhere, Model, Refused, Shown};
use crate::io::store::{self, Digest};

/// What a reload of the file would change.
#[derive(Clone, Copy, Debug)]
pub struct Diff;

impl Request for Diff {
    type Answer = types::Diff;

    async fn perform(self, engine: &mut Engine) -> Result<types::Diff, Problem> {
        let (model, _) = read_file(Some(&*engine.network), &engine.places.config).await?;
        Ok(types::Diff {
            file: engine.file_name(),
            changes: changes(&engine.model, &model),
        })
    }
}

/// Applies the file.
#[derive(Clone, Copy, Debug)]
pub struct Reload(pub ReloadRequest);

impl Request for Reload {
    type Answer = Reloaded;

    async fn perform(self, engine: &mut Engine) -> Result<Reloaded, Problem> {
        let (model, digest) = read_file(Some(&*engine.network), &engine.places.config).await?;
        let changes = if self.0.dry_run {
            changes(&engine.model, &model)
        } else {
            let changes = engine.switch(model).await?;
            engine.is_as_file(digest);
            changes
        };
        Ok(Reloaded {
            file: engine.file_name(),
            changes,
            applied: !self.0.dry_run,
        })
    }
}

/// Writes the running configuration to the file.
#[derive(Clone, Copy, Debug)]
pub struct Save;

impl Request for Save {
    type Answer = Saved;

    async fn perform(self, engine: &mut Engine) -> Result<Saved, Problem> {
        let path = &engine.places.config;
        // A file that is not there, or that is refused, is written anew.
        let changes = match read_file(Some(&*engine.network), path).await {
            Ok((before, _)) => changes(&before, &engine.model),
            Err(_) => changes(&Model::default(), &engine.model),
        };
        let digest = store::save(path, &engine.model)
            .map_err(|err| problem("cannot save the configuration", &err))?;
        engine.is_as_file(digest);
        Ok(Saved {
            file: engine.file_name(),
            changes,
        })
    }
}

/// Checks a text as if it were the file.
#[derive(Clone, Debug)]
pub struct Check {
    /// What refusals call it.
    pub name: String,
    /// The text.
    pub text: Vec<u8>,
}

impl Request for Check {
    type Answer = Checked;

    async fn perform(self, engine: &mut Engine) -> Result<Checked, Problem> {
        let model = read_text(Some(&*engine.network), &self.text, Path::new(&self.name)).await?;
        Ok(Checked {
            changes: changes(&engine.model, &model),
        })
    }
}

/// The running configuration as a file would have it, but for passwords.
#[derive(Clone, Copy, Debug)]
pub struct Text;

impl Request for Text {
    type Answer = String;

    async fn perform(self, engine: &mut Engine) -> Result<String, Problem> {
        Ok(Shown(&engine.model).to_string())
    }
}

impl Engine {
    fn file_name(&self) -> String {
        self.places.config.display().to_string()
    }

    /// What runs is what the file has, of which this is the digest.
    fn is_as_file(&mut self, digest: Digest) {
        self.origin = Some(digest);
        self.edited = false;
        self.alarms.clear_start();
        self.remember();
    }

    /// In how many things the file differs from what runs; `None` when it cannot be read.
    pub(super) async fn unsaved(&mut self) -> Option<usize> {
        let (model, _) = read_file(Some(&*self.network), &self.places.config)
            .await
            .ok()?;
        Some(changes(&self.model, &model).len())
    }
}

/// What a file says, checked against this machine; without a network only against the rules.
pub async fn read_file(
    network: Option<&dyn Network>,
    path: &Path,
) -> Result<(Model, Digest), Problem> {
    let bytes = config::bytes(path).map_err(|refused| self::refused(&refused))?;
    let model = read_text(network, &bytes, path).await?;
    Ok((model, Digest::of(&bytes)))
}

/// What a text says that would be in a file of this name, checked as that is.
pub async fn read_text(
    network: Option<&dyn Network>,
    bytes: &[u8],
    path: &Path,
) -> Result<Model, Problem> {
    // The rules, and which addresses it speaks of; then whether it fits the machine.
    let model = config::parse(bytes, path, &Anywhere).map_err(|refused| self::refused(&refused))?;
    let Some(network) = network else {
        return Ok(model);
    };
    let machine = Machine::look(network, &[&model]).await;
    config::parse(bytes, path, &machine).map_err(|refused| self::refused(&refused))
}

/// A refused file as a problem: the refusals speak for themselves.
fn refused(refused: &Refused) -> Problem {
    let text = refused.to_string();
    let (body, summary) = text
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or(("", text.as_str()));
    Problem::invalid(summary.trim()).why(body.trim_end())
}
