//! Which probe is a packet from a VIP for?

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::mpsc;

use super::packet::{Arrival, arrival, filter};
use super::{Family, Outlet, Way};
use crate::io::packet_socket::{Layer, PacketSocket};

/// The local ports of probes: above those that the kernel gives out by default (`net.ipv4.ip_local_port_range`).
pub(super) const PORTS: std::ops::Range<u16> = 61_000..65_000;

/// The longest packet that is taken.
const LONGEST: usize = 9_216;

/// How many packets may wait for a probe.
const WAITING: usize = 64;

/// The flows of all probes of one family that take the way of a service.
#[derive(Debug)]
pub(super) struct Flows {
    open: Mutex<HashMap<u16, Entry>>,
    outlet: Outlet,
}

#[derive(Debug)]
struct Entry {
    way: Way,
    protocol: u8,
    to: mpsc::Sender<Arrival>,
}

/// The packets of one probe, to and fro.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) way: Way,
    /// Its local port.
    pub(super) port: u16,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    flows: Arc<Flows>,
}

impl Flow {
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.flows.outlet.send(self.way.hop, packet)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.flows.lock().remove(&self.port);
    }
}

impl Flows {
    /// Opens the sockets, in the network namespace of the calling thread, and leaves a task behind that distributes what
    /// comes. It ends with the last user.
    pub(super) fn start(family: Family) -> io::Result<Arc<Self>> {
        let ether_type = family.ether_type();
        let filter = filter(family, LONGEST);
        let packets = PacketSocket::open(Layer::Payload, ether_type, &filter, LONGEST)?;
        // The socket that sends takes nothing.
        let silent = [crate::io::packet_socket::filter::take(0)];
        let sender = PacketSocket::open(Layer::Payload, ether_type, &silent, LONGEST)?;
        let flows = Arc::new(Self {
            open: Mutex::default(),
            outlet: Outlet::open(family, sender)?,
        });
        tokio::spawn(distribute(packets, Arc::downgrade(&flows)));
        Ok(flows)
    }

    /// A flow with a local port of its own.
    pub(super) fn open(self: &Arc<Self>, way: Way, protocol: u8) -> Option<Flow> {
        let mut open = self.lock();
        let (to, arrivals) = mpsc::channel(WAITING);
        let first = fastrand::u16(PORTS);
        let port = (first..PORTS.end)
            .chain(PORTS.start..first)
            .find(|port| !open.contains_key(port))?;
        open.insert(port, Entry { way, protocol, to });
        drop(open);
        Some(Flow {
            way,
            port,
            arrivals,
            flows: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, packet: Vec<u8>) {
        let Some((port, protocol, from, to, arrival)) = arrival(packet) else {
            return;
        };
        let open = self.lock();
        let Some(entry) = open.get(&port) else { return };
        if entry.protocol == protocol && entry.way.vip == from && entry.way.source == to {
            // A probe that does not keep up misses packets, as on any network.
            let _ = entry.to.try_send(arrival);
        }
    }
}

async fn distribute(packets: PacketSocket, flows: Weak<Flows>) {
    loop {
        match packets.receive().await {
            Ok(received) => match flows.upgrade() {
                Some(flows) => flows.deliver(received.bytes),
                None => return,
            },
            Err(error) => tracing::debug!(%error, "packet socket of probes"),
        }
    }
}
