//! What happens to the labs when this process is told to stop?
//!
//! They are removed by a thread of its own, while the others may be in the middle of making one. So nothing that would outlast
//! the removal may begin once that has: see [`hold`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use anyhow::{Context, Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};

use super::{process, run};

static WATCH: OnceLock<Result<(), String>> = OnceLock::new();
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Written only by who removes the labs, and never released.
static GATE: RwLock<()> = RwLock::new(());

/// As long as the guard is held no removal by an interrupt begins; once one has, this never returns. It is for the moments in which
/// something is made that the removal must find, and may not be asked for twice by one thread.
pub(super) fn hold() -> RwLockReadGuard<'static, ()> {
    GATE.read().unwrap_or_else(PoisonError::into_inner)
}

/// From now on an interrupt, a hang-up or a termination removes this process's labs and ends it.
pub(super) fn watch() -> Result<()> {
    let started = WATCH.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    started
        .clone()
        .map_err(|error| anyhow!("cannot watch for signals: {error}"))
}

/// When this process was told to stop: wait until its labs are removed and it ends. Call it before reporting
/// a failure, which may be a consequence.
pub fn interrupted() {
    while INTERRUPTED.load(Ordering::Relaxed) {
        thread::park();
    }
}

fn start() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut int, mut term, mut hup) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    thread::Builder::new()
        .name("interrupt".into())
        .spawn(move || {
            let number = runtime.block_on(async {
                tokio::select! {
                    _ = int.recv() => 2,
                    _ = term.recv() => 15,
                    _ = hup.recv() => 1,
                }
            });
            INTERRUPTED.store(true, Ordering::Relaxed);
            eprintln!("\ninterrupted: removing the lab");
            let _alone = GATE.write().unwrap_or_else(PoisonError::into_inner);
            // One that has not entered its namespace yet would not be found there.
            process::kill_children();
            run::remove_live();
            std::process::exit(128 + number);
        })
        .context("cannot start a thread")?;
    Ok(())
}
