//! Listing connections, one at a time.

use std::net::SocketAddrV4;
use std::time::Duration;

use lb_common::abi::TICK_SHIFT;
use lb_common::conn::{Meta, Tick};
use lb_common::net::{Be16, Be32, Flow4};
use lb_common::table::Lookup;

use super::maps;
use super::report::{Connection, ConnectionFilter};
use super::state::ipv4;

/// A walk over the connection table, one connection at a time.
///
/// It holds the table by itself and takes no memory beyond a bucket's entries, so it can be read on another thread,
/// as slowly as its reader wants. A connection that moves or ends meanwhile may be missed, or listed as it was.
#[derive(Debug)]
pub struct Connections {
    table: maps::Connections,
    filter: ConnectionFilter,
    /// The clock's offset in the data plane: see [`lb_common::abi::Settings::clock_shift`].
    shift: u64,
    next: u32,
    bucket: std::vec::IntoIter<Connection>,
}

impl Connections {
    /// From the first bucket on.
    pub fn new(table: maps::Connections, filter: ConnectionFilter, shift: u64) -> Self {
        Self {
            table,
            filter,
            shift,
            next: 0,
            bucket: Vec::new().into_iter(),
        }
    }

    /// The connection of a flow, found as the program finds it.
    pub(super) fn of(&self, flow: &Flow4) -> Option<Connection> {
        let now = now(self.shift);
        let table = self.table.table();
        match table.lookup(flow, &table.place(flow), now) {
            Lookup::Hit(hit) => self.one(flow, hit.meta, now),
            Lookup::Miss { .. } => None,
        }
    }

    fn fill(&mut self) -> bool {
        if self.next >= self.table.buckets() {
            return false;
        }
        let now = now(self.shift);
        let table = self.table.table();
        let entries = table.connections(self.next);
        let entries = entries.filter_map(|(flow, meta)| self.one(&flow, meta, now));
        let bucket: Vec<Connection> = entries.filter(|c| self.filter.matches(c)).collect();
        self.bucket = bucket.into_iter();
        self.next += 1;
        true
    }

    fn one(&self, flow: &Flow4, meta: Meta, now: Tick) -> Option<Connection> {
        if meta.is_expired(now) {
            return None;
        }
        let real = self.table.real(meta.real())?;
        let timeout = self.table.timeout(real.profile, meta.state())?;
        let expires = u32::try_from(meta.expires().since(now)).unwrap_or(0);
        Some(Connection {
            proto: flow.proto,
            client: endpoint(flow.client, flow.client_port),
            vip: endpoint(flow.vip, flow.vip_port),
            real: endpoint(real.addr, real.port),
            state: meta.state().label(),
            expires: ticks(expires),
            idle: ticks(timeout.saturating_sub(expires)),
        })
    }
}

impl Iterator for Connections {
    type Item = Connection;

    fn next(&mut self) -> Option<Connection> {
        loop {
            if let Some(connection) = self.bucket.next() {
                return Some(connection);
            }
            if !self.fill() {
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
        } = *self;
        proto.is_none_or(|p| p == connection.proto)
            && client.is_none_or(|a| a == *connection.client.ip())
            && vip.is_none_or(|a| a == *connection.vip.ip())
            && vip_port.is_none_or(|p| p == connection.vip.port())
            && real.is_none_or(|a| a == *connection.real.ip())
    }
}

/// Now, by the clock of the data plane.
pub(super) fn now(shift: u64) -> Tick {
    let nanoseconds = u64::try_from(crate::io::clock::coarse().as_nanos()).unwrap_or(u64::MAX);
    Tick::at(nanoseconds.wrapping_add(shift))
}

fn ticks(ticks: u32) -> Duration {
    Duration::from_nanos(u64::from(ticks) << TICK_SHIFT)
}

fn endpoint(addr: Be32, port: Be16) -> SocketAddrV4 {
    SocketAddrV4::new(ipv4(addr), port.to_host())
}
