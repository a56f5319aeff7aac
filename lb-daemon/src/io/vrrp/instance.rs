//! One virtual router as the thread runs it: what it has of the machine, and what stands against its being master.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::defence::Conflict;
use super::netlink::{Path, Place};
use super::types::{Finding, Wanted};
use super::view::View;
use crate::config::model::{
    Gateway, Track, Tracked as What, VirtualAddress, VirtualRoute, VirtualRouter,
};
use crate::core::vrrp::{self, Debounce, Priority, Reject, Seal, Tracked, Weight, standing};

/// A virtual router.
#[derive(Debug)]
pub(super) struct Instance {
    /// Its number in the data plane.
    pub number: u32,
    /// Its number among the state machines.
    pub slot: usize,
    /// What an operator says about it.
    pub config: VirtualRouter,
    /// The state machine was started: all that is tracked is known.
    pub started: bool,
    /// The interface, when it is there.
    pub ifindex: Option<u32>,
    /// The interface that has its virtual MAC, when it has one and it is there.
    pub virtual_link: Option<u32>,
    /// Where it speaks from, when it has an address.
    pub source: Option<IpAddr>,
    /// It has the addresses.
    pub assumed: bool,
    /// Something of what it should have could not be had; to be tried again then.
    pub retry_at: Option<Instant>,
    /// It could not send last time, which was said.
    pub mute: bool,
    /// What it was told last that it is.
    pub told_faulty: bool,
    /// What it has signed, and heeded of what others have signed.
    pub seal: Seal,
    /// Others who claim its addresses.
    pub conflict: Conflict,
    /// Its counters.
    pub counters: Counters,
    /// What other things than interfaces were found to be.
    findings: Vec<Option<Finding>>,
    links: BTreeMap<String, Debounce>,
}

/// What one has done and heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub masterships: u64,
    pub sent: u64,
    pub heard: u64,
    pub rejects: [u64; Reject::ALL.len()],
    pub master_priority: Option<u8>,
}

impl Counters {
    /// Counts what was not heeded.
    pub(super) fn reject(&mut self, reject: Reject) {
        if let Some(count) = self.rejects.get_mut(reject as usize) {
            *count += 1;
        }
    }

    /// The reasons that there were, each with its count.
    pub(super) fn rejected(&self) -> Vec<(Reject, u64)> {
        let all = Reject::ALL.iter().copied().zip(self.rejects);
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// What all that is looked at comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fitness {
    /// The priority with what moves it.
    pub priority: Option<Priority>,
    /// What moves it, in words.
    pub moved_by: Vec<String>,
    /// What stands against its being master.
    pub faults: Vec<String>,
}

impl Instance {
    /// A virtual router that was not started yet.
    pub(super) fn new(wanted: Wanted, slot: usize) -> Self {
        Self {
            number: wanted.number,
            slot,
            findings: vec![None; wanted.router.track.len()],
            config: wanted.router,
            started: false,
            ifindex: None,
            virtual_link: None,
            source: None,
            assumed: false,
            retry_at: None,
            mute: false,
            told_faulty: false,
            seal: Seal::default(),
            conflict: Conflict::default(),
            counters: Counters::default(),
            links: BTreeMap::new(),
        }
    }

    /// Takes over what is said about it now. What was found out about the same things stays known.
    pub(super) fn reconfigure(&mut self, wanted: Wanted) {
        let known = |track: &Track| {
            let before = self.config.track.iter().position(|t| t.what == track.what);
            before.and_then(|n| self.findings.get(n).copied().flatten())
        };
        self.findings = wanted.router.track.iter().map(known).collect();
        if self.config.debounce != wanted.router.debounce {
            self.links.clear();
        }
        self.number = wanted.number;
        self.config = wanted.router;
    }

    /// What the so manieth thing that it tracks was found to be; whether that is news.
    pub(super) fn found(&mut self, track: usize, finding: Finding) -> bool {
        match self.findings.get_mut(track) {
            Some(known) if *known != Some(finding) => {
                *known = Some(finding);
                true
            }
            _ => false,
        }
    }

    /// Looks at its interfaces; whether anything it goes by has changed.
    pub(super) fn look_at_links(&mut self, view: &View, now: Instant) {
        let delays = self.config.debounce;
        let tracked = self.config.track.iter().filter_map(|t| match &t.what {
            What::Interface(name) => Some(name),
            _ => None,
        });
        for name in tracked.chain([&self.config.interface]) {
            let up = view.link(name).is_some_and(|link| link.up);
            self.links
                .entry(name.clone())
                .or_insert_with(|| Debounce::new(up, delays.up, delays.down))
                .see(now, up);
        }
    }

    /// Believes what has lasted for long enough.
    pub(super) fn wait_for_links(&mut self, now: Instant) -> bool {
        // Each is looked at, also after one has changed.
        let mut any = false;
        for link in self.links.values_mut() {
            any |= link.wait(now);
        }
        any
    }

    /// When it has to be looked at again.
    pub(super) fn due(&self) -> Option<Instant> {
        let links = self.links.values().filter_map(Debounce::due);
        let others = [self.retry_at, self.conflict.due()];
        links.chain(others.into_iter().flatten()).min()
    }

    fn is_up(&self, interface: &str) -> bool {
        self.links.get(interface).is_some_and(Debounce::up)
    }

    /// What is not known yet of what it tracks.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &Track> {
        let tracks = self.config.track.iter().zip(&self.findings);
        tracks
            .filter(|(track, finding)| {
                finding.is_none() && !matches!(track.what, What::Interface(_))
            })
            .map(|(track, _)| track)
    }

    /// What all that is looked at comes to.
    pub(super) fn fitness(&self) -> Fitness {
        let mut fitness = Fitness::default();
        let interface = &self.config.interface;
        if self.ifindex.is_none() {
            fitness
                .faults
                .push(format!("there is no interface {interface}"));
        } else if !self.is_up(interface) {
            fitness
                .faults
                .push(format!("interface {interface} is down"));
        } else if self.source.is_none() {
            let family = if self.config.is_v6() {
                "link-local IPv6"
            } else {
                "IPv4"
            };
            let what = self.config.source.map_or_else(
                || format!("interface {interface} has no {family} address of its own"),
                |source| format!("interface {interface} does not have the source {source}"),
            );
            fitness.faults.push(what);
        } else if let Some(name) = self.config.virtual_mac.as_ref()
            && self.virtual_link.is_none()
        {
            fitness
                .faults
                .push(format!("there is no interface {name} with its virtual MAC"));
        }
        let mut all = Vec::new();
        for (track, finding) in self.config.track.iter().zip(&self.findings) {
            let finding = match &track.what {
                What::Interface(name) => Some(Finding::Up(self.is_up(name))),
                _ => *finding,
            };
            let Some(tracked) = finding.map(|finding| tracked(track, finding)) else {
                continue;
            };
            all.push(tracked);
            match (tracked.weight, tracked.up) {
                (Weight::Fault, false) => fitness.faults.push(format!("{} is down", name(track))),
                (Weight::Shift(by), up) if (by > 0) == up && by != 0 => {
                    let is = if up { "up" } else { "down" };
                    fitness
                        .moved_by
                        .push(format!("{} is {is}: {by:+}", name(track)));
                }
                _ => {}
            }
        }
        let sum = standing(all);
        fitness.priority = Some(self.config.priority.shifted(sum.shift));
        fitness
    }

    /// Where its addresses go, as far as their interfaces are there.
    pub(super) fn places<'s>(&'s self, view: &'s View) -> impl Iterator<Item = Place> + 's {
        self.config
            .all_addresses()
            .filter_map(|address| self.place(address, view))
    }

    fn place(&self, address: &VirtualAddress, view: &View) -> Option<Place> {
        let at_virtual_mac = self.is_at_virtual_mac(address);
        let ifindex = match &address.interface {
            Some(name) => view.link(name)?.ifindex,
            None if at_virtual_mac => self.virtual_link?,
            None => self.ifindex?,
        };
        Some(Place {
            ifindex,
            addr: address.addr,
            prefix: address.prefix,
            label: address.label.clone(),
            scope: address.scope,
            without_route: at_virtual_mac,
        })
    }

    /// Whether an address is on the interface with the virtual MAC.
    fn is_at_virtual_mac(&self, address: &VirtualAddress) -> bool {
        self.config.virtual_mac.is_some() && address.interface.is_none()
    }

    /// The networks of addresses at the virtual MAC: the kernel shall go there by the interface below, as it does where
    /// that has an address of the same network.
    fn networks<'s>(&'s self, view: &'s View) -> impl Iterator<Item = Path> + 's {
        let all = self.config.all_addresses();
        let own = all.filter(|address| self.is_at_virtual_mac(address));
        own.filter_map(|address| {
            let ifindex = self.ifindex?;
            let to = IpNet::new(address.addr, address.prefix).ok()?.trunc();
            let is_host = to.prefix_len() == to.max_prefix_len();
            if is_host || view.is_on(ifindex, to) {
                return None;
            }
            let route = VirtualRoute {
                to,
                via: None,
                interface: None,
                source: None,
                metric: None,
                table: None,
            };
            Some(Path {
                ifindex: Some(ifindex),
                route,
            })
        })
    }

    /// Its routes, as far as their interfaces are there.
    pub(super) fn paths<'s>(&'s self, view: &'s View) -> impl Iterator<Item = Path> + 's {
        let said = self.config.routes.iter().filter_map(|route| {
            let name = match (&route.interface, route.via) {
                (Some(name), _) => Some(name),
                (None, None) => Some(&self.config.interface),
                // The kernel finds the interface that leads to the router, but for link-local ones.
                (None, Some(IpAddr::V6(via))) if via.is_unicast_link_local() => {
                    Some(&self.config.interface)
                }
                (None, Some(_)) => None,
            };
            let ifindex = match name {
                Some(name) => Some(view.link(name)?.ifindex),
                None => None,
            };
            Some(Path {
                ifindex,
                route: route.clone(),
            })
        });
        self.networks(view).chain(said)
    }

    /// Whether the other can go on from where this is: it speaks to the same about the same.
    pub(super) fn is_same_router(&self, other: &VirtualRouter) -> bool {
        let identity = |r: &VirtualRouter| {
            (
                r.interface.clone(),
                r.vrid,
                r.version,
                r.is_v6(),
                r.auth,
                r.peers.clone(),
                r.source,
                r.group.clone(),
                r.priority.is_owner(),
                r.virtual_mac.clone(),
            )
        };
        identity(&self.config) == identity(other)
    }
}

/// What a finding means for the priority.
fn tracked(track: &Track, finding: Finding) -> Tracked {
    let weight = track.weight.map(i32::from);
    match (finding, weight) {
        (Finding::Up(up), None) => Tracked {
            weight: Weight::Fault,
            up,
        },
        (Finding::Up(up), Some(by)) => Tracked {
            weight: Weight::Shift(by),
            up,
        },
        (Finding::Number(n), None) => Tracked {
            weight: Weight::Fault,
            up: n <= 0,
        },
        (Finding::Number(n), Some(by)) => {
            let by = n.saturating_mul(by);
            // It counts, whichever way it moves.
            Tracked {
                weight: Weight::Shift(by),
                up: by > 0,
            }
        }
    }
}

/// Something tracked, in words.
pub(super) fn name(track: &Track) -> String {
    match &track.what {
        What::Interface(name) => format!("interface {name}"),
        What::Script(script) => format!("script {}", script.command.join(" ")),
        What::Process(name) => format!("process {name}"),
        What::File(path) => format!("file {}", path.display()),
        What::Service(name) => format!("service {name}"),
        What::Gateway(Gateway::Default) => "the default gateway".to_owned(),
        What::Gateway(Gateway::Address(addr)) => format!("gateway {addr}"),
    }
}

/// The number of the priority that a claim has.
pub(super) fn claimed(claim: vrrp::Claim) -> u8 {
    match claim {
        vrrp::Claim::Priority(priority) => priority.get(),
        vrrp::Claim::Resigns => 0,
    }
}
