//! VRRP on the network: a thread of its own, with the sockets, timers and addresses of all virtual routers.
//!
//! The thread waits for nothing but the kernel. It decides with [`core::vrrp`](crate::core::vrrp), and carries out what
//! follows by itself: advertisements, the switch in the data plane, addresses, routes and announcements. The rest of the
//! daemon tells it what to run and what tracked things were found to be, and hears what has happened.

mod act;
mod batch;
mod claims;
mod defence;
mod dropped;
mod ear;
mod filter;
mod hear;
mod instance;
mod leave;
mod netlink;
pub mod notify;
mod packet_socket;
mod possession;
mod run;
mod socket;
pub mod track;
mod types;
mod view;
mod virtual_mac;

use std::io::{self, PipeWriter, Write};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::bpf::Gate;
use crate::core::vrrp::State;
use run::Thread;
use types::Command;
pub use types::{Event, Finding, LATE, Notice, Report, RouterReport, Unread, Wanted};

/// VRRP cannot be spoken here.
#[derive(Debug, thiserror::Error)]
pub enum VrrpError {
    /// A socket or the thread could not be made.
    #[error(
        "cannot {action}: {source}; hint: lbd needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW"
    )]
    Start {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The thread has ended.
    #[error("the VRRP thread has ended; hint: restart lbd, and report what its log says")]
    Ended,
}

/// The thread, to be told and asked.
#[derive(Debug)]
pub struct Vrrp {
    teller: Teller,
    thread: Option<JoinHandle<()>>,
}

/// Tells the thread, from anywhere.
#[derive(Debug)]
pub struct Teller {
    commands: Sender<Command>,
    wake: PipeWriter,
}

impl Vrrp {
    /// Starts the thread, in the network namespace of the caller, with nothing to run yet. What happens comes by the
    /// receiver.
    pub fn start(gate: Gate) -> Result<(Self, UnboundedReceiver<Event>), VrrpError> {
        let (events, receiver) = unbounded_channel();
        let vrrp = Self::start_with(gate, events)?;
        Ok((vrrp, receiver))
    }

    /// As [`Vrrp::start`], with events sent to somebody who listens already.
    pub fn start_with(gate: Gate, events: UnboundedSender<Event>) -> Result<Self, VrrpError> {
        let failed = |action| move |source| VrrpError::Start { action, source };
        let (commands, inbox) = mpsc::channel();
        let (alarm, wake) = io::pipe().map_err(failed("make a pipe"))?;
        let mut thread =
            Thread::new(gate, events, inbox, alarm).map_err(failed("open the sockets of VRRP"))?;
        let thread = thread::Builder::new()
            .name("lbd-vrrp".to_owned())
            .spawn(move || thread.run())
            .map_err(failed("start the VRRP thread"))?;
        Ok(Self {
            teller: Teller { commands, wake },
            thread: Some(thread),
        })
    }

    /// Runs these virtual routers and no others; those that stay the same are not touched. Returns when it is done.
    pub async fn configure(&self, wanted: Vec<Wanted>) -> Result<(), VrrpError> {
        self.teller
            .ask(|answer| Command::Configure(wanted, answer))
            .await
    }

    /// Leaves the part of a master to another director. Returns the state before; none where there is no such router.
    pub async fn failover(&self, name: &str) -> Result<Option<State>, VrrpError> {
        let name = name.to_owned();
        self.teller
            .ask(|answer| Command::Failover(name, answer))
            .await
    }

    /// How all are.
    pub async fn report(&self) -> Result<Report, VrrpError> {
        self.teller.ask(Command::Report).await
    }

    /// Tells from other tasks.
    pub fn teller(&self) -> Result<Teller, VrrpError> {
        self.teller.another()
    }

    /// Leaves everything to the other directors, and ends the thread. Masters serve until another takes their place, for at
    /// most three seconds.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // When nobody listens the thread has ended already.
        let _ = self.teller.tell(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A master that goes says so, whatever made it go.
impl Drop for Vrrp {
    fn drop(&mut self) {
        self.end();
    }
}

impl Teller {
    /// Another one to the same thread.
    pub fn another(&self) -> Result<Self, VrrpError> {
        let wake = self.wake.try_clone().map_err(|source| VrrpError::Start {
            action: "share a pipe",
            source,
        })?;
        Ok(Self {
            commands: self.commands.clone(),
            wake,
        })
    }

    /// Tells what the so manieth thing that a virtual router tracks was found to be.
    pub fn found(&self, router: &str, track: usize, finding: Finding) -> Result<(), VrrpError> {
        self.tell(Command::Found {
            router: router.to_owned(),
            track,
            finding,
        })
    }

    fn tell(&self, command: Command) -> Result<(), VrrpError> {
        self.commands.send(command).map_err(|_| VrrpError::Ended)?;
        // The pipe holds more than there are commands at a time; the thread reads it before it looks for them.
        (&self.wake).write_all(&[0]).map_err(|_| VrrpError::Ended)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, VrrpError> {
        let (answer, answered) = oneshot::channel();
        self.tell(command(answer))?;
        answered.await.map_err(|_| VrrpError::Ended)
    }
}
