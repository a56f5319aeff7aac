//! Hearing: which queue is looked at when, and who is told what was in it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::ear::Ear;
use super::filter::{Expected, Queue};
use super::instance::{Instance, claimed};
use super::run::{EarId, Thread, machine};
use super::types::Unread;
use crate::core::vrrp::{self, Arrival, Datagram, Reject, State, admit};
use crate::io::clock;

impl Thread {
    /// Looks at queues, those of masters first.
    pub(super) fn listen_to(&mut self, mut woken: Vec<(Queue, EarId)>) {
        woken.sort_unstable();
        for (queue, ear) in woken {
            self.listen(ear, queue);
        }
    }

    /// A timer is over: what came before that is heard before it is believed.
    pub(super) fn listen_before_timers(&mut self) {
        let all = |queue| self.ears.keys().map(move |ear| (queue, *ear));
        let all = [Queue::Master, Queue::Plausible].into_iter().flat_map(all);
        self.listen_to(all.collect());
    }

    /// Reads packets of a queue.
    fn listen(&mut self, id: EarId, queue: Queue) {
        let mut batch = std::mem::take(&mut self.batch);
        let (mut heeded, mut read, mut all) = (false, 0, false);
        while read < queue.turn() {
            let Some(ear) = self.ears.get(&id) else {
                break;
            };
            let v6 = ear.v6();
            // An error is that nothing waits, or that the interface has gone, of which the kernel tells too.
            let may_repeat = ear.may_repeat();
            let Ok(no_more) = ear.fill(queue, &mut batch) else {
                all = true;
                break;
            };
            for n in 0..batch.len() {
                heeded |= self.hear(id, batch.packet(n, v6), may_repeat);
            }
            read += batch.len();
            all = no_more;
            if all {
                break;
            }
        }
        self.batch = batch;
        if let Some(ear) = self.ears.get_mut(&id) {
            ear.looked(queue, clock::now(), heeded || read == 0);
            // Masters' packets are read before, so these are the last of them.
            if all && queue == Queue::Plausible {
                ear.settle();
            }
        }
    }

    /// Tells the virtual router that a packet is of; whether it is heeded. `may_repeat`: that it was heard before is our own doing.
    fn hear(
        &mut self,
        (ifindex, v6): EarId,
        datagram: Result<Datagram<'_>, Reject>,
        may_repeat: bool,
    ) -> bool {
        let vrid = datagram
            .as_ref()
            .ok()
            .and_then(|d| d.payload.get(1).copied());
        let is_for = |i: &&mut Instance| {
            i.ifindex == Some(ifindex) && i.config.is_v6() == v6 && Some(i.config.vrid) == vrid
        };
        let Some(instance) = self.instances.values_mut().find(is_for) else {
            self.report.strangers += 1;
            return false;
        };
        let Some(machine) = machine(&self.router, instance.slot) else {
            return false;
        };
        let Some(own) = instance.source.filter(|_| instance.started) else {
            return false;
        };
        let arrival = Arrival {
            own,
            known_master: machine.master().map(|m| m.source),
            wall: clock::time_of_day(),
        };
        let (settings, seal) = (machine.settings(), &mut instance.seal);
        match datagram.and_then(|d| admit(settings, &arrival, seal, &d)) {
            Ok(heard) => {
                instance.counters.heard += 1;
                instance.counters.master_priority = Some(claimed(heard.claim));
                let slot = instance.slot;
                self.tell(slot, vrrp::Event::Advert(heard));
                true
            }
            Err(Reject::AuthReplay) if may_repeat => false,
            Err(reject) => {
                instance.counters.reject(reject);
                false
            }
        }
    }

    /// Has sockets where they are needed, that hear of our virtual routers there and no others.
    pub(super) fn open_ears(&mut self) {
        self.masters_moved = false;
        let mut wanted: BTreeMap<EarId, Expected> = BTreeMap::new();
        for instance in self.instances.values() {
            let Some(ifindex) = instance.ifindex else {
                continue;
            };
            let expected = wanted
                .entry((ifindex, instance.config.is_v6()))
                .or_default();
            expected.of_router(&instance.config.settings());
            let machine = machine(&self.router, instance.slot);
            if let Some(master) = machine.and_then(known_master) {
                expected.of_master(master);
            }
        }
        let gone: Vec<EarId> = self
            .ears
            .keys()
            .filter(|ear| !wanted.contains_key(ear))
            .copied()
            .collect();
        gone.iter().for_each(|ear| self.close_ear(*ear));
        for (id, expected) in wanted {
            let ready = match self.ears.get_mut(&id) {
                Some(ear) => ear.expect(expected),
                None => self.open_ear(id, expected),
            };
            if let Err(err) = ready {
                self.close_ear(id);
                self.cannot_listen(id, &err);
            }
        }
    }

    fn open_ear(&mut self, id: EarId, expected: Expected) -> io::Result<()> {
        if let Some(link) = self.view.link_at(id.0) {
            let ear = Ear::open(&link.name, id.0, id.1, expected)?;
            self.ears.insert(id, ear);
        }
        Ok(())
    }

    fn close_ear(&mut self, id: EarId) {
        if let Some(ear) = self.ears.remove(&id) {
            self.report.unread += unread(&ear);
        }
    }

    /// What came faster than it was read.
    pub(super) fn unread(&self) -> Unread {
        let open = self.ears.values().map(unread);
        open.fold(self.report.unread, |sum, one| sum + one)
    }
}

fn unread(ear: &Ear) -> Unread {
    let dropped = |queue| u64::from(ear.dropped(queue));
    Unread {
        masters: dropped(Queue::Master),
        others: dropped(Queue::Plausible) + dropped(Queue::Stray),
    }
}

/// Whose advertisements keep this virtual router a backup.
fn known_master(machine: &vrrp::Machine) -> Option<IpAddr> {
    let is_backup = machine.state() == State::Backup;
    machine.master().filter(|_| is_backup).map(|m| m.source)
}
