//! The configuration: YAML text to a valid [`Model`], and back.
//!
//! A file is read in four steps: bytes to text and text to values (`yaml`), values to a model (`decode`), and the
//! rules that values must keep together (`rules`). Whatever is wrong is said with line, column and a hint, and a
//! configuration with anything wrong is refused whole.

mod decode;
mod environment;
mod keys;
mod manual;
pub mod model;
pub(crate) mod nearest;
mod node;
mod reference;
mod refusal;
mod rules;
pub(crate) mod spell;
#[cfg(test)]
mod tests;
pub(crate) mod value;
mod write;
mod yaml;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use environment::{Anywhere, Environment};
pub use manual::manual;
pub use model::Model;
pub use reference::reference;
pub use refusal::{Fault, Refusal, Refused};
pub use write::{Shown, Yaml};
pub(crate) use yaml::MAX_BYTES;

/// Reads and checks a file.
pub fn load(path: &Path, environment: &dyn Environment) -> Result<Model, Refused> {
    parse(&bytes(path)?, path, environment)
}

/// What a file has in it, if it is not too large.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Refused> {
    read(path).map_err(|refusal| Refused::whole(path.to_owned(), refusal))
}

/// Reads and checks what a file of some name has in it.
pub fn parse(bytes: &[u8], path: &Path, environment: &dyn Environment) -> Result<Model, Refused> {
    let whole = |refusal| Refused::whole(path.to_owned(), refusal);
    let text = match yaml::text(bytes) {
        Ok(text) => text,
        Err(refusal) => {
            let text = String::from_utf8_lossy(bytes);
            return Err(Refused::in_text(path.to_owned(), &text, None, refusal));
        }
    };
    let root = match yaml::parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => return Err(whole(empty())),
        Err(refusal) => return Err(Refused::in_text(path.to_owned(), text, None, refusal)),
    };
    let (model, mut found) = decode::model(&root);
    if found.is_empty() {
        found = rules::check(&model, environment);
    }
    if found.is_empty() {
        Ok(model)
    } else {
        Err(Refused::in_text(path.to_owned(), text, Some(&root), found))
    }
}

/// Checks a model that was made from a valid one, as a file is checked. What was wrong before, because the machine
/// has changed since, is not held against the edit.
pub fn edited(
    old: &Model,
    new: Model,
    environment: &dyn Environment,
) -> Result<Model, Vec<Refusal>> {
    let mut refusals = rules::check(&new, environment).refusals;
    if refusals.iter().any(|r| r.fault == Fault::Machine) {
        let before = rules::check(old, environment).refusals;
        refusals.retain(|r| !before.iter().any(|b| b.what == r.what));
    }
    if refusals.is_empty() {
        Ok(new)
    } else {
        Err(refusals)
    }
}

fn empty() -> Refusal {
    Refusal::new(
        "the file says nothing",
        "begin with `services:`; the documentation has a configuration of six lines",
    )
}

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let failed = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "name an existing file with `--config FILE`",
            std::io::ErrorKind::PermissionDenied => {
                "run as root, or let the file be read by this user"
            }
            _ => "name a file that can be read",
        };
        Refusal::new(format!("the file cannot be read: {error}"), hint)
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > MAX_BYTES as u64 {
        return Err(yaml::too_large(length));
    }
    // What grows meanwhile, or has no length, is not read without end either.
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}
