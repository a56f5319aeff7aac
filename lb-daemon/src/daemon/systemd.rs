//! What systemd is told: ready, reloading, stopping, still alive.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::engine::Alive;

/// The director forwards as configured.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The file is about to be applied; [`ready`] says that it was.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(err) => warn!("cannot tell systemd of the reload: {err}"),
    }
}

/// The daemon is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// What systemd's watchdog is fed with.
pub(super) struct Watchdog {
    every: Option<Duration>,
}

impl Watchdog {
    /// As the environment says.
    pub(super) fn of_environment() -> Self {
        // Twice in the time that is given, as sd_watchdog_enabled(3) recommends.
        Self {
            every: sd_notify::watchdog_enabled().map(|limit| limit / 2),
        }
    }
}

impl Alive for Watchdog {
    fn every(&self) -> Option<Duration> {
        self.every
    }

    fn tell(&mut self) {
        if self.every.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(states) {
        warn!("cannot tell systemd {states:?}: {err}");
    }
}
