//! Does every request succeed while something happens to the director?
//!
//! A client of our own, so that each request that fails is counted and says why.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::client::{Answers, dns_question};
use super::host::Host;
use super::visit::{PATIENCE, Visit};

/// What a worker does, over and over.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// A new connection for each page.
    Connect(SocketAddrV4),
    /// One connection for all pages; the answers must all come from the same real server.
    Stay(SocketAddrV4),
    /// A DNS question, each from a port of its own.
    Ask(SocketAddrV4),
}

/// Workers on a host.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Outcome>>,
}

/// What the workers saw.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Who answered, and what failed.
    pub answers: Answers,
    /// The longest that one request took.
    pub slowest: Duration,
}

impl Load {
    /// Start one worker for each piece of work; each rests a millisecond after each request.
    pub fn start(host: &Host, work: &[Work]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = |(index, &work): (usize, &Work)| {
            let (host, stop) = (host.clone(), Arc::clone(&stop));
            thread::spawn(move || worker(&host, work, index, &stop))
        };
        Self {
            workers: work.iter().enumerate().map(worker).collect(),
            stop,
        }
    }

    /// Stop, and say what was seen.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Outcome::default();
        for worker in self.workers {
            let outcome = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            total.slowest = total.slowest.max(outcome.slowest);
            total.answers.failures.extend(outcome.answers.failures);
            for (name, count) in outcome.answers.by_name {
                *total.answers.by_name.entry(name).or_default() += count;
            }
        }
        total
    }
}

fn worker(host: &Host, work: Work, index: usize, stop: &AtomicBool) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = host.enter() {
        outcome.answers.add(Err(error));
        return outcome;
    }
    let start = Instant::now();
    let mut connection = None;
    // Ports of questions: a range for each worker, gone through in order.
    let mut ports = (0..1000_u16)
        .map(|port| 30_000 + (index as u16 % 30) * 1000 + port)
        .cycle();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = match work {
            Work::Connect(server) => fetch_once(server),
            Work::Stay(server) => fetch_again(&mut connection, server),
            Work::Ask(server) => dns_question(server.into(), ports.next(), PATIENCE),
        };
        outcome.slowest = outcome.slowest.max(began.elapsed());
        outcome
            .answers
            .add(answer.with_context(|| format!("{work:?} after {:.1?}", start.elapsed())));
        thread::sleep(Duration::from_millis(1));
    }
    outcome
}

/// Fetch a page over a new connection.
fn fetch_once(server: SocketAddrV4) -> Result<String> {
    Visit::open(server, None)?.ask_once()
}

/// Fetch a page over the connection that there is, or a new one at first.
fn fetch_again(connection: &mut Option<(Visit, String)>, server: SocketAddrV4) -> Result<String> {
    let Some((visit, name)) = connection else {
        let mut visit = Visit::open(server, None)?;
        let name = visit.ask()?;
        *connection = Some((visit, name.clone()));
        return Ok(name);
    };
    let answer = visit.ask();
    let expected = name.clone();
    if answer.as_ref().ok() != Some(&expected) {
        *connection = None;
    }
    let answer = answer.context("on a connection that had worked")?;
    ensure!(
        answer == expected,
        "a connection to {expected} was answered by {answer}"
    );
    Ok(answer)
}
