//! All virtual routers of this director, and which of them are of one mind.
//!
//! In a sync group a member is master only when every member can be, and whoever stops being master takes the others
//! along: a director that forwards between two networks must have both addresses or none.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use super::{Effect, Event, Machine, Priority, Settings, State};

/// One virtual router and the group that it is in.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub name: String,
    machine: Machine,
    group: Option<usize>,
    /// Its number may be given to another.
    vacant: bool,
}

impl Instance {
    /// Its machine, to look at.
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }
}

/// All virtual routers of this director.
#[derive(Clone, Debug, Default)]
pub struct Router {
    instances: Vec<Instance>,
}

impl Router {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a virtual router that takes no part yet; returns its number. `address` is ours on its interface, `group`
    /// the number of its sync group.
    pub fn add(
        &mut self,
        name: String,
        settings: Settings,
        address: IpAddr,
        group: Option<usize>,
    ) -> usize {
        let instance = Instance {
            name,
            machine: Machine::new(settings, address, group.is_some()),
            group,
            vacant: false,
        };
        let vacant = self.instances.iter().position(|i| i.vacant);
        match vacant.and_then(|n| Some((n, self.instances.get_mut(n)?))) {
            Some((number, place)) => {
                *place = instance;
                number
            }
            None => {
                self.instances.push(instance);
                self.instances.len() - 1
            }
        }
    }

    /// Forgets a virtual router, which should have been stopped. Its number is given to the next one that is added.
    pub fn forget(&mut self, number: usize) {
        if let Some(instance) = self.instances.get_mut(number) {
            let Instance { machine, .. } = instance;
            *machine = Machine::new(machine.settings().clone(), machine.address(), false);
            instance.name.clear();
            instance.group = None;
            instance.vacant = true;
        }
    }

    /// An operator says something else about a virtual router, which stays what it is: neither its version nor its number
    /// nor how it is signed and to whom it speaks is another. `priority` is what it has with what is tracked.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        number: usize,
        settings: Settings,
        priority: Priority,
        out: &mut Vec<(usize, Effect)>,
    ) {
        if let Some(instance) = self.instances.get_mut(number) {
            instance.machine.reconfigure(settings);
        }
        self.handle(now, number, Event::Priority(priority), out);
    }

    /// The virtual routers, by number.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// Our address on an instance's interface is another one now.
    pub fn set_address(&mut self, number: usize, address: IpAddr) {
        if let Some(instance) = self.instances.get_mut(number) {
            instance.machine.set_address(address);
        }
    }

    /// When [`Router::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let due = self.instances.iter().filter_map(|i| i.machine.due());
        due.min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<(usize, Effect)>) {
        for number in 0..self.instances.len() {
            self.turn(number, out, |machine, effects| machine.tick(now, effects));
            self.agree(now, number, out);
        }
    }

    /// Does what follows from an event at one virtual router.
    pub fn handle(
        &mut self,
        now: Instant,
        number: usize,
        event: Event,
        out: &mut Vec<(usize, Effect)>,
    ) {
        // Who is handed over is handed over whole, so that each member goes on until its successor is there.
        let others: Vec<usize> = match (event, self.instances.get(number).and_then(|i| i.group)) {
            (Event::Failover, Some(group)) => self.members(group).map(|(n, _)| n).collect(),
            _ => Vec::new(),
        };
        let others = others.into_iter().filter(|n| *n != number);
        for member in others.chain([number]) {
            self.turn(member, out, |machine, effects| {
                machine.handle(now, event, effects);
            });
        }
        self.agree(now, number, out);
    }

    /// One machine's turn, with its number put to its effects.
    fn turn(
        &mut self,
        number: usize,
        out: &mut Vec<(usize, Effect)>,
        act: impl FnOnce(&mut Machine, &mut Vec<Effect>),
    ) {
        let Some(instance) = self.instances.get_mut(number) else {
            return;
        };
        let mut effects = Vec::new();
        act(&mut instance.machine, &mut effects);
        out.extend(effects.into_iter().map(|effect| (number, effect)));
    }

    /// Brings a sync group to one mind after a member had its turn. What a member does for the group's sake may ask
    /// others to follow; each round leaves fewer who disagree.
    fn agree(&mut self, now: Instant, number: usize, out: &mut Vec<(usize, Effect)>) {
        let Some(group) = self.instances.get(number).and_then(|i| i.group) else {
            return;
        };
        // What was effected in this turn is at the end.
        let mut seen = out
            .iter()
            .rposition(|(n, _)| *n != number)
            .map_or(0, |n| n + 1);
        let mut told: VecDeque<(usize, Event)> = VecDeque::new();
        loop {
            while let Some(&(from, effect)) = out.get(seen) {
                seen += 1;
                told.extend(self.follow(group, from, effect));
            }
            if told.is_empty() {
                told.extend(self.differences(group));
            }
            let Some((to, event)) = told.pop_front() else {
                break;
            };
            self.turn(to, out, |machine, effects| {
                machine.handle(now, event, effects);
            });
        }
    }

    fn members(&self, group: usize) -> impl Iterator<Item = (usize, &Machine)> {
        self.instances
            .iter()
            .enumerate()
            .filter(move |(_, i)| i.group == Some(group))
            .map(|(n, i)| (n, &i.machine))
    }

    /// What the other members do when one has done this.
    fn follow(&self, group: usize, from: usize, effect: Effect) -> Vec<(usize, Event)> {
        let event = match effect {
            Effect::Entered {
                from: State::Master,
                to: State::Backup | State::Stopped,
                ..
            } => Event::GroupBackup,
            Effect::LowerMaster(_) => Event::GroupAssert,
            Effect::Entered { .. }
            | Effect::Send(_)
            | Effect::Serve
            | Effect::Assume
            | Effect::Release
            | Effect::Announce
            | Effect::WantsMaster
            | Effect::TwoOwners(_)
            | Effect::Late(_) => return Vec::new(),
        };
        let others = self.members(group).filter(|(n, _)| *n != from);
        others.map(|(n, _)| (n, event)).collect()
    }

    /// What is left to tell members so that all agree about faults, and about being master.
    fn differences(&self, group: usize) -> Vec<(usize, Event)> {
        let members: Vec<_> = self.members(group).collect();
        let faulty = members.iter().filter(|(_, m)| m.faulty()).count();
        let about_faults = members.iter().filter_map(|(n, machine)| {
            let others = faulty - usize::from(machine.faulty());
            match (others > 0, machine.group_faulty()) {
                (true, false) => Some((*n, Event::GroupFault)),
                (false, true) => Some((*n, Event::GroupHeal)),
                (true, true) | (false, false) => None,
            }
        });
        let mut told: Vec<_> = about_faults.collect();
        if told.is_empty() && members.iter().all(|(_, m)| m.ready()) {
            let waiting = members.iter().filter(|(_, m)| m.state() == State::Backup);
            told.extend(waiting.map(|(n, _)| (*n, Event::GroupMaster)));
        }
        told
    }
}
