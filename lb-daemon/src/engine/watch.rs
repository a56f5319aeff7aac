//! What the engine makes of the network's events, and what the operator should know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tracing::{info, warn};

use super::Engine;
use crate::config::model::VirtualRouter;
use crate::core::hop::{NextHop, Reach};
use crate::io::net::NetEvent;

/// Conditions that last until somebody does something about them.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarms {
    active: BTreeMap<String, String>,
}

impl Alarms {
    /// With what was found at the start.
    pub(super) fn new(warnings: Vec<String>) -> Self {
        let active = warnings
            .into_iter()
            .enumerate()
            .map(|(n, text)| (format!("start {n}"), text))
            .collect();
        Self { active }
    }

    pub(super) fn set(&mut self, key: &str, text: String) {
        self.active.insert(key.to_owned(), text);
    }

    pub(super) fn clear(&mut self, key: &str) {
        self.active.remove(key);
    }

    /// Forgets what was found at the start: the configuration is another one now.
    pub(super) fn clear_start(&mut self) {
        self.active.retain(|key, _| !key.starts_with("start "));
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.active.contains_key(key)
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.active.values().map(String::as_str)
    }
}

impl Engine {
    /// Follows a change of the network.
    pub(super) async fn on_network(&mut self, event: NetEvent) {
        match event {
            NetEvent::HopChanged { real, hop } => {
                tell_hop(real, hop.as_ref());
                self.follow_hop(real);
                self.roles.follow_gateway(&self.model, real, hop.as_ref());
            }
            NetEvent::AddressConflict {
                address,
                interface,
                kept,
                claimed,
            } => {
                let text =
                    format!("{claimed} on {interface} also claims {address}, which {kept} has");
                warn!("{text}");
                self.alarms.set(&format!("conflict {address}"), text);
            }
            NetEvent::LinkAdded(link) => {
                info!("interface {} has appeared", link.name);
                self.settle_interfaces().await;
            }
            NetEvent::LinkUp(link) => {
                info!("interface {} is up", link.name);
                self.settle_interfaces().await;
            }
            // Of a virtual address the interface is known already.
            NetEvent::AddressAdded { address, .. } if self.is_virtual(address.addr()) => {}
            NetEvent::AddressAdded { .. } => {
                self.settle_interfaces().await;
            }
            NetEvent::LinkRemoved(link) => {
                warn!("interface {} is gone", link.name);
                self.take_own_frames_again();
            }
            NetEvent::LinkDown(link) => {
                warn!("interface {} is down", link.name);
                self.take_own_frames_again();
            }
            NetEvent::LinkChanged(_) => self.take_own_frames_again(),
            NetEvent::AddressRemoved { .. } => {}
        }
    }

    /// Whether an address is of a virtual router.
    fn is_virtual(&self, addr: IpAddr) -> bool {
        let mut all = self
            .model
            .vrrp
            .iter()
            .flat_map(VirtualRouter::all_addresses);
        all.any(|a| a.addr == addr)
    }

    /// Runs the program wherever it should run now, and says whether it does. Interfaces come and go; this is no change of the
    /// configuration.
    pub(super) async fn settle_interfaces(&mut self) -> bool {
        if self.plane.is_none() {
            return false;
        }
        // An interface of the same name may be another one now.
        self.attached = None;
        let model = self.model.clone();
        match self.put(&model).await {
            Ok(()) => {
                self.alarms.clear("interfaces");
                true
            }
            Err(problem) => {
                let text = format!(
                    "{problem}: {}",
                    problem.why.as_deref().unwrap_or("no reason is known")
                );
                // It is tried over and over.
                if self.alarms.texts().all(|known| known != text) {
                    warn!("{text}");
                }
                self.alarms.set("interfaces", text);
                false
            }
        }
    }
}

fn tell_hop(real: IpAddr, hop: Option<&NextHop>) {
    let Some(hop) = hop else {
        warn!("there is no route to real server {real}");
        return;
    };
    let on = &hop.interface;
    match (hop.reach, hop.mac) {
        (Reach::Reachable, Some(mac)) => info!("real server {real}: next hop {mac} on {on}"),
        (Reach::Reachable, None) => info!("real server {real}: reached over {on}"),
        (Reach::Unknown, _) => info!("real server {real}: the next hop on {on} is not known yet"),
        (Reach::Failed, _) => warn!("real server {real}: the next hop on {on} does not answer"),
    }
}
