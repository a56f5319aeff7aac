//! Doing what a state machine has decided.

use std::io;
use std::net::IpAddr;

use super::instance::Instance;
use super::run::{Thread, machine};
use super::types::{Event, Notice};
use crate::core::vrrp::{
    Claim, Effect, Machine, Packet, State, advertisement, gratuitous_arp, multicast_group,
    neighbour_advertisement,
};
use crate::io::clock;

impl Thread {
    /// Does what was decided for a virtual router.
    pub(super) fn act(&mut self, name: &str, effect: Effect) {
        match effect {
            Effect::Send(claim) => self.advertise(name, claim),
            Effect::Serve => self.serve(name),
            Effect::Assume => self.take_possession(name),
            Effect::Release => self.release(name),
            Effect::Announce => self.announce(name),
            Effect::Entered { from, to, cause } => {
                let Some(instance) = self.instances.get_mut(name) else {
                    return;
                };
                if to == State::Master {
                    instance.counters.masterships += 1;
                }
                let fitness = instance.fitness();
                let priority = fitness.priority.unwrap_or(instance.config.priority);
                self.say(Event::Entered {
                    router: name.to_owned(),
                    from,
                    to,
                    cause,
                    priority: priority.get(),
                    faults: fitness.faults,
                });
            }
            Effect::WantsMaster => {}
            Effect::LowerMaster(other) => {
                // The last word of a predecessor is no news.
                if !self.has_just_taken_over(name) {
                    self.notice(name, Notice::LowerMaster(other));
                }
            }
            Effect::TwoOwners(other) => self.notice(name, Notice::TwoOwners(other)),
            Effect::Late(by) => self.notice(name, Notice::Overslept(by)),
        }
    }

    fn has_just_taken_over(&self, name: &str) -> bool {
        let instance = self.instances.get(name);
        instance.is_some_and(|instance| {
            let machine = machine(&self.router, instance.slot);
            let interval = instance.config.interval.duration();
            let since = machine.and_then(Machine::since);
            since.is_some_and(|since| clock::now().saturating_duration_since(since) < interval)
        })
    }

    fn advertise(&mut self, name: &str, claim: Claim) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let (Some(ifindex), Some(source)) = (instance.ifindex, instance.source) else {
            // Its interface has gone, which is why it resigns.
            return;
        };
        let Some(socket) = self.ears.get(&(ifindex, instance.config.is_v6())) else {
            return;
        };
        // Switches learn from it where the virtual MAC is. Unicast goes where the kernel finds the peer.
        let multicast = instance.config.peers.is_empty();
        let mac = instance.virtual_mac().filter(|_| multicast);
        let mac = mac.map(|(_, mac)| mac);
        let settings = instance.config.settings();
        let packet = Packet {
            version: settings.version,
            vrid: settings.vrid,
            claim,
            interval: settings.interval,
            auth: settings.auth,
            addresses: settings.addresses,
        };
        let group = [multicast_group(source)];
        let to: &[IpAddr] = if settings.peers.is_empty() {
            &group
        } else {
            &settings.peers
        };
        // One advertisement has one number, to whomever it goes.
        let signing = settings.signing.as_deref().map(|signing| {
            let number = instance.seal.next(signing, clock::time_of_day());
            (signing, number)
        });
        let mut failed = None;
        for to in to {
            let message = packet.encode_signed(source, *to, signing);
            let frame = mac.and_then(|mac| advertisement(mac, source, *to, &message));
            let sent = match frame {
                Some(frame) => self.packets.send(ifindex, &frame),
                None => socket.send(source, *to, &message),
            };
            match sent {
                Ok(()) => {
                    instance.counters.sent += 1;
                    instance.mute = false;
                }
                // A link that is down cannot carry our farewell.
                Err(err) if err.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(err) => failed = Some(format!("cannot send to {to}: {err}")),
            }
        }
        if let Some(failed) = failed.filter(|_| !instance.mute) {
            instance.mute = true;
            self.notice(name, Notice::Failed(failed));
        }
    }

    /// Serves in the data plane, which needs no address for it, and says so once to all neighbours.
    fn serve(&mut self, name: &str) {
        if let Some(instance) = self.instances.get_mut(name) {
            self.gate.open(instance.number, instance.station());
            instance.assumed = true;
            self.announce_each(name, 1);
        }
    }

    fn release(&mut self, name: &str) {
        if let Some(instance) = self.instances.get_mut(name) {
            self.gate.close(instance.number);
            instance.assumed = false;
            instance.retry_at = None;
            self.give_up_possession(name);
        }
    }

    /// Tells the neighbours of each address where it is.
    pub(super) fn announce(&self, name: &str) {
        if let Some(instance) = self.instances.get(name) {
            self.announce_each(name, instance.config.announcements.repeat);
        }
    }

    fn announce_each(&self, name: &str, repeat: u8) {
        let Some(instance) = self.instances.get(name) else {
            return;
        };
        for place in instance.places(&self.view) {
            self.announce_one(place.ifindex, place.addr, repeat);
        }
    }

    /// Tells the neighbours of one address where it is.
    pub(super) fn announce_one(&self, ifindex: u32, addr: IpAddr, repeat: u8) {
        let Some(mac) = self.view.link_at(ifindex).and_then(|link| link.mac) else {
            return;
        };
        // The interface with a virtual MAC is not on yet at the first time; what it sends leaves by the one below.
        let at_virtual_mac = |i: &&Instance| i.virtual_link == Some(ifindex);
        let below = self.instances.values().find(at_virtual_mac);
        let ifindex = below.and_then(|i| i.ifindex).unwrap_or(ifindex);
        let frame = match addr {
            IpAddr::V4(addr) => gratuitous_arp(mac, addr),
            IpAddr::V6(addr) => neighbour_advertisement(mac, addr, true),
        };
        for _ in 0..repeat {
            // An interface that is full or down: the next volley comes.
            if self.packets.send(ifindex, &frame).is_err() {
                return;
            }
        }
    }

    /// No advertisement is heard, so all who would need to are in fault.
    pub(super) fn cannot_listen(&mut self, (ifindex, v6): (u32, bool), err: &io::Error) {
        let deaf = |i: &&mut Instance| i.ifindex == Some(ifindex) && i.config.is_v6() == v6;
        let mut names = Vec::new();
        for instance in self.instances.values_mut().filter(deaf) {
            instance.source = None;
            names.push(instance.config.name.clone());
        }
        for name in names {
            self.notice(
                &name,
                Notice::Failed(format!("cannot listen to VRRP: {err}")),
            );
        }
    }

    pub(super) fn notice(&self, name: &str, notice: Notice) {
        self.say(Event::Noticed {
            router: name.to_owned(),
            notice,
        });
    }

    pub(super) fn say(&self, event: Event) {
        // When nobody listens any more the daemon is about to end.
        let _ = self.events.send(event);
    }
}
