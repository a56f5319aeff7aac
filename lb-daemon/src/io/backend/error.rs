//! What can go wrong with a real server, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::core::backend::Refusal;
use crate::io::bpf::error::MapError;
use crate::io::bpf::{DetachError, StartError};

/// Why this machine was not made a real server, or is none any more.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Something is in the way.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This process may not change the network.
    #[error("only root may change the network; hint: sudo {0}")]
    NotRoot(String),
    /// Kernel parameters cannot be written here.
    #[error(
        "{path} cannot be written: {source}; hint: in a container /proc/sys is read-only: prepare the machine that runs \
         the container, or give it a /proc/sys of its own network namespace that it may write to"
    )]
    ReadOnly {
        /// The parameter.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is there that somebody else has written.
    #[error("{0} is there already, and not from lbctl; hint: move it away, and prepare then")]
    FileInTheWay(PathBuf),
    /// Nothing was prepared.
    #[error(
        "this machine was not prepared by lbctl; \
         hint: `lbctl backend prepare --vip VIP --method dr|tun|nat` prepares it"
    )]
    NotPrepared,
    /// Somebody else is at it.
    #[error(
        "another lbctl or lbd is changing this machine: {0} stays locked; hint: try again when it has ended"
    )]
    Busy(PathBuf),
    /// A file cannot be used.
    #[error("cannot {action} {path}: {source}; hint: root must be able to write there")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was written down cannot be read.
    #[error(
        "{path} cannot be read: {why}; \
         hint: it says how things were before; mend it, or remove it and undo by hand"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel did not tell or do something.
    #[error("cannot {what}: {why}")]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        why: String,
    },
    /// The XDP program could not be started.
    #[error("cannot run the XDP program for tunnels: {0}")]
    Start(#[from] StartError),
    /// The XDP program could not be told its addresses.
    #[error("cannot set the addresses of the XDP program for tunnels: {0}")]
    Map(#[from] MapError),
    /// The XDP program could not be taken down.
    #[error("cannot take the XDP program for tunnels down: {0}")]
    Detach(#[from] DetachError),
    /// The kernel said yes and did nothing.
    #[error("{0} was set and is not as it was set; hint: something else keeps changing it")]
    NoEffect(String),
    /// It failed half way.
    #[error("{}; {}", why, rolled_back(left))]
    RolledBack {
        /// What failed.
        why: Box<BackendError>,
        /// What could not be put back.
        left: Vec<String>,
    },
}

fn rolled_back(left: &[String]) -> String {
    if left.is_empty() {
        "everything is again as it was".to_owned()
    } else {
        format!(
            "these could not be put back: {}; hint: `lbctl backend check` shows them",
            left.join(", ")
        )
    }
}

impl BackendError {
    /// Says what was tried on which path.
    pub(super) fn file(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
