//! What we hear on one interface, in one family: a socket for each queue.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::filter::{Expected, Queue};
use super::socket::VrrpSocket;

/// A queue of which nothing was heeded is not looked at for so long: a flood does not wake us for each of its packets.
const REST: Duration = Duration::from_millis(5);
/// So many packets are read before timers and other queues have their turn.
const TURN: usize = 1_024;
/// As many as wait at most: a timer is believed when all that came before it was read.
const WHOLE_QUEUE: usize = 16_384;

/// The sockets of one interface and family.
#[derive(Debug)]
pub(super) struct Ear {
    queues: [Waiting; 3],
    v6: bool,
    expected: Expected,
    /// Packets that came while the queues changed may wait in two of them, or in the wrong order.
    changed: bool,
}

/// A queue of packets.
#[derive(Debug)]
struct Waiting {
    socket: VrrpSocket,
    rests_until: Option<Instant>,
}

impl Ear {
    /// Opens one for what is expected.
    pub(super) fn open(
        interface: &str,
        ifindex: u32,
        v6: bool,
        expected: Expected,
    ) -> io::Result<Self> {
        let open = |queue| {
            let filter = expected.filter(v6, queue);
            let socket = VrrpSocket::open(interface, ifindex, v6, &filter)?;
            io::Result::Ok(Waiting {
                socket,
                rests_until: None,
            })
        };
        let queues = [
            open(Queue::Master)?,
            open(Queue::Plausible)?,
            open(Queue::Stray)?,
        ];
        Ok(Self {
            queues,
            v6,
            expected,
            changed: false,
        })
    }

    /// Expects something else from now on. Nothing that comes meanwhile is lost; something may be heard twice.
    pub(super) fn expect(&mut self, expected: Expected) -> io::Result<()> {
        if self.expected == expected {
            return Ok(());
        }
        let both = expected.with_masters_of(&self.expected);
        self.set(Queue::Master, &both)?;
        self.set(Queue::Plausible, &expected)?;
        self.set(Queue::Stray, &expected)?;
        self.set(Queue::Master, &expected)?;
        self.expected = expected;
        self.changed = true;
        Ok(())
    }

    /// Whether what is read may have been read before, or is older than what was.
    pub(super) const fn may_repeat(&self) -> bool {
        self.changed
    }

    /// All that came while the queues changed was read.
    pub(super) const fn settle(&mut self) {
        self.changed = false;
    }

    fn set(&self, queue: Queue, expected: &Expected) -> io::Result<()> {
        let filter = expected.filter(self.v6, queue);
        self.waiting(queue).socket.set_filter(&filter)
    }

    /// Sends a message.
    pub(super) fn send(&self, from: IpAddr, to: IpAddr, message: &[u8]) -> io::Result<()> {
        self.waiting(Queue::Master).socket.send(from, to, message)
    }

    /// Whether it is IPv6.
    pub(super) const fn v6(&self) -> bool {
        self.v6
    }

    /// What to wait for: a queue's socket, unless it rests.
    pub(super) fn fd(&self, queue: Queue, now: Instant) -> Option<BorrowedFd<'_>> {
        let waiting = self.waiting(queue);
        let rests = waiting.rests_until.is_some_and(|until| now < until);
        (!rests).then(|| waiting.socket.as_fd())
    }

    /// When the first queue that rests is to be waited for again.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let rests = self.queues.iter().filter_map(|q| q.rests_until);
        rests.filter(|until| now < *until).min()
    }

    /// A queue is looked at now, which has given something to heed or not.
    pub(super) fn looked(&mut self, queue: Queue, now: Instant, heeded: bool) {
        self.waiting_mut(queue).rests_until = (!heeded).then(|| now + REST);
    }

    /// Reads some packets of a queue; whether there were no more.
    pub(super) fn fill(&self, queue: Queue, batch: &mut Batch) -> io::Result<bool> {
        batch.fill(self.waiting(queue).socket.as_fd())
    }

    /// How many packets came when a queue was full.
    pub(super) fn dropped(&self, queue: Queue) -> u32 {
        self.waiting(queue).socket.dropped()
    }

    fn waiting(&self, queue: Queue) -> &Waiting {
        let [master, plausible, stray] = &self.queues;
        match queue {
            Queue::Master => master,
            Queue::Plausible => plausible,
            Queue::Stray => stray,
        }
    }

    fn waiting_mut(&mut self, queue: Queue) -> &mut Waiting {
        let [master, plausible, stray] = &mut self.queues;
        match queue {
            Queue::Master => master,
            Queue::Plausible => plausible,
            Queue::Stray => stray,
        }
    }
}

impl Queue {
    /// How many packets are read in one turn.
    pub(super) const fn turn(self) -> usize {
        match self {
            Self::Master => WHOLE_QUEUE,
            Self::Plausible | Self::Stray => TURN,
        }
    }
}
