//! The task that owns the sockets: events in, the neighbour machine decides, probes and events out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::arp_socket;
use super::decode::{Change, Route};
use super::netlink::{self, NetError, NoRoute, Routes};
use super::{Command, NetEvent, Settings, Shared};
use crate::core::hop::{Link, Mac, NextHop, Reach};
use crate::core::neighbour::{Effect, KernelEntry, Key, Neighbours, arp};
use crate::io::clock;
use crate::io::packet_socket::PacketSocket;

/// Changes of routes come in bursts, when a routing daemon starts or an interface goes down: look up once.
const SETTLE: Duration = Duration::from_millis(20);

/// How many route look-ups are on their way at once.
const LOOKUPS: usize = 32;

/// How many frames are taken before the other work has its turn again.
const FRAMES_AT_ONCE: usize = 64;

/// How long a conflict about one address is not told again.
const CONFLICT_QUIET: Duration = Duration::from_secs(30);

/// Opens the sockets, reads the tables, and leaves a task behind that follows what changes.
pub(super) async fn start(
    settings: Settings,
    view: Shared,
    events: mpsc::UnboundedSender<NetEvent>,
    commands: mpsc::Receiver<Command>,
) -> Result<Routes, NetError> {
    let socket = arp_socket::open().map_err(NetError::Arp)?;
    let (routes, changes) = netlink::open()?;
    let now = clock::now();
    let mut actor = Actor {
        routes: routes.clone(),
        socket,
        neighbours: Neighbours::new(settings.polling, fastrand::u64(..), now),
        view,
        events,
        kernel: HashMap::new(),
        watched: BTreeMap::new(),
        users: BTreeMap::new(),
        stale: Stale::None,
        resolve_at: None,
        conflicts: HashMap::new(),
        started: false,
    };
    actor.read_all().await?;
    actor.started = true;
    tokio::spawn(actor.run(changes, commands));
    Ok(routes)
}

struct Actor {
    routes: Routes,
    socket: PacketSocket,
    neighbours: Neighbours,
    view: Shared,
    events: mpsc::UnboundedSender<NetEvent>,
    /// The kernel's neighbour table.
    kernel: HashMap<Key, KernelEntry>,
    /// The watched addresses, with the route of each.
    watched: BTreeMap<IpAddr, Option<Route>>,
    /// Which watched addresses use a neighbour as next hop.
    users: BTreeMap<Key, BTreeSet<IpAddr>>,
    /// Whose routes must be looked up again, at `resolve_at`.
    stale: Stale,
    resolve_at: Option<Instant>,
    /// When a conflict was last told.
    conflicts: HashMap<Key, Instant>,
    /// What is found at start is no change.
    started: bool,
}

/// Whose routes may have changed.
#[derive(PartialEq, Eq)]
enum Stale {
    None,
    Some(BTreeSet<IpAddr>),
    All,
}

impl Actor {
    async fn run(
        mut self,
        changes: impl Stream<Item = Change> + Unpin,
        mut commands: mpsc::Receiver<Command>,
    ) {
        let mut changes = changes.fuse();
        loop {
            let poll_at = self.neighbours.next_at();
            tokio::select! {
                change = changes.next() => match change {
                    Some(Change::Lost) => {
                        tracing::warn!("events of the kernel were lost; reading its tables again");
                        self.read_all_or_log().await;
                    }
                    Some(change) => self.apply(change),
                    None => {
                        tracing::error!("the netlink socket has closed; changes of the network go unnoticed");
                        return;
                    }
                },
                frame = self.socket.receive() => match frame {
                    Ok(frame) => {
                        self.frame(frame.ifindex, &frame.bytes);
                        self.frames_waiting();
                    }
                    // An interface that goes down says so to every packet socket; netlink tells which one it was.
                    Err(error) => tracing::debug!(%error, "ARP socket"),
                },
                command = commands.recv() => match command {
                    Some(Command::Watch { reals, done }) => self.watch(reals, done).await,
                    None => return,
                },
                () = until(poll_at) => self.poll(),
                () = until(self.resolve_at) => self.resolve_stale().await,
            }
        }
    }

    /// Takes what has come in the meantime, so that a burst of answers costs one turn of the loop.
    fn frames_waiting(&mut self) {
        for _ in 1..FRAMES_AT_ONCE {
            let Some(frame) = self.socket.try_receive() else {
                return;
            };
            self.frame(frame.ifindex, &frame.bytes);
        }
    }

    fn frame(&mut self, ifindex: u32, bytes: &[u8]) {
        let Ok(heard) = arp::parse(bytes) else { return };
        let key = Key {
            ifindex,
            addr: heard.addr.into(),
        };
        let mut effects = Vec::new();
        self.neighbours
            .heard(key, heard.mac, clock::now(), &mut effects);
        self.perform(effects);
    }

    fn poll(&mut self) {
        let mut effects = Vec::new();
        self.neighbours.poll(clock::now(), &mut effects);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Probe { ifindex, addr, to } => self.probe(ifindex, addr, to),
                Effect::AskKernel(key) => self.routes.solicit(key),
                Effect::Changed { key, mac, reach } => {
                    tracing::debug!(neighbour = %key.addr, ?mac, ?reach, "next hop");
                    for real in self.users.get(&key).cloned().unwrap_or_default() {
                        self.refresh(real);
                    }
                }
                Effect::Conflict { key, kept, claimed } => self.conflict(key, kept, claimed),
            }
        }
    }

    fn probe(&self, ifindex: u32, addr: Ipv4Addr, to: Option<Mac>) {
        let asker = {
            let view = self.view.read();
            let Some(mac) = view.links.get(&ifindex).and_then(|link| link.mac) else {
                return;
            };
            arp::Asker {
                mac,
                addr: view.asking_address(ifindex, addr),
            }
        };
        if let Err(error) = self
            .socket
            .send(ifindex, None, &arp::request(asker, addr, to))
        {
            // The machine sees the missing answer; a link that is down is told by netlink.
            tracing::trace!(%addr, ifindex, %error, "ARP request not sent");
        }
    }

    fn conflict(&mut self, key: Key, kept: Mac, claimed: Mac) {
        let now = clock::now();
        self.conflicts
            .retain(|_, told| now.duration_since(*told) < CONFLICT_QUIET);
        if self.conflicts.contains_key(&key) {
            return;
        }
        self.conflicts.insert(key, now);
        let interface = self
            .link(key.ifindex)
            .map_or_else(|| Arc::from(""), |link| link.name);
        self.tell(NetEvent::AddressConflict {
            address: key.addr,
            interface,
            kept,
            claimed,
        });
    }

    /// Follows one change of the kernel's tables.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Link(link) => self.link_is(link),
            Change::LinkGone(ifindex) => self.link_gone(ifindex),
            Change::Address(ifindex, address) => {
                if self.view.write().addresses.insert((ifindex, address)) {
                    self.tell(NetEvent::AddressAdded { ifindex, address });
                    self.stale_all();
                }
            }
            Change::AddressGone(ifindex, address) => {
                if self.view.write().addresses.remove(&(ifindex, address)) {
                    self.tell(NetEvent::AddressRemoved { ifindex, address });
                    self.stale_all();
                }
            }
            Change::Neighbour(key, entry) => self.kernel_entry(key, entry),
            Change::Routes(net) => {
                let hit = self
                    .watched
                    .keys()
                    .copied()
                    .filter(|addr| net.contains(addr))
                    .collect();
                self.stale_some(hit);
            }
            Change::AllRoutes => self.stale_all(),
            Change::Lost => {}
        }
    }

    fn link_is(&mut self, link: Link) {
        let before = self.view.write().links.insert(link.ifindex, link.clone());
        if before.as_ref() == Some(&link) {
            return;
        }
        let ifindex = link.ifindex;
        let was_up = before.as_ref().is_some_and(|l| l.up);
        match &before {
            None => self.tell(NetEvent::LinkAdded(link.clone())),
            Some(before)
                if (Link {
                    up: link.up,
                    ..before.clone()
                }) != link =>
            {
                self.tell(NetEvent::LinkChanged(link.clone()));
            }
            Some(_) => {}
        }
        match (was_up, link.up) {
            (false, true) => {
                self.neighbours.link_up(ifindex, clock::now());
                self.tell(NetEvent::LinkUp(link));
            }
            (true, false) => {
                let mut effects = Vec::new();
                self.neighbours.link_down(ifindex, &mut effects);
                self.perform(effects);
                self.tell(NetEvent::LinkDown(link));
            }
            _ => {}
        }
        // The kernel says nothing of the IPv4 routes that an interface takes with it.
        self.stale_all();
    }

    fn link_gone(&mut self, ifindex: u32) {
        let mut view = self.view.write();
        let gone = view.links.remove(&ifindex);
        view.addresses.retain(|&(index, _)| index != ifindex);
        drop(view);
        self.kernel.retain(|key, _| key.ifindex != ifindex);
        if let Some(link) = gone {
            self.tell(NetEvent::LinkRemoved(link));
            self.stale_all();
        }
    }

    fn kernel_entry(&mut self, key: Key, entry: KernelEntry) {
        match entry {
            KernelEntry::None => self.kernel.remove(&key),
            known => self.kernel.insert(key, known),
        };
        let mut effects = Vec::new();
        self.neighbours
            .kernel(key, entry, clock::now(), &mut effects);
        self.perform(effects);
    }

    /// Makes these addresses the watched ones.
    async fn watch(&mut self, reals: BTreeSet<IpAddr>, done: oneshot::Sender<()>) {
        self.watched.retain(|real, _| reals.contains(real));
        self.view
            .write()
            .hops
            .retain(|real, _| reals.contains(real));
        let new: BTreeSet<IpAddr> = reals
            .into_iter()
            .filter(|real| !self.watched.contains_key(real))
            .collect();
        self.resolve(new).await;
        // Nobody waits any more if the caller was cancelled.
        let _ = done.send(());
    }

    fn stale_all(&mut self) {
        self.stale = Stale::All;
        self.resolve_at.get_or_insert_with(|| clock::now() + SETTLE);
    }

    fn stale_some(&mut self, hit: BTreeSet<IpAddr>) {
        if hit.is_empty() {
            return;
        }
        match &mut self.stale {
            Stale::None => self.stale = Stale::Some(hit),
            Stale::Some(reals) => reals.extend(hit),
            Stale::All => {}
        }
        self.resolve_at.get_or_insert_with(|| clock::now() + SETTLE);
    }

    async fn resolve_stale(&mut self) {
        self.resolve_at = None;
        let reals = match std::mem::replace(&mut self.stale, Stale::None) {
            Stale::None => return,
            Stale::Some(reals) => reals
                .into_iter()
                .filter(|real| self.watched.contains_key(real))
                .collect(),
            Stale::All => self.watched.keys().copied().collect(),
        };
        self.resolve(reals).await;
    }

    /// Looks up the routes to these addresses, and looks after the neighbours that they lead to.
    async fn resolve(&mut self, reals: BTreeSet<IpAddr>) {
        let routes = &self.routes;
        let answers: Vec<(IpAddr, Result<Route, NoRoute>)> = stream::iter(reals)
            .map(|real| async move { (real, routes.get(real).await) })
            .buffer_unordered(LOOKUPS)
            .collect()
            .await;
        let mut touched = Vec::with_capacity(answers.len());
        for (real, answer) in answers {
            let route = answer
                .inspect_err(|why| tracing::debug!(%real, %why, "no next hop"))
                .ok();
            self.watched.insert(real, route);
            touched.push(real);
        }
        self.look_after_neighbours();
        for real in touched {
            self.refresh(real);
        }
    }

    /// Tracks the neighbours that routes of watched addresses lead to, and no others.
    fn look_after_neighbours(&mut self) {
        let mut users: BTreeMap<Key, BTreeSet<IpAddr>> = BTreeMap::new();
        {
            let view = self.view.read();
            for (&real, route) in &self.watched {
                let Some(route) = route else { continue };
                let Ok(hop) = view.next_hop(route, None) else {
                    continue;
                };
                let link_has_neighbours = hop.src_mac.is_some() && hop.reach == Reach::Unknown;
                if let (Some(addr), true) = (hop.neighbour(real), link_has_neighbours) {
                    users
                        .entry(Key {
                            ifindex: hop.ifindex,
                            addr,
                        })
                        .or_default()
                        .insert(real);
                }
            }
        }
        let unused: Vec<Key> = self
            .neighbours
            .keys()
            .filter(|key| !users.contains_key(key))
            .collect();
        for key in unused {
            self.neighbours.forget(key);
        }
        let now = clock::now();
        let mut effects = Vec::new();
        for &key in users.keys() {
            let entry = self.kernel.get(&key).copied().unwrap_or(KernelEntry::None);
            self.neighbours.track(key, entry, now, &mut effects);
        }
        self.users = users;
        self.perform(effects);
    }

    /// Computes a watched address's next hop anew, and tells if it is another one.
    fn refresh(&mut self, real: IpAddr) {
        let Some(route) = self.watched.get(&real) else {
            return;
        };
        let mut view = self.view.write();
        let hop: Option<NextHop> = route.as_ref().and_then(|route| {
            let plain = view.next_hop(route, None).ok()?;
            let key = Key {
                ifindex: plain.ifindex,
                addr: plain.neighbour(real).unwrap_or(real),
            };
            view.next_hop(route, self.neighbours.get(key)).ok()
        });
        let before = view.hops.insert(real, hop.clone());
        drop(view);
        if before.is_some_and(|before| before != hop) {
            self.tell(NetEvent::HopChanged { real, hop });
        }
    }

    /// Reads everything. What has vanished unnoticed is found by its absence.
    async fn read_all(&mut self) -> Result<(), NetError> {
        let all = self.routes.dump().await?;
        let links: BTreeSet<u32> = all
            .iter()
            .filter_map(|c| {
                if let Change::Link(l) = c {
                    Some(l.ifindex)
                } else {
                    None
                }
            })
            .collect();
        let addresses: BTreeSet<_> = all
            .iter()
            .filter_map(|c| {
                if let Change::Address(i, a) = c {
                    Some((*i, *a))
                } else {
                    None
                }
            })
            .collect();
        let neighbours: BTreeSet<Key> = all
            .iter()
            .filter_map(|c| {
                if let Change::Neighbour(k, _) = c {
                    Some(*k)
                } else {
                    None
                }
            })
            .collect();
        let (links_gone, addresses_gone) = {
            let view = self.view.read();
            let links_gone: Vec<u32> = view
                .links
                .keys()
                .copied()
                .filter(|i| !links.contains(i))
                .collect();
            let addresses_gone: Vec<_> = view
                .addresses
                .iter()
                .copied()
                .filter(|a| !addresses.contains(a))
                .collect();
            (links_gone, addresses_gone)
        };
        let neighbours_gone: Vec<Key> = self
            .kernel
            .keys()
            .copied()
            .filter(|k| !neighbours.contains(k))
            .collect();
        let vanished = (links_gone.into_iter().map(Change::LinkGone))
            .chain(
                addresses_gone
                    .into_iter()
                    .map(|(i, a)| Change::AddressGone(i, a)),
            )
            .chain(
                neighbours_gone
                    .into_iter()
                    .map(|k| Change::Neighbour(k, KernelEntry::None)),
            );
        for change in vanished.chain(all) {
            self.apply(change);
        }
        self.stale_all();
        Ok(())
    }

    async fn read_all_or_log(&mut self) {
        if let Err(error) = self.read_all().await {
            tracing::error!(%error, "the kernel's tables could not be read again");
        }
    }

    fn link(&self, ifindex: u32) -> Option<Link> {
        self.view.read().links.get(&ifindex).cloned()
    }

    fn tell(&self, event: NetEvent) {
        if self.started {
            // Without a receiver nobody is interested; the view goes on being right.
            let _ = self.events.send(event);
        }
    }
}

/// Waits until then, or for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then.into()).await,
        None => pending().await,
    }
}
