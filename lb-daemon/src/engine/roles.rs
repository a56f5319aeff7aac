//! Who is master of which virtual addresses, as the engine sees to it: numbers for the data plane, the VRRP thread, what
//! is tracked, and what follows from a change of state.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use tokio::sync::broadcast;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{info, warn};

use super::{Engine, problem};
use crate::api::types::{Problem, VrrpEvent};
use crate::config::Model;
use crate::config::model::{Gateway, Tracked, VirtualRouter};
use crate::core::desired::Desired;
use crate::core::health::Standings;
use crate::core::hop::{NextHop, Reach};
use crate::core::vrrp::{Cause, State};
use crate::io::bpf::Gate;
use crate::io::vrrp::notify::{Notifier, state_name};
use crate::io::vrrp::track::Trackers;
use crate::io::vrrp::{Event, Finding, Notice, Report, Vrrp, VrrpError, Wanted};

/// An address that is on nobody's network (it is reserved for ever): the way to it is the default route.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(240, 0, 0, 1));
/// How many events a slow listener may be behind.
const BEHIND: usize = 256;

/// The virtual routers.
#[derive(Debug)]
pub(super) struct Roles {
    /// The thread; absent while there is nothing to run.
    vrrp: Option<Vrrp>,
    /// Numbers of virtual routers in the data plane, by name.
    numbers: BTreeMap<String, u32>,
    /// Their states, as far as they were told.
    states: BTreeMap<String, State>,
    trackers: Trackers,
    notifier: Notifier,
    events: UnboundedSender<Event>,
    /// What has happened.
    pub(super) inbox: UnboundedReceiver<Event>,
    listeners: broadcast::Sender<VrrpEvent>,
}

impl Default for Roles {
    fn default() -> Self {
        let (events, inbox) = unbounded_channel();
        Self {
            vrrp: None,
            numbers: BTreeMap::new(),
            states: BTreeMap::new(),
            trackers: Trackers::default(),
            notifier: Notifier::default(),
            events,
            inbox,
            listeners: broadcast::Sender::new(BEHIND),
        }
    }
}

impl Roles {
    /// Gives each virtual router a number in the data plane. One that is new is on standby until it is master.
    pub(super) fn number(&mut self, model: &Model, gate: &Gate) {
        for router in &model.vrrp {
            if !self.numbers.contains_key(&router.name) {
                let free = (1..).find(|n| !self.numbers.values().any(|taken| taken == n));
                let number = free.unwrap_or_default();
                gate.close(number);
                self.numbers.insert(router.name.clone(), number);
            }
        }
    }

    /// Gives each service the number of its addresses' virtual router.
    pub(super) fn assign(&self, model: &Model, desired: &mut Desired) {
        if model.vrrp.is_empty() {
            return;
        }
        for service in &mut desired.services {
            let has = |r: &&VirtualRouter| r.all_addresses().any(|a| a.addr == service.id.addr);
            let router = model.vrrp.iter().find(has);
            let number = router.and_then(|r| self.numbers.get(&r.name));
            service.router = number.copied().unwrap_or_default();
        }
    }

    /// Runs the virtual routers of a model.
    pub(super) async fn run(&mut self, model: &Model, gate: &Gate) -> Result<(), Problem> {
        let failed = |err: VrrpError| problem("cannot run the virtual routers", &err);
        let wanted: Vec<Wanted> = model
            .vrrp
            .iter()
            .filter_map(|router| {
                Some(Wanted {
                    number: *self.numbers.get(&router.name)?,
                    router: router.clone(),
                })
            })
            .collect();
        if wanted.is_empty() && self.vrrp.is_none() {
            return Ok(());
        }
        let vrrp = match self.vrrp.take() {
            Some(vrrp) => vrrp,
            None => Vrrp::start_with(gate.clone(), self.events.clone()).map_err(failed)?,
        };
        let done = vrrp.configure(wanted.clone()).await;
        let followed = self.trackers.follow(&wanted, &vrrp);
        self.vrrp = Some(vrrp);
        let named = |name: &String| model.vrrp.iter().any(|r| r.name == *name);
        self.numbers.retain(|name, _| named(name));
        self.states.retain(|name, _| named(name));
        done.and(followed).map_err(failed)
    }

    /// The routers whose answers are tracked.
    pub(super) fn gateways(model: &Model) -> impl Iterator<Item = IpAddr> + '_ {
        let tracked = model.vrrp.iter().flat_map(|router| &router.track);
        tracked.filter_map(|track| gateway(&track.what))
    }

    /// Tells those that track a gateway what the way to it is now.
    pub(super) fn follow_gateway(&self, model: &Model, addr: IpAddr, hop: Option<&NextHop>) {
        let up = match hop.map(|hop| hop.reach) {
            None | Some(Reach::Failed) => false,
            Some(Reach::Reachable) => true,
            Some(Reach::Unknown) => return,
        };
        let Some(vrrp) = &self.vrrp else { return };
        for router in &model.vrrp {
            for (n, track) in router.track.iter().enumerate() {
                if gateway(&track.what) == Some(addr) {
                    self.tell(vrrp, &router.name, n, Finding::Up(up));
                }
            }
        }
    }

    /// Tells those that track a service whether as much of it lives as its quorum asks for. A service without checks is
    /// taken to be well.
    pub(super) fn follow_services(&self, model: &Model, standings: &Standings) {
        let Some(vrrp) = &self.vrrp else { return };
        for router in &model.vrrp {
            for (n, track) in router.track.iter().enumerate() {
                let Tracked::Service(name) = &track.what else {
                    continue;
                };
                let service = model.services.iter().find(|s| s.name == *name);
                let standing = service.and_then(|service| standings.get(service.id));
                let up = standing.is_none_or(|standing| standing.has_quorum);
                self.tell(vrrp, &router.name, n, Finding::Up(up));
            }
        }
    }

    fn tell(&self, vrrp: &Vrrp, router: &str, track: usize, finding: Finding) {
        let told = vrrp.teller().and_then(|t| t.found(router, track, finding));
        if let Err(err) = told {
            warn!("virtual router {router}: {err}");
        }
    }

    /// Whether this director serves an address: it is not virtual, or we are master of it.
    pub(super) fn serves(&self, model: &Model, addr: IpAddr) -> bool {
        let has = |r: &&VirtualRouter| r.all_addresses().any(|a| a.addr == addr);
        let router = model.vrrp.iter().find(has);
        router.is_none_or(|r| self.states.get(&r.name) == Some(&State::Master))
    }

    /// How all are; nothing where there are none.
    pub(super) async fn report(&self) -> Result<Report, Problem> {
        match &self.vrrp {
            None => Ok(Report::default()),
            Some(vrrp) => vrrp
                .report()
                .await
                .map_err(|err| problem("cannot ask the virtual routers", &err)),
        }
    }

    /// Leaves the part of a master to another director; the state before.
    pub(super) async fn failover(&self, name: &str) -> Result<Option<State>, Problem> {
        match &self.vrrp {
            None => Ok(None),
            Some(vrrp) => vrrp
                .failover(name)
                .await
                .map_err(|err| problem("cannot ask the virtual routers", &err)),
        }
    }

    /// What happens from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<VrrpEvent> {
        self.listeners.subscribe()
    }

    /// Leaves everything to the other directors.
    pub(super) fn leave(&mut self) {
        if let Some(vrrp) = self.vrrp.take() {
            tokio::task::block_in_place(|| vrrp.stop());
        }
    }
}

impl Engine {
    /// Follows what has happened to a virtual router.
    pub(super) fn on_vrrp(&mut self, event: Event) {
        match event {
            Event::Entered {
                router,
                from,
                to,
                cause,
                priority,
                faults,
            } => {
                let why = because(cause, &faults);
                let (old, new) = (state_name(from), state_name(to));
                info!("virtual router {router}: {old} → {new}, priority {priority}: {why}");
                self.roles.states.insert(router.clone(), to);
                // Its MAC may be one too many.
                self.tell_crowds();
                if let Some(said) = self.model.vrrp.iter().find(|r| r.name == router) {
                    self.roles
                        .notifier
                        .notify(&said.notify, &router, to, priority);
                }
                // Nobody may be listening.
                let _ = self.roles.listeners.send(VrrpEvent {
                    router,
                    from: old.to_ascii_lowercase(),
                    to: new.to_ascii_lowercase(),
                    priority,
                    why,
                });
            }
            Event::Noticed { router, notice } => {
                let what = match notice {
                    Notice::LowerMaster(other) => {
                        format!("{other} was master with a lower priority, and was put right")
                    }
                    Notice::TwoOwners(other) => {
                        format!("{other} says that it owns the addresses too")
                    }
                    Notice::Overslept(by) => {
                        format!("slept for {} ms while it was its turn", by.as_millis())
                    }
                    Notice::AddressPutBack(addr) => {
                        format!("somebody has removed {addr}, which was put back")
                    }
                    Notice::Claimed(addr, mac) => format!(
                        "{mac} says that it has {addr}, which this director has; the address was announced again; \
                         hint: find the station with this MAC"
                    ),
                    Notice::Failed(what) => what,
                };
                warn!("virtual router {router}: {what}");
            }
            Event::Late(by) => warn!("a timer of VRRP was {} ms late", by.as_millis()),
            Event::Trouble(what) => warn!("VRRP: {what}"),
        }
    }

    /// Leaves everything virtual to the other directors, and runs the programs that are to hear of it.
    pub async fn leave(&mut self) {
        self.roles.leave();
        while let Ok(event) = self.roles.inbox.try_recv() {
            self.on_vrrp(event);
        }
        // Whoever listens hears that there will be nothing more.
        self.roles.listeners = broadcast::Sender::new(1);
        self.roles.notifier.finish().await;
    }
}

/// Why a state was entered, in words.
fn because(cause: Cause, faults: &[String]) -> String {
    match cause {
        Cause::Started if faults.is_empty() => "it was started".to_owned(),
        Cause::Started | Cause::Fault if !faults.is_empty() => faults.join("; "),
        Cause::Started => "it was started".to_owned(),
        Cause::Fault => "something that it needs is down".to_owned(),
        Cause::Stopped => "it was stopped".to_owned(),
        Cause::MasterSilent => "no master was heard".to_owned(),
        Cause::MasterResigned => "the master has left".to_owned(),
        Cause::Owner => "it owns the addresses".to_owned(),
        Cause::Outranked(other) => format!("{other} goes before it"),
        Cause::Healed => "what was down is up".to_owned(),
        Cause::Operator => "an operator wanted it".to_owned(),
        Cause::Group => "its group went that way".to_owned(),
        Cause::Overslept => "it slept for so long that another may be master".to_owned(),
    }
}

/// The address whose next hop tells about a gateway.
fn gateway(tracked: &Tracked) -> Option<IpAddr> {
    match tracked {
        Tracked::Gateway(Gateway::Default) => Some(ELSEWHERE),
        Tracked::Gateway(Gateway::Address(addr)) => Some(*addr),
        Tracked::Interface(_)
        | Tracked::Script(_)
        | Tracked::Process(_)
        | Tracked::File(_)
        | Tracked::Service(_) => None,
    }
}
