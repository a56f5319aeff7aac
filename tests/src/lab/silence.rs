//! For how long does a VIP not answer?
//!
//! New connections are begun at a steady pace, and none waits for another: the longest time between two answers is what the
//! clients felt. Whoever measures goes before everybody else on the machine, and says how late it was all the same: a
//! connection that was not begun has no answer either.

use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_daemon::io::realtime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, getsockopt, socket, sockopt,
};

use super::host::Host;

/// What measures must not be what is measured: above all that runs by default, below the VRRP thread.
const PRIORITY: i32 = 10;

/// For how long a connection that is not answered is kept.
const PATIENCE: Duration = Duration::from_millis(900);

/// Begins connections, and listens for answers.
pub struct Silence {
    stop: Arc<AtomicBool>,
    listener: JoinHandle<Result<Heard>>,
}

/// What was heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// When connections were accepted, in order.
    pub answers: Vec<Instant>,
    /// Connections that were refused or reset.
    pub refused: usize,
    /// By how much a connection was begun too late, at worst.
    pub late: Duration,
}

impl Heard {
    /// The longest time between two answers, the second of which came after a moment; none where there are no such two.
    pub fn longest_after(&self, moment: Instant) -> Option<Duration> {
        let gaps = self.answers.windows(2).filter_map(|pair| match pair {
            [one, two] if *two >= moment => Some(*two - *one),
            _ => None,
        });
        gaps.max()
    }
}

impl Silence {
    /// Begins.
    pub fn start(host: &Host, server: SocketAddrV4, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let apart = Duration::from_secs(1) / per_second;
        let listener = {
            let (host, stop) = (host.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                host.enter()?;
                realtime::take(PRIORITY).context("cannot take real-time priority")?;
                listen(server, apart, &stop)
            })
        };
        Self { stop, listener }
    }

    /// Ends, and says what was heard.
    ///
    /// # Errors
    ///
    /// The host cannot be entered, or has no more sockets.
    pub fn stop(self) -> Result<Heard> {
        self.stop.store(true, Ordering::Relaxed);
        self.listener
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn listen(server: SocketAddrV4, apart: Duration, stop: &AtomicBool) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut pending: Vec<(Instant, OwnedFd)> = Vec::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= due {
            heard.late = heard.late.max(now - due);
            pending.push((now, begin(server)?));
            due = (due + apart).max(now);
        }
        let wait = due.saturating_duration_since(now).as_millis();
        let mut fds: Vec<PollFd<'_>> = pending
            .iter()
            .map(|(_, fd)| PollFd::new(fd.as_fd(), PollFlags::POLLOUT))
            .collect();
        poll(
            &mut fds,
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO),
        )
        .context("cannot wait for answers")?;
        let done: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let mut done = done.into_iter();
        pending.retain(|(began, fd)| {
            if !done.next().unwrap_or(false) {
                return began.elapsed() < PATIENCE;
            }
            match getsockopt(fd, sockopt::SocketError) {
                Ok(0) => heard.answers.push(Instant::now()),
                _ => heard.refused += 1,
            }
            false
        });
    }
    Ok(heard)
}

/// Begins a connection, and waits for nothing.
fn begin(server: SocketAddrV4) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)
        .context("cannot open a socket")?;
    match connect(socket.as_raw_fd(), &SockaddrIn::from(server)) {
        Ok(()) | Err(nix::Error::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {server}")),
    }
}
