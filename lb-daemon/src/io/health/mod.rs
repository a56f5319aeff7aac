//! Health checks at work: `core::health` decides, and this performs it, on a thread of its own.
//!
//! The thread keeps handshakes and bodies of answers away from everything else that the daemon does. Its loop never
//! waits for a probe or a program: those are tasks beside it.

mod lateness;
mod limits;
mod notify;
pub mod record;
mod run;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::core::desired::ServiceId;
use crate::core::health::plan::ServicePlan;
use crate::core::health::{ServiceReport, Standings};
use crate::io::net::Net;
use crate::io::store::{Found, Item, Store};
pub use lateness::Percentiles;

/// The checks of all real servers. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Checks {
    commands: mpsc::Sender<Command>,
    standings: watch::Receiver<Arc<Standings>>,
}

/// Where what is remembered of real servers that are down is kept.
pub trait Keeper: Send + 'static {
    /// What was kept.
    fn read(&self) -> Option<Vec<u8>>;
    /// Keeps this in place of what was kept before.
    fn write(&self, bytes: &[u8]);
}

impl Keeper for Store {
    fn read(&self) -> Option<Vec<u8>> {
        match Self::read(self, Item::Health) {
            Ok(Found::Remembered(bytes)) => Some(bytes),
            Ok(Found::Nothing) => None,
            Ok(Found::Unusable(unusable)) => {
                tracing::warn!("{unusable}");
                None
            }
            Err(error) => {
                tracing::warn!(
                    "what was known of the real servers' health cannot be read: {error}"
                );
                None
            }
        }
    }

    fn write(&self, bytes: &[u8]) {
        if let Err(error) = Self::write(self, Item::Health, bytes) {
            tracing::error!("what is known of the real servers' health is not kept: {error}");
        }
    }
}

/// Everything that is known of the checks.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct HealthReport {
    /// The services, as configured.
    pub services: Vec<ServiceReport>,
    /// How the probes are doing.
    pub probes: ProbeReport,
}

/// How the probes are doing.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ProbeReport {
    /// How many are on their way.
    pub in_flight: usize,
    /// How many may be.
    pub limit: usize,
    /// How many were started.
    pub started: u64,
    /// How much later than due they were started, in milliseconds.
    pub lateness_ms: Percentiles,
}

/// What a check that was made for somebody said.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The service whose check it is.
    pub service: String,
    /// The check.
    pub check: String,
    /// Whether the answer is a good one.
    pub passed: bool,
    /// The answer, in words.
    pub words: String,
    /// How long it took, in milliseconds.
    pub latency_ms: f64,
    /// The weight that it asks for.
    pub weight: Option<u16>,
    /// What was sent and answered, line by line.
    pub lines: Vec<String>,
}

/// The thread has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the health checks have ended; hint: see the log of lbd, and restart it")]
pub struct Ended;

/// A request to the thread.
#[derive(Debug)]
enum Command {
    Configure {
        plans: Vec<ServicePlan>,
        done: oneshot::Sender<()>,
    },
    Report {
        to: oneshot::Sender<HealthReport>,
    },
    Finish {
        done: oneshot::Sender<()>,
    },
    Ask {
        real: SocketAddr,
        service: Option<ServiceId>,
        to: oneshot::Sender<Vec<Asked>>,
    },
}

impl Checks {
    /// Starts the thread. Probes are sent from the network namespace of the calling thread; with a network, checks can
    /// be made at VIPs too.
    pub fn start(net: Option<Net>, keeper: impl Keeper) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel(64);
        let (standings_to, standings) = watch::channel(Arc::default());
        run::start(net, Box::new(keeper), inbox, standings_to)?;
        Ok(Self {
            commands,
            standings,
        })
    }

    /// Makes these the services that are checked. When this returns, [`Checks::standings`] is about them.
    pub async fn configure(&self, plans: Vec<ServicePlan>) -> Result<(), Ended> {
        self.request(|done| Command::Configure { plans, done })
            .await
    }

    /// How the real servers stand now.
    pub fn standings(&self) -> Arc<Standings> {
        self.standings.borrow().clone()
    }

    /// Waits until the standings have changed since this was last waited for.
    pub async fn changed(&mut self) {
        if self.standings.changed().await.is_err() {
            // Nothing will ever change again.
            std::future::pending::<()>().await;
        }
    }

    /// Everything that is known.
    pub async fn report(&self) -> Result<HealthReport, Ended> {
        self.request(|to| Command::Report { to }).await
    }

    /// Makes the checks of a real server now, and says what was sent and answered. It counts for nothing.
    pub async fn ask(
        &self,
        real: SocketAddr,
        service: Option<ServiceId>,
    ) -> Result<Vec<Asked>, Ended> {
        self.request(|to| Command::Ask { real, service, to }).await
    }

    /// Writes down what is known, and ends the thread.
    pub async fn finish(&self) -> Result<(), Ended> {
        self.request(|done| Command::Finish { done }).await
    }

    async fn request<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Ended> {
        let (to, answer) = oneshot::channel();
        self.commands.send(command(to)).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}

#[cfg(test)]
mod tests;
