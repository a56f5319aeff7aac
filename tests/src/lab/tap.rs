//! How many packets and bytes really went by?
//!
//! What a host sends and receives, counted as IPVS counts: the length of the IP packet.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use lb_daemon::core::desired::Proto;
use socket2::{Domain, Protocol, Socket, Type};

use super::host::Host;

/// Packets and their bytes.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub packets: u64,
    /// The sum of their lengths, IP header included.
    pub bytes: u64,
}

/// One end of packets.
type End = (u8, SocketAddrV4);

/// What was seen, by destination and by source.
#[derive(Default)]
struct Seen {
    to: BTreeMap<End, Sum>,
    from: BTreeMap<End, Sum>,
}

/// Counts all TCP and UDP packets over IPv4 of a host until it is dropped.
pub struct Tap {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    /// Count on a host, whose interface then puts no received packets together.
    ///
    /// # Errors
    ///
    /// A step of the set-up failed.
    pub fn start(host: &Host, interface: &str) -> Result<Self> {
        host.run(&["ethtool", "-K", interface, "gro", "off"])?;
        let all = i32::from((libc::ETH_P_ALL as u16).to_be());
        let mut socket = host.inside(|| {
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(all)))
                .context("cannot listen to packets")?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            Ok(socket)
        })?;
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (counts, over) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut packet = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                match socket.read(&mut packet) {
                    Ok(length) => lock(&counts).count(packet.get(..length).unwrap_or_default()),
                    Err(error)
                        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => return,
                }
            }
        });
        Ok(Self {
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// What went to an address and port.
    pub fn to(&self, proto: Proto, end: SocketAddrV4) -> Sum {
        let key = (proto as u8, end);
        lock(&self.seen).to.get(&key).copied().unwrap_or_default()
    }

    /// What came from an address and port.
    pub fn from(&self, proto: Proto, end: SocketAddrV4) -> Sum {
        let key = (proto as u8, end);
        lock(&self.seen).from.get(&key).copied().unwrap_or_default()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn count(&mut self, packet: &[u8]) {
        let Some((protocol, source, destination, bytes)) = ends(packet) else {
            return;
        };
        for (sums, end) in [(&mut self.from, source), (&mut self.to, destination)] {
            let sum = sums.entry((protocol, end)).or_default();
            sum.packets += 1;
            sum.bytes += bytes;
        }
    }
}

/// Protocol, source, destination and length of an IPv4 packet with ports.
fn ends(packet: &[u8]) -> Option<(u8, SocketAddrV4, SocketAddrV4, u64)> {
    let half = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let address = |at: usize| {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    let (first, protocol) = (*packet.first()?, *packet.get(9)?);
    if first >> 4 != 4 || ![libc::IPPROTO_TCP, libc::IPPROTO_UDP].contains(&protocol.into()) {
        return None;
    }
    let ports = usize::from(first & 0xf) * 4;
    let source = SocketAddrV4::new(address(12)?, half(ports)?);
    let destination = SocketAddrV4::new(address(16)?, half(ports + 2)?);
    Some((protocol, source, destination, half(2)?.into()))
}
