//! Requests that read: services, counters, connections.

use std::net::{IpAddr, SocketAddr};

use super::plane::Listing;
use super::{Engine, Request, find, problem};
use crate::api::types::{self, Problem, Protocol, Service, Stats};
use crate::core::desired::ServiceId;
use crate::io::bpf;

/// Services with their real servers.
#[derive(Clone, Debug, Default)]
pub struct ReadServices {
    /// Only this one: `tcp:ADDRESS:PORT`, or its name.
    pub service: Option<String>,
}

impl Request for ReadServices {
    type Answer = Vec<Service>;

    async fn perform(self, engine: &mut Engine) -> Result<Vec<Service>, Problem> {
        match &self.service {
            Some(reference) => Ok(vec![
                engine.service_at(find::service(&engine.model, reference)?)?,
            ]),
            None => engine.services(),
        }
    }
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct ReadStats {
    /// Only of this one: `tcp:ADDRESS:PORT`, or its name.
    pub service: Option<String>,
}

impl Request for ReadStats {
    type Answer = Stats;

    async fn perform(self, engine: &mut Engine) -> Result<Stats, Problem> {
        let only = self
            .service
            .as_deref()
            .map(|reference| find::service(&engine.model, reference))
            .transpose()?;
        engine.stats(only)
    }
}

/// Sets counters to zero; answers the names of the services.
#[derive(Clone, Debug, Default)]
pub struct Zero {
    /// Only of this one: `tcp:ADDRESS:PORT`, or its name.
    pub service: Option<String>,
}

impl Request for Zero {
    type Answer = Vec<String>;

    async fn perform(self, engine: &mut Engine) -> Result<Vec<String>, Problem> {
        let only = self
            .service
            .as_deref()
            .map(|reference| find::service(&engine.model, reference))
            .transpose()?;
        let readings = engine.readings()?;
        let mut zeroed = Vec::new();
        for (place, service) in engine.model.services.iter().enumerate() {
            if only.is_some_and(|only| only != place) {
                continue;
            }
            if let Some(reading) = readings.iter().find(|reading| reading.id == service.id) {
                engine.zeroed.zero(reading);
                zeroed.push(service.name.clone());
            }
        }
        engine.zeroed.keep(&readings, &engine.store);
        Ok(zeroed)
    }
}

/// Connections, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Connections(pub types::ConnectionFilter);

impl Request for Connections {
    type Answer = Box<dyn Iterator<Item = types::Connection> + Send>;

    async fn perform(self, engine: &mut Engine) -> Result<Self::Answer, Problem> {
        let filter = Filter::new(engine, &self.0)?;
        let plane = engine.plane()?;
        // The data plane looks for one listener at a time.
        let only: Vec<Option<ServiceId>> = match filter.listeners.as_slice() {
            [] => vec![None],
            listeners => listeners.iter().copied().map(Some).collect(),
        };
        let listings: Vec<Listing> = only
            .into_iter()
            .map(|id| plane.connections(filter.coarse(id)))
            .collect::<Result<_, _>>()
            .map_err(|err| problem("cannot list the connections", &err))?;
        let limit = filter.limit;
        let found = listings
            .into_iter()
            .flatten()
            .filter(move |connection| filter.takes(connection));
        Ok(Box::new(found.map(plain).take(limit)))
    }
}

/// What a filter of the API means.
struct Filter {
    /// Those of any of these; empty: of all services.
    listeners: Vec<ServiceId>,
    real: Option<(IpAddr, Option<u16>)>,
    client: Option<(IpAddr, Option<u16>)>,
    state: Option<String>,
    limit: usize,
}

impl Filter {
    fn new(engine: &Engine, asked: &types::ConnectionFilter) -> Result<Self, Problem> {
        let listeners = match &asked.service {
            None => Vec::new(),
            Some(reference) => {
                let place = find::service(&engine.model, reference)?;
                engine
                    .model
                    .services
                    .get(place)
                    .map(|service| service.listeners().collect())
                    .unwrap_or_default()
            }
        };
        let address = |text: &Option<String>| text.as_deref().map(find::real_address).transpose();
        Ok(Self {
            listeners,
            real: address(&asked.real)?,
            client: address(&asked.client)?,
            state: asked.state.clone(),
            limit: asked.limit.map_or(usize::MAX, |limit| {
                usize::try_from(limit).unwrap_or(usize::MAX)
            }),
        })
    }

    /// What the data plane itself can leave out.
    fn coarse(&self, listener: Option<ServiceId>) -> bpf::ConnectionFilter {
        let addr = |address: Option<(IpAddr, Option<u16>)>| address.map(|(addr, _)| addr);
        let host = listener.filter(ServiceId::is_host);
        bpf::ConnectionFilter {
            proto: listener.map(|id| id.proto),
            client: addr(self.client),
            vip: host.map(|id| id.addr),
            vip_port: listener.map(|id| id.port).filter(|port| *port != 0),
            real: addr(self.real),
            templates: true,
        }
    }

    fn takes(&self, connection: &bpf::Connection) -> bool {
        let is = |wanted: Option<(IpAddr, Option<u16>)>, found: SocketAddr| {
            wanted.is_none_or(|(addr, port)| {
                addr == found.ip() && port.is_none_or(|port| port == found.port())
            })
        };
        is(self.real, connection.real)
            && is(self.client, connection.client)
            && self
                .state
                .as_deref()
                .is_none_or(|state| state == connection.state)
            && (self.listeners.is_empty() || self.listeners.iter().any(|id| serves(id, connection)))
    }
}

pub(super) fn serves(id: &ServiceId, connection: &bpf::Connection) -> bool {
    let vip = connection.vip.ip();
    id.proto == connection.proto
        && (id.port == 0 || id.port == connection.vip.port())
        && crate::config::value::mask(vip, id.prefix) == id.addr
}

pub(super) fn plain(connection: bpf::Connection) -> types::Connection {
    let seconds = |time: std::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    types::Connection {
        protocol: match connection.proto {
            lb_common::net::Proto::Tcp => Protocol::Tcp,
            lb_common::net::Proto::Udp => Protocol::Udp,
        },
        client: connection.client.to_string(),
        vip: connection.vip.to_string(),
        real: connection.real.to_string(),
        state: connection.state.to_owned(),
        expires: seconds(connection.expires),
        idle: seconds(connection.idle),
    }
}

impl Engine {
    /// Every service as the maps have it.
    pub(super) fn readings(&self) -> Result<Vec<bpf::ServiceReading>, Problem> {
        self.plane()?
            .services()
            .map_err(|err| problem("cannot read the services", &err))
    }
}
