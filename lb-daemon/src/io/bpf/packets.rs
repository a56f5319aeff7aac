//! What does the program say of single packets?
//!
//! Only the edition that [`Options::log_packets`](super::Options::log_packets) loads says anything.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::Log;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::StartError;
use super::object::chain;

/// Lines that the program writes, one a packet.
pub struct PacketLog(EbpfLogger<&'static dyn Log>);

impl PacketLog {
    /// The lines of a program that was just loaded.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, StartError> {
        EbpfLogger::init(ebpf)
            .map(Self)
            .map_err(|e| StartError::Load {
                reason: chain(&e),
                hint: "start lbd without --log-packets",
            })
    }

    /// Logs lines as they come, on a thread of its own. The program gives them the target `packets` and the level debug.
    ///
    /// # Errors
    ///
    /// There can be no more threads.
    pub fn follow(mut self) -> io::Result<()> {
        let thread = thread::Builder::new().name("packets".to_owned());
        thread
            .spawn(move || {
                if let Err(err) = self.log() {
                    tracing::error!("packets are not logged any more: {err}");
                }
            })
            .map(drop)
    }

    fn log(&mut self) -> io::Result<()> {
        loop {
            let mut lines = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut lines, PollTimeout::NONE) {
                Ok(_) => self.0.flush(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl std::fmt::Debug for PacketLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PacketLog")
    }
}
