//! The thread: what wakes it, and in which order it looks at what woke it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, PipeReader, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

use super::batch::Batch;
use super::claims::ClaimSocket;
use super::ear::Ear;
use super::filter::Queue;
use super::instance::Instance;
use super::netlink::{Events, Requests};
use super::packet_socket::PacketSocket;
use super::types::{Command, Event, LATE, Report, RouterReport, Wanted};
use super::view::View;
use super::virtual_mac::Changed;
use crate::core::vrrp::{self, Effect, Router, State};
use crate::io::bpf::Gate;
use crate::io::net::decode::Change;
use crate::io::{clock, realtime};

/// Above everything that runs by default, below the kernel's own threads.
const PRIORITY: i32 = 20;

/// When there is nothing to wait for.
const SELDOM: Duration = Duration::from_secs(60);

/// Which ear: interface, and whether it is IPv6.
pub(super) type EarId = (u32, bool);

/// All that the thread has.
pub(super) struct Thread {
    pub(super) gate: Gate,
    pub(super) events: UnboundedSender<Event>,
    inbox: Receiver<Command>,
    alarm: PipeReader,
    pub(super) requests: Requests,
    kernel: Events,
    pub(super) packets: PacketSocket,
    /// One for each family.
    pub(super) claims: [ClaimSocket; 2],
    pub(super) view: View,
    /// Parameters of interfaces below those with virtual MACs.
    pub(super) changed: Changed,
    pub(super) ears: BTreeMap<EarId, Ear>,
    pub(super) batch: Batch,
    /// Another master is known than the ears were told of.
    pub(super) masters_moved: bool,
    pub(super) router: Router,
    /// By name.
    pub(super) instances: BTreeMap<String, Instance>,
    /// Names by the state machines' numbers.
    names: BTreeMap<usize, String>,
    /// Numbers of sync groups by name, also of those that are gone.
    groups: BTreeMap<String, usize>,
    pub(super) report: Report,
    /// It leaves everything to others, at the latest then.
    pub(super) leaves_at: Option<Instant>,
    pub(super) stopped: bool,
}

impl Thread {
    pub(super) fn new(
        gate: Gate,
        events: UnboundedSender<Event>,
        inbox: Receiver<Command>,
        alarm: PipeReader,
    ) -> io::Result<Self> {
        // Subscribed first, so that nothing falls between the listing and the events.
        let kernel = Events::open()?;
        let mut requests = Requests::open()?;
        let view = View::of(requests.dump()?);
        Ok(Self {
            gate,
            events,
            inbox,
            alarm,
            requests,
            kernel,
            packets: PacketSocket::open()?,
            claims: [ClaimSocket::open(false)?, ClaimSocket::open(true)?],
            view,
            changed: Changed::default(),
            ears: BTreeMap::new(),
            batch: Batch::new(),
            masters_moved: false,
            router: Router::new(),
            instances: BTreeMap::new(),
            names: BTreeMap::new(),
            groups: BTreeMap::new(),
            report: Report::default(),
            leaves_at: None,
            stopped: false,
        })
    }

    /// Runs until it is told to stop.
    pub(super) fn run(&mut self) {
        match realtime::take(PRIORITY) {
            Ok(()) => info!("VRRP runs with real-time priority"),
            Err(err) => {
                warn!(
                    "VRRP runs without real-time priority, so a busy machine may delay advertisements: {err}; \
                     hint: give lbd the capability CAP_SYS_NICE"
                );
                self.report.not_realtime = Some(err.to_string());
            }
        }
        while !self.stopped {
            let (commands, kernel, claims, queues) = self.wait();
            // What others have said comes before our own timers: after a pause it may be that they are not ours any more.
            self.listen_to(queues);
            if self.router.due().is_some_and(|due| due <= clock::now()) {
                self.listen_before_timers();
            }
            if kernel {
                self.follow_kernel();
            }
            if claims {
                self.follow_claims();
            }
            self.tick();
            if commands {
                self.follow_commands();
            }
            if self.masters_moved {
                self.open_ears();
            }
            self.leave_when_over(clock::now());
        }
    }

    /// Waits until there is something to do: commands, news of the kernel, claims, packets, or a timer.
    fn wait(&self) -> (bool, bool, bool, Vec<(Queue, EarId)>) {
        let now = clock::now();
        let rested = self.ears.values().filter_map(|ear| ear.due(now));
        let due = self.due().into_iter().chain(rested).min();
        let wait = due.map_or(SELDOM, |due| due.saturating_duration_since(now).min(SELDOM));
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(self.alarm.as_fd()), readable(self.kernel.as_fd())];
        fds.extend(self.claims.iter().map(|socket| readable(socket.as_fd())));
        let mut queues = Vec::new();
        for (id, ear) in &self.ears {
            for queue in Queue::ALL {
                // One that has rested is among these when the wait is over.
                if let Some(fd) = ear.fd(queue, now) {
                    fds.push(readable(fd));
                    queues.push((queue, *id));
                }
            }
        }
        // A signal ends it early, which does no harm.
        if !matches!(ppoll(&mut fds, Some(TimeSpec::from(wait)), None), Ok(n) if n > 0) {
            return (false, false, false, Vec::new());
        }
        let mut woken = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let mut next = || woken.next().unwrap_or_default();
        let (commands, kernel, arp, nd) = (next(), next(), next(), next());
        let queues = queues.into_iter().zip(woken);
        let queues = queues.filter(|(_, woken)| *woken).map(|(queue, _)| queue);
        (commands, kernel, arp || nd, queues.collect())
    }

    fn due(&self) -> Option<Instant> {
        let instances = self.instances.values().filter_map(Instance::due);
        let others = self.router.due().into_iter().chain(self.leaves_at);
        instances.chain(others).min()
    }

    /// Tells a state machine, and does what follows.
    pub(super) fn tell(&mut self, slot: usize, event: vrrp::Event) {
        let master = |router: &Router| {
            machine(router, slot)
                .and_then(vrrp::Machine::master)
                .map(|m| m.source)
        };
        let before = master(&self.router);
        let mut effects = Vec::new();
        self.router.handle(clock::now(), slot, event, &mut effects);
        self.masters_moved |= master(&self.router) != before;
        // A packet may be read before the timer that should have ended long before it came.
        let late = effects.iter().find_map(|(_, effect)| match effect {
            Effect::Late(by) => Some(*by),
            _ => None,
        });
        if let Some(late) = late {
            self.count_late(late);
        }
        self.carry_out(&effects);
    }

    /// Counts a timer that was late, and says so.
    fn count_late(&mut self, late: Duration) {
        self.report.late += 1;
        self.report.latest = self.report.latest.max(late);
        self.say(Event::Late(late));
    }

    /// Does what is due.
    fn tick(&mut self) {
        let now = clock::now();
        if let Some(due) = self.router.due().filter(|due| *due <= now) {
            let late = now - due;
            if late > LATE {
                self.count_late(late);
            }
            let mut effects = Vec::new();
            self.router.tick(now, &mut effects);
            self.carry_out(&effects);
        }
        let due = |i: &Instance| i.due().is_some_and(|due| due <= now);
        let names: Vec<String> = self
            .instances
            .iter()
            .filter(|(_, i)| due(i))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            if let Some(instance) = self.instances.get_mut(&name) {
                instance.wait_for_links(now);
                self.after_conflict(&name, now);
            }
            if let Some(instance) = self.instances.get(&name) {
                if instance.retry_at.is_some_and(|at| at <= now) {
                    self.take_possession(&name);
                }
                self.assess(&name);
            }
        }
    }

    fn carry_out(&mut self, effects: &[(usize, Effect)]) {
        // What clients wait for goes first, for all who take over together: the kernel may take its time for addresses.
        let does = |slot, what| effects.contains(&(slot, what));
        let hurries = |(slot, effect): &(usize, Effect)| {
            matches!(effect, Effect::Send(_) | Effect::Serve)
                && does(*slot, Effect::Serve)
                && !does(*slot, Effect::Release)
        };
        let (first, then): (Vec<_>, Vec<_>) = effects.iter().copied().partition(hurries);
        for (slot, effect) in first {
            self.act_for(slot, effect);
        }
        for (slot, effect) in then {
            self.act_for(slot, effect);
        }
    }

    fn act_for(&mut self, slot: usize, effect: Effect) {
        if let Some(name) = self.names.get(&slot).cloned() {
            self.act(&name, effect);
        }
    }

    fn follow_kernel(&mut self) {
        let changes = match self.kernel.read() {
            Ok(changes) => changes,
            Err(err) => {
                self.say(Event::Trouble(format!("cannot follow the kernel: {err}")));
                vec![Change::Lost]
            }
        };
        if changes.contains(&Change::Lost) {
            match self.requests.dump() {
                Ok(all) => self.view = View::of(all),
                Err(err) => self.say(Event::Trouble(format!(
                    "cannot list interfaces and addresses: {err}"
                ))),
            }
            self.look_for_lost();
        } else {
            for change in &changes {
                self.view.follow(change);
            }
            for change in &changes {
                if let Change::AddressGone(ifindex, net) = change {
                    self.put_back(*ifindex, net.addr());
                }
            }
        }
        self.attend();
    }

    /// Has sockets where they are needed, and assesses every virtual router anew.
    fn attend(&mut self) {
        let now = clock::now();
        let vips: BTreeSet<IpAddr> = self
            .instances
            .values()
            .flat_map(|i| i.config.all_addresses().map(|a| a.addr))
            .collect();
        for instance in self.instances.values_mut() {
            let v6 = instance.config.is_v6();
            let link = self.view.link(&instance.config.interface);
            instance.ifindex = link.map(|link| link.ifindex);
            instance.source = instance
                .ifindex
                .and_then(|ifindex| match instance.config.source {
                    Some(source) => self.view.has(ifindex, source).then_some(source),
                    None => self.view.own(ifindex, v6, &vips),
                });
            if let Some(source) = instance.source {
                self.router.set_address(instance.slot, source);
            }
            instance.find_virtual_link(&self.view);
            if instance.assumed {
                // Its interface may be another one now.
                self.gate.open(instance.number, instance.station());
            }
            instance.look_at_links(&self.view, now);
        }
        self.have_virtual_links();
        self.open_ears();
        self.listen_to_claims();
        let names: Vec<String> = self.instances.keys().cloned().collect();
        names.iter().for_each(|name| self.assess(name));
    }

    fn follow_commands(&mut self) {
        let mut bytes = [0; 512];
        // It was said to be readable. The commands are looked for afterwards, so none is missed.
        let _ = self.alarm.read(&mut bytes);
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Configure(wanted, done) => {
                    self.configure(wanted);
                    // Who asked may have gone.
                    let _ = done.send(());
                }
                Command::Found {
                    router,
                    track,
                    finding,
                } => {
                    let found = |i: &mut Instance| i.found(track, finding);
                    if self.instances.get_mut(&router).is_some_and(found) {
                        self.assess(&router);
                    }
                }
                Command::Failover(router, answer) => {
                    let slot = self.instances.get(&router).map(|i| i.slot);
                    let before = slot.and_then(|slot| machine(&self.router, slot));
                    let _ = answer.send(before.map(vrrp::Machine::state));
                    if let Some(slot) = slot {
                        self.tell(slot, vrrp::Event::Failover);
                    }
                }
                Command::Report(answer) => {
                    let _ = answer.send(self.report());
                }
                Command::Stop => self.begin_to_leave(),
            }
        }
    }

    /// Runs these and no others. What stays as it is, is not touched.
    pub(super) fn configure(&mut self, wanted: Vec<Wanted>) {
        let stays = |name: &str, instance: &Instance| {
            let same = |w: &Wanted| w.router.name == name && instance.is_same_router(&w.router);
            wanted.iter().any(same)
        };
        let going: Vec<String> = self
            .instances
            .iter()
            .filter(|(name, instance)| !stays(name, instance))
            .map(|(name, _)| name.clone())
            .collect();
        for name in going {
            self.dismiss(&name);
        }
        for wanted in wanted {
            match self.instances.get(&wanted.router.name) {
                Some(instance) if instance.config == wanted.router => {}
                Some(_) => self.change(wanted),
                None => {
                    self.hire(wanted);
                }
            }
        }
        self.attend();
    }

    /// A virtual router that was not there before.
    fn hire(&mut self, wanted: Wanted) {
        let name = wanted.router.name.clone();
        let group = wanted.router.group.clone().map(|group| {
            let next = self.groups.len();
            *self.groups.entry(group).or_insert(next)
        });
        let settings = wanted.router.settings();
        let nowhere = IpAddr::from([0, 0, 0, 0]);
        let slot = self.router.add(name.clone(), settings, nowhere, group);
        self.names.insert(slot, name.clone());
        let instance = Instance::new(wanted, slot);
        self.gate.close(instance.number);
        self.instances.insert(name.clone(), instance);
        // What a daemon that was killed has left.
        self.give_up_possession(&name);
        self.remove_virtual_link(&name);
    }

    /// A virtual router stops, and is forgotten.
    fn dismiss(&mut self, name: &str) {
        let Some(slot) = self.instances.get(name).map(|i| i.slot) else {
            return;
        };
        self.tell(slot, vrrp::Event::Stop);
        self.remove_virtual_link(name);
        self.router.forget(slot);
        self.names.remove(&slot);
        self.instances.remove(name);
    }

    /// Something else is said about a virtual router, which goes on.
    fn change(&mut self, wanted: Wanted) {
        let name = wanted.router.name.clone();
        let Some(instance) = self.instances.get_mut(&name) else {
            return;
        };
        let (slot, had) = (instance.slot, instance.assumed);
        let others = instance.config.addresses != wanted.router.addresses
            || instance.config.excluded != wanted.router.excluded
            || instance.config.routes != wanted.router.routes;
        let before = others.then(|| instance.clone_of_what_it_has(&self.view));
        instance.reconfigure(wanted);
        let settings = instance.config.settings();
        let fitness = instance.fitness();
        let priority = fitness.priority.unwrap_or(settings.priority);
        let mut effects = Vec::new();
        self.router
            .reconfigure(clock::now(), slot, settings, priority, &mut effects);
        self.carry_out(&effects);
        if let Some(before) = before.filter(|_| had) {
            self.exchange(&name, &before);
        }
    }

    /// Tells the state machine what all that is looked at comes to, if that has changed.
    pub(super) fn assess(&mut self, name: &str) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let slot = instance.slot;
        if !instance.started && instance.unknown().next().is_some() {
            return;
        }
        let fitness = instance.fitness();
        let faulty = !fitness.faults.is_empty();
        let priority = fitness.priority.unwrap_or(instance.config.priority);
        let is_news = instance.told_faulty != faulty;
        let begins = !instance.started;
        instance.told_faulty = faulty;
        instance.started = true;
        if machine(&self.router, slot).is_some_and(|m| m.priority() != priority) {
            self.tell(slot, vrrp::Event::Priority(priority));
        }
        if is_news {
            let event = if faulty {
                vrrp::Event::Fault
            } else {
                vrrp::Event::Heal
            };
            self.tell(slot, event);
        }
        if begins {
            self.tell(slot, vrrp::Event::Start);
        }
    }

    fn report(&self) -> Report {
        let routers = self.instances.values().map(|i| self.report_of(i));
        Report {
            routers: routers.collect(),
            unread: self.unread(),
            ..self.report.clone()
        }
    }

    fn report_of(&self, instance: &Instance) -> RouterReport {
        let fitness = instance.fitness();
        let machine = machine(&self.router, instance.slot);
        let mut faults = fitness.faults;
        if !instance.started {
            let waits = |track| format!("{} is not known yet", super::instance::name(track));
            faults.extend(instance.unknown().map(waits));
        }
        let counters = &instance.counters;
        RouterReport {
            name: instance.config.name.clone(),
            state: machine.map_or(State::Stopped, vrrp::Machine::state),
            since: machine.and_then(vrrp::Machine::since),
            priority: machine.map_or(0, |m| m.priority().get()),
            moved_by: fitness.moved_by,
            faults,
            source: instance.source,
            virtual_mac: instance.virtual_mac().map(|(_, mac)| mac),
            master: machine.and_then(|m| m.master().map(|m| m.source)),
            master_priority: counters.master_priority,
            masterships: counters.masterships,
            claims: instance.conflict.claims,
            claimed_by: instance.conflict.last,
            sent: counters.sent,
            heard: counters.heard,
            rejects: counters.rejected(),
        }
    }
}

/// A state machine, to look at.
pub(super) fn machine(router: &Router, slot: usize) -> Option<&vrrp::Machine> {
    router.instances().get(slot).map(vrrp::Instance::machine)
}
