//! Stand-ins for the kernel.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use lb_common::abi::Load;
use lb_common::counter::Counter;
use lb_common::net::Proto;

use crate::api::types::Problem;
use crate::core::desired::{Desired, ServiceId, XdpMode};
use crate::core::hop::{Link, Mac, NextHop, Reach, Via};
use crate::core::outlook::{Kept, Outlook, Wanted};
use crate::core::schedule::{Course, Layout};
use crate::engine::network::{Later, Network};
use crate::engine::plane::{Listing, Plane};
use crate::engine::{Engine, Handle, Jobs, Places, Request, begin};
use crate::io::bpf::{
    Applied, ApplyError, Connection, ConnectionFilter, DetachError, Detached, Gate, Hop,
    InterfaceStatus, Maintained, Occupied, Rates, ReadError, RealReading, ServiceReading,
    StartError, Status, TrafficSum,
};
use crate::io::bpf::{mh_table, plan_flags};
use crate::io::health::Checks;
use crate::io::store::Store;

/// What the data plane was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) desired: Desired,
    pub(super) hops: Vec<(IpAddr, Hop)>,
    pub(super) applied: usize,
    pub(super) cut: Vec<(ServiceId, SocketAddr)>,
    pub(super) detached: bool,
    /// How often it was told where to run.
    pub(super) attachments: usize,
    /// Interfaces from which the program was taken.
    pub(super) taken_off: Vec<String>,
    /// The next so many attempts to apply fail.
    pub(super) refuse: usize,
    pub(super) connections: Vec<Connection>,
    /// Another director is the master.
    pub(super) standby: bool,
    /// Where clients are kept.
    pub(super) kept: Option<Kept>,
    /// No connection is active.
    pub(super) idle: bool,
    pub(super) traffic: TrafficSum,
    gate: Option<Gate>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakePlane(Arc<Mutex<Told>>);

impl FakePlane {
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// Names of services and addresses of their real servers.
    pub(super) fn reals(&self) -> Vec<(String, Vec<String>)> {
        let told = self.told();
        let reals = |service: &crate::core::desired::DesiredService| {
            service
                .reals
                .iter()
                .map(|real| format!("{} {}", real.id(), real.effective_weight()))
                .collect()
        };
        told.desired
            .services
            .iter()
            .map(|service| (service.name.clone(), reals(service)))
            .collect()
    }
}

impl Plane for FakePlane {
    fn apply(
        &mut self,
        desired: &Desired,
        hop: &dyn Fn(IpAddr) -> Hop,
    ) -> Result<Applied, ApplyError> {
        let mut told = self.told();
        if told.refuse > 0 {
            told.refuse -= 1;
            let service = desired.services[0].id;
            return Err(ApplyError::TooManyServices { service, max: 1 });
        }
        told.applied += 1;
        told.desired.services.clone_from(&desired.services);
        for service in &desired.services {
            for real in &service.reals {
                let hop = hop(real.addr);
                told.hops.push((real.addr, hop));
            }
        }
        Ok(Applied::default())
    }

    fn gate(&self) -> Gate {
        let mut told = self.told();
        let gate = told.gate.get_or_insert_with(|| Gate::in_memory().unwrap());
        gate.clone()
    }

    fn set_interfaces(
        &mut self,
        interfaces: &[String],
        mode: XdpMode,
        _: bool,
    ) -> Result<(), StartError> {
        let mut told = self.told();
        told.desired.interfaces = interfaces.to_vec();
        told.desired.mode = mode;
        told.attachments += 1;
        told.taken_off.clear();
        Ok(())
    }

    fn taken_off(&self) -> Vec<String> {
        self.told().taken_off.clone()
    }

    fn real_addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn set_next_hop(&mut self, addr: IpAddr, hop: Hop) -> Result<usize, ApplyError> {
        self.told().hops.push((addr, hop));
        Ok(1)
    }

    fn maintain(&mut self, _: Instant, _: Duration) -> Result<Maintained, ReadError> {
        Ok(Maintained::default())
    }

    fn cut(&mut self, service: ServiceId, real: SocketAddr) -> Result<bool, ApplyError> {
        self.told().cut.push((service, real));
        Ok(true)
    }

    fn services(&self) -> Result<Vec<ServiceReading>, ReadError> {
        let told = self.told();
        let reading = |real: &crate::core::desired::DesiredReal| RealReading {
            slot: 0,
            addr: real.id(),
            method: real.method,
            weight: real.effective_weight().into(),
            active: if told.idle { 0 } else { 2 },
            inactive: 5,
            templates: 0,
            overloaded: false,
            down: false,
            resolved: true,
            traffic: told.traffic,
            rates: Rates::default(),
        };
        Ok(told
            .desired
            .services
            .iter()
            .map(|service| ServiceReading {
                id: service.id,
                reals: service.reals.iter().rev().map(reading).collect(),
                draining: Vec::new(),
                traffic: told.traffic,
                rates: Rates::default(),
            })
            .collect())
    }

    fn counters(&self) -> Result<Vec<(Counter, u64)>, ReadError> {
        Ok(Counter::ALL.iter().map(|counter| (*counter, 0)).collect())
    }

    fn connections(&self, filter: ConnectionFilter) -> Result<Listing, ReadError> {
        let all = self.told().connections.clone();
        Ok(Box::new(all.into_iter().filter(move |c| filter.matches(c))))
    }

    fn kept(&self, _: Proto, _: SocketAddr, _: IpAddr) -> Result<Option<Kept>, ReadError> {
        Ok(self.told().kept)
    }

    fn outlook(
        &self,
        proto: Proto,
        vip: SocketAddr,
        _: IpAddr,
    ) -> Result<Option<Outlook>, ReadError> {
        let told = self.told();
        let id = ServiceId::new(proto, vip.ip(), vip.port());
        let Some(service) = told
            .desired
            .services
            .iter()
            .find(|service| service.id == id)
        else {
            return Ok(None);
        };
        let wanted = |real: &crate::core::desired::DesiredReal| Wanted {
            id: real.id(),
            weight: real.effective_weight(),
            upper: real.upper,
            lower: real.lower,
            out: real.down,
        };
        let wanted: Vec<Wanted> = service.reals.iter().rev().map(wanted).collect();
        let nothing = Outlook {
            scheduler: service.scheduler,
            flags: 0,
            entries: Vec::new(),
            course: Course::default(),
            layout: Layout::default(),
            turn: 0,
            loads: HashMap::new(),
            locality: None,
            now: 0,
            standby: told.standby,
        };
        let mut outlook = nothing.changed(
            service.scheduler,
            plan_flags(service),
            mh_table(service),
            &wanted,
        );
        for (n, entry) in (0..).zip(&outlook.entries) {
            let load = Load {
                conns: n * (Load::ONE + Load::ACTIVE),
            };
            outlook.loads.insert(entry.slot, load);
        }
        Ok(Some(outlook))
    }

    fn connection(
        &self,
        proto: Proto,
        client: SocketAddr,
        vip: SocketAddr,
    ) -> Result<Option<Connection>, ReadError> {
        let told = self.told();
        let same = |c: &&Connection| (c.proto, c.client, c.vip) == (proto, client, vip);
        Ok(told.connections.iter().find(same).copied())
    }

    fn status(&self) -> Result<Status, ReadError> {
        let told = self.told();
        let interface = |name: &String| InterfaceStatus {
            name: name.clone(),
            ifindex: 2,
            native: true,
            refused: None,
        };
        Ok(Status {
            adopted: false,
            program: 41,
            interfaces: told.desired.interfaces.iter().map(interface).collect(),
            connections: Occupied {
                used: 10,
                max: 1000,
            },
            connections6: Occupied::default(),
            reals: 0,
            reals_max: 100,
            services: 0,
            services_max: 10,
            memory: 1 << 20,
        })
    }

    fn detach(self: Box<Self>) -> Result<Detached, DetachError> {
        let mut told = self.told();
        told.detached = true;
        Ok(Detached {
            interfaces: told.desired.interfaces.clone(),
            maps: 15,
        })
    }
}

/// `eth0` with 10.0.0.1/24 and the VIP 192.0.2.1; everything else is behind the router 10.0.0.254.
#[derive(Clone, Debug, Default)]
pub(super) struct FakeNetwork {
    watched: Arc<Mutex<BTreeSet<IpAddr>>>,
    /// Another MAC of `eth0` than at first.
    pub(super) mac: Arc<Mutex<Option<Mac>>>,
}

impl FakeNetwork {
    pub(super) fn watched(&self) -> Vec<String> {
        self.watched
            .lock()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn way(addr: IpAddr) -> NextHop {
        let own: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        let near: IpNet = "10.0.0.0/24".parse().unwrap();
        let via = if own.contains(&addr) {
            Via::Local
        } else if near.contains(&addr) {
            Via::OnLink
        } else {
            Via::Gateway("10.0.0.254".parse().unwrap())
        };
        NextHop {
            ifindex: 2,
            interface: "eth0".into(),
            via,
            source: Some(own[0]),
            src_mac: Mac::new([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            mac: Mac::new([2, 0, 0, 0, 0, 9]),
            reach: Reach::Reachable,
        }
    }
}

impl Network for FakeNetwork {
    fn watch(&self, reals: Vec<IpAddr>) -> Later<'_, Result<(), String>> {
        *self.watched.lock().unwrap() = reals.into_iter().collect();
        Box::pin(async { Ok(()) })
    }

    fn hop(&self, real: IpAddr) -> Option<NextHop> {
        self.watched
            .lock()
            .unwrap()
            .contains(&real)
            .then(|| Self::way(real))
    }

    fn resolve(&self, addr: IpAddr) -> Later<'_, Result<NextHop, String>> {
        Box::pin(async move { Ok(Self::way(addr)) })
    }

    fn links(&self) -> Vec<Link> {
        let link = |ifindex, name: &str, mac| Link {
            ifindex,
            name: name.into(),
            mac,
            mtu: 1500,
            up: true,
            noarp: false,
            kind: None,
            below: None,
            controller: None,
            xdp: Some(41),
        };
        vec![
            link(1, "lo", None),
            link(
                2,
                "eth0",
                self.mac.lock().unwrap().or(Mac::new([2, 0, 0, 0, 0, 1])),
            ),
            link(3, "eth1", Mac::new([2, 0, 0, 0, 0, 2])),
        ]
    }

    fn accept_local(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn addresses(&self) -> Vec<(u32, IpNet)> {
        vec![
            (1, "127.0.0.1/8".parse().unwrap()),
            (2, "10.0.0.1/24".parse().unwrap()),
            (2, "192.0.2.1/32".parse().unwrap()),
        ]
    }
}

/// A director without a kernel: files in a directory, and what outlives the daemon.
pub(super) struct Bench {
    pub(super) plane: FakePlane,
    pub(super) network: FakeNetwork,
    pub(super) dir: tempfile::TempDir,
}

pub(super) const FILE: &str = "\
services:
- name: web
  address: 192.0.2.1:80
  scheduler: wrr
  reals: [10.0.0.21, {address: 10.0.0.22, weight: 3}]
";

impl Bench {
    pub(super) fn new(file: &str) -> Self {
        let bench = Self {
            plane: FakePlane::default(),
            network: FakeNetwork::default(),
            dir: tempfile::tempdir().unwrap(),
        };
        bench.write(file);
        bench
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.path().join("lbd.yaml")
    }

    pub(super) fn write(&self, file: &str) {
        std::fs::write(self.config(), file).unwrap();
    }

    pub(super) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A daemon's start; what it remembers is in the directory.
    pub(super) async fn start(&self) -> Result<Engine, Problem> {
        let store = Store::open(&self.state()).unwrap();
        let beginning = begin(Some(&store), &self.config(), Some(&self.network)).await?;
        let places = Places {
            config: self.config(),
            socket: self.dir.path().join("lbd.sock"),
            pins: self.dir.path().join("pins"),
        };
        let mut engine = Engine::new(
            beginning,
            Box::new(self.plane.clone()),
            Box::new(self.network.clone()),
            Checks::start(None, store.clone()).unwrap(),
            store,
            places,
            false,
        );
        engine.settle().await?;
        Ok(engine)
    }
}

/// Asks the engine directly.
pub(super) async fn ask<R: Request>(engine: &mut Engine, request: R) -> Result<R::Answer, Problem> {
    request.perform(engine).await
}

/// A handle and its jobs, for tests of the loop.
pub(super) fn channel() -> (Handle, Jobs) {
    Handle::new()
}
