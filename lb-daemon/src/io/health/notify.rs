//! Tells programs of changes: in order for each subject, bounded in number, never waited for.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::core::desired::ServiceId;
use crate::core::health::{Event, Notice, What};
use crate::io::process::{self, Ended, Job, RunError};

/// The most programs that run at once.
const RUNNING: usize = 16;
/// The most changes of one subject that wait; the oldest is dropped.
const WAITING: usize = 32;
/// How much of the output goes into the log.
const OUTPUT: usize = 4096;

/// What a change is about: changes of one subject are told one after the other.
type Subject = (ServiceId, Option<SocketAddr>);

/// Runs programs that are told of changes.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    /// What waits, by subject; a subject is here as long as one of its programs runs or waits.
    queues: HashMap<Subject, VecDeque<Notice>>,
    /// Subjects in the order in which their turn comes.
    turns: VecDeque<Subject>,
    running: JoinSet<(Subject, Notice, Result<Ended, RunError>)>,
}

impl Notifier {
    /// Takes a notice; its program runs when those before it about the same subject have ended.
    pub(super) fn add(&mut self, notice: Notice) {
        let subject = (notice.event.service, notice.event.real);
        if let Some(queue) = self.queues.get_mut(&subject) {
            if queue.len() >= WAITING {
                tracing::warn!(event = %notice.event, "its programs do not keep up: a notice was dropped");
                queue.pop_front();
            }
            queue.push_back(notice);
            return;
        }
        self.queues.insert(subject, VecDeque::from([notice]));
        self.turns.push_back(subject);
        self.start();
    }

    /// Waits for a program to end, and starts the next one. Without a program it waits for ever.
    pub(super) async fn next(&mut self) {
        let Some(ended) = self.running.join_next().await else {
            return std::future::pending().await;
        };
        // A task that was cancelled or has panicked takes its subject's turn with it: nothing more is known of it.
        if let Ok((subject, notice, result)) = ended {
            log(&notice, &result);
            match self.queues.get(&subject) {
                Some(queue) if !queue.is_empty() => self.turns.push_back(subject),
                _ => drop(self.queues.remove(&subject)),
            }
        }
        self.start();
    }

    fn start(&mut self) {
        while self.running.len() < RUNNING {
            let Some(subject) = self.turns.pop_front() else {
                return;
            };
            let Some(notice) = self.queues.get_mut(&subject).and_then(VecDeque::pop_front) else {
                continue;
            };
            self.running.spawn(async move {
                let job = Job {
                    argv: &notice.command.argv,
                    user: notice.command.user.as_deref(),
                    environment: environment(&notice.event),
                    timeout: notice.command.timeout,
                    output: OUTPUT,
                };
                let result = process::run(job).await;
                (subject, notice, result)
            });
        }
    }
}

fn environment(event: &Event) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("LBD_EVENT", event.what.kind().to_owned()),
        ("LBD_SERVICE", event.name.to_string()),
        ("LBD_SERVICE_ADDRESS", event.service.to_string()),
        ("LBD_REASON", reason(&event.what)),
    ];
    environment.extend(event.real.map(|real| ("LBD_REAL", real.to_string())));
    environment
}

fn reason(what: &What) -> String {
    match what {
        What::Down { why } | What::CheckDown { why, .. } | What::CheckUp { why, .. } => why.clone(),
        What::QuorumLost { sum, quorum } | What::QuorumGained { sum, quorum } => {
            format!("live weight {sum}, quorum {quorum}")
        }
        What::Up { .. } | What::Held { .. } | What::SorryIn(_) | What::SorryOut(_) => String::new(),
    }
}

fn log(notice: &Notice, result: &Result<Ended, RunError>) {
    let program = notice.command.argv.first().map_or("", String::as_str);
    let event = &notice.event;
    match result {
        Ok(Ended {
            status: Some(0), ..
        }) => tracing::debug!(program, %event, "told"),
        Ok(Ended {
            timed_out: true, ..
        }) => {
            tracing::warn!(program, %event, timeout = ?notice.command.timeout, "took too long and was killed");
        }
        Ok(Ended { status, output, .. }) => {
            let output = String::from_utf8_lossy(output);
            tracing::warn!(program, %event, ?status, output = output.trim_end(), "failed");
        }
        Err(error) => tracing::warn!(program, %event, %error, "could not be told"),
    }
}
