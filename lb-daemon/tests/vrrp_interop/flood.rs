//! More packets than anybody can look at, and what they cost us.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use socket2::{Domain, Protocol, Socket, Type};

use super::netns::Host;
use super::{forgery, garbage};

/// So many packets go with one system call.
const AT_ONCE: usize = 64;
/// So many send at a time: one alone does not reach a hundred thousand packets a second.
const SENDERS: u32 = 2;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    /// Who it pretends to be.
    pub source: Ipv4Addr,
    /// Only the checksum is wrong, if anything.
    pub looks_right: bool,
    /// So many in a second at most; without, as many as can be sent.
    pub rate: Option<u32>,
    /// For so long.
    pub lasts: Duration,
}

impl Flood {
    /// Sends it from a host, while the test goes on; how many packets it were.
    pub(crate) fn send(self, host: &Host) -> Receiver<u64> {
        let (said, sent) = channel();
        // A thread has the network namespace of the one that starts it.
        host.call(move || {
            std::thread::spawn(move || {
                let send = || std::thread::spawn(move || self.run());
                let senders: Vec<_> = (0..SENDERS).map(|_| send()).collect();
                let sent = senders.into_iter().map(|sender| sender.join().unwrap());
                said.send(sent.sum())
            });
        });
        sent
    }

    /// What one of several sends.
    fn run(self) -> u64 {
        let raw = Protocol::from(libc::IPPROTO_RAW);
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw)).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        let mut message = garbage::right(self.source);
        message[6] ^= 1;
        let ttl = if self.looks_right { 255 } else { 254 };
        let packet = forgery::with_header(self.source, ttl, &message);
        // One system call for many: the time goes into the packets themselves.
        let slices = vec![[IoSlice::new(&packet)]; AT_ONCE];
        let to = vec![Some(SockaddrIn::from(SocketAddrV4::new(forgery::GROUP, 0))); AT_ONCE];
        let mut headers = MultiHeaders::preallocate(AT_ONCE, None);
        let start = Instant::now();
        let mut sent = 0;
        while start.elapsed() < self.lasts {
            let ahead =
                |rate: u32| f64::from(rate / SENDERS) * start.elapsed().as_secs_f64() < sent as f64;
            if self.rate.is_some_and(ahead) {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            let flags = MsgFlags::empty();
            // A queue on the way may be full.
            let done = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &to, [], flags);
            sent += done.map_or(0, |done| done.count() as u64);
        }
        sent
    }
}

/// For how long each VRRP thread of this process has run so far, those of other tests among them.
pub(crate) type Times = BTreeMap<OsString, Duration>;

pub(crate) fn times_of_threads() -> Times {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let ours = tasks.filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm == "lbd-vrrp\n")
    });
    let run = ours.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos = text.split_whitespace().next()?.parse().ok()?;
        Some((task.file_name(), Duration::from_nanos(nanos)))
    });
    run.collect()
}

/// For how long those threads have run since, that have not ended meanwhile.
pub(crate) fn ran_since(before: &Times) -> Duration {
    let now = times_of_threads();
    let run = before
        .iter()
        .filter_map(|(id, before)| Some(now.get(id)?.saturating_sub(*before)));
    run.sum()
}
