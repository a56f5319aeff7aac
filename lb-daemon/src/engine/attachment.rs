//! Does the program still run where it should?
//!
//! The kernel tells nobody when a BPF link is detached or its last reference goes, so the daemon looks.

use std::time::{Duration, Instant};

use tracing::warn;

use super::Engine;

/// How often to look.
pub(super) const LOOK: Duration = Duration::from_millis(400);

/// How often to try where putting it back has failed, as when another program is there now.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Engine {
    /// Puts the program back on interfaces from which somebody has taken it.
    pub(super) async fn keep_attached(&mut self, now: Instant) {
        let Some(plane) = self.plane.as_deref() else {
            return;
        };
        let off = plane.taken_off();
        if off.is_empty() {
            self.put_back_failed = None;
            return;
        }
        if self
            .put_back_failed
            .is_some_and(|at| now.saturating_duration_since(at) < TRY_AGAIN)
        {
            return;
        }
        let names = off.join(", ");
        if self.put_back_failed.is_none() {
            warn!("our XDP program was taken off {names}; putting it back");
        }
        let done = self.settle_interfaces().await;
        self.put_back_failed = (!done).then_some(now);
    }
}
