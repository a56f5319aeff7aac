//! What happens to the labs when this process is told to stop?

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};

use super::run;

static WATCH: OnceLock<Result<(), String>> = OnceLock::new();
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

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
            run::remove_live();
            std::process::exit(128 + number);
        })
        .context("cannot start a thread")?;
    Ok(())
}
