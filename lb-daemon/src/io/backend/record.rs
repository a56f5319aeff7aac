//! What is remembered of a preparation?

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::BackendError;
use crate::core::backend::{Role, Setting};
use crate::io::clock;
use crate::io::lock::{InstanceLock, LockError};
use crate::io::store::replace;

/// The file, in the state directory.
const FILE: &str = "backend.json";
/// Who holds a lock on this file may change the machine.
const LOCK: &str = "backend.lock";
/// For how long somebody else may hold it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a machine was prepared for, and what it was like before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is.
    pub role: Role,
    /// Where the program for tunnels is pinned.
    pub pin_dir: PathBuf,
    /// How things were that are changed now, in the order of changing.
    pub before: Vec<Setting>,
    /// Files that were made.
    pub made: Vec<PathBuf>,
}

/// The record as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    #[serde(flatten)]
    record: Record,
}

/// The version of what is written.
const VERSION: u32 = 1;

/// Reads what was written down, if anything was.
pub(super) fn read(state_dir: &Path) -> Result<Option<Record>, BackendError> {
    let path = state_dir.join(FILE);
    let broken = |why: String| BackendError::Record {
        path: path.clone(),
        why,
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(broken(err.to_string())),
    };
    let written: Written = serde_json::from_str(&text).map_err(|err| broken(err.to_string()))?;
    if written.version != VERSION {
        return Err(broken(format!(
            "it is of version {}, and this lbctl knows {VERSION}",
            written.version
        )));
    }
    Ok(Some(written.record))
}

/// Leave to change the machine, and what is remembered of it.
pub(super) struct Guard {
    state_dir: PathBuf,
    _lock: InstanceLock,
}

impl Guard {
    /// Waits until nobody else changes the machine.
    pub(super) async fn take(state_dir: &Path) -> Result<Self, BackendError> {
        fs::create_dir_all(state_dir).map_err(BackendError::file("make", state_dir))?;
        let path = state_dir.join(LOCK);
        let began = clock::now();
        loop {
            match InstanceLock::file(&path) {
                Ok(lock) => {
                    return Ok(Self {
                        state_dir: state_dir.to_owned(),
                        _lock: lock,
                    });
                }
                Err(LockError::Taken { .. }) if clock::now() - began < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(LockError::Taken { path, .. }) => return Err(BackendError::Busy(path)),
                Err(LockError::File { path, source }) => {
                    return Err(BackendError::file("lock", &path)(source));
                }
            }
        }
    }

    /// Writes it down.
    pub(super) fn write(&self, record: &Record) -> Result<(), BackendError> {
        let path = self.state_dir.join(FILE);
        let written = Written {
            version: VERSION,
            record: record.clone(),
        };
        let write = || {
            let mut text = serde_json::to_string_pretty(&written)?;
            text.push('\n');
            replace(&path, text.as_bytes(), Permissions::from_mode(0o644), None)
        };
        write().map_err(BackendError::file("write", &path))
    }

    /// Remembers nothing any more, and leaves nothing behind.
    pub(super) fn forget(self) -> Result<(), BackendError> {
        for file in [FILE, LOCK] {
            let path = self.state_dir.join(file);
            match fs::remove_file(&path) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => {
                    return Err(BackendError::file("remove", &path)(err));
                }
                _ => {}
            }
        }
        // A director's state may be there, too.
        let _ = fs::remove_dir(&self.state_dir);
        Ok(())
    }
}
