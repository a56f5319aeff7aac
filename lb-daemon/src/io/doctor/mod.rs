//! Gathers what [`crate::core::doctor`] judges: looks at this machine, asks the network, and sends a packet to each real
//! server by the way of its method. Nothing is changed.
//!
//! It needs no daemon: with one, [`Live`] says what only that knows.

mod adverts;
mod claims;
pub mod clock;
mod echo;
mod interfaces;
mod machine;
mod packets;
mod probes;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Model;
use crate::config::model::Service;
use crate::core::desired::{Method, ServiceId};
use crate::core::doctor::facts::{Daemon, Duty, Facts, Host, Machine, Router, Vip, Way};
use crate::core::hop::{Mac, NextHop, Reach};
use crate::core::vrrp::State;
use crate::io::clock as time;
use crate::io::net::{Net, Settings};

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Case {
    /// The configuration that runs, or would.
    pub model: Model,
    /// Where program and maps are pinned.
    pub pin_dir: PathBuf,
    /// What lbd knows; else why it cannot be asked.
    pub live: Result<Live, String>,
}

/// What only a running lbd knows.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// What it says of itself.
    pub daemon: Daemon,
    /// The states of the virtual routers, by name.
    pub states: BTreeMap<String, State>,
    /// Why a driver did not take the program, by interface.
    pub refused: BTreeMap<String, String>,
}

/// The real servers' next hops have this long to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// An address that is on nobody's network (it is reserved for ever): the way to it is the default route.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(240, 0, 0, 1));

/// Looks at everything, on a thread of its own. It takes some seconds, most of which are spent listening for other directors.
///
/// # Errors
///
/// There can be no such thread.
pub async fn gather(case: Case) -> io::Result<Facts> {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(look(&case)))
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

async fn look(case: &Case) -> Facts {
    let model = &case.model;
    let machine = machine::look(case);
    let network = Net::start(Settings::default()).await;
    let (net, _events) = match network {
        Ok(network) => network,
        Err(err) => return blind(case, machine, &err.to_string()),
    };
    let names = crate::engine::interfaces(&net, model).await;
    let names = if model.interfaces.is_empty() {
        names
    } else {
        model.interfaces.clone()
    };
    let refused = case.live.as_ref().map(|live| live.refused.clone());
    let refused = refused.unwrap_or_default();
    let links = net.links();
    let interfaces = names
        .iter()
        .map(|name| interfaces::look(name, &links, model.mode, refused.get(name)))
        .collect();

    let hops = hops(&net, model).await;
    let mut vips = vips(case, &net);
    let routers = routers(case);
    let listened = adverts::how_long(model);
    let (mut heard, reals, paths, adverts) = tokio::join!(
        claims::ask(&net, &vips, &names, &hops),
        probes::ask(&net, model),
        echo::ask(model, &hops),
        adverts::listen(&net, &routers, listened),
    );
    for vip in &mut vips {
        let answers = heard.vips.remove(&vip.addr);
        vip.answers = answers.unwrap_or_else(|| Err("it was not asked for".to_owned()));
    }
    let hosts = hops
        .into_iter()
        .map(|(addr, way)| {
            let echo = paths.get(&addr).cloned().unwrap_or_default();
            let host = Host {
                way: way.map(|hop| of_hop(addr, &hop, &heard.hops)),
                path: echo.path,
                returns: echo.returns,
            };
            (addr, host)
        })
        .collect();
    let default = net.resolve(ELSEWHERE).await.ok();
    Facts {
        machine,
        interfaces,
        default_route: default.map(|hop| hop.interface.to_string()),
        vips,
        hosts,
        reals,
        routers,
        adverts,
        listened,
    }
}

/// What can be said without looking at the network.
fn blind(case: &Case, machine: Machine, why: &str) -> Facts {
    let model = &case.model;
    let names = model.interfaces.iter();
    Facts {
        interfaces: names
            .map(|name| interfaces::unseen(name, model.mode, why))
            .collect(),
        machine,
        default_route: None,
        vips: all_vips(model)
            .map(|addr| Vip {
                addr,
                on: Vec::new(),
                near: Vec::new(),
                duty: Duty::Unknown("none that could be asked".to_owned()),
                answers: Err(why.to_owned()),
            })
            .collect(),
        hosts: BTreeMap::new(),
        reals: probes::unsent(model, why),
        routers: routers(case),
        adverts: Err(why.to_owned()),
        listened: Duration::ZERO,
    }
}

/// The ways to all real servers, once the MACs of their next hops are known or given up.
async fn hops(net: &Net, model: &Model) -> BTreeMap<IpAddr, Result<NextHop, String>> {
    let addresses: BTreeSet<IpAddr> = crate::engine::real_addresses(model);
    let mut found = BTreeMap::new();
    if let Err(err) = net.watch(addresses.iter().copied()).await {
        let lost = |addr| (addr, Err(err.to_string()));
        return addresses.into_iter().map(lost).collect();
    }
    let began = time::now();
    let waits = |addr: &IpAddr| {
        let hop = net.hop(*addr);
        hop.is_some_and(|hop| !hop.is_local() && hop.mac.is_none())
    };
    while addresses.iter().any(waits) && time::now() - began < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for addr in addresses {
        let hop = match net.hop(addr) {
            Some(hop) if hop.reach == Reach::Unknown && !hop.is_local() => Ok(NextHop {
                reach: Reach::Failed,
                ..hop
            }),
            Some(hop) => Ok(hop),
            None => net.resolve(addr).await.map_err(|err| err.to_string()),
        };
        found.insert(addr, hop);
    }
    found
}

/// A way, with what its next hop has just said of itself.
fn of_hop(real: IpAddr, hop: &NextHop, said: &BTreeMap<(u32, IpAddr), BTreeSet<Mac>>) -> Way {
    let neighbour = hop.neighbour(real);
    let neighbour = neighbour.and_then(|addr| said.get(&(hop.ifindex, addr)));
    let macs: Vec<Mac> = neighbour.into_iter().flatten().copied().collect();
    let reach = match neighbour {
        Some(macs) if macs.is_empty() => Reach::Failed,
        Some(_) => Reach::Reachable,
        None => hop.reach,
    };
    let mac = hop.mac.or(macs.first().copied());
    Way {
        others: macs.into_iter().filter(|m| Some(*m) != mac).collect(),
        interface: hop.interface.to_string(),
        via: hop.via,
        source: hop.source,
        mtu: hop.mtu,
        mac,
        reach,
    }
}

/// The virtual addresses of all services, each once.
fn all_vips(model: &Model) -> impl Iterator<Item = IpAddr> {
    let listeners = model.services.iter().flat_map(Service::listeners);
    let all: BTreeSet<IpAddr> = listeners
        .filter(ServiceId::is_host)
        .map(|listener| listener.addr)
        .collect();
    all.into_iter()
}

/// The virtual addresses, and where they are; nobody is asked yet.
fn vips(case: &Case, net: &Net) -> Vec<Vip> {
    let links = net.links();
    let name = |index: u32| {
        let link = links.iter().find(|link| link.ifindex == index);
        link.map(|link| link.name.to_string())
    };
    let addresses = net.addresses();
    let duty = |addr: IpAddr| {
        let mut routers = case.model.vrrp.iter();
        let Some(router) = routers.find(|r| r.all_addresses().any(|a| a.addr == addr)) else {
            return Duty::Always;
        };
        match &case.live {
            Ok(live) => {
                let state = live.states.get(&router.name).copied();
                Duty::Router(router.name.clone(), state.unwrap_or(State::Stopped))
            }
            Err(_) => Duty::Unknown(router.name.clone()),
        }
    };
    all_vips(&case.model)
        .map(|addr| {
            let mut on = Vec::new();
            let mut near = Vec::new();
            for (index, net) in &addresses {
                if net.addr() == addr {
                    on.extend(name(*index));
                } else if net.contains(&addr) {
                    near.extend(name(*index));
                }
            }
            on.dedup();
            near.dedup();
            Vip {
                addr,
                on,
                near,
                duty: duty(addr),
                answers: Ok(Vec::new()),
            }
        })
        .collect()
}

fn routers(case: &Case) -> Vec<Router> {
    let state = |name: &str| case.live.as_ref().ok()?.states.get(name).copied();
    let one = |router: &crate::config::model::VirtualRouter| Router {
        name: router.name.clone(),
        interface: router.interface.clone(),
        vrid: router.vrid,
        version: router.version,
        auth: router.auth,
        signs: router.signing.is_some(),
        addresses: router.addresses.iter().map(|a| a.addr).collect(),
        state: state(&router.name),
    };
    case.model.vrrp.iter().map(one).collect()
}

/// How packets reach the real servers of a configuration: each service with each of its real servers.
fn pairs(model: &Model) -> impl Iterator<Item = (&Service, &crate::config::model::Real, Method)> {
    model.services.iter().flat_map(|service| {
        let method = |real: &crate::config::model::Real| real.method.unwrap_or(service.method);
        service
            .reals
            .iter()
            .map(move |real| (service, real, method(real)))
    })
}
