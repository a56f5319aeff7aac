//! How is what is desired made visible, without any packet seeing a mix of old and new?
//!
//! First everything is written aside ([`stage`](super::stage)). Then each service changes by one store to `CURRENT` (a
//! new one, by the insertion of its key), and at last what nobody wants any more is taken out of sight. What
//! the old generations take up is given back after a grace period ([`reap`](super::reap)). A daemon that
//! is killed on the way leaves every service either as it was or as desired.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{Real, real, setting};

use super::error::{ApplyError, MapError};
use super::maps::RealWord;
use super::options::Hop;
use super::report::Applied;
use super::stage::Staged;
use super::state::{Phase, State, Written};
use super::target::{Target, targets};
use crate::core::desired::{ConnReuse, Desired, Forwarding, ServiceId};
use crate::core::schedule::Course;

impl State {
    /// Makes the maps equal to what is desired; touches only what differs.
    pub(super) fn apply(
        &mut self,
        desired: &Desired,
        hop: &dyn Fn(IpAddr) -> Hop,
    ) -> Result<Applied, ApplyError> {
        let targets = targets(desired)?;
        let forwarding = desired.forwarding;
        let before = self.maps.writes();
        let staged = match self.stage(&targets, hop) {
            // What was replaced a moment ago may still take up room.
            Err(ApplyError::NoRoom { .. }) if !self.retired.is_empty() => {
                self.grace.wait();
                self.reap_generations();
                self.stage(&targets, hop)?
            }
            other => other?,
        };
        let mut applied = Applied::default();
        self.forward_by(&forwarding)?;
        self.switch(&targets, staged, &mut applied)?;
        self.close_ports(&targets, forwarding.vip_default)?;
        if forwarding.expire_nodest_conn {
            self.cut_all(|_| true)?;
        }
        applied.writes = self.maps.writes() - before;
        Ok(applied)
    }

    fn switch(
        &mut self,
        targets: &[Target],
        staged: Staged,
        applied: &mut Applied,
    ) -> Result<(), MapError> {
        let mut touched: HashSet<u32> = HashSet::new();
        for (slot, record) in &staged.changes {
            touched.insert(record.service);
            self.switch_real(*slot, record)?;
        }
        let mut replaced: Vec<Written> = Vec::new();
        for (service, written, course) in staged.generations {
            touched.insert(service);
            self.maps.set_current(service, written.index)?;
            if let Some(known) = self.services.get_mut(&service) {
                known.course = course;
                replaced.extend(known.written.replace(written));
            }
        }
        for (target, (service, _)) in targets.iter().zip(&staged.placed) {
            if self.switch_keys(*service, target)? {
                touched.insert(*service);
            }
        }
        let wanted: HashSet<u32> = staged.placed.iter().map(|(service, _)| *service).collect();
        replaced.extend(self.remove_services(&wanted, applied)?);
        self.remove_reals(
            &staged
                .placed
                .iter()
                .flat_map(|(_, slots)| slots.iter().copied())
                .collect(),
            &mut touched,
        )?;
        // Of services that have their keys now, and may have several.
        self.sync_nat_keys()?;
        self.retire(replaced);

        let made: HashSet<u32> = staged.services.into_iter().collect();
        for (target, (service, _)) in targets.iter().zip(&staged.placed) {
            if made.contains(service) {
                applied.added.push(target.id);
            } else if touched.contains(service) {
                applied.changed.push(target.id);
            }
        }
        Ok(())
    }

    /// Changes a real server's flags, thresholds and profile.
    fn switch_real(&mut self, slot: u32, record: &Real) -> Result<(), MapError> {
        for word in [RealWord::Thresholds, RealWord::Egress, RealWord::Identity] {
            self.maps.set_real_word(slot, word, record)?;
        }
        let Some(server) = self.reals.get_mut(&slot) else {
            return Ok(());
        };
        // As IPVS: a higher threshold, or none, is no longer reached until a connection more shows it.
        let relieved = record.upper != server.record.upper
            && (record.upper == 0 || record.upper > server.record.upper);
        server.record = *record;
        server.phase = Phase::Live;
        self.leaving.remove(&slot);
        if relieved {
            self.maps.clear_overload(slot)?;
        }
        Ok(())
    }

    /// Gives a service exactly the virtual addresses and ports of its target; whether they were others.
    fn switch_keys(&mut self, service: u32, target: &Target) -> Result<bool, MapError> {
        let Some(known) = self.services.get_mut(&service) else {
            return Ok(false);
        };
        let has = std::mem::take(&mut known.keys);
        let mut changed = false;
        for key in target.keys.iter().filter(|key| !has.contains(key)) {
            changed = true;
            self.maps.put_service_key(*key, service)?;
        }
        for key in has.iter().filter(|key| !target.keys.contains(key)) {
            changed = true;
            self.maps.drop_service_key(*key)?;
        }
        known.keys.clone_from(&target.keys);
        Ok(changed)
    }

    /// Takes the keys of all services that are not wanted; their generations are out of sight then.
    fn remove_services(
        &mut self,
        wanted: &HashSet<u32>,
        applied: &mut Applied,
    ) -> Result<Vec<Written>, MapError> {
        let mut replaced = Vec::new();
        for (_, service) in self
            .services
            .iter_mut()
            .filter(|(index, s)| !wanted.contains(index) && !s.is_removed())
        {
            for key in &service.keys {
                self.maps.drop_service_key(*key)?;
            }
            service.keys.clear();
            service.course = Course::default();
            replaced.extend(service.written.take());
            applied.removed.push(service.key);
        }
        Ok(replaced)
    }

    /// Lets every real server drain that is not wanted.
    fn remove_reals(
        &mut self,
        wanted: &HashSet<u32>,
        touched: &mut HashSet<u32>,
    ) -> Result<(), MapError> {
        let unwanted = self
            .reals
            .iter_mut()
            .filter(|(slot, r)| r.is_live() && !wanted.contains(slot));
        for (slot, server) in unwanted {
            server.record.flags = real::USED | real::REMOVED;
            self.maps
                .set_real_word(*slot, RealWord::Identity, &server.record)?;
            server.phase = Phase::Draining;
            self.leaving.insert(*slot);
            touched.insert(server.record.service);
        }
        Ok(())
    }

    /// Marks what is left of a removed real server as cut. Whether there is such a real server.
    pub(super) fn cut(&mut self, service: ServiceId, real: SocketAddr) -> Result<bool, MapError> {
        let slots = self.removed(service, real);
        self.cut_all(|slot| slots.contains(&slot))?;
        Ok(!slots.is_empty())
    }

    /// Marks removed real servers as cut: the program serves their connections no more.
    fn cut_all(&mut self, which: impl Fn(u32) -> bool) -> Result<(), MapError> {
        for &slot in self.leaving.iter().filter(|slot| which(**slot)) {
            if let Some(server) = self.reals.get_mut(&slot)
                && !server.is_cut()
            {
                server.record.flags = real::REMOVED;
                self.maps
                    .set_real_word(slot, RealWord::Identity, &server.record)?;
                self.cut.push(slot);
            }
        }
        Ok(())
    }

    /// Sets what holds for the packets of all services.
    fn forward_by(&mut self, forwarding: &Forwarding) -> Result<(), MapError> {
        let mut settings = self.maps.settings()?;
        for (is_set, flag) in [
            (forwarding.sloppy_tcp, setting::SLOPPY_TCP),
            (forwarding.conn_reuse == ConnReuse::Never, setting::NO_REUSE),
            (
                forwarding.conn_reuse == ConnReuse::FinWait,
                setting::REUSE_FIN_WAIT,
            ),
        ] {
            settings.flags &= !flag;
            if is_set {
                settings.flags |= flag;
            }
        }
        settings.icmp_per_second = forwarding.icmp_per_second;
        self.maps.set_settings(&settings)
    }

    fn retire(&mut self, replaced: Vec<Written>) {
        if !replaced.is_empty() {
            let ticket = self.grace.begin();
            self.retired
                .extend(replaced.into_iter().map(|written| (ticket, written)));
        }
    }
}
