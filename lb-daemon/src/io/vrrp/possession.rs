//! Having addresses and routes: taking them, giving them up, and putting back what somebody took away.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::instance::Instance;
use super::netlink::{Path, Place};
use super::run::Thread;
use super::types::Notice;
use super::view::View;
use crate::io::clock;

/// After so long what could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a master has.
pub(super) struct Belongings {
    places: Vec<Place>,
    paths: Vec<Path>,
}

impl Instance {
    /// What it has as a master, to compare with what it shall have next.
    pub(super) fn clone_of_what_it_has(&self, view: &View) -> Belongings {
        Belongings {
            places: self.places(view).collect(),
            paths: self.paths(view).collect(),
        }
    }
}

impl Thread {
    /// Takes all addresses and routes. What cannot be had is tried again.
    pub(super) fn take_possession(&mut self, name: &str) {
        let Some(instance) = self.instances.get(name).filter(|i| i.assumed) else {
            return;
        };
        let Belongings { places, paths } = instance.clone_of_what_it_has(&self.view);
        let missing = instance.config.all_addresses().count() - places.len();
        let (virtual_link, mut failures) = (instance.virtual_link, Vec::new());
        if let Some(Err(err)) = virtual_link.map(|link| self.requests.switch(link, true)) {
            failures.push(format!("cannot switch on its virtual MAC: {err}"));
        }
        for place in &places {
            if let Err(err) = self.requests.add_address(place) {
                failures.push(format!("cannot have the address {}: {err}", place.addr));
            }
        }
        for path in &paths {
            if let Err(err) = self.requests.add_route(path) {
                failures.push(format!("cannot have the route to {}: {err}", path.route.to));
            }
        }
        if missing > 0 {
            failures.push(format!(
                "{missing} of its addresses are for interfaces that are not there"
            ));
        }
        let first_time = self
            .instances
            .get(name)
            .is_some_and(|i| i.retry_at.is_none());
        if let Some(instance) = self.instances.get_mut(name) {
            instance.retry_at = (!failures.is_empty()).then(|| clock::now() + AGAIN);
        }
        if first_time {
            for failure in failures {
                self.notice(name, Notice::Failed(failure));
            }
        }
    }

    /// Gives up all addresses and routes, whether it has them or not.
    pub(super) fn give_up_possession(&mut self, name: &str) {
        let Some(instance) = self.instances.get(name) else {
            return;
        };
        let all = instance.clone_of_what_it_has(&self.view);
        let virtual_link = instance.virtual_link;
        self.drop_all(name, &all.places, &all.paths);
        if let Some(Err(err)) = virtual_link.map(|link| self.requests.switch(link, false)) {
            let what = format!("cannot switch off its virtual MAC: {err}");
            self.notice(name, Notice::Failed(what));
        }
    }

    /// A master has other addresses and routes than before.
    pub(super) fn exchange(&mut self, name: &str, before: &Belongings) {
        let Some(instance) = self.instances.get(name) else {
            return;
        };
        let after = instance.clone_of_what_it_has(&self.view);
        let repeat = instance.config.announcements.repeat;
        let gone = before.places.iter().filter(|p| !after.places.contains(p));
        let gone: Vec<Place> = gone.cloned().collect();
        let unused = before.paths.iter().filter(|p| !after.paths.contains(p));
        let unused: Vec<Path> = unused.cloned().collect();
        self.drop_all(name, &gone, &unused);
        self.take_possession(name);
        for place in after.places.iter().filter(|p| !before.places.contains(p)) {
            self.announce_one(place.ifindex, place.addr, repeat);
        }
    }

    fn drop_all(&mut self, name: &str, places: &[Place], paths: &[Path]) {
        let mut failures = Vec::new();
        // Masters of addresses in one network share its route.
        let others = self.instances.iter().filter(|(other, _)| *other != name);
        let needed: Vec<Path> = others
            .filter(|(_, instance)| instance.assumed)
            .flat_map(|(_, instance)| instance.paths(&self.view))
            .collect();
        for path in paths.iter().filter(|path| !needed.contains(path)) {
            if let Err(err) = self.requests.remove_route(path) {
                failures.push(format!(
                    "cannot remove the route to {}: {err}",
                    path.route.to
                ));
            }
        }
        for place in places {
            if let Err(err) = self.requests.remove_address(place) {
                failures.push(format!("cannot remove the address {}: {err}", place.addr));
            }
        }
        for failure in failures {
            self.notice(name, Notice::Failed(failure));
        }
    }

    /// An address has gone from an interface: if a master should have it there, it gets it back at once.
    pub(super) fn put_back(&mut self, ifindex: u32, addr: IpAddr) {
        let Some((name, place)) = self.instances.iter().find_map(|(name, instance)| {
            let lost = |place: &Place| (place.ifindex, place.addr) == (ifindex, addr);
            let mut places = instance.places(&self.view).filter(|_| instance.assumed);
            Some((name.clone(), places.find(lost)?))
        }) else {
            return;
        };
        // Of several events the last one counts: it may be there again.
        if self.view.has(ifindex, addr) || !self.view.link_at(ifindex).is_some_and(|l| l.up) {
            return;
        }
        match self.requests.add_address(&place) {
            Ok(()) => {
                self.announce_one(ifindex, addr, 1);
                self.notice(&name, Notice::AddressPutBack(addr));
                // The kernel has removed the routes that came from it.
                self.take_possession(&name);
            }
            Err(err) => {
                let what = format!("cannot put back the address {addr}: {err}");
                self.notice(&name, Notice::Failed(what));
                if let Some(instance) = self.instances.get_mut(&name) {
                    instance.retry_at = Some(clock::now() + AGAIN);
                }
            }
        }
    }

    /// Events were lost: looks for addresses that have gone meanwhile.
    pub(super) fn look_for_lost(&mut self) {
        let lost: BTreeSet<(u32, IpAddr)> = self
            .instances
            .values()
            .filter(|i| i.assumed)
            .flat_map(|i| i.places(&self.view))
            .map(|place| (place.ifindex, place.addr))
            .filter(|(ifindex, addr)| !self.view.has(*ifindex, *addr))
            .collect();
        for (ifindex, addr) in lost {
            self.put_back(ifindex, addr);
        }
    }
}
