//! Running the operator's programs when a state changes, one after the other for each virtual router.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::config::model::Notify;
use crate::core::vrrp::State;
use crate::io::process::{self, Job};

/// How much of a program's output is kept, for the log.
const OUTPUT: usize = 512;

/// Runs programs.
#[derive(Debug, Default)]
pub struct Notifier {
    queues: BTreeMap<String, Queue>,
}

#[derive(Debug)]
struct Queue {
    calls: UnboundedSender<Call>,
    task: JoinHandle<()>,
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    argv: Vec<String>,
    user: Option<String>,
    environment: Vec<(&'static str, String)>,
    timeout: Duration,
}

/// The name of a state as keepalived's programs know it.
pub const fn state_name(state: State) -> &'static str {
    match state {
        State::Stopped => "STOP",
        State::Backup => "BACKUP",
        State::Master => "MASTER",
        State::Fault => "FAULT",
    }
}

impl Notifier {
    /// Runs what is to be run when a virtual router enters a state; returns at once.
    pub fn notify(&mut self, notify: &Notify, router: &str, state: State, priority: u8) {
        for call in calls(notify, router, state, priority) {
            let queue = self.queues.entry(router.to_owned()).or_insert_with(|| {
                let (calls, inbox) = unbounded_channel();
                Queue {
                    calls,
                    task: tokio::spawn(run_all(router.to_owned(), inbox)),
                }
            });
            // The task ends only with us.
            let _ = queue.calls.send(call);
        }
    }

    /// Waits until what was begun is done; each program has its time limit.
    pub async fn finish(&mut self) {
        for (_, Queue { calls, task }) in std::mem::take(&mut self.queues) {
            drop(calls);
            // A task that has panicked has nothing left to do.
            let _ = task.await;
        }
    }
}

/// What is run: the program of the state as it is written, then the one for any state, with keepalived's arguments after its
/// own.
fn calls(notify: &Notify, router: &str, state: State, priority: u8) -> Vec<Call> {
    let name = state_name(state);
    let own = match state {
        State::Stopped => &notify.stop,
        State::Backup => &notify.backup,
        State::Master => &notify.master,
        State::Fault => &notify.fault,
    };
    let mut any = notify.any.clone();
    if !any.is_empty() {
        any.extend(["INSTANCE", router, name].map(str::to_owned));
        any.push(priority.to_string());
    }
    let call = |argv: Vec<String>| Call {
        argv,
        user: notify.user.clone(),
        environment: vec![
            ("LBD_ROUTER", router.to_owned()),
            ("LBD_STATE", name.to_owned()),
            ("LBD_PRIORITY", priority.to_string()),
        ],
        timeout: notify.timeout,
    };
    [own.clone(), any]
        .into_iter()
        .filter(|argv| !argv.is_empty())
        .map(call)
        .collect()
}

async fn run_all(router: String, mut calls: UnboundedReceiver<Call>) {
    while let Some(call) = calls.recv().await {
        let job = Job {
            argv: &call.argv,
            user: call.user.as_deref(),
            environment: call.environment,
            timeout: call.timeout,
            output: OUTPUT,
        };
        let program = call.argv.first().map_or("", String::as_str);
        match process::run(job).await {
            Ok(ended) if ended.timed_out => {
                warn!("virtual router {router}: {program} took too long and was killed");
            }
            Ok(ended) if ended.status != Some(0) => {
                let said = String::from_utf8_lossy(&ended.output);
                let status = ended
                    .status
                    .map_or("a signal".to_owned(), |s| s.to_string());
                warn!(
                    "virtual router {router}: {program} ended with {status}: {}",
                    said.trim_end()
                );
            }
            Ok(_) => {}
            Err(err) => warn!("virtual router {router}: {err}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn programs_get_what_keepalived_gives_them() {
        let notify = Notify {
            master: words("/bin/master now"),
            any: words("/bin/any -x"),
            ..Notify::default()
        };
        let argv = |state| {
            let calls = calls(&notify, "VI_1", state, 150);
            calls.iter().map(|c| c.argv.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(
            argv(State::Master),
            ["/bin/master now", "/bin/any -x INSTANCE VI_1 MASTER 150"]
        );
        assert_eq!(argv(State::Stopped), ["/bin/any -x INSTANCE VI_1 STOP 150"]);
        assert_eq!(
            calls(&Notify::default(), "VI_1", State::Fault, 1),
            [],
            "nobody is to be told"
        );
    }

    #[tokio::test]
    async fn programs_of_one_router_run_in_order_and_are_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("said");
        let script = format!("sleep 0.1; echo $LBD_STATE $4 >> {}", file.display());
        let notify = Notify {
            any: vec!["/bin/sh".into(), "-c".into(), script, "x".into()],
            ..Notify::default()
        };
        let mut notifier = Notifier::default();
        for state in [State::Backup, State::Master, State::Stopped] {
            notifier.notify(&notify, "VI_1", state, 7);
        }
        notifier.finish().await;
        let said = std::fs::read_to_string(&file).unwrap();
        assert_eq!(said, "BACKUP 7\nMASTER 7\nSTOP 7\n");
    }
}
