//! What a configuration has to fit, looked up before it is checked: checking waits for nothing.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use super::network::Network;
use crate::config::model::{Service, VirtualAddress};
use crate::config::{Environment, Model};
use crate::core::hop::{Link, Via};

/// This machine at one moment.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    interfaces: Vec<String>,
    via: HashMap<IpAddr, Via>,
}

impl Machine {
    /// Looks up what these configurations speak of.
    pub async fn look(network: &dyn Network, models: &[&Model]) -> Self {
        let mut via = HashMap::new();
        for addr in models
            .iter()
            .flat_map(|model| reals(model))
            .collect::<BTreeSet<_>>()
        {
            if let Ok(hop) = network.resolve(addr).await {
                via.insert(addr, hop.via);
            }
        }
        let interfaces = network
            .links()
            .iter()
            .map(|link| link.name.to_string())
            .collect();
        Self { interfaces, via }
    }
}

impl Environment for Machine {
    fn interfaces(&self) -> Option<Vec<String>> {
        Some(self.interfaces.clone())
    }

    fn via(&self, addr: IpAddr) -> Option<Via> {
        self.via.get(&addr).copied()
    }
}

/// The addresses of all real servers and sorry servers.
pub(crate) fn reals(model: &Model) -> BTreeSet<IpAddr> {
    let sorry = |service: &Service| service.health.rules.sorry.map(|sorry| sorry.id.ip());
    let of = |service: &Service| {
        let reals: Vec<IpAddr> = service.reals.iter().map(|real| real.addr).collect();
        reals.into_iter().chain(sorry(service))
    };
    model.services.iter().flat_map(of).collect()
}

/// The interfaces on which the program shall run: those that the configuration names and that are there; without
/// names those that lead to the real servers, have or lead to a VIP, or lead to the default router.
pub async fn interfaces(network: &dyn Network, model: &Model) -> Vec<String> {
    let links = network.links();
    if !model.interfaces.is_empty() {
        let there = |name: &&String| links.iter().any(|link| *link.name == ***name);
        return model.interfaces.iter().filter(there).cloned().collect();
    }
    let mut wanted = BTreeSet::new();
    let vips = || {
        model
            .services
            .iter()
            .flat_map(Service::listeners)
            .map(|listener| listener.addr)
    };
    for addr in reals(model).into_iter().chain(vips()).chain([ELSEWHERE]) {
        if let Ok(hop) = network.resolve(addr).await {
            wanted.insert(hop.ifindex);
        }
    }
    // The way to an address of our own leads over `lo`; the packets for it come in where the address is.
    wanted.extend(
        network
            .addresses()
            .iter()
            .filter(|(_, net)| vips().any(|vip| net.contains(&vip)))
            .map(|(index, _)| *index),
    );
    // Virtual addresses come and go; where they would be is known before.
    let virtual_ones = model.vrrp.iter().flat_map(|router| {
        let own = |a: &VirtualAddress| a.interface.clone();
        router
            .all_addresses()
            .filter(|a| vips().any(|vip| vip == a.addr))
            .map(move |a| own(a).unwrap_or_else(|| router.interface.clone()))
    });
    let names: BTreeSet<String> = virtual_ones.collect();
    let of_routers = links.iter().filter(|link| names.contains(&*link.name));
    wanted.extend(of_routers.map(|link| link.ifindex));
    // Loopback and tunnels have no MAC, and no frames for XDP to look at.
    let carries = |link: &&Link| wanted.contains(&link.ifindex) && link.mac.is_some();
    links
        .iter()
        .filter(carries)
        .map(|link| link.name.to_string())
        .collect()
}

/// An address that is on nobody's network (it is reserved for ever): the way to it is the default route.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(240, 0, 0, 1));
