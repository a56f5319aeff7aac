//! What is written aside, before a change becomes visible?
//!
//! New services' records, new real servers, generations with their members and schedules, timeout profiles; and what
//! only ever lets more packets in: keys of NAT real servers and bits of the filter. Nothing that a packet
//! can reach is changed, so a change that is refused, or a daemon that is killed, leaves no trace.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{Generation, Method, Plan, Real, map, real};
use lb_common::net::Be16;

use super::alloc::Block;
use super::error::ApplyError;
use super::family::set_address;
use super::ledger;
use super::options::Hop;
use super::state::{Phase, RealServer, Service, State, Written};
use super::target::{Target, TargetReal};
use crate::core::desired::ServiceId;
use crate::core::schedule::{Course, Entry, Layout};

/// What is ready to be made visible.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Services that were made, and wait for their keys.
    pub services: Vec<u32>,
    /// Real servers that were made, and wait for a generation that names them.
    pub reals: Vec<u32>,
    /// Real servers that change, or come back from being drained.
    pub changes: Vec<(u32, Real)>,
    /// Services that get another generation, with the course that it belongs to.
    pub generations: Vec<(u32, Written, Course)>,
    /// Every target's service index and real servers' slots.
    pub placed: Vec<(u32, Vec<u32>)>,
}

/// What the maps have, by what tells it apart.
struct Index {
    services: HashMap<ServiceId, u32>,
    reals: HashMap<(u32, SocketAddr, Method), u32>,
}

impl Index {
    fn of(state: &State) -> Self {
        let reals = state.reals.iter();
        Self {
            services: state
                .services
                .iter()
                .map(|(index, s)| (s.key, *index))
                .collect(),
            // One that was cut does not come back: its connections would.
            reals: reals
                .filter(|(_, r)| !r.is_cut())
                .map(|(slot, r)| ((r.record.service, r.addr(), r.method), *slot))
                .collect(),
        }
    }
}

impl State {
    /// Writes everything aside that the targets need and the maps do not have. On failure all of it is given back.
    pub(super) fn stage(
        &mut self,
        targets: &[Target],
        hop: &dyn Fn(IpAddr) -> Hop,
    ) -> Result<Staged, ApplyError> {
        let index = Index::of(self);
        let mut staged = Staged::default();
        let result = targets
            .iter()
            .try_for_each(|target| self.stage_service(target, &index, hop, &mut staged))
            .and_then(|()| Ok(self.let_in(targets)?));
        match result {
            Ok(()) => Ok(staged),
            Err(e) => {
                self.unstage(staged);
                Err(e)
            }
        }
    }

    fn stage_service(
        &mut self,
        target: &Target,
        index: &Index,
        hop: &dyn Fn(IpAddr) -> Hop,
        staged: &mut Staged,
    ) -> Result<(), ApplyError> {
        let service = match index.services.get(&target.key) {
            Some(service) => *service,
            None => self.make_service(target, staged)?,
        };
        let profile = self.profile(target)?;
        let mut slots = Vec::with_capacity(target.reals.len());
        for wanted in &target.reals {
            let slot = match index.reals.get(&(service, wanted.addr, wanted.method)) {
                Some(slot) => self.change_real(*slot, wanted, profile, staged),
                None => self.make_real(
                    service,
                    target,
                    wanted,
                    profile,
                    hop(wanted.addr.ip()),
                    staged,
                )?,
            };
            slots.push(slot);
        }
        let entries = entries(target, &slots);
        let plan = Plan {
            scheduler: target.scheduler as u8,
            profile,
            flags: target.flags,
            persistence: target.persistence,
            mask: target.mask,
            router: target.router,
            service,
            ..Plan::default()
        };
        staged.placed.push((service, slots));
        let Some(known) = self.services.get(&service) else {
            return Ok(());
        };
        if known
            .written
            .as_ref()
            .is_some_and(|w| is_same(w, &plan, &entries))
            && known.course.mh_table == target.mh_table
        {
            return Ok(());
        }
        let turn = match &known.written {
            Some(written) => self.maps.generation(written.index)?.turn,
            None => 0,
        };
        let mut course = known.course.clone();
        course.mh_table = target.mh_table;
        let layout = course.next(target.scheduler, entries.clone(), turn);
        let written = self.write_generation(target, plan, entries, &layout)?;
        staged.generations.push((service, written, course));
        Ok(())
    }

    fn make_service(&mut self, target: &Target, staged: &mut Staged) -> Result<u32, ApplyError> {
        let max = self.room.services.len();
        let service = self
            .room
            .services
            .take()
            .ok_or(ApplyError::TooManyServices {
                service: target.id,
                max,
            })?;
        staged.services.push(service);
        self.services.insert(service, Service::new(target.key));
        ledger::open(&mut self.maps, service, target.key)?;
        Ok(service)
    }

    fn make_real(
        &mut self,
        service: u32,
        target: &Target,
        wanted: &TargetReal,
        profile: u8,
        hop: Hop,
        staged: &mut Staged,
    ) -> Result<u32, ApplyError> {
        let mut record = Real {
            port: Be16::from_host(wanted.addr.port()),
            flags: flags(wanted),
            service,
            profile: profile.into(),
            upper: wanted.upper,
            lower: wanted.lower,
            proto: target.key.proto as u8,
            ..Real::default()
        };
        set_address(&mut record, wanted.addr.ip());
        self.point(&mut record, wanted.method, hop)?;
        let slot = self
            .room
            .reals
            .take()
            .ok_or_else(|| ApplyError::TooManyReals {
                service: target.id,
                real: wanted.addr,
                max: self.room.reals.len(),
                draining: self.draining(),
            })?;
        staged.reals.push(slot);
        self.reals.insert(
            slot,
            RealServer {
                record,
                method: wanted.method,
                phase: Phase::Live,
                inherited_hop: false,
            },
        );
        self.maps.set_real(slot, &record)?;
        Ok(slot)
    }

    fn change_real(&self, slot: u32, wanted: &TargetReal, profile: u8, staged: &mut Staged) -> u32 {
        if let Some(server) = self.reals.get(&slot) {
            let record = Real {
                flags: flags(wanted),
                profile: profile.into(),
                upper: wanted.upper,
                lower: wanted.lower,
                ..server.record
            };
            if record != server.record || !server.is_live() {
                staged.changes.push((slot, record));
            }
        }
        slot
    }

    /// The profile with the target's timeouts; equal ones are shared.
    fn profile(&mut self, target: &Target) -> Result<u8, ApplyError> {
        let holds = |p: &Option<_>| p.as_ref() == Some(&target.timeouts);
        if let Some(profile) = self.profiles.iter().position(holds) {
            return Ok(profile as u8);
        }
        let free = self.profiles.iter().position(Option::is_none);
        let profile = free.ok_or(ApplyError::TooManyProfiles {
            service: target.id,
            max: self.profiles.len(),
        })?;
        self.maps.set_timeouts(profile as u8, &target.timeouts)?;
        if let Some(slot) = self.profiles.get_mut(profile) {
            *slot = Some(target.timeouts);
        }
        Ok(profile as u8)
    }

    fn write_generation(
        &mut self,
        target: &Target,
        plan: Plan,
        entries: Vec<Entry>,
        layout: &Layout,
    ) -> Result<Written, ApplyError> {
        let no_room = |map, needed| ApplyError::NoRoom {
            service: target.id,
            map,
            needed,
        };
        let index = self
            .room
            .generations
            .take()
            .ok_or_else(|| no_room(map::GENERATIONS, 1))?;
        let mut written = Written {
            index,
            entries,
            ..Written::default()
        };
        let result = self
            .take_blocks(&mut written, layout, no_room)
            .and_then(|()| {
                written.plan = Plan {
                    members_len: layout.members.len() as u32,
                    eligible_len: layout.eligible,
                    members_off: written.members.start,
                    slots_off: written.schedule.start,
                    slots_len: written.schedule.len,
                    fallback_off: written.fallback.start,
                    fallback_len: layout.fallback_len,
                    start: layout.start,
                    ..plan
                };
                self.maps
                    .set_members(written.members.start, &layout.members)?;
                self.maps
                    .set_slots(written.schedule.start, &layout.schedule)?;
                self.maps
                    .set_slots(written.fallback.start, &layout.fallback)?;
                let generation = Generation {
                    plan: written.plan,
                    turn: layout.start.into(),
                    ..Generation::default()
                };
                self.maps.set_generation(index, &generation)?;
                Ok(())
            });
        match result {
            Ok(()) => Ok(written),
            Err(e) => {
                self.give_back(&written);
                Err(e)
            }
        }
    }

    fn take_blocks(
        &mut self,
        written: &mut Written,
        layout: &Layout,
        no_room: impl Fn(&'static str, usize) -> ApplyError,
    ) -> Result<(), ApplyError> {
        let room = &mut self.room;
        let take =
            |blocks: &mut super::alloc::Blocks, map, len: usize| -> Result<Block, ApplyError> {
                u32::try_from(len)
                    .ok()
                    .and_then(|len| blocks.take(len))
                    .ok_or_else(|| no_room(map, len))
            };
        written.members = take(&mut room.members, map::MEMBERS, layout.members.len())?;
        written.schedule = take(&mut room.slots, map::SLOTS, layout.schedule.len())?;
        written.fallback = take(&mut room.slots, map::SLOTS, layout.fallback.len())?;
        Ok(())
    }

    /// Gives back what a generation takes up.
    pub(super) fn give_back(&mut self, written: &Written) {
        self.room.generations.free(written.index);
        self.room.members.free(written.members);
        self.room.slots.free(written.schedule);
        self.room.slots.free(written.fallback);
    }

    /// Gives back all that was staged. What stays written in the maps is reached by nobody, and overwritten later; but
    /// for the flags of real servers, by which an adopting daemon would know them.
    fn unstage(&mut self, staged: Staged) {
        for (_, written, _) in &staged.generations {
            self.give_back(written);
        }
        for slot in staged.reals {
            self.reals.remove(&slot);
            self.room.reals.free(slot);
            // Should this fail, the next daemon finds a real server that no generation names, and frees it.
            drop(self.maps.set_real(slot, &Real::default()));
        }
        for service in staged.services {
            self.services.remove(&service);
            self.room.services.free(service);
            drop(ledger::close(&mut self.maps, service));
        }
    }
}

/// Whether a generation already is what a service shall have.
fn is_same(written: &Written, plan: &Plan, entries: &[Entry]) -> bool {
    let now = &written.plan;
    let parts = |p: &Plan| {
        (
            p.scheduler,
            p.profile,
            p.flags,
            p.persistence,
            p.mask,
            p.router,
            p.service,
        )
    };
    parts(now) == parts(plan) && in_map_order(&written.entries).eq(in_map_order(entries))
}

/// Entries as `MEMBERS` has them: the eligible first. An adopted generation is known in this order only.
fn in_map_order(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    let of = |eligible: bool| entries.iter().filter(move |e| (e.weight > 0) == eligible);
    of(true).chain(of(false))
}

fn entries(target: &Target, slots: &[u32]) -> Vec<Entry> {
    let reals = target.reals.iter().zip(slots);
    reals
        .map(|(r, &slot)| Entry {
            id: r.addr,
            slot,
            weight: r.weight,
            upper: r.upper,
            lower: r.lower,
            out: r.down,
        })
        .collect()
}

fn flags(wanted: &TargetReal) -> u8 {
    let state = match wanted {
        TargetReal { down: true, .. } => real::DOWN,
        TargetReal { drained: true, .. } => real::DRAINED,
        TargetReal { weight: 0, .. } => real::QUIESCED,
        _ => 0,
    };
    [
        (wanted.reset, real::RESET),
        (wanted.syn_leaves, real::SYN_LEAVES),
        (wanted.udp_leaves, real::UDP_LEAVES),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(real::USED | state, |flags, (_, flag)| flags | flag)
}
