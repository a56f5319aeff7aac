//! The scheduling rules alone, with the simplest bookkeeping of connections around them.
//!
//! It tells in milliseconds whether a rule is wrong; that the program runs the rules right is for the program's own
//! replay to show.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use lb_common::abi::{Load, Locality, Real, service};
use lb_common::conn::State;
use lb_common::sched::threshold::{Flag, after_bind, after_unbind};
use lb_common::sched::{Request, Scheduler, choose};
use lb_common::tcp::{self, Event, View};
use lb_daemon::core::desired::ConnReuse;
use lb_daemon::core::schedule::{Course, Entry, MhTable, Model};

use super::director::{Director, Packet, Seen, Setup, real_addr, real_name};
use super::recording::{Conn, Count, Method, Proto, Service};

/// A template that still has connections when its time is over is looked at again after so many seconds.
const TEMPLATE_RETRY: u64 = 60;

/// The rules, and connections in a hash map.
#[derive(Default)]
pub struct Rules {
    now: u64,
    setup: Option<Setup>,
    services: HashMap<String, Scheduled>,
    /// By slot.
    reals: Vec<Known>,
    loads: Vec<Load>,
    conns: HashMap<Flow, Connection>,
    templates: Vec<Template>,
}

type Flow = (Proto, SocketAddr, SocketAddr);

/// A service's scheduler.
struct Scheduled {
    course: Course,
    model: Model,
    localities: HashMap<IpAddr, Locality>,
}

/// A real server that has a slot.
struct Known {
    service: String,
    id: String,
    addr: IpAddr,
    rules: Real,
    method: Method,
    weight: u16,
    is_removed: bool,
}

struct Connection {
    slot: usize,
    state: State,
    expires: u64,
    template: Option<u32>,
}

struct Template {
    id: u32,
    service: String,
    client: IpAddr,
    vip: SocketAddr,
    slot: usize,
    expires: u64,
    is_orphan: bool,
    is_assured: bool,
}

impl Rules {
    fn setup(&self) -> Result<&Setup> {
        self.setup.as_ref().context("nothing was applied yet")
    }

    fn service_of(&self, packet: &Packet) -> Option<Service> {
        let port_is = |s: &Service, port| {
            let fits = |l: &super::recording::Match| {
                l.proto == packet.proto && l.vip == packet.vip.ip() && l.port == port
            };
            s.listeners().iter().any(fits)
        };
        let services = &self.setup.as_ref()?.services;
        let exact = services.iter().find(|s| port_is(s, packet.vip.port()));
        exact
            .or_else(|| services.iter().find(|s| port_is(s, 0)))
            .cloned()
    }

    fn slot_of(&mut self, service: &Service, id: &str, addr: IpAddr) -> usize {
        let known = self
            .reals
            .iter()
            .position(|k| k.service == service.id && k.id == id);
        known.unwrap_or_else(|| {
            self.reals.push(Known {
                service: service.id.clone(),
                id: id.into(),
                addr,
                rules: Real::default(),
                method: Method::Dr,
                weight: 0,
                is_removed: false,
            });
            self.loads.push(Load::default());
            self.reals.len() - 1
        })
    }

    fn apply_service(&mut self, service: &Service) -> Result<()> {
        let mut entries = Vec::new();
        for real in service.reals.iter().rev() {
            let listeners = service.listeners();
            let first = listeners.first().context("no listener")?;
            let addr = real_addr(&real.id, first.vip.is_ipv6())?;
            let slot = self.slot_of(service, &real.id, addr);
            let known = &mut self.reals[slot];
            let is_less = real.u_threshold == 0 || real.u_threshold > known.rules.upper;
            known.rules.upper = real.u_threshold;
            known.rules.lower = real.l_threshold;
            known.method = real.fwd;
            known.weight = real.weight;
            known.is_removed = false;
            if is_less {
                self.loads[slot].conns &= !Load::OVERLOADED;
            }
            entries.push(Entry {
                id: SocketAddr::new(addr, real.port.unwrap_or(first.port)),
                slot: slot as u32,
                weight: real.weight,
                upper: real.u_threshold,
                lower: real.l_threshold,
                out: false,
            });
        }
        let scheduler = Scheduler::from_name(&service.sched)
            .with_context(|| format!("scheduler {}", service.sched))?;
        let flag = |name: &str| service.sched_flags.iter().any(|f| f == name);
        let flags = [
            ("sh-port", service::SH_PORT),
            ("sh-fallback", service::SH_FALLBACK),
            ("mh-port", service::MH_PORT),
            ("mh-fallback", service::MH_FALLBACK),
        ];
        let flags = flags
            .iter()
            .filter(|(name, _)| flag(name))
            .fold(0, |all, (_, bit)| all | bit);
        let mut course = Course::default();
        course.mh_table = MhTable::Kernel;
        let (mut turn, mut localities) = (0, HashMap::new());
        if let Some(before) = self.services.remove(&service.id) {
            (course, turn, localities) = (before.course, before.model.turn(), before.localities);
        }
        let layout = course.next(scheduler, entries, turn);
        let model = Model::new(scheduler, flags, layout, Vec::new());
        self.services.insert(
            service.id.clone(),
            Scheduled {
                course,
                model,
                localities,
            },
        );
        Ok(())
    }

    /// What the service's scheduler chooses for a packet.
    fn choose(&mut self, service: &Service, packet: &Packet) -> Result<Option<usize>> {
        let scheduled = self.services.get_mut(&service.id).context("not applied")?;
        let model = &mut scheduled.model;
        model.loads.clone_from(&self.loads);
        model.now = lb_common::abi::ticks(self.now * 1_000_000_000);
        model
            .locality
            .set(scheduled.localities.get(&packet.vip.ip()).copied());
        let request = Request {
            client: fold(packet.client.ip()),
            destination: fold(packet.vip.ip()),
            client_port: packet.client.port(),
        };
        let choice = choose(model, &request);
        if let Some(locality) = model.locality.get() {
            scheduled.localities.insert(packet.vip.ip(), locality);
        }
        Ok(choice.map(|c| c.real() as usize))
    }

    fn add(&mut self, slot: usize, state: State) {
        let active = if state.is_active() { Load::ACTIVE } else { 0 };
        self.loads[slot].conns += Load::ONE + active;
        if after_bind(&self.reals[slot].rules, self.loads[slot]) == Flag::Set {
            self.loads[slot].conns |= Load::OVERLOADED;
        }
    }

    fn remove(&mut self, slot: usize, state: State) {
        let active = if state.is_active() { Load::ACTIVE } else { 0 };
        self.loads[slot].conns -= Load::ONE + active;
        if after_unbind(&self.reals[slot].rules, self.loads[slot]) == Flag::Clear {
            self.loads[slot].conns &= !Load::OVERLOADED;
        }
    }

    fn timeout(&self, state: State) -> u64 {
        let [tcp, fin, udp] = self.setup.as_ref().map_or([900, 120, 300], |s| s.timeouts);
        match state {
            State::Established => tcp,
            State::FinWait => fin,
            State::UdpOnce | State::UdpAssured => udp,
            other => tcp::default_timeout(other),
        }
    }

    fn moved(&mut self, flow: Flow, state: State) {
        let timeout = self.timeout(state);
        let Some(conn) = self.conns.get_mut(&flow) else {
            return;
        };
        let (slot, before) = (conn.slot, conn.state);
        conn.state = state;
        conn.expires = self.now + timeout;
        if state == State::Established
            && let Some(id) = conn.template
            && let Some(template) = self.templates.iter_mut().find(|t| t.id == id)
        {
            template.is_assured = true;
        }
        match (before.is_active(), state.is_active()) {
            (false, true) => self.loads[slot].conns += Load::ACTIVE,
            (true, false) => self.loads[slot].conns -= Load::ACTIVE,
            _ => {}
        }
    }

    /// The real server for a new connection, and its template.
    fn schedule(
        &mut self,
        service: &Service,
        packet: &Packet,
    ) -> Result<Option<(usize, Option<u32>)>> {
        let Some(timeout) = service.persist else {
            return Ok(self.choose(service, packet)?.map(|slot| (slot, None)));
        };
        let client = masked(
            packet.client.ip(),
            service
                .netmask
                .as_ref()
                .map(super::recording::Netmask::prefix),
        );
        let expire_quiescent = self.setup()?.is_on("expire_quiescent_template");
        let reals = &self.reals;
        let expires = self.now + timeout;
        let fits =
            |t: &&mut Template| t.service == service.id && t.client == client && !t.is_orphan;
        if let Some(template) = self.templates.iter_mut().find(fits) {
            let real = &reals[template.slot];
            let is_quiescent = expire_quiescent && real.weight == 0;
            if !(real.is_removed || is_quiescent) {
                template.expires = expires;
                return Ok(Some((template.slot, Some(template.id))));
            }
            template.is_orphan = true;
        }
        let Some(slot) = self.choose(service, packet)? else {
            return Ok(None);
        };
        let id = self.templates.iter().map(|t| t.id).max().unwrap_or(0) + 1;
        let port = if service.listeners().iter().any(|l| l.port == 0) {
            0
        } else {
            packet.vip.port()
        };
        self.templates.push(Template {
            id,
            service: service.id.clone(),
            client,
            vip: SocketAddr::new(packet.vip.ip(), port),
            slot,
            expires,
            is_orphan: false,
            is_assured: false,
        });
        Ok(Some((slot, Some(id))))
    }

    fn view(&self, slot: usize) -> View {
        if self.reals[slot].method == Method::Nat {
            View::Input
        } else {
            View::InputOnly
        }
    }

    /// Whether a SYN on a connection in this state opens another one.
    fn reopens(&self, conn: &Connection) -> bool {
        let Some(setup) = &self.setup else {
            return false;
        };
        let real = &self.reals[conn.slot];
        let has_ended = match setup.conn_reuse() {
            ConnReuse::Never => false,
            ConnReuse::Closed => conn.state.is_closed(),
            ConnReuse::FinWait => {
                conn.state.is_closed() || conn.state == State::FinWait && real.method != Method::Nat
            }
        };
        conn.template.is_none() && has_ended
            || setup.is_on("expire_nodest_conn") && real.weight == 0
    }

    /// Ends the connections of real servers that are removed, if they are not to go on.
    fn expire_removed(&mut self, setup: &Setup) {
        if !setup.is_on("expire_nodest_conn") {
            return;
        }
        let over: Vec<Flow> = self
            .conns
            .iter()
            .filter(|(_, c)| self.reals[c.slot].is_removed)
            .map(|(&flow, _)| flow)
            .collect();
        for flow in over {
            if let Some(conn) = self.conns.remove(&flow) {
                self.remove(conn.slot, conn.state);
            }
        }
    }
}

impl Director for Rules {
    fn apply(&mut self, setup: &Setup) -> Result<()> {
        for known in &mut self.reals {
            known.is_removed = true;
        }
        self.services
            .retain(|id, _| setup.services.iter().any(|s| s.id == *id));
        for service in &setup.services {
            self.apply_service(service)?;
        }
        self.expire_removed(setup);
        self.setup = Some(setup.clone());
        Ok(())
    }

    fn send(&mut self, packet: &Packet) -> Result<Seen> {
        let Some(service) = self.service_of(packet) else {
            return Ok(Seen::Stack);
        };
        let flow = (packet.proto, packet.client, packet.vip);
        let event = Event::of(packet.flag_bits());
        let opens = packet.proto == Proto::Udp || event == Event::Syn;
        if self
            .conns
            .get(&flow)
            .is_some_and(|c| opens && packet.proto == Proto::Tcp && self.reopens(c))
        {
            let over = self.conns.remove(&flow).context("it was there")?;
            self.remove(over.slot, over.state);
        }
        if let Some(conn) = self.conns.get(&flow) {
            let slot = conn.slot;
            let state = match packet.proto {
                Proto::Tcp => tcp::next(self.view(slot), event, conn.state),
                Proto::Udp => State::UdpAssured,
            };
            self.moved(flow, state);
            return Ok(Seen::Real(self.reals[slot].addr));
        }
        let sloppy = self.setup()?.is_on("sloppy_tcp") && event != Event::Rst;
        if !opens && !sloppy {
            return Ok(Seen::Stack);
        }
        let Some((slot, template)) = self.schedule(&service, packet)? else {
            return Ok(if packet.vip.is_ipv6() {
                Seen::Icmp(1, 4)
            } else {
                Seen::Icmp(3, 3)
            });
        };
        let addr = self.reals[slot].addr;
        if service.one_packet {
            return Ok(Seen::Real(addr));
        }
        let state = match packet.proto {
            Proto::Tcp => tcp::next(self.view(slot), event, State::None),
            Proto::Udp => State::UdpOnce,
        };
        let expires = self.now + self.timeout(state);
        self.conns.insert(
            flow,
            Connection {
                slot,
                state,
                expires,
                template,
            },
        );
        self.add(slot, state);
        Ok(Seen::Real(addr))
    }

    fn answer(&mut self, real: IpAddr, packet: &Packet) -> Result<bool> {
        let flow = (packet.proto, packet.client, packet.vip);
        let Some(conn) = self.conns.get(&flow) else {
            return Ok(false);
        };
        if self.reals[conn.slot].addr != real {
            return Ok(false);
        }
        let state = match packet.proto {
            Proto::Tcp => tcp::next(View::Output, Event::of(packet.flag_bits()), conn.state),
            Proto::Udp => State::UdpAssured,
        };
        self.moved(flow, state);
        Ok(true)
    }

    fn advance(&mut self, seconds: u64) -> Result<()> {
        self.now += seconds;
        let over: Vec<Flow> = self
            .conns
            .iter()
            .filter(|(_, c)| c.expires <= self.now)
            .map(|(&f, _)| f)
            .collect();
        // A template lasts until it is looked at and controls nothing.
        for template in &mut self.templates {
            let ends = self
                .conns
                .values()
                .filter(|c| c.template == Some(template.id))
                .map(|c| c.expires);
            let last_end = ends.max().unwrap_or(0);
            while template.expires <= self.now && template.expires < last_end {
                template.expires += TEMPLATE_RETRY;
            }
        }
        self.templates.retain(|t| t.expires > self.now);
        for flow in over {
            if let Some(conn) = self.conns.remove(&flow) {
                self.remove(conn.slot, conn.state);
            }
        }
        Ok(())
    }

    fn counts(&mut self, service: &Service) -> Result<Vec<Count>> {
        let of_service = |real: &super::recording::Real| {
            let slot = self
                .reals
                .iter()
                .position(|k| k.service == service.id && k.id == real.id)?;
            let load = self.loads[slot];
            Some(Count {
                real: real.id.clone(),
                weight: real.weight,
                active: load.active(),
                inactive: load.inactive(),
                persist: self.templates.iter().filter(|t| t.slot == slot).count() as u32,
            })
        };
        service
            .reals
            .iter()
            .map(|real| of_service(real).context("no such real server"))
            .collect()
    }

    fn connections(&mut self) -> Result<Vec<Conn>> {
        let conns = self.conns.iter().map(|(&(proto, client, vip), c)| Conn {
            proto: if proto == Proto::Tcp { "tcp" } else { "udp" }.into(),
            src: client.ip(),
            sport: client.port(),
            dst: vip.ip(),
            dport: vip.port(),
            real: real_name(self.reals[c.slot].addr),
            state: c.state.label().into(),
            expires: (c.expires - self.now) as i64,
        });
        let templates = self.templates.iter().map(|t| Conn {
            proto: "tcp".into(),
            src: t.client,
            sport: 0,
            dst: t.vip.ip(),
            dport: if t.is_orphan { u16::MAX } else { t.vip.port() },
            real: real_name(self.reals[t.slot].addr),
            state: if t.is_assured { "ASSURED" } else { "NONE" }.into(),
            expires: (t.expires - self.now) as i64,
        });
        Ok(conns.chain(templates).collect())
    }
}

/// An address as the schedulers take it.
fn fold(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => (0..4).fold(0, |all, word| all ^ (v6.to_bits() >> (32 * word)) as u32),
    }
}

fn masked(addr: IpAddr, prefix: Option<u8>) -> IpAddr {
    match (addr, prefix) {
        (addr, None) => addr,
        (IpAddr::V4(v4), Some(p)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(p)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        (IpAddr::V6(v6), Some(p)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(p)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}
