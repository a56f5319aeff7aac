//! A random director: services of all kinds with real servers of all kinds, and how they change.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use lb_common::abi::{
    Method, NO_MAC, OwnMacs, Plan, Real, ServiceKey, Timeouts, closed, real, service, setting,
};
use lb_common::model::{Lists, Path, World};
use lb_common::net::{Be16, Proto};
use lb_common::packet::wire::{MacPair, mac_word};
use lb_common::sched::Scheduler;
use lb_daemon::core::schedule::{Course, Entry, MhTable};

use crate::dice::Dice;
use crate::family::Hosts;
use crate::frames::MACS;

/// The egress slot that there is.
pub(crate) const SLOT: u64 = 3;
/// The interface to the clients.
pub(crate) const FRONT: u32 = 3;
/// The loopback: where frames of the tests come from.
const INGRESS: u32 = 1;
const MAC: u64 = mac_word([2, 0, 0, 0, 1, 1]);

/// What the daemon would know of the services.
pub(crate) struct Site<A: Hosts> {
    pub(crate) services: Vec<Service<A>>,
}

pub(crate) struct Service<A: Hosts> {
    pub(crate) key: ServiceKey<A>,
    plan: Plan,
    scheduler: Scheduler,
    course: Course,
    /// Slots and weights, newest first.
    reals: Vec<(u32, u16)>,
}

/// A random director. `twos` is not among its schedulers: it asks for random numbers, which are the kernel's own there.
pub(crate) fn director<A: Hosts>(dice: &mut Dice) -> (World<A>, Site<A>) {
    let mut world = World::new(1 << (1 + dice.below(6)));
    for (client, mtu) in A::ROUTES {
        let macs = MacPair {
            dst: mac_word([2, 0, 0, 0, 0, 0xc1]),
            src: mac_word([2, 0, 0, 0, 0, 0xd1]),
        };
        let path = Path {
            ifindex: FRONT,
            macs,
            mtu,
        };
        world.routes.insert(client, path);
    }
    world.settings.hash_key = [dice.below(u32::MAX).into(), dice.below(u32::MAX).into()];
    world.settings.icmp_per_second = dice.pick(&[0, 0, 1, 3]);
    for flag in [
        setting::SLOPPY_TCP,
        setting::NO_REUSE,
        setting::REUSE_FIN_WAIT,
    ] {
        if dice.one_in(4) {
            world.settings.flags |= flag;
        }
    }
    reached_by(dice, &mut world);
    // Another profile, of short timeouts.
    let mut short = Timeouts::ipvs();
    for ticks in &mut short.ticks {
        *ticks = 15 + dice.below(60);
    }
    world.timeouts.push(short);
    let mut services = Vec::new();
    for _ in 0..=dice.below(4) {
        let service = random_service(dice, &mut world);
        if services.iter().all(|s: &Service<A>| s.key != service.key) {
            services.push(service);
        }
    }
    for service in &mut services {
        service.fill(dice, &mut world);
    }
    if dice.one_in(3) {
        let how = dice.pick(&[closed::DROP, closed::REJECT, closed::REJECT | 1]);
        world
            .services
            .insert(ServiceKey::of_closed(A::service(10)), how);
    }
    (world, Site { services })
}

/// By which MACs the director is reached, among those that frames are for.
fn reached_by<A: Hosts>(dice: &mut Dice, world: &mut World<A>) {
    let Some(record) = world.own_macs.get_mut(INGRESS as usize) else {
        return;
    };
    record.ifindex = dice.pick(&[INGRESS, INGRESS, 65]).into();
    record.macs = [NO_MAC; OwnMacs::MOST];
    for mac in [[2, 0, 0, 0, 0, 0xd1], dice.pick(&MACS)] {
        record.macs[dice.below(OwnMacs::MOST as u32) as usize] = mac_word(mac);
    }
}

fn random_service<A: Hosts>(dice: &mut Dice, world: &mut World<A>) -> Service<A> {
    let proto = dice.pick(&[Proto::Tcp, Proto::Tcp, Proto::Udp]);
    let host_bits = dice.pick(A::HOST_BITS);
    let key = ServiceKey {
        vip: A::service(10 + dice.below(2) as u8).network(host_bits),
        port: Be16::from_host(dice.pick(&[80, 80, 53, 0])),
        proto: proto as u8,
        host_bits: host_bits as u8,
    };
    let schedulers: Vec<Scheduler> = Scheduler::ALL
        .iter()
        .copied()
        .filter(|&s| s != Scheduler::Twos)
        .collect();
    let mut plan = Plan {
        profile: dice.below(2) as u8,
        mask: A::MASKS[0],
        router: dice.pick(&[0, 0, 1]),
        ..Plan::default()
    };
    for flag in [
        service::SH_PORT,
        service::SH_FALLBACK,
        service::MH_PORT,
        service::MH_FALLBACK,
        service::LEAVE_QUIESCED,
    ] {
        if dice.one_in(2) {
            plan.flags |= flag;
        }
    }
    if proto == Proto::Udp && dice.one_in(5) {
        plan.flags |= service::ONE_PACKET;
    }
    if dice.one_in(3) {
        plan.persistence = 15 * (1 + dice.below(400));
        plan.mask = dice.pick(&A::MASKS);
    }
    world.index_of(key);
    // The kernel's table for mh is the smaller one: a seed lays out many.
    let mut course = Course::default();
    course.mh_table = MhTable::Kernel;
    Service {
        key,
        plan,
        scheduler: dice.pick(&schedulers),
        course,
        reals: Vec::new(),
    }
}

impl<A: Hosts> Service<A> {
    fn fill(&mut self, dice: &mut Dice, world: &mut World<A>) {
        for _ in 0..dice.below(6) {
            let real = self.random_real(dice);
            let slot = world.add_real(self.key, &real);
            self.reals.insert(0, (slot, dice.pick(&[0, 1, 1, 2, 5])));
        }
        self.lay_out(world);
    }

    fn random_real(&self, dice: &mut Dice) -> Real {
        let method = dice.pick(&[
            Method::Dr,
            Method::Tun,
            Method::Nat,
            Method::Nat,
            Method::Local,
        ]);
        let upper = dice.pick(&[0, 0, 0, 1, 3]);
        let port = if method == Method::Nat {
            Be16::from_host(dice.pick(&[0, 80, 8080]))
        } else {
            self.key.port
        };
        let mut real = Real {
            dst: SLOT << 48 | dice.pick(&[MAC, MAC, MAC, 0]),
            src: mac_word([2, 0, 0, 0, 0, 0xd2]) | dice.pick(&[1500, 1500, 1400, 0]) << 48,
            port,
            method: method as u8,
            flags: real::USED,
            ifindex: dice.pick(&[INGRESS, 99]),
            profile: self.plan.profile.into(),
            upper,
            lower: if upper > 1 { dice.below(upper) } else { 0 },
            ..Real::default()
        };
        A::place(&mut real, 1 + dice.below(4) as u8);
        real
    }

    /// Makes another generation of what the real servers are now.
    fn lay_out(&mut self, world: &mut World<A>) {
        let index = world.index_of(self.key) as usize;
        let current = world.current[index] as usize;
        let turn = world
            .turns
            .get(current)
            .map_or(0, |turn| turn.load(Ordering::SeqCst));
        let entries = self.reals.iter().map(|&(slot, weight)| {
            let real = &world.reals[slot as usize];
            let out = real.flags & real::DOWN != 0;
            Entry {
                id: SocketAddr::from(([10, 0, 0, 0], slot as u16)),
                slot,
                weight: if out { 0 } else { weight },
                upper: real.upper,
                lower: real.lower,
                out,
            }
        });
        let layout = self.course.next(self.scheduler, entries.collect(), turn);
        let plan = Plan {
            scheduler: self.scheduler as u8,
            eligible_len: layout.eligible,
            fallback_len: layout.fallback_len,
            start: layout.start,
            ..self.plan
        };
        let lists = Lists {
            members: &layout.members,
            schedule: &layout.schedule,
            fallback: &layout.fallback,
        };
        world.set_generation(self.key, plan, lists);
    }

    /// Something happens to a real server, or an operator changes the service.
    fn change(&mut self, dice: &mut Dice, world: &mut World<A>) {
        let among = self.reals.len() as u32;
        if among == 0 || dice.one_in(8) {
            self.scheduler =
                dice.pick(&[Scheduler::Rr, Scheduler::Wrr, Scheduler::Wlc, Scheduler::Sh]);
            return self.lay_out(world);
        }
        let at = dice.below(among) as usize;
        let slot = self.reals[at].0 as usize;
        let real = &mut world.reals[slot];
        match dice.below(5) {
            0 => real.dst ^= MAC,
            1 => real.flags ^= real::DOWN,
            2 => real.flags = real::USED | real::DOWN | real::RESET,
            3 => {
                self.reals.remove(at);
                real.flags = dice.pick(&[real::USED | real::REMOVED, 0]);
            }
            _ => {
                self.reals[at].1 = dice.below(4) as u16;
                real.flags = real::USED;
                if self.reals[at].1 == 0 {
                    real.flags |= real::QUIESCED;
                    real.flags |= dice.pick(&[0, 0, real::SYN_LEAVES, real::UDP_LEAVES]);
                }
            }
        }
        self.lay_out(world);
    }
}

impl<A: Hosts> Site<A> {
    /// Something happens to a service.
    pub(crate) fn change(&mut self, dice: &mut Dice, world: &mut World<A>) {
        if dice.one_in(12) {
            reached_by(dice, world);
        }
        if dice.one_in(6) {
            world.standby = dice.pick(&[&[][..], &[1]]).to_vec();
        }
        let at = dice.below(self.services.len() as u32) as usize;
        self.services[at].change(dice, world);
    }
}
