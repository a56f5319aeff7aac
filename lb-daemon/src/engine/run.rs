//! The loop itself.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::error;

use super::Engine;
use super::attachment::LOOK;
use super::command::Jobs;
use crate::io::net::NetEvent;
use crate::stop::Stop;

/// Who is told that the loop still goes round.
pub trait Alive: Send {
    /// How often to tell; `None`: never.
    fn every(&self) -> Option<Duration>;
    /// Tells.
    fn tell(&mut self);
}

/// How often the connection table is walked a little.
const UPKEEP: Duration = Duration::from_millis(100);
/// For how long each time.
const SLICE: Duration = Duration::from_millis(2);
/// How often what could not be written down is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// When nobody wants to know whether the loop is alive.
const SELDOM: Duration = Duration::from_secs(3600);

/// Carries out requests and follows events until it is time to stop or everything was detached. Forwarding goes on
/// after it.
pub async fn run(
    engine: &mut Engine,
    mut jobs: Jobs,
    mut events: mpsc::UnboundedReceiver<NetEvent>,
    mut stop: Stop,
    mut alive: impl Alive,
) {
    let mut upkeep = interval(UPKEEP);
    let mut again = interval(AGAIN);
    let mut proof = interval(alive.every().unwrap_or(SELDOM));
    let mut look = interval(LOOK);
    for timer in [&mut upkeep, &mut again, &mut proof, &mut look] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut checks = engine.checks.clone();
    let mut complained: Option<Instant> = None;
    while engine.plane.is_some() {
        tokio::select! {
            () = stop.wait() => return,
            Some(job) = jobs.next() => job.run(engine).await,
            Some(event) = events.recv() => engine.on_network(event).await,
            () = checks.changed() => engine.follow_health(),
            Some(event) = engine.roles.inbox.recv() => engine.on_vrrp(event),
            _ = upkeep.tick() => {
                let Some(plane) = engine.plane.as_deref_mut() else { return };
                if let Err(err) = plane.maintain(crate::io::clock::now(), SLICE) {
                    // Once a minute is enough to be noticed.
                    if complained.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
                        error!("upkeep of the connection table failed: {err}");
                        complained = Some(Instant::now());
                    }
                }
            }
            _ = again.tick() => {
                engine.remember_again();
                engine.follow_health_again();
            }
            _ = look.tick() => engine.keep_attached(crate::io::clock::now()).await,
            _ = proof.tick() => alive.tell(),
        }
    }
}
