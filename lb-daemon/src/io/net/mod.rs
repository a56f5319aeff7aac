//! Links, addresses, routes and neighbours of the director: where a packet for a real server goes next.
//!
//! [`Net::start`] reads the kernel's tables by rtnetlink and then follows their events. The addresses given to
//! [`Net::watch`] are resolved by the kernel's own route look-up, their next hops' MAC addresses are polled
//! (see [`crate::core::neighbour`]), and what changes is told as [`NetEvent`]s.

mod actor;
mod arp_socket;
pub(in crate::io) mod decode;
mod netlink;
mod offload;
mod sysctl;
mod view;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot};

use crate::core::hop::{Link, Mac, NextHop};
use crate::core::neighbour::Polling;

pub(in crate::io) use arp_socket::open as arp_socket;
pub use decode::{Change, changes};
pub use netlink::{NetError, NoRoute};
pub use offload::{Offloads, offloads};
use view::View;

/// How the network is watched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// How next hops are polled.
    pub polling: Polling,
}

/// Something that has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetEvent {
    /// The next hop of a watched real server is another one, or has another MAC, or began or ceased to answer.
    HopChanged {
        /// The real server's address.
        real: IpAddr,
        /// Its next hop; `None` if there is no route to it.
        hop: Option<NextHop>,
    },
    /// Two stations say that they have the address of a next hop. The first one is kept.
    AddressConflict {
        /// The next hop's address.
        address: IpAddr,
        /// The interface.
        interface: Arc<str>,
        /// The MAC in use.
        kept: Mac,
        /// The other one.
        claimed: Mac,
    },
    /// An interface is new.
    LinkAdded(Link),
    /// An interface is gone.
    LinkRemoved(Link),
    /// An interface works: it is switched on and has a carrier.
    LinkUp(Link),
    /// An interface was switched off or has lost its carrier.
    LinkDown(Link),
    /// An interface has another name, MAC, MTU or XDP program.
    LinkChanged(Link),
    /// The director has got an address.
    AddressAdded {
        /// Index of the interface.
        ifindex: u32,
        /// The address and the network around it.
        address: IpNet,
    },
    /// The director has lost an address.
    AddressRemoved {
        /// Index of the interface.
        ifindex: u32,
        /// The address and the network around it.
        address: IpNet,
    },
}

/// What is known of the network. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Net {
    view: Shared,
    routes: netlink::Routes,
    commands: mpsc::Sender<Command>,
}

/// A request to the task that owns the sockets.
#[derive(Debug)]
enum Command {
    /// These real servers are the ones to watch.
    Watch {
        reals: BTreeSet<IpAddr>,
        done: oneshot::Sender<()>,
    },
}

impl Net {
    /// Reads the kernel's tables and begins to follow them, in the network namespace of the calling thread.
    ///
    /// Needs `CAP_NET_RAW` for ARP and `CAP_NET_ADMIN` to ask the kernel for neighbours. The events must be
    /// received: they are kept until they are.
    pub async fn start(
        settings: Settings,
    ) -> Result<(Self, mpsc::UnboundedReceiver<NetEvent>), NetError> {
        let (events_to, events) = mpsc::unbounded_channel();
        let (commands, commands_from) = mpsc::channel(16);
        let view = Shared::default();
        let routes = actor::start(settings, view.clone(), events_to, commands_from).await?;
        Ok((
            Self {
                view,
                routes,
                commands,
            },
            events,
        ))
    }

    /// Makes these addresses the watched ones, in place of those before, and resolves the new ones.
    ///
    /// When this returns [`Net::hop`] answers for each of them. The MAC of a next hop that was not known to the
    /// kernel comes as an event.
    pub async fn watch(&self, reals: impl IntoIterator<Item = IpAddr>) -> Result<(), NetError> {
        let (done, finished) = oneshot::channel();
        let command = Command::Watch {
            reals: reals.into_iter().collect(),
            done,
        };
        self.commands
            .send(command)
            .await
            .map_err(|_| NetError::Stopped)?;
        finished.await.map_err(|_| NetError::Stopped)
    }

    /// The next hop of a watched address; `None` if there is no route to it.
    pub fn hop(&self, real: IpAddr) -> Option<NextHop> {
        self.view.read().hops.get(&real).cloned().flatten()
    }

    /// Looks up the way to any address now, without asking for MAC addresses.
    ///
    /// This answers what a configuration must be checked for: [`NextHop::is_on_link`], [`NextHop::is_local`].
    pub async fn resolve(&self, addr: IpAddr) -> Result<NextHop, NoRoute> {
        let route = self.routes.get(addr).await?;
        let view = self.view.read();
        let hop = view.next_hop(&route, None)?;
        let same = |watched: &&NextHop| (watched.ifindex, watched.via) == (hop.ifindex, hop.via);
        let watched = view.hops.get(&addr).and_then(Option::as_ref).filter(same);
        view.next_hop(&route, watched.map(|watched| (watched.mac, watched.reach)))
    }

    /// The interface of this name.
    pub fn link(&self, name: &str) -> Option<Link> {
        self.view
            .read()
            .links
            .values()
            .find(|link| &*link.name == name)
            .cloned()
    }

    /// All interfaces.
    pub fn links(&self) -> Vec<Link> {
        self.view.read().links.values().cloned().collect()
    }

    /// All addresses of the director, each with the index of its interface.
    pub fn addresses(&self) -> Vec<(u32, IpNet)> {
        self.view.read().addresses.iter().copied().collect()
    }

    /// Has the stack take packets from an interface whose source is an address of the director, as replies of NAT real
    /// servers are when their client has to be looked for.
    pub fn accept_local(&self, interface: &str) -> std::io::Result<()> {
        sysctl::accept_local(interface)
    }

    /// Whether the address is one of the director's own.
    pub fn is_local(&self, addr: IpAddr) -> bool {
        addr.is_loopback()
            || self
                .view
                .read()
                .addresses
                .iter()
                .any(|(_, net)| net.addr() == addr)
    }
}

/// The view, as the task writes it and everybody reads it. The lock is held for a few instructions only.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<RwLock<View>>);

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, View> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
