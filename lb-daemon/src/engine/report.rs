//! What runs, in the words of the API: the configuration and what the maps say of it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::ABI;

use super::{Engine, Request, detached, find, problem};
use crate::api::types::{
    Attachment, CounterValue, Drained, Listener, MethodName, Occupancy, Persistence, Problem,
    Rates, Real, RealState, RealStats, Service, ServiceStats, Stats, Status, Timeouts, Totals,
    Versions,
};
use crate::config::model;
use crate::core::desired::{self, Method, ServiceId, full_prefix};
use crate::core::health::Standing;
use crate::io::bpf::{self, RealReading, ServiceReading, TrafficSum};

/// How the director is.
#[derive(Clone, Copy, Debug)]
pub struct ReadStatus;

impl Request for ReadStatus {
    type Answer = Status;

    async fn perform(self, engine: &mut Engine) -> Result<Status, Problem> {
        let unsaved = engine.unsaved().await;
        engine.status(unsaved)
    }
}

impl Engine {
    /// All services.
    pub(super) fn services(&self) -> Result<Vec<Service>, Problem> {
        let readings = self.readings()?;
        let by_id: HashMap<ServiceId, &ServiceReading> = readings
            .iter()
            .map(|reading| (reading.id, reading))
            .collect();
        Ok(self
            .model
            .services
            .iter()
            .map(|service| self.service(service, by_id.get(&service.id).copied()))
            .collect())
    }

    /// One service.
    pub(super) fn service_at(&self, place: usize) -> Result<Service, Problem> {
        let service = self.model.services.get(place).ok_or_else(detached)?;
        let readings = self.readings()?;
        Ok(self.service(
            service,
            readings.iter().find(|reading| reading.id == service.id),
        ))
    }

    /// One real server.
    pub(super) fn real_at(&self, (place, real): (usize, usize)) -> Result<Real, Problem> {
        let mut service = self.service_at(place)?;
        if real < service.reals.len() {
            Ok(service.reals.swap_remove(real))
        } else {
            Err(detached())
        }
    }

    /// The connections of one real server.
    pub(super) fn left_at(&self, place: (usize, usize)) -> Result<Drained, Problem> {
        let service = self
            .model
            .services
            .get(place.0)
            .map(|service| service.name.clone())
            .unwrap_or_default();
        let Real {
            address,
            active,
            inactive,
            ..
        } = self.real_at(place)?;
        Ok(Drained {
            service,
            address,
            active,
            inactive,
            open: active.saturating_add(inactive),
        })
    }

    fn service(&self, service: &model::Service, reading: Option<&ServiceReading>) -> Service {
        let find = |id: SocketAddr| reading?.reals.iter().find(|real| real.addr == id);
        let standings = self.standings();
        let standing = standings.get(service.id);
        let mut reals: Vec<Real> = service
            .reals
            .iter()
            .map(|r| {
                let drained = self.drains.has(service.id, r.id());
                let stands = standing.and_then(|s| s.reals.get(&r.id()));
                real(r, service.method, find(r.id()), drained, stands)
            })
            .collect();
        if let Some((sorry, true)) = standing.and_then(|standing| standing.sorry.as_ref()) {
            reals.extend(find(sorry.id).map(sorry_server));
        }
        let leaving = reading.map_or(&[][..], |reading| reading.draining.as_slice());
        reals.extend(
            leaving
                .iter()
                .filter(|left| left.active + left.inactive > 0)
                .map(removed),
        );
        Service {
            name: service.name.clone(),
            listener: listener(service.id),
            also: service.also.iter().copied().map(listener).collect(),
            scheduler: service.scheduler.name().to_owned(),
            scheduler_flags: flags(service),
            persistence: service.persistence.map(|persistence| Persistence {
                timeout: persistence.timeout.as_secs(),
                mask: Some(persistence.mask).filter(|mask| *mask != full_prefix(service.id.addr)),
                leave_quiesced: Some(true).filter(|_| persistence.leave_quiesced),
            }),
            one_packet: service.one_packet,
            timeouts: service
                .timeouts
                .over(&self.model.connections.timeouts)
                .into(),
            own_timeouts: !service.timeouts.is_empty(),
            method: service.method.into(),
            reals,
        }
    }

    /// What was counted: of one service, or of all.
    pub(super) fn stats(&self, only: Option<usize>) -> Result<Stats, Problem> {
        let readings = self.readings()?;
        let counters = self
            .plane()?
            .counters()
            .map_err(|err| problem("cannot read the counters", &err))?;
        let names: HashMap<ServiceId, (usize, &str)> = self
            .model
            .services
            .iter()
            .enumerate()
            .map(|(place, s)| (s.id, (place, s.name.as_str())))
            .collect();
        let mut services = Vec::new();
        let mut sum = TrafficSum::default();
        let mut rates = bpf::Rates::default();
        for reading in &readings {
            let Some((place, name)) = names.get(&reading.id) else {
                continue;
            };
            if only.is_some_and(|only| only != *place) {
                continue;
            }
            let traffic = self.zeroed.since(reading.id, None, reading.traffic);
            sum = sum.plus(traffic);
            rates = add(rates, reading.rates);
            let real = |real: &RealReading| RealStats {
                address: real.addr.to_string(),
                totals: self
                    .zeroed
                    .since(reading.id, Some(real.addr), real.traffic)
                    .into(),
                rates: real.rates.into(),
            };
            services.push(ServiceStats {
                name: (*name).to_owned(),
                listener: listener(reading.id),
                totals: traffic.into(),
                rates: reading.rates.into(),
                reals: reading
                    .reals
                    .iter()
                    .rev()
                    .chain(&reading.draining)
                    .map(real)
                    .collect(),
            });
        }
        let counters = counters
            .into_iter()
            .map(|(counter, packets)| CounterValue {
                name: counter.label().to_owned(),
                about: counter.about().trim().to_owned(),
                packets,
            })
            .collect();
        Ok(Stats {
            totals: sum.into(),
            rates: rates.into(),
            services,
            counters,
        })
    }

    fn status(&self, unsaved: Option<usize>) -> Result<Status, Problem> {
        let plane = self
            .plane()?
            .status()
            .map_err(|err| problem("cannot read the data plane's state", &err))?;
        let attachment = |interface: &bpf::InterfaceStatus| Attachment {
            interface: interface.name.clone(),
            mode: if interface.native {
                "native"
            } else {
                "generic"
            }
            .to_owned(),
            program: plane.program,
        };
        Ok(Status {
            version: Versions {
                lbd: env!("CARGO_PKG_VERSION").to_owned(),
                kernel: nix::sys::utsname::uname()
                    .map(|names| names.release().to_string_lossy().into_owned())
                    .unwrap_or_default(),
                abi: ABI,
            },
            pid: std::process::id(),
            uptime: crate::io::clock::now()
                .saturating_duration_since(self.started)
                .as_secs(),
            config: self.places.config.display().to_string(),
            unsaved,
            interfaces: plane.interfaces.iter().map(attachment).collect(),
            connections: Occupancy {
                used: plane.connections.used + plane.connections6.used,
                capacity: plane.connections.max + plane.connections6.max,
                memory: plane.memory,
            },
            services: self.model.services.len(),
            reals: self
                .model
                .services
                .iter()
                .map(|service| service.reals.len())
                .sum(),
            warnings: self.warnings(&plane)?,
        })
    }

    /// What the operator should look at.
    fn warnings(&self, plane: &bpf::Status) -> Result<Vec<String>, Problem> {
        let mut warnings: Vec<String> = self.alarms.texts().map(str::to_owned).collect();
        let own: Vec<IpAddr> = self
            .network
            .addresses()
            .iter()
            .map(|(_, net)| net.addr())
            .collect();
        for service in &self.model.services {
            for id in service.listeners().filter(ServiceId::is_host) {
                if !own.contains(&id.addr) && self.roles.serves(&self.model, id.addr) {
                    warnings.push(format!(
                        "VIP {} of service {} is on no interface: nobody answers ARP for it",
                        id.addr, service.name
                    ));
                }
            }
        }
        let links = self.network.links();
        for name in &self.model.interfaces {
            match links.iter().find(|link| *link.name == **name) {
                None => warnings.push(format!("interface {name} does not exist")),
                Some(link) if !link.up => warnings.push(format!("interface {name} is down")),
                Some(_) => {}
            }
        }
        for name in self.attached.iter().flat_map(|(names, _)| names) {
            let runs = plane
                .interfaces
                .iter()
                .any(|interface| interface.name == *name);
            if !runs && links.iter().any(|link| *link.name == **name) {
                warnings.push(format!(
                    "the program does not run on {name} any more: somebody has detached it"
                ));
            }
        }
        if plane.interfaces.is_empty() {
            warnings.push("the program runs on no interface".to_owned());
        }
        warnings.extend(self.health_warnings());
        for service in self.services()? {
            for Real { address, state, .. } in &service.reals {
                let name = &service.name;
                match state {
                    RealState::Unresolved => warnings.push(format!(
                        "real server {address} of service {name} has no known next hop"
                    )),
                    RealState::Draining => warnings.push(format!(
                        "real server {address} of service {name} is drained: `lbctl undrain {address}` ends that"
                    )),
                    _ => {}
                }
            }
        }
        Ok(warnings)
    }
}

pub(super) fn listener(id: ServiceId) -> Listener {
    let text = id.to_string();
    // `tcp 192.0.2.1:80`, of which the API has the parts.
    let address = text
        .split_once(' ')
        .map(|(_, address)| address.to_owned())
        .unwrap_or_default();
    Listener {
        protocol: find::protocol(id.proto),
        address,
    }
}

fn flags(service: &model::Service) -> Vec<String> {
    let name = service.scheduler.name();
    let flag = |set: bool, word: &str| set.then(|| format!("{name}-{word}"));
    let desired::SchedulerFlags {
        port,
        fallback,
        kernel_table,
    } = service.scheduler_flags;
    [
        flag(port, "port"),
        flag(fallback, "fallback"),
        flag(kernel_table, "kernel-table"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn real(
    configured: &model::Real,
    usual: Method,
    reading: Option<&RealReading>,
    drained: bool,
    standing: Option<&Standing>,
) -> Real {
    let method = configured.method.unwrap_or(usual);
    Real {
        address: configured.id().to_string(),
        method: reading.map_or(method, |reading| reading.method).into(),
        weight: configured.weight,
        checked_weight: standing.and_then(|standing| standing.asked),
        upper: configured.upper,
        lower: configured.lower,
        state: match reading {
            _ if standing.is_some_and(|standing| standing.dead) => RealState::Down,
            _ if standing.is_some_and(|standing| standing.out) => RealState::Aside,
            None => RealState::Unresolved,
            Some(_) if drained => RealState::Draining,
            Some(reading) if !reading.resolved => RealState::Unresolved,
            Some(reading) if reading.overloaded => RealState::Full,
            Some(_) if configured.weight == 0 => RealState::Quiesced,
            Some(_) if standing.is_some_and(|s| s.asked == Some(0)) => RealState::Quiesced,
            Some(_) => RealState::Up,
        },
        active: reading.map_or(0, |reading| reading.active),
        inactive: reading.map_or(0, |reading| reading.inactive),
        persistent: reading.map_or(0, |reading| reading.templates),
    }
}

/// A sorry server that serves.
fn sorry_server(reading: &RealReading) -> Real {
    Real {
        weight: u16::try_from(reading.weight).unwrap_or(u16::MAX),
        state: RealState::Sorry,
        ..removed(reading)
    }
}

/// A real server that was removed and has connections left.
fn removed(reading: &RealReading) -> Real {
    Real {
        address: reading.addr.to_string(),
        method: reading.method.into(),
        weight: 0,
        checked_weight: None,
        upper: 0,
        lower: 0,
        state: RealState::Removed,
        active: reading.active,
        inactive: reading.inactive,
        persistent: reading.templates,
    }
}

fn add(a: bpf::Rates, b: bpf::Rates) -> bpf::Rates {
    bpf::Rates {
        conns: a.conns + b.conns,
        in_packets: a.in_packets + b.in_packets,
        in_bytes: a.in_bytes + b.in_bytes,
        out_packets: a.out_packets + b.out_packets,
        out_bytes: a.out_bytes + b.out_bytes,
    }
}

impl From<Method> for MethodName {
    fn from(method: Method) -> Self {
        match method {
            Method::Dr => Self::Dr,
            Method::Tun => Self::Tun,
            Method::Nat => Self::Nat,
            Method::Local => Self::Local,
        }
    }
}

impl From<desired::Timeouts> for Timeouts {
    fn from(timeouts: desired::Timeouts) -> Self {
        Self {
            tcp: timeouts.tcp.as_secs(),
            tcp_fin: timeouts.tcp_fin.as_secs(),
            udp: timeouts.udp.as_secs(),
        }
    }
}

impl From<TrafficSum> for Totals {
    fn from(sum: TrafficSum) -> Self {
        let TrafficSum {
            conns,
            in_packets,
            in_bytes,
            out_packets,
            out_bytes,
        } = sum;
        Self {
            conns,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        }
    }
}

impl From<bpf::Rates> for Rates {
    fn from(rates: bpf::Rates) -> Self {
        Self {
            conns: whole(rates.conns),
            in_packets: whole(rates.in_packets),
            out_packets: whole(rates.out_packets),
            in_bytes: whole(rates.in_bytes),
            out_bytes: whole(rates.out_bytes),
        }
    }
}

/// The nearest whole number; rates are not negative.
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}
