//! Being a real server's daemon: keeping what was prepared.

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::End;
use super::logging;
use super::options::Options;
use super::systemd::{self, Watchdog};
use crate::api::types::Problem;
use crate::engine::{Alive, problem};
use crate::io::backend::{BackendError, Kept, Places, keep};

/// Keeps this machine as it was prepared until told to stop, or until that is undone.
pub(super) fn serve(options: &Options) -> Result<End, Problem> {
    logging::start(&options.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| Problem::failed("cannot start").why(err.to_string()))?;
    runtime
        .block_on(until_told(options))
        .map_err(|err| problem("cannot keep this machine a real server", &err))
}

async fn until_told(options: &Options) -> Result<End, BackendError> {
    let places = Places {
        root: "/".into(),
        state_dir: options.state_dir.clone(),
        // Where it is was written down.
        pin_dir: options.pin_dir.clone(),
    };
    let on = |kind| {
        signal(kind).map_err(|err| BackendError::Kernel {
            what: "follow signals".to_owned(),
            why: err.to_string(),
        })
    };
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let mut watchdog = Watchdog::of_environment();
    let kept = keep(places, |what| match what {
        None => watchdog.tell(),
        Some(Kept::Begun(role)) => {
            info!(
                "lbd {} keeps this machine a real server ({role})",
                env!("CARGO_PKG_VERSION")
            );
            systemd::ready();
        }
        Some(Kept::PutBack { item, found, now }) => {
            warn!("{item} was {found}, and is {now} again");
        }
        Some(Kept::Wrong(what)) => warn!("{what}"),
        Some(Kept::Mended(what)) => info!("no longer so: {what}"),
    });
    tokio::select! {
        ended = kept => {
            ended?;
            info!("the preparation was undone; there is nothing to keep");
            systemd::stopping();
            return Ok(End::ForGood);
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("told to stop; this machine stays as it is");
    systemd::stopping();
    Ok(End::Stopped)
}
