//! What does the daemon remember from one start to the next?
//!
//! The state directory has one file for each [`Item`]. A file is replaced whole or not at all, begins with a line
//! that tells version, length and checksum, and is moved aside when these are not right: a daemon starts with
//! nothing remembered rather than with something wrong, and never fails for it.

mod replace;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::{self, Anywhere, Model, Yaml};
pub use replace::replace;

/// The version of what is written. A file of a later one is not read.
const VERSION: u32 = 1;
/// The most that is read.
const MAX_BYTES: u64 = 64 << 20;
/// How many files that were moved aside are kept of one item.
const ASIDE: u32 = 5;

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// The running configuration.
    Running,
    /// What is known of the health of real servers.
    Health,
    /// Where the counters stood when they were last set to zero.
    Zeroed,
    /// Which real servers are drained.
    Drains,
}

impl Item {
    /// The name of its file.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Running => "running.yaml",
            Self::Health => "health.json",
            Self::Zeroed => "zeroed.json",
            Self::Drains => "drains.json",
        }
    }
}

/// The state directory.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    /// What cannot be used stays where it is.
    only_looks: bool,
}

/// The state directory or a file in it cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{action} `{}` failed: {error}; hint: {hint}", path.display())]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    #[source]
    error: io::Error,
    hint: &'static str,
}

impl StoreError {
    fn new(action: &'static str, path: &Path, error: io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room on its file system; what was remembered before is kept"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "mount its file system for writing, or name another place"
            }
            io::ErrorKind::PermissionDenied => "let root write there, or name another place",
            _ => "name a place that exists and that root can write to",
        };
        Self {
            action,
            path: path.to_owned(),
            error,
            hint,
        }
    }
}

/// What was found of an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Nothing: it was never written.
    Nothing,
    /// What was remembered.
    Remembered(T),
    /// Something that cannot be used.
    Unusable(Unusable),
}

/// A file of the state that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state `{}` cannot be used: {why}; {}", path.display(), kept(aside.as_deref()))]
pub struct Unusable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// Where it is now, if it was moved.
    pub aside: Option<PathBuf>,
}

fn kept(aside: Option<&Path>) -> String {
    match aside {
        Some(path) => format!(
            "hint: it is kept as `{}`; remove that when it is of no use",
            path.display()
        ),
        None => "hint: it is still there; remove it, or move it aside".to_owned(),
    }
}

/// The running configuration as it was remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The configuration.
    pub model: Model,
    /// What the configuration file had in it when this began to run. When the file has something else now, somebody
    /// has edited it since.
    pub origin: Option<Digest>,
    /// Whether `lbctl` has changed something since that was not saved to the file.
    pub edited: bool,
}

/// What a configuration file has in it, for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(u32);

impl Digest {
    /// Of the bytes of a file.
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc32fast::hash(bytes))
    }

    /// Of a file, if it can be read.
    pub fn of_file(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).ok()?;
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(Self::of(&bytes))
    }
}

impl Store {
    /// Uses a directory, and makes it if it does not exist.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::new("opening the state directory", dir, error);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        let store = Self {
            dir: dir.to_owned(),
            only_looks: false,
        };
        replace::remove_leftovers(dir).map_err(failed)?;
        Ok(store)
    }

    /// Reads in a directory, if there is one, and leaves everything in it as it is.
    pub fn look(dir: &Path) -> Option<Self> {
        dir.is_dir().then(|| Self {
            dir: dir.to_owned(),
            only_looks: true,
        })
    }

    /// Where an item is kept.
    pub fn path(&self, item: Item) -> PathBuf {
        self.dir.join(item.file())
    }

    /// Remembers an item instead of what was remembered of it before.
    pub fn write(&self, item: Item, body: &[u8]) -> Result<(), StoreError> {
        let mut bytes = header(item, body).into_bytes();
        bytes.extend_from_slice(body);
        let path = self.path(item);
        let mode = fs::Permissions::from_mode(0o600);
        let written = if read(&path).is_ok_and(|old| old == bytes) {
            // As at every restart, which need not wait for a busy disk.
            replace::sync(&path)
        } else {
            replace(&path, &bytes, mode, None)
        };
        written.map_err(|error| StoreError::new("writing the state", &path, error))
    }

    /// What is remembered of an item.
    pub fn read(&self, item: Item) -> Result<Found<Vec<u8>>, StoreError> {
        let path = self.path(item);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(StoreError::new("reading the state", &path, error)),
        };
        match body(item, &bytes) {
            Ok(body) => Ok(Found::Remembered(body.to_vec())),
            Err(why) => Ok(Found::Unusable(self.move_aside(item, why))),
        }
    }

    /// Forgets an item.
    pub fn remove(&self, item: Item) -> Result<(), StoreError> {
        let path = self.path(item);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::new("removing the state", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Remembers the running configuration.
    pub fn write_running(&self, running: &Running) -> Result<(), StoreError> {
        let origin = match running.origin {
            Some(Digest(digest)) => format!("{ORIGIN}{digest:08x}\n"),
            None => String::new(),
        };
        let edited = if running.edited { EDITED } else { "" };
        let body = format!("{origin}{edited}{}", Yaml(&running.model));
        self.write(Item::Running, body.as_bytes())
    }

    /// The running configuration that was remembered. Whether it fits this machine now is not checked.
    pub fn read_running(&self) -> Result<Found<Running>, StoreError> {
        let body = match self.read(Item::Running)? {
            Found::Nothing => return Ok(Found::Nothing),
            Found::Unusable(unusable) => return Ok(Found::Unusable(unusable)),
            Found::Remembered(body) => body,
        };
        let origin = std::str::from_utf8(&body)
            .ok()
            .and_then(|text| text.strip_prefix(ORIGIN)?.get(..8))
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .map(Digest);
        let edited = body
            .split(|b| *b == b'\n')
            .take(2)
            .any(|line| line == EDITED.trim_end().as_bytes());
        match config::parse(&body, &self.path(Item::Running), &Anywhere) {
            Ok(model) => Ok(Found::Remembered(Running {
                model,
                origin,
                edited,
            })),
            Err(refused) => {
                let first = refused.refusals.first().map(|r| r.what.clone());
                let why = format!("this version refuses it: {}", first.unwrap_or_default());
                Ok(Found::Unusable(self.move_aside(Item::Running, why)))
            }
        }
    }

    fn move_aside(&self, item: Item, why: String) -> Unusable {
        let path = self.path(item);
        if self.only_looks {
            let aside = None;
            return Unusable { path, why, aside };
        }
        let name = |n: u32| self.dir.join(format!("{}.unusable.{n}", item.file()));
        // The oldest makes room; what is missing in between does no harm.
        for n in (1..ASIDE).rev() {
            let _ = fs::rename(name(n), name(n + 1));
        }
        let to = name(1);
        let aside = fs::rename(&path, &to).is_ok().then_some(to);
        Unusable { path, why, aside }
    }
}

/// Writes a model to the configuration file, and keeps the file that was there with `.bak` at the end of its name.
/// The permissions stay as they are.
pub fn save(path: &Path, model: &Model) -> Result<Digest, StoreError> {
    let failed = |error| StoreError::new("saving the configuration to", path, error);
    // What a symbolic link stands for is replaced, not the link.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(failed(error)),
    };
    let mode = match fs::metadata(&target) {
        Ok(metadata) => metadata.permissions(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::Permissions::from_mode(0o640),
        Err(error) => return Err(failed(error)),
    };
    let mut backup = target.clone().into_os_string();
    backup.push(".bak");
    let text = format!("# Written by `lbctl save`.\n{}", Yaml(model));
    replace(&target, text.as_bytes(), mode, Some(Path::new(&backup))).map_err(failed)?;
    Ok(Digest::of(text.as_bytes()))
}

/// How a remembered configuration says which file it came from.
const ORIGIN: &str = "# the configuration file's checksum was ";

/// How a remembered configuration says that it is not what the file had.
const EDITED: &str = "# lbctl has changed it since\n";

/// The first line of a file: a comment in YAML, so that `lbd --check` takes the file as it is.
fn header(item: Item, body: &[u8]) -> String {
    let (file, length, sum) = (item.file(), body.len(), crc32fast::hash(body));
    format!("# lbd state {VERSION} {file} {length} {sum:08x}\n")
}

/// What comes after the first line, if that line is right.
fn body(item: Item, bytes: &[u8]) -> Result<&[u8], String> {
    let end = bytes
        .iter()
        .take(100)
        .position(|b| *b == b'\n')
        .ok_or("its first line is not of a state file")?;
    let (line, body) = bytes.split_at(end + 1);
    let line = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.strip_prefix("# lbd state "))
        .ok_or("its first line is not of a state file")?;
    let version = line.split(' ').next().unwrap_or_default();
    match version.parse::<u32>() {
        Ok(VERSION) => {}
        Ok(version) => {
            return Err(format!(
                "it is of version {version} of the state, and this lbd writes version {VERSION}"
            ));
        }
        Err(_) => return Err("its first line has no version".to_owned()),
    }
    if format!("# lbd state {line}") == header(item, body) {
        Ok(body)
    } else {
        Err("its length or checksum is wrong: it was damaged, or edited by hand".to_owned())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(MAX_BYTES + 1);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
