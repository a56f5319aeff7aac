//! Where do log lines go? To the journal under systemd, else to standard error.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::linux::fs::MetadataExt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::api::types::Problem;

/// Begins to log what `filter` lets through.
pub(super) fn start(filter: &str) -> Result<(), Problem> {
    let filter = EnvFilter::try_new(filter).map_err(|err| {
        Problem::invalid(format!("cannot log at `{filter}`"))
            .why(err.to_string())
            .hint("write error, warn, info, debug or trace")
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let journal = if under_systemd() {
        tracing_journald::layer().ok()
    } else {
        None
    };
    let started = match journal {
        Some(journal) => registry
            .with(journal.with_syslog_identifier("lbd".to_owned()))
            .try_init(),
        None => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal())
                .with_target(false);
            registry.with(lines).try_init()
        }
    };
    started.map_err(|err| Problem::failed("cannot start logging").why(err.to_string()))
}

/// Whether standard error leads to the journal: systemd names its device and inode.
fn under_systemd() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let metadata = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|fd| std::fs::File::from(fd).metadata());
    metadata.is_ok_and(|m| stream == format!("{}:{}", m.st_dev(), m.st_ino()))
}
