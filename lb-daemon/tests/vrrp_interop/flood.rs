//! More packets than anybody can look at, and what they cost us.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lb_daemon::core::vrrp::packet::PROTOCOL;
use socket2::{Domain, Protocol, Socket, Type};

use super::garbage;
use super::netns::Host;

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
            std::thread::spawn(move || said.send(self.run()));
        });
        sent
    }

    fn run(self) -> u64 {
        let raw = Protocol::from(libc::IPPROTO_RAW);
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw)).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        let group = Ipv4Addr::new(224, 0, 0, 18);
        let to = SocketAddrV4::new(group, 0).into();
        let mut message = garbage::right(self.source);
        message[6] ^= 1;
        let ttl = if self.looks_right { 255 } else { 254 };
        let length = u16::try_from(20 + message.len()).unwrap().to_be_bytes();
        let mut packet = vec![0x45, 0xC0, length[0], length[1], 0, 0, 0, 0];
        packet.extend([ttl, PROTOCOL, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(group.octets());
        packet.extend(message);
        let start = Instant::now();
        let mut sent = 0;
        while start.elapsed() < self.lasts {
            let ahead = |rate: u32| f64::from(rate) * start.elapsed().as_secs_f64() < sent as f64;
            if self.rate.is_some_and(ahead) {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            for _ in 0..20 {
                // A queue on the way may be full.
                sent += u64::from(socket.send_to(&packet, &to).is_ok());
            }
        }
        sent
    }
}

/// For how long the VRRP threads of this process have run so far.
pub(crate) fn time_of_our_threads() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let ours = tasks.filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm == "lbd-vrrp\n")
    });
    let run = ours.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(run.sum())
}
