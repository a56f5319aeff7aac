//! What becomes of requests that come at a steady pace, whatever became of those before?

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::host::Host;
use super::visit::Visit;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many may wait for an answer without holding up others.
const WORKERS: u32 = 64;

/// Requests for a page, each over a new connection.
pub struct Pace {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<Vec<Asked>>>>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it began.
    pub at: Instant,
    /// The time of day then.
    pub wall: SystemTime,
    /// Who answered, or what went wrong.
    pub answer: Result<String, String>,
}

impl Asked {
    /// Whether it was answered by this real server.
    pub fn is_from(&self, name: &str) -> bool {
        self.answer.as_deref() == Ok(name)
    }
}

impl Pace {
    /// Begins.
    pub fn start(host: &Host, server: SocketAddrV4, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let apart = Duration::from_secs(1) / per_second;
        let worker = |n: u32| {
            let (host, stop) = (host.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                host.enter()?;
                let mut asked = Vec::new();
                let mut due = start + apart * n;
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let (at, wall) = (Instant::now(), SystemTime::now());
                    let answer = Visit::open_within(server, None, PATIENCE)
                        .and_then(Visit::ask_once)
                        .map_err(|error| format!("{error:#}"));
                    asked.push(Asked { at, wall, answer });
                    due = (due + apart * WORKERS).max(at);
                }
                Ok(asked)
            })
        };
        Self {
            workers: (0..WORKERS).map(worker).collect(),
            stop,
        }
    }

    /// Ends, and tells of all requests in the order in which they began.
    ///
    /// # Errors
    ///
    /// The host cannot be entered.
    pub fn stop(self) -> Result<Vec<Asked>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for worker in self.workers {
            let asked = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.extend(asked?);
        }
        all.sort_by_key(|asked| asked.at);
        Ok(all)
    }
}
