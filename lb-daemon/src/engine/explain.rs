//! Why does a connection go where it goes?

use std::net::SocketAddr;

use lb_common::abi::service;
use lb_common::net::Proto;
use lb_common::sched::{Request as Asked, Scheduler};

use super::{Engine, Request, find, listing, problem, report};
use crate::api::types::{
    Candidate, DecidedBy, Explanation, FlowQuery, Problem, RealState, Service,
};
use crate::config::model;
use crate::core::desired::ServiceId;
use crate::core::outlook::{self, Kept, Outlook};
use crate::core::schedule::fold;
use crate::io::bpf::ReadError;

/// How many times lots are drawn to tell the chances.
const DRAWS: u32 = 1_000;

/// Explains what happens to a packet of a flow that could open a connection.
#[derive(Clone, Debug)]
pub struct Explain(pub FlowQuery);

impl Request for Explain {
    type Answer = Explanation;

    async fn perform(self, engine: &mut Engine) -> Result<Explanation, Problem> {
        let flow = Flow::of(&self.0)?;
        let mut explanation = Explanation {
            flow: self.0,
            decided_by: DecidedBy::NoService,
            service: None,
            listener: None,
            real: None,
            connection: None,
            reasons: Vec::new(),
            candidates: Vec::new(),
        };
        let connection = engine
            .plane()?
            .connection(flow.proto, flow.client, flow.vip)
            .map_err(|err| problem("cannot look for the connection", &err))?;
        let service = flow.service(engine);
        if let Some((place, id)) = service {
            let named = engine.service_at(place)?;
            explanation
                .reasons
                .push(format!("service {} has {id}", named.name));
            explanation.service = Some(named.name);
            explanation.listener = Some(report::listener(id));
        } else {
            explanation
                .reasons
                .push(format!("no service has {}", flow.wanted()));
        }
        if let Some(connection) = connection {
            explanation.decided_by = DecidedBy::Connection;
            explanation.real = Some(connection.real.to_string());
            explanation
                .reasons
                .push(recorded(&connection, service.is_some()));
            explanation.connection = Some(listing::plain(connection));
        }
        let Some((place, _)) = service else {
            if explanation.connection.is_none() {
                explanation
                    .reasons
                    .push("the packet is left to the director's own stack".to_owned());
            }
            return Ok(explanation);
        };
        engine.explain_choice(&flow, place, &mut explanation)?;
        Ok(explanation)
    }
}

impl Engine {
    /// Who would get a new connection of the flow, and how the others compare.
    fn explain_choice(
        &self,
        flow: &Flow,
        place: usize,
        explanation: &mut Explanation,
    ) -> Result<(), Problem> {
        let key = flow.key(&self.model.services, place);
        let cannot = |err: ReadError| problem("cannot look at the service", &err);
        let plane = self.plane()?;
        let outlook = plane
            .outlook(flow.proto, key, flow.vip.ip())
            .map_err(cannot)?;
        let kept = plane
            .kept(flow.proto, key, flow.client.ip())
            .map_err(cannot)?;
        let Some(outlook) = outlook else {
            explanation
                .reasons
                .push("the data plane does not know the service".to_owned());
            return Ok(());
        };
        let asked = flow.asked();
        let chosen = outlook::choice(&outlook, &asked).map(|id| id.to_string());
        explanation.candidates = candidates(
            &outlook,
            &asked,
            &self.service_at(place)?,
            chosen.as_deref(),
        );
        if explanation.connection.is_some() {
            return Ok(());
        }
        if flow.proto == Proto::Tcp {
            explanation
                .reasons
                .push("no connection is recorded: only a segment with SYN opens one".to_owned());
        } else {
            explanation
                .reasons
                .push("no connection is recorded: a datagram opens one".to_owned());
        }
        if outlook.flags & service::ONE_PACKET != 0 {
            explanation
                .reasons
                .push("each datagram is scheduled by itself, and none is recorded".to_owned());
        }
        if let Some(kept) = kept {
            explanation.reasons.push(template(&kept));
            if kept.leads {
                explanation.decided_by = DecidedBy::Template;
                explanation.real = Some(kept.real.to_string());
                for candidate in &mut explanation.candidates {
                    candidate.chosen = explanation.real.as_ref() == Some(&candidate.address);
                }
                return Ok(());
            }
        }
        if outlook.standby {
            explanation.decided_by = DecidedBy::Standby;
            explanation.reasons.push(
                "another director is the master of its virtual router: new connections are left to that one"
                    .to_owned(),
            );
            for candidate in &mut explanation.candidates {
                candidate.chosen = false;
            }
            return Ok(());
        }
        explanation.reasons.push(format!(
            "{} takes {}",
            outlook.scheduler.name(),
            outlook::rule(outlook.scheduler)
        ));
        match chosen {
            Some(real) => {
                explanation.decided_by = DecidedBy::Scheduler;
                explanation
                    .reasons
                    .push(if outlook.scheduler == Scheduler::Twos {
                        "lots are drawn for each connection: the chances are below".to_owned()
                    } else {
                        format!("that is {real}")
                    });
                explanation.real = Some(real).filter(|_| outlook.scheduler != Scheduler::Twos);
            }
            None => {
                explanation.decided_by = DecidedBy::Nobody;
                explanation.reasons.push(
                    "there is no such one: the client is told that the port is unreachable"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}

/// A flow as the data plane has it.
struct Flow {
    proto: Proto,
    client: SocketAddr,
    vip: SocketAddr,
}

impl Flow {
    fn of(query: &FlowQuery) -> Result<Self, Problem> {
        let (client, vip) = (endpoint(&query.client)?, endpoint(&query.vip)?);
        if client.is_ipv4() != vip.is_ipv4() {
            return Err(
                Problem::invalid(format!("there are no packets from {client} to {vip}"))
                    .why("one address is of IPv4, the other one of IPv6")
                    .hint("give a client's address of the service's own family"),
            );
        }
        Ok(Self {
            proto: find::proto(query.protocol),
            client,
            vip,
        })
    }

    fn wanted(&self) -> ServiceId {
        ServiceId::new(self.proto, self.vip.ip(), self.vip.port())
    }

    /// The service that the flow is of, and by which of its listeners.
    fn service(&self, engine: &Engine) -> Option<(usize, ServiceId)> {
        let vip = self.vip;
        let services = engine.model.services.iter().enumerate();
        services
            .flat_map(|(place, service)| service.listeners().map(move |id| (place, id)))
            .filter(|(_, id)| id.covers(self.proto, vip.ip(), vip.port()))
            .max_by_key(|(_, id)| id.precedence())
    }

    /// The virtual address and port by which the data plane knows the service.
    fn key(&self, services: &[model::Service], place: usize) -> SocketAddr {
        match services
            .get(place)
            .map(|service| (service.id, service.id.addr))
        {
            // An address of a network may be that of a smaller one too.
            Some((id, addr)) if id.proto == self.proto && id.is_host() => {
                SocketAddr::new(addr, id.port)
            }
            _ => self.vip,
        }
    }

    fn asked(&self) -> Asked {
        Asked {
            client: fold(self.client.ip()),
            destination: fold(self.vip.ip()),
            client_port: self.client.port(),
        }
    }
}

/// An address with a port.
fn endpoint(text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        Problem::invalid(format!("`{text}` is not an address with a port"))
            .hint("write it as 192.0.2.1:80 or [2001:db8::1]:80")
    })
}

/// What a recorded connection decides.
fn recorded(connection: &crate::io::bpf::Connection, service: bool) -> String {
    let until = connection.expires.as_secs();
    let mut text = format!(
        "its connection is recorded, {}, for {until} s more: it goes to {}",
        connection.state, connection.real
    );
    if connection.is_left && service {
        let opens = match connection.proto {
            Proto::Tcp => "SYN",
            Proto::Udp => "datagram",
        };
        text.push_str(&format!(
            "; a {opens} opens another one, which is scheduled anew"
        ));
    }
    text
}

/// What a client's template decides.
fn template(kept: &Kept) -> String {
    let Kept {
        real,
        expires,
        leads,
    } = kept;
    let mut text = format!(
        "the client is kept at {real} by a template, for {} s more",
        expires.as_secs()
    );
    if !leads {
        text.push_str("; but that is not to be had any more, and another one is chosen");
    }
    text
}

/// The real servers in the order in which the scheduler looks at them.
fn candidates(
    outlook: &Outlook,
    asked: &Asked,
    service: &Service,
    chosen: Option<&str>,
) -> Vec<Candidate> {
    let lots = outlook.scheduler == Scheduler::Twos;
    let drawn = if lots {
        outlook::draws(outlook, asked, DRAWS)
    } else {
        Default::default()
    };
    let candidate = |entry: &crate::core::schedule::Entry| {
        let load = outlook.loads.get(&entry.slot).copied().unwrap_or_default();
        let address = entry.id.to_string();
        let state = service
            .reals
            .iter()
            .find(|real| real.address == address)
            .map_or(RealState::Up, |real| real.state);
        let eligible = entry.weight > 0 && !load.overloaded();
        let percent = |count: u32| u8::try_from(count * 100 / DRAWS).unwrap_or(100);
        Candidate {
            weight: entry.weight,
            active: load.active(),
            inactive: load.total().saturating_sub(load.active()),
            state,
            score: eligible
                .then(|| outlook::score(outlook.scheduler, entry.weight, load))
                .flatten(),
            chance: lots.then(|| percent(drawn.get(&entry.id).copied().unwrap_or(0))),
            chosen: !lots && chosen == Some(address.as_str()),
            address,
        }
    };
    outlook.entries.iter().map(candidate).collect()
}
