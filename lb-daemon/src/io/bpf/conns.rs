//! Listing connections, one at a time.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{Settings, TICK_SHIFT};
use lb_common::conn::{Meta, State, Tick};
use lb_common::forward::is_left;
use lb_common::net::Flow;
use lb_common::template::Template;

use super::family::endpoint_of;
use super::maps;
use super::report::{Connection, ConnectionFilter};
use super::templates::{Client, Cursor, Templates};
use crate::core::desired::ServiceId;
use crate::core::template::next_look;

/// A walk over the connection table, one connection at a time.
///
/// It holds the table by itself and takes no memory beyond a bucket's entries, so it can be read on another thread,
/// as slowly as its reader wants. A connection that moves or ends meanwhile may be missed, or listed as it was.
#[derive(Debug)]
pub struct Connections {
    table: maps::Connections,
    filter: ConnectionFilter,
    /// With the clock's offset in the data plane.
    settings: Settings,
    next: u32,
    batch: std::vec::IntoIter<Connection>,
    clients: Option<Clients>,
}

/// The persistent clients, to be listed after the connections.
#[derive(Debug)]
struct Clients {
    map: Arc<dyn Templates>,
    /// Where the reading goes on.
    from: Cursor,
    /// The first virtual address and port of each service, and the mask of its clients.
    services: HashMap<u32, (ServiceId, u32)>,
    /// Templates that a connection was established under, by their key without succession and generation.
    assured: HashSet<(Client, u32)>,
}

impl Connections {
    /// From the first bucket on.
    pub(super) fn new(
        table: maps::Connections,
        filter: ConnectionFilter,
        settings: Settings,
    ) -> Self {
        Self {
            table,
            filter,
            settings,
            next: 0,
            batch: Vec::new().into_iter(),
            clients: None,
        }
    }

    /// And then the persistent clients of these services, given by the first virtual address and port and the mask.
    pub(super) fn with_clients(
        mut self,
        map: Arc<dyn Templates>,
        services: HashMap<u32, (ServiceId, u32)>,
    ) -> Self {
        self.clients = Some(Clients {
            map,
            from: Cursor::START,
            services,
            assured: HashSet::new(),
        });
        self
    }

    /// The connection of a flow, found as the program finds it.
    pub(super) fn of(&self, flow: &Flow<IpAddr>) -> Option<Connection> {
        let now = now(self.settings.clock_shift);
        self.one(flow, self.table.entry(flow, now)?, now)
    }

    fn fill(&mut self) -> bool {
        if self.next >= self.table.buckets() {
            return false;
        }
        let now = now(self.settings.clock_shift);
        let entries = self.table.of_bucket(self.next);
        if let Some(clients) = &mut self.clients {
            for (flow, meta) in &entries {
                clients.see(&self.table, flow, *meta);
            }
        }
        let entries = entries
            .iter()
            .filter_map(|(flow, meta)| self.one(flow, *meta, now));
        let batch: Vec<Connection> = entries.filter(|c| self.filter.matches(c)).collect();
        self.batch = batch.into_iter();
        self.next += 1;
        true
    }

    /// Reads some persistent clients; whether there may be more.
    fn fill_clients(&mut self) -> bool {
        let Some(mut clients) = self.clients.take() else {
            return false;
        };
        // A listing that cannot go on ends.
        let Ok((batch, next)) = clients.map.read(clients.from) else {
            return false;
        };
        let now = now(self.settings.clock_shift);
        let batch = batch
            .into_iter()
            .filter_map(|(key, template)| clients.one(&self.table, key, template, now));
        let batch: Vec<Connection> = batch.filter(|c| self.filter.matches(c)).collect();
        self.batch = batch.into_iter();
        if let Some(next) = next {
            clients.from = next;
            self.clients = Some(clients);
        }
        true
    }

    fn one(&self, flow: &Flow<IpAddr>, meta: Meta, now: Tick) -> Option<Connection> {
        if meta.is_expired(now) {
            return None;
        }
        let real = self.table.real(meta.real())?;
        let timeout = self.table.timeout(real.profile, meta.state())?;
        let expires = u32::try_from(meta.expires().since(now)).unwrap_or(0);
        Some(Connection {
            proto: flow.proto,
            client: SocketAddr::new(flow.client, flow.client_port.to_host()),
            vip: SocketAddr::new(flow.vip, flow.vip_port.to_host()),
            real: endpoint_of(&real),
            state: meta.state().label(),
            expires: ticks(expires),
            idle: ticks(timeout.saturating_sub(expires)),
            is_left: is_left(flow.proto, meta, &real, &self.settings),
        })
    }
}

impl Clients {
    /// Notes what a connection says of its client's template.
    fn see(&mut self, table: &maps::Connections, flow: &Flow<IpAddr>, meta: Meta) {
        if let Some(generation) = meta.template()
            && was_established(meta.state())
            && let Some(real) = table.real(meta.real())
            && let Some((_, mask)) = self.services.get(&real.service)
        {
            let key = Client::current(real.service, flow.client, *mask);
            self.assured.insert((key, generation));
        }
    }

    fn one(
        &self,
        table: &maps::Connections,
        key: Client,
        template: Template,
        now: Tick,
    ) -> Option<Connection> {
        let (service, _) = self.services.get(&key.service)?;
        let real = table.real(template.real())?;
        let known = (Client { orphan: 0, ..key }, template.generation());
        let is_succeeded = key.orphan != 0;
        let vip_port = if is_succeeded { u16::MAX } else { service.port };
        let expires = u32::try_from(next_look(template, now).since(now)).unwrap_or(0);
        Some(Connection {
            proto: service.proto,
            client: SocketAddr::new(key.addr, 0),
            vip: SocketAddr::new(service.addr, vip_port),
            real: endpoint_of(&real),
            state: if self.assured.contains(&known) {
                "ASSURED"
            } else {
                "NONE"
            },
            expires: ticks(expires),
            idle: Duration::ZERO,
            is_left: false,
        })
    }
}

/// Whether a connection in a state has been established.
const fn was_established(state: State) -> bool {
    !matches!(
        state,
        State::None | State::SynSent | State::SynRecv | State::SynAck | State::UdpOnce
    )
}

impl Iterator for Connections {
    type Item = Connection;

    fn next(&mut self) -> Option<Connection> {
        loop {
            if let Some(connection) = self.batch.next() {
                return Some(connection);
            }
            if !self.fill() && !self.fill_clients() {
                return None;
            }
        }
    }
}

impl ConnectionFilter {
    /// Whether a connection is among those asked for.
    pub fn matches(&self, connection: &Connection) -> bool {
        let Self {
            proto,
            client,
            vip,
            vip_port,
            real,
            templates: _,
        } = *self;
        proto.is_none_or(|p| p == connection.proto)
            && client.is_none_or(|a| a == connection.client.ip())
            && vip.is_none_or(|a| a == connection.vip.ip())
            && vip_port.is_none_or(|p| p == connection.vip.port())
            && real.is_none_or(|a| a == connection.real.ip())
    }
}

/// Now, by the clock of the data plane.
pub(super) fn now(shift: u64) -> Tick {
    let nanoseconds = u64::try_from(crate::io::clock::coarse().as_nanos()).unwrap_or(u64::MAX);
    Tick::at(nanoseconds.wrapping_add(shift))
}

pub(super) fn ticks(ticks: u32) -> Duration {
    Duration::from_nanos(u64::from(ticks) << TICK_SHIFT)
}
