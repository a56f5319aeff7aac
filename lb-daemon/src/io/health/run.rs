//! The loop of the thread.

use std::collections::HashMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet, LocalSet};
use tokio::time::sleep_until;

use super::lateness::Lateness;
use super::notify::Notifier;
use super::record::When;
use super::{Asked, Command, HealthReport, Keeper, ProbeReport, limits, record};
use crate::core::desired::ServiceId;
use crate::core::health::plan::{Check, ServicePlan};
use crate::core::health::{CheckId, Effect, Health, Outcome, Settings, Standings};
use crate::io::clock;
use crate::io::net::Net;
use crate::io::probe::Prober;

/// How long after a change it is written down: changes come together.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(super) fn start(
    net: Option<Net>,
    keeper: Box<dyn Keeper>,
    commands: mpsc::Receiver<Command>,
    standings: watch::Sender<Arc<Standings>>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new().name("health".to_owned()).spawn(move || {
        let limit = limits::in_flight();
        let mut health = Health::new(Settings { in_flight: limit }, fastrand::u64(..));
        if let Some(bytes) = keeper.read() {
            match record::read(&bytes, &When::now()) {
                Ok(memory) => health.restore(memory),
                Err(error) => tracing::warn!(%error, "what was down before is not known: the record cannot be read"),
            }
        }
        let runner = Runner {
            health,
            prober: Arc::new(Prober::new(net)),
            probes: JoinSet::new(),
            ids: HashMap::new(),
            asking: JoinSet::new(),
            notifier: Notifier::default(),
            lateness: Lateness::default(),
            limit,
            standings,
            keeper,
            save_at: None,
        };
        runtime.block_on(LocalSet::new().run_until(runner.run(commands)));
    })?;
    Ok(())
}

struct Runner {
    health: Health,
    prober: Arc<Prober>,
    probes: JoinSet<Outcome>,
    /// Whose probe a task is.
    ids: HashMap<Id, CheckId>,
    /// Checks that somebody has asked for.
    asking: JoinSet<()>,
    notifier: Notifier,
    lateness: Lateness,
    limit: usize,
    standings: watch::Sender<Arc<Standings>>,
    keeper: Box<dyn Keeper>,
    /// When what has changed is written down.
    save_at: Option<Instant>,
}

impl Runner {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let poll_at = self.health.next_at();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Finish { done }) => {
                        self.save();
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.command(command),
                    None => break,
                },
                Some(ended) = self.probes.join_next_with_id() => self.answered(ended),
                Some(_) = self.asking.join_next() => {}
                () = self.notifier.next() => {}
                () = until(poll_at) => self.poll(),
                () = until(self.save_at) => self.save(),
            }
        }
        if self.save_at.is_some() {
            self.save();
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Configure { plans, done } => self.configure(plans, done),
            Command::Report { to } => {
                // Nobody may wait for it any more; the same below.
                let _ = to.send(self.report());
            }
            Command::Ask { real, service, to } => self.ask(real, service, to),
            // The loop ends by it.
            Command::Finish { .. } => {}
        }
    }

    fn configure(&mut self, plans: Vec<ServicePlan>, done: oneshot::Sender<()>) {
        self.prober.reload();
        let mut effects = Vec::new();
        self.health.configure(plans, clock::now(), &mut effects);
        self.perform(effects);
        self.publish();
        let _ = done.send(());
    }

    fn poll(&mut self) {
        let mut effects = Vec::new();
        self.health.poll(clock::now(), &mut effects);
        self.perform(effects);
    }

    fn answered(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (task, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "a probe has broken down");
                let words = "the probe itself has broken down; see the log".to_owned();
                (
                    error.id(),
                    Outcome {
                        passed: false,
                        words,
                        latency: Duration::ZERO,
                        weight: None,
                    },
                )
            }
        };
        let Some(id) = self.ids.remove(&task) else {
            return;
        };
        let mut effects = Vec::new();
        self.health
            .answered(id, outcome, clock::now(), &mut effects);
        self.perform(effects);
        // A place on the way is free: one that was late may go.
        self.poll();
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut changed = false;
        for effect in effects {
            match effect {
                Effect::Probe { id, check, late } => self.probe(id, check, late),
                Effect::Standing(_) => {
                    changed = true;
                    self.save_soon();
                }
                Effect::Tell(event) => {
                    self.save_soon();
                    if event.what.is_bad() {
                        tracing::warn!("{event}");
                    } else {
                        tracing::info!("{event}");
                    }
                }
                Effect::Run(notice) => self.notifier.add(notice),
            }
        }
        if changed {
            self.publish();
        }
    }

    fn probe(&mut self, id: CheckId, check: Arc<Check>, late: Duration) {
        self.lateness.add(late);
        let prober = self.prober.clone();
        let task = self
            .probes
            .spawn_local(async move { prober.ask(&check).await });
        self.ids.insert(task.id(), id);
    }

    fn publish(&self) {
        self.standings
            .send_replace(Arc::new(self.health.standings()));
    }

    fn report(&self) -> HealthReport {
        HealthReport {
            services: self.health.report(clock::now()),
            probes: ProbeReport {
                in_flight: self.health.in_flight(),
                limit: self.limit,
                started: self.lateness.total(),
                lateness_ms: self.lateness.percentiles(),
            },
        }
    }

    fn ask(
        &mut self,
        real: SocketAddr,
        service: Option<ServiceId>,
        to: oneshot::Sender<Vec<Asked>>,
    ) {
        let checks = self.health.checks_of(real, service);
        let prober = self.prober.clone();
        self.asking.spawn_local(async move {
            let mut asked = Vec::with_capacity(checks.len());
            for (service, check) in checks {
                let (outcome, lines) = prober.ask_and_tell(&check).await;
                asked.push(Asked {
                    service: service.to_string(),
                    check: check.name.clone(),
                    passed: outcome.passed,
                    words: outcome.words,
                    latency_ms: outcome.latency.as_secs_f64() * 1e3,
                    weight: outcome.weight,
                    lines,
                });
            }
            let _ = to.send(asked);
        });
    }

    fn save_soon(&mut self) {
        self.save_at
            .get_or_insert_with(|| clock::now() + SAVE_AFTER);
    }

    fn save(&mut self) {
        self.save_at = None;
        let memory = self.health.memory(clock::now());
        self.keeper.write(&record::write(&memory, When::now()));
    }
}

/// Waits until then, or for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then.into()).await,
        None => pending().await,
    }
}
