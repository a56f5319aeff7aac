//! Does a balancer do what the recording says?

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};

use super::deviation::Deviation;
use super::director::{Director, Packet, Seen, Setup, real_name};
use super::recording::{
    Conn, Count, Event, Fate, Match, Method, OnConnection, Opening, Proto, Recording, Service,
};

/// IPVS's timeouts: of TCP, TCP after FIN, and UDP.
const TIMEOUTS: [u64; 3] = [900, 120, 300];

/// How a recording went.
#[derive(Debug, Default)]
pub struct Report {
    /// Expectations that were met.
    pub equal: usize,
    /// What was different without a reason: the event's place from 1 on, and what.
    pub different: Vec<(usize, String)>,
    /// What was different as decided.
    pub deviations: Vec<(usize, Deviation)>,
}

/// Plays a recording.
pub fn play(recording: &Recording, director: &mut dyn Director) -> Result<Report> {
    let setup = Setup {
        services: recording.services.clone(),
        sysctl: recording.sysctl.clone(),
        timeouts: recording.timeouts.unwrap_or(TIMEOUTS),
    };
    director.apply(&setup)?;
    let mut player = Player {
        director,
        setup,
        flows: HashMap::new(),
        strayed: HashMap::new(),
        at: 0,
        report: Report::default(),
    };
    for (i, event) in recording.events.iter().enumerate() {
        player.at = i + 1;
        player
            .event(event)
            .with_context(|| format!("{}: event {}: {event:?}", recording.name, i + 1))?;
    }
    Ok(player.report)
}

struct Player<'a> {
    director: &'a mut dyn Director,
    setup: Setup,
    /// By the number in the recording.
    flows: HashMap<u32, Packet>,
    /// Flows whose state is no longer comparable, because a packet went to this real server by decision.
    strayed: HashMap<(SocketAddr, SocketAddr), String>,
    at: usize,
    report: Report,
}

impl Player<'_> {
    fn event(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Open(opening) => self.open(opening, true),
            Event::Syn(opening) => self.open(opening, false),
            Event::Pkt {
                src,
                sport,
                flags,
                svc,
                m,
                dport,
                expect,
            } => {
                let vip = self.listener(svc.as_deref(), *m, *dport)?;
                let packet = Packet {
                    proto: Proto::Tcp,
                    client: (*src, *sport).into(),
                    vip: (vip.vip, vip.port).into(),
                    flags: flags.clone(),
                };
                self.send(&packet, expect.as_ref()).map(|_| ())
            }
            Event::Data(on) => self.on_connection(on, "PA").map(|_| ()),
            Event::Fin(on) => self.on_connection(on, "FA").map(|_| ()),
            Event::Rst(on) => self.on_connection(on, "R").map(|_| ()),
            Event::Close(on) => self.close(on),
            Event::Counts { expect } => self.counts(&expect.services),
            Event::Conns { expect } => self.conns(&expect.conns),
            Event::Advance { s } => self.director.advance(*s),
            change => {
                self.change(change)?;
                self.director.apply(&self.setup)
            }
        }
    }

    fn change(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::AddReal { svc, real } => self.service(svc.as_deref())?.reals.push(real.clone()),
            Event::DelReal { svc, real } => self
                .service(svc.as_deref())?
                .reals
                .retain(|r| r.id != *real),
            Event::EditReal { svc, real, set } => {
                let service = self.service(svc.as_deref())?;
                let found = service.reals.iter_mut().find(|r| r.id == *real);
                let found = found.with_context(|| format!("no real server {real}"))?;
                found.weight = set.weight.unwrap_or(found.weight);
                found.u_threshold = set.u_threshold.unwrap_or(found.u_threshold);
                found.l_threshold = set.l_threshold.unwrap_or(found.l_threshold);
                found.fwd = set.fwd.unwrap_or(found.fwd);
            }
            Event::AddService { service } => self.setup.services.push(service.clone()),
            Event::EditService { svc, set } => {
                let service = self.service(svc.as_deref())?;
                if let Some(sched) = &set.sched {
                    service.sched.clone_from(sched);
                }
                if let Some(flags) = &set.sched_flags {
                    service.sched_flags.clone_from(flags);
                }
                if set.persist.is_some() {
                    service.persist = set.persist;
                }
                if set.netmask.is_some() {
                    service.netmask.clone_from(&set.netmask);
                }
            }
            Event::DelService { svc } => {
                let id = self.service(svc.as_deref())?.id.clone();
                self.setup.services.retain(|s| s.id != id);
            }
            Event::Sysctl { key, value } => {
                self.setup.sysctl.insert(key.clone(), *value);
            }
            Event::Timeouts { set } => self.setup.timeouts = *set,
            _ => {}
        }
        Ok(())
    }

    /// The named service, or the first one.
    fn service(&mut self, id: Option<&str>) -> Result<&mut Service> {
        let services = &mut self.setup.services;
        let at = match id {
            Some(id) => services.iter().position(|s| s.id == id),
            None => Some(0),
        };
        at.and_then(|at| services.get_mut(at))
            .with_context(|| format!("no service {id:?}"))
    }

    fn listener(
        &mut self,
        svc: Option<&str>,
        m: Option<usize>,
        dport: Option<u16>,
    ) -> Result<Match> {
        // A service that was removed may still be sent to: its address is that of the flows before.
        let listeners = self.service(svc).map(|s| s.listeners());
        let mut listener = match listeners {
            Ok(listeners) => listeners
                .get(m.unwrap_or(0))
                .copied()
                .context("no such match")?,
            Err(error) => {
                let known = self.flows.values().next().ok_or(error)?;
                Match {
                    vip: known.vip.ip(),
                    proto: known.proto,
                    port: known.vip.port(),
                }
            }
        };
        listener.port = dport.unwrap_or(listener.port);
        Ok(listener)
    }

    fn open(&mut self, opening: &Opening, whole: bool) -> Result<()> {
        let listener = self.listener(opening.svc.as_deref(), opening.m, opening.dport)?;
        let flow = Packet {
            proto: listener.proto,
            client: (opening.src, opening.sport).into(),
            vip: (listener.vip, listener.port).into(),
            flags: String::new(),
        };
        self.flows.insert(opening.c, flow.clone());
        let seen = self.send(&flow.with("S"), opening.expect.as_ref())?;
        let (true, Proto::Tcp, Seen::Real(real)) = (whole, flow.proto, seen) else {
            return Ok(());
        };
        self.answer(real, &flow.with("SA"), opening.expect.as_ref())?;
        let ack = self.director.send(&flow.with("A"))?;
        let ack_expected = opening
            .expect
            .as_ref()
            .and_then(|e| e.ack_real.clone())
            .unwrap_or_else(|| real_name(real));
        self.check(ack == seen || ack.to_string() == ack_expected, || {
            format!(
                "the ACK of {} went to {ack}, not to {ack_expected}",
                flow.client
            )
        });
        Ok(())
    }

    fn close(&mut self, on: &OnConnection) -> Result<()> {
        let Seen::Real(real) = self.on_connection(on, "FA")? else {
            return Ok(());
        };
        let flow = self.flow(on.c)?;
        self.answer(real, &flow.with("FA"), on.expect.as_ref())?;
        self.director.send(&flow.with("A"))?;
        Ok(())
    }

    /// The real server's answer, if it passes the director.
    fn answer(&mut self, real: IpAddr, packet: &Packet, expect: Option<&Fate>) -> Result<()> {
        if self.method_of(real, packet) != Some(Method::Nat) {
            return Ok(());
        }
        let translated = self.director.answer(real, packet)?;
        let expected = expect.and_then(|e| e.reply.as_deref()) != Some("not translated");
        self.check(translated == expected, || {
            format!(
                "the answer of {} to {} was translated: {translated}",
                real_name(real),
                packet.client
            )
        });
        Ok(())
    }

    fn method_of(&self, real: IpAddr, packet: &Packet) -> Option<Method> {
        let serves = |s: &&Service| {
            let fits = |l: &Match| {
                l.vip == packet.vip.ip()
                    && l.proto == packet.proto
                    && (l.port == packet.vip.port() || l.port == 0)
            };
            s.listeners().iter().any(fits)
        };
        let service = self.setup.services.iter().find(serves)?;
        service
            .reals
            .iter()
            .find(|r| r.id == real_name(real))
            .map(|r| r.fwd)
    }

    fn flow(&self, c: u32) -> Result<Packet> {
        self.flows
            .get(&c)
            .cloned()
            .with_context(|| format!("no connection {c}"))
    }

    fn on_connection(&mut self, on: &OnConnection, flags: &str) -> Result<Seen> {
        let packet = self.flow(on.c)?.with(flags);
        self.send(&packet, on.expect.as_ref())
    }

    fn send(&mut self, packet: &Packet, expect: Option<&Fate>) -> Result<Seen> {
        let seen = self.director.send(packet)?;
        let Some(expect) = expect else {
            return Ok(seen);
        };
        if is_as(seen, expect) {
            self.report.equal += 1;
        } else if let Some(deviation) = Deviation::of_packet(packet, seen, expect, &self.setup) {
            self.strayed
                .insert((packet.client, packet.vip), seen.to_string());
            self.report.deviations.push((self.at, deviation));
        } else {
            let wanted = expect
                .real
                .as_deref()
                .or(expect.reject.as_deref())
                .unwrap_or("nothing");
            self.differ(format!(
                "{} {} -> {} went to {seen}, not to {wanted}",
                packet.flags, packet.client, packet.vip
            ));
        }
        Ok(seen)
    }

    fn counts(&mut self, expect: &BTreeMap<String, Vec<Count>>) -> Result<()> {
        for (id, wanted) in expect {
            let found = self.setup.services.iter().find(|s| s.id == *id).cloned();
            let service = found.with_context(|| format!("no service {id}"))?;
            let (mut wanted, mut counts) = (wanted.clone(), self.director.counts(&service)?);
            wanted.sort();
            counts.sort();
            if wanted != counts && self.is_astray(&wanted, &counts) {
                self.report
                    .deviations
                    .push((self.at, Deviation::RemovedDrains));
                continue;
            }
            self.check(wanted == counts, || {
                format!(
                    "{id}: counts {}, not {}",
                    show_counts(&counts),
                    show_counts(&wanted)
                )
            });
        }
        Ok(())
    }

    /// Whether loads differ by no more than the flows at each real server whose states are no longer comparable.
    fn is_astray(&self, wanted: &[Count], found: &[Count]) -> bool {
        let fits = |w: &Count, f: &Count| {
            let astray = self.strayed.values().filter(|r| **r == w.real).count();
            let near = |a: u32, b: u32| a.abs_diff(b) as usize <= astray;
            (&w.real, w.weight) == (&f.real, f.weight)
                && near(w.active, f.active)
                && near(w.inactive, f.inactive)
                && near(w.persist, f.persist)
        };
        wanted.len() == found.len() && wanted.iter().zip(found).all(|(w, f)| fits(w, f))
    }

    fn conns(&mut self, expect: &[Conn]) -> Result<()> {
        let mut wanted = expect.to_vec();
        let mut found = self.director.connections()?;
        // With a flow whose state strayed goes the template that waits for it to end.
        let strayed = |c: &Conn| {
            let (client, vip) = (
                SocketAddr::new(c.src, c.sport),
                SocketAddr::new(c.dst, c.dport),
            );
            let is_template_of = |real: &String| c.sport == 0 && *real == c.real;
            self.strayed.contains_key(&(client, vip)) || self.strayed.values().any(is_template_of)
        };
        wanted.retain(|c| !strayed(c));
        found.retain(|c| !strayed(c));
        wanted.sort();
        found.sort();
        let missing: Vec<&Conn> = wanted
            .iter()
            .filter(|w| !found.iter().any(|f| is_same(f, w)))
            .collect();
        let surplus: Vec<&Conn> = found
            .iter()
            .filter(|f| !wanted.iter().any(|w| is_same(f, w)))
            .collect();
        let is_equal = missing.is_empty() && surplus.is_empty() && wanted.len() == found.len();
        let text = format!("connections: not there {missing:#?}, but {surplus:#?}");
        self.check(is_equal, || text);
        Ok(())
    }

    fn check(&mut self, is_equal: bool, text: impl FnOnce() -> String) {
        if is_equal {
            self.report.equal += 1;
        } else {
            self.differ(text());
        }
    }

    fn differ(&mut self, text: String) {
        self.report.different.push((self.at, text));
    }
}

/// Whether a packet went where it was to go. What the director's stack answers is not ours to say.
fn is_as(seen: Seen, expect: &Fate) -> bool {
    match (&expect.real, expect.reject.as_deref()) {
        (Some(real), _) => seen.to_string() == *real,
        (None, Some("silent")) => matches!(seen, Seen::Silent | Seen::Stack),
        (None, Some(reject)) if reject.starts_with("tcp:") => seen == Seen::Stack,
        (None, Some(reject)) => seen.to_string() == reject,
        (None, None) => !matches!(seen, Seen::Real(_)),
    }
}

/// Whether two lines of a listing say the same; the second may turn between two readings.
fn is_same(a: &Conn, b: &Conn) -> bool {
    let apart = (a.expires - b.expires).abs();
    // A template that waits for its connections is looked at every minute, and the kernel's timers are late.
    let tolerance = if a.sport == 0 { 60 } else { 1 };
    apart <= tolerance
        && Conn {
            expires: b.expires,
            ..a.clone()
        } == *b
}

fn show_counts(counts: &[Count]) -> String {
    let one = |c: &Count| {
        let persist = if c.persist > 0 {
            format!("+{}", c.persist)
        } else {
            String::new()
        };
        format!(
            "{} w{} {}/{}{persist}",
            c.real, c.weight, c.active, c.inactive
        )
    };
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}
