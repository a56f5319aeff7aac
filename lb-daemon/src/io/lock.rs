//! Is another daemon already at work here?
//!
//! The lock is `flock` on a file or a directory: the kernel drops it with the process, however that ends. A BPF
//! file system holds no ordinary files, so the pin directory itself is locked; who holds it is read from
//! `/proc/locks`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

/// Proof that this process alone uses a path; lasts until it is dropped.
#[derive(Debug)]
pub struct InstanceLock {
    _file: Flock<File>,
}

/// Why a path could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "another lbd{} already uses {path}\n\
         hint: stop it first, or give this one a --pin-dir and --socket of its own",
        pid.map(|p| format!(" (pid {p})")).unwrap_or_default()
    )]
    Taken {
        /// What both want.
        path: PathBuf,
        /// The other's process id, where the kernel tells.
        pid: Option<u32>,
    },
    /// The path could not be opened or locked.
    #[error(
        "cannot lock {path}: {source}\nhint: check that it exists and that lbd may write there"
    )]
    File {
        /// What was to be locked.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl InstanceLock {
    /// Locks a directory.
    pub fn directory(path: &Path) -> Result<Self, LockError> {
        let file = File::open(path).map_err(|e| LockError::file(path, e))?;
        Ok(Self {
            _file: lock(file, path)?,
        })
    }

    /// Locks a file, making it if need be, and leaves our process id in it for people to read.
    pub fn file(path: &Path) -> Result<Self, LockError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| LockError::file(path, e))?;
        let mut file = lock(file, path)?;
        write_pid(&mut file).map_err(|e| LockError::file(path, e))?;
        Ok(Self { _file: file })
    }
}

impl LockError {
    fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

fn lock(file: File, path: &Path) -> Result<Flock<File>, LockError> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => Ok(locked),
        Err((file, nix::Error::EWOULDBLOCK)) => Err(LockError::Taken {
            path: path.to_owned(),
            pid: holder(&file),
        }),
        Err((_, e)) => Err(LockError::file(path, e.into())),
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Who holds the lock on a file.
fn holder(file: &File) -> Option<u32> {
    let meta = file.metadata().ok()?;
    let id = format!(
        "{:02x}:{:02x}:{}",
        major(meta.dev()),
        minor(meta.dev()),
        meta.ino()
    );
    holder_in(&fs::read_to_string("/proc/locks").ok()?, &id)
}

/// A line of `/proc/locks` reads `1: FLOCK  ADVISORY  WRITE 1234 00:1f:5678 0 EOF`. The process id is 0 when it belongs
/// to a namespace that we cannot see into; lines with `->` wait for the lock.
fn holder_in(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != "FLOCK" {
            return None;
        }
        let pid: u32 = fields.nth(2)?.parse().ok()?;
        (fields.next()? == file && pid != 0).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_the_firsts_pid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lbd.lock");
        let first = InstanceLock::file(&path).unwrap();
        let Err(LockError::Taken { pid, .. }) = InstanceLock::file(&path) else {
            panic!("locked twice")
        };
        assert_eq!(pid, Some(std::process::id()));
        assert_eq!(
            fs::read_to_string(&path).unwrap().trim(),
            std::process::id().to_string()
        );
        drop(first);
        InstanceLock::file(&path).unwrap();
    }

    #[test]
    fn a_directory_can_be_locked() {
        let dir = tempfile::tempdir().unwrap();
        let first = InstanceLock::directory(dir.path()).unwrap();
        assert!(matches!(
            InstanceLock::directory(dir.path()),
            Err(LockError::Taken { pid: Some(_), .. })
        ));
        drop(first);
        InstanceLock::directory(dir.path()).unwrap();
    }

    #[test]
    fn only_the_holder_of_this_file_is_named() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:1a:5 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 00:1a:6 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 00:1a:5 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 00:1a:7 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 14 00:1a:5 0 EOF\n\
                     nonsense\n";
        assert_eq!(holder_in(locks, "00:1a:5"), Some(14));
        assert_eq!(holder_in(locks, "00:1a:7"), None);
        assert_eq!(holder_in(locks, "00:1a:8"), None);
    }
}
