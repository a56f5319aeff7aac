//! What would a change make of a service's connections? Nothing is changed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::net::Proto;
use lb_common::sched::Request as Asked;

use super::{Engine, Machine, Request, apply, edit, find, problem};
use crate::api::types::{self, Both, Live, Problem, SimulatedReal, Simulation, SimulationRequest};
use crate::config::Model;
use crate::core::desired::{DesiredReal, DesiredService, ServiceId};
use crate::core::outlook::{Outlook, Trial, Wanted, elsewhere, is_by_hash, trial};
use crate::core::schedule::fold;
use crate::io::bpf::{self, mh_table, plan_flags};

/// How many connections are tried without a wish.
const CONNECTIONS: u32 = 10_000;
/// The most that are tried.
const MOST: u32 = 1_000_000;

/// Tries a change out.
#[derive(Clone, Debug)]
pub struct Simulate(pub SimulationRequest);

impl Request for Simulate {
    type Answer = Simulation;

    async fn perform(self, engine: &mut Engine) -> Result<Simulation, Problem> {
        let place = find::service(&engine.model, &self.0.service)?;
        let connections = self.0.connections.unwrap_or(CONNECTIONS);
        if connections == 0 || connections > MOST {
            return Err(
                Problem::invalid(format!("cannot try {connections} connections"))
                    .hint(format!("write 1 to {MOST}")),
            );
        }
        let changed = changed(&engine.model, place, &self.0)?;
        let machine = Machine::look(&*engine.network, &[&engine.model, &changed]).await;
        let changed = apply::checked(&engine.model, changed, &machine)?;
        let (Some(before), Some(after)) = (
            engine.desired(&engine.model, place),
            engine.desired(&changed, place),
        ) else {
            return Err(super::detached());
        };
        let vip = vip(after.id);
        let plane = engine.plane()?;
        let now = plane
            .outlook(after.id.proto, vip, vip.ip())
            .map_err(|err| problem("cannot look at the service", &err))?
            .ok_or_else(|| Problem::failed("the data plane does not know the service"))?;
        let then = now.changed(
            after.scheduler,
            plan_flags(&after),
            mh_table(&after),
            &wanted(&after),
        );
        let found = plane
            .connections(of_service(after.id, vip))
            .map_err(|err| problem("cannot list the connections", &err))?;
        let force = self.0.force;
        Ok(tokio::task::block_in_place(|| {
            let trials = Both {
                before: trial(&now, after.id.proto, vip.ip(), connections),
                after: trial(&then, after.id.proto, vip.ip(), connections),
            };
            let live = Present::count(found, &now, &then);
            Simulation {
                service: after.name.clone(),
                scheduler: Both {
                    before: before.scheduler.name().to_owned(),
                    after: after.scheduler.name().to_owned(),
                },
                connections,
                refused: Both {
                    before: trials.before.refused,
                    after: trials.after.refused,
                },
                reals: reals(&before, &after, &trials, &live),
                live: live.judged(&after, force),
            }
        }))
    }
}

/// The configuration with the change.
fn changed(model: &Model, place: usize, request: &SimulationRequest) -> Result<Model, Problem> {
    let change = types::EditService {
        scheduler: request.scheduler.clone(),
        scheduler_flags: request.scheduler_flags.clone(),
        ..types::EditService::default()
    };
    let mut model = edit::edit_service(model, place, &change)?;
    let real = |model: &Model, address: &str| match model.services.get(place) {
        Some(service) => find::real(service, address).map(|real| (place, real)),
        None => Err(super::detached()),
    };
    for edited in &request.edit {
        let at = real(&model, &edited.real)?;
        model = edit::edit_real(&model, at, &edited.change)?;
    }
    for removed in &request.remove {
        let at = real(&model, removed)?;
        model = edit::remove_real(&model, at)?;
    }
    for added in &request.add {
        model = edit::add_real(&model, place, added)?.0;
    }
    Ok(model)
}

impl Engine {
    /// A service as the data plane would be told of it.
    fn desired(&self, model: &Model, place: usize) -> Option<DesiredService> {
        let mut desired = self.drains.over(model.desired());
        self.standings().apply_places(&mut desired);
        desired.services.into_iter().nth(place)
    }
}

/// Real servers as schedulers take them, newest first.
fn wanted(service: &DesiredService) -> Vec<Wanted> {
    let wanted = |real: &DesiredReal| Wanted {
        id: real.id(),
        weight: real.effective_weight(),
        upper: real.upper,
        lower: real.lower,
        out: real.down,
    };
    service.reals.iter().rev().map(wanted).collect()
}

const fn vip(id: ServiceId) -> SocketAddr {
    SocketAddr::new(id.addr, id.port)
}

fn of_service(id: ServiceId, vip: SocketAddr) -> bpf::ConnectionFilter {
    bpf::ConnectionFilter {
        proto: Some(id.proto),
        vip: Some(vip.ip()),
        vip_port: Some(vip.port()).filter(|port| *port != 0),
        ..bpf::ConnectionFilter::default()
    }
}

/// The connections that there are.
struct Present {
    by_real: HashMap<SocketAddr, u64>,
    elsewhere: Option<u64>,
}

impl Present {
    fn count(found: impl Iterator<Item = bpf::Connection>, now: &Outlook, then: &Outlook) -> Self {
        let mut by_real = HashMap::new();
        let clients = found.map(|connection| {
            *by_real.entry(connection.real).or_default() += 1;
            asked(connection.client, connection.vip.ip())
        });
        let elsewhere = if is_by_hash(now.scheduler) && is_by_hash(then.scheduler) {
            Some(elsewhere(now, then, clients))
        } else {
            clients.for_each(drop);
            None
        };
        Self { by_real, elsewhere }
    }

    fn at(&self, real: SocketAddr) -> u64 {
        self.by_real.get(&real).copied().unwrap_or(0)
    }

    /// What the change does to them.
    fn judged(&self, after: &DesiredService, force: bool) -> Live {
        let mut live = Live {
            elsewhere: self.elsewhere,
            ..Live::default()
        };
        for (real, count) in &self.by_real {
            let to = match after.reals.iter().find(|there| there.id() == *real) {
                Some(there) if there.effective_weight() > 0 => &mut live.stay,
                None if force => &mut live.moved,
                // Datagrams leave a dead real server at once.
                Some(there) if there.down && after.id.proto == Proto::Udp => &mut live.moved,
                _ => &mut live.finish,
            };
            *to += count;
        }
        live
    }
}

fn asked(client: SocketAddr, vip: IpAddr) -> Asked {
    Asked {
        client: fold(client.ip()),
        destination: fold(vip),
        client_port: client.port(),
    }
}

fn reals(
    before: &DesiredService,
    after: &DesiredService,
    trials: &Both<Trial>,
    live: &Present,
) -> Vec<SimulatedReal> {
    let mut ids: Vec<SocketAddr> = before
        .reals
        .iter()
        .chain(&after.reals)
        .map(DesiredReal::id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let weight = |service: &DesiredService, id| {
        service
            .reals
            .iter()
            .find(|real| real.id() == id)
            .map(|real| real.weight)
    };
    let share = |trial: &Trial, id| trial.shares.get(&id).copied().unwrap_or(0);
    ids.into_iter()
        .map(|id| SimulatedReal {
            address: id.to_string(),
            weight: Both {
                before: weight(before, id),
                after: weight(after, id),
            },
            share: Both {
                before: share(&trials.before, id),
                after: share(&trials.after, id),
            },
            live: live.at(id),
        })
        .collect()
}
