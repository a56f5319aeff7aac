//! What would the data plane do? The whole of it on the host, over plain vectors.
//!
//! Tests, `lbctl explain` and `lbctl simulate` send packets through the very code that runs in the driver. The memory of a
//! [`World`] has the values of the maps, so what is set up here can be copied into them, word by word.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec;
use std::vec::Vec;

use crate::abi::{
    CpuState, Datagram, DatagramKey, FILTER_REAL, FILTER_WORDS, LOADS_LEN, Load, Locality,
    LocalityKey, MEMBERS_LEN, Member, Method, OWN_MACS, OwnMacs, Plan, Real, RealKey, ServiceKey,
    Settings, TemplateKey, Timeouts, Traffic, filter_cell, service, setting,
};
use crate::atomic::Host;
use crate::conn::Loads;
use crate::env::{Env, Query, Route};
use crate::filter;
use crate::forward::{self, Outcome};
use crate::load;
use crate::net::Be32;
use crate::packet::wire::MacPair;
use crate::packet::{Ip, SliceFrame};
use crate::sched::{Pool, Scheduler, Step};
use crate::table::{Bucket, Buckets, Table};
use crate::template::Template;

/// Room in front of a frame, as drivers leave it.
const HEADROOM: usize = 256;

/// The way to a host that the routing table knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Index of the interface.
    pub ifindex: u32,
    /// Addresses of the next hop and of the interface.
    pub macs: MacPair,
    /// The longest packet that fits.
    pub mtu: u16,
}

/// The lists of a service's generation, as its scheduler wants them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Lists<'a> {
    /// Its members; those with a weight above zero come first.
    pub members: &'a [Member],
    /// Words of its schedule.
    pub schedule: &'a [u64],
    /// Words of its table for flows that are not recorded.
    pub fallback: &'a [u64],
}

/// The surroundings of the data plane for one family of addresses, in memory.
#[derive(Debug)]
pub struct World<A: Ip = Be32> {
    /// What holds for the whole data plane.
    pub settings: Settings,
    /// The clock, in nanoseconds: it stands still until it is moved.
    pub clock: Cell<u64>,
    /// The interface by which packets come.
    pub ingress: Cell<u32>,
    /// Ways by destination; all others are the stack's.
    pub routes: HashMap<A, Path>,
    /// Real servers by slot.
    pub reals: Vec<Real>,
    /// Services by key.
    pub services: HashMap<ServiceKey<A>, u32>,
    /// The plans of generations.
    pub plans: Vec<Plan>,
    /// The turns of generations.
    pub turns: Vec<AtomicU64>,
    /// Services' current generations.
    pub current: Vec<u32>,
    /// The virtual routers of which another director is master.
    pub standby: Vec<u32>,
    /// The MACs of interfaces, by their place; at first every frame is for this host.
    pub own_macs: Vec<OwnMacs>,
    /// Members of generations.
    pub members: Box<[Member; MEMBERS_LEN as usize]>,
    /// Words of schedules.
    pub slots: Vec<u64>,
    /// Timeouts by profile.
    pub timeouts: Vec<Timeouts>,
    /// The services of NAT real servers.
    pub nat_reals: HashMap<RealKey<A>, ServiceKey<A>>,
    /// Which addresses concern us.
    pub filter: Vec<u64>,
    buckets: Vec<Bucket<Host, A>>,
    loads: Box<[AtomicU64; LOADS_LEN as usize]>,
    locality: RefCell<HashMap<LocalityKey<A>, Locality>>,
    templates: RefCell<HashMap<TemplateKey<A>, Template>>,
    datagrams: RefCell<HashMap<DatagramKey<A>, Datagram<A>>>,
    traffic: RefCell<HashMap<u32, Traffic>>,
    cpu: RefCell<CpuState>,
    random: Cell<u32>,
}

impl<A: Ip> World<A> {
    /// A director without a service, whose connection table has so many buckets (a power of two).
    pub fn new(buckets: u32) -> Self {
        Self {
            settings: Settings {
                abi: crate::abi::ABI,
                bucket_mask: buckets - 1,
                bucket_mask6: buckets - 1,
                hash_key: [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344],
                ..Settings::default()
            },
            clock: Cell::new(1 << 40),
            ingress: Cell::new(1),
            routes: HashMap::new(),
            reals: Vec::new(),
            services: HashMap::new(),
            plans: Vec::new(),
            turns: Vec::new(),
            current: Vec::new(),
            standby: Vec::new(),
            own_macs: vec![OwnMacs::default(); OWN_MACS as usize],
            members: zeroed(|_| Member::default()),
            slots: Vec::new(),
            timeouts: vec![Timeouts::ipvs()],
            nat_reals: HashMap::new(),
            filter: vec![0; FILTER_WORDS as usize],
            buckets: (0..buckets).map(|_| Bucket::empty()).collect(),
            loads: zeroed(|_| AtomicU64::new(0)),
            locality: RefCell::new(HashMap::new()),
            templates: RefCell::new(HashMap::new()),
            datagrams: RefCell::new(HashMap::new()),
            traffic: RefCell::new(HashMap::new()),
            cpu: RefCell::new(CpuState::default()),
            random: Cell::new(1),
        }
    }

    /// Adds a service with a scheduler that needs no schedule, and its real servers in the order in which it lists them (the
    /// newest first), each with its weight. The service's fallback table has each of them once.
    pub fn add_service(&mut self, key: ServiceKey<A>, scheduler: Scheduler, reals: &[(Real, u16)]) {
        let members: Vec<Member> = reals
            .iter()
            .map(|(real, weight)| Member {
                real: self.add_real(key, real),
                weight: *weight,
                last_weight: *weight,
            })
            .collect();
        let places: Vec<u64> = (0..reals.len() as u64).collect();
        let fallback: Vec<u64> = places
            .chunks(4)
            .map(|four| four.iter().rev().fold(0, |word, place| word << 16 | place))
            .collect();
        let plan = Plan {
            scheduler: scheduler as u8,
            eligible_len: reals.iter().filter(|(_, weight)| *weight > 0).count() as u32,
            fallback_len: reals.len() as u32,
            ..Plan::default()
        };
        let lists = Lists {
            members: &members,
            schedule: &[],
            fallback: &fallback,
        };
        self.set_generation(key, plan, lists);
    }

    /// The index of a service, which is added without a generation if there is none.
    pub fn index_of(&mut self, key: ServiceKey<A>) -> u32 {
        let next = self.current.len() as u32;
        let index = *self.services.entry(key).or_insert(next);
        if index == next {
            self.current.push(u32::MAX);
            for (word, bits) in filter::cells(&key) {
                self.filter[word as usize] |= bits;
            }
            if key.host_bits != 0 {
                self.settings.networks |= 1 << key.host_bits;
            }
        }
        index
    }

    /// Adds a real server to a service, which does not list it yet: its slot.
    pub fn add_real(&mut self, key: ServiceKey<A>, real: &Real) -> u32 {
        let slot = self.reals.len() as u32;
        let service = self.index_of(key);
        self.reals.push(Real {
            service,
            proto: key.proto,
            ..*real
        });
        if real.method == Method::Nat as u8 {
            self.add_nat_real(key, real);
        }
        slot
    }

    /// Makes a plan a service's current one, its lists laid out behind those of all plans so far.
    pub fn set_generation(&mut self, key: ServiceKey<A>, plan: Plan, lists: Lists<'_>) {
        let service = self.index_of(key);
        let members_off = self.plans.iter().map(|plan| plan.members_len).sum::<u32>();
        let first = members_off as usize..members_off as usize + lists.members.len();
        self.members[first].copy_from_slice(lists.members);
        let slots_off = self.slots.len() as u32;
        self.slots.extend(lists.schedule);
        let fallback_off = self.slots.len() as u32;
        self.slots.extend(lists.fallback);
        if plan.flags & service::ONE_PACKET != 0 {
            self.settings.flags |= setting::HAS_ONE_PACKET;
        }
        self.current[service as usize] = self.plans.len() as u32;
        self.turns.push(AtomicU64::new(plan.start.into()));
        self.plans.push(Plan {
            members_len: lists.members.len() as u32,
            members_off,
            slots_off,
            slots_len: lists.schedule.len() as u32,
            fallback_off,
            service,
            ..plan
        });
    }

    fn add_nat_real(&mut self, service: ServiceKey<A>, real: &Real) {
        let key = RealKey {
            addr: A::of_real(real),
            port: real.port,
            proto: service.proto,
            pad: 0,
        };
        self.nat_reals
            .entry(key)
            .and_modify(|of| *of = ServiceKey::default())
            .or_insert(service);
        self.settings.flags |= A::HAS_NAT;
        let (word, shift) = filter_cell(key.addr.folded());
        self.filter[word as usize] |= FILTER_REAL << shift;
    }

    /// Sends a frame through the data plane: how it ended, and what it is then.
    pub fn send(&self, frame: &[u8]) -> (Outcome, Vec<u8>) {
        self.send_with_room(frame, HEADROOM)
    }

    /// Sends a frame that has so much room in front.
    pub fn send_with_room(&self, frame: &[u8], room: usize) -> (Outcome, Vec<u8>) {
        let mut buffer = vec![0; room + frame.len()];
        buffer[room..].copy_from_slice(frame);
        let mut frame = SliceFrame::new(&mut buffer, room);
        let outcome = forward::handle(self, &mut frame);
        (outcome, frame.as_slice().to_vec())
    }

    /// The connection table.
    pub fn table(&self) -> Table<'_, Self> {
        Table::new(self, A::bucket_mask(&self.settings), self.settings.hash_key)
    }

    /// The connections of a real server.
    pub fn load_of(&self, slot: u32) -> Load {
        let conns = self.loads[(slot & (LOADS_LEN - 1)) as usize].load(Ordering::SeqCst);
        Load { conns }
    }

    /// The persistent clients that are kept.
    pub fn templates(&self) -> Vec<(TemplateKey<A>, Template)> {
        let templates = self.templates.borrow();
        templates.iter().map(|(key, kept)| (*key, *kept)).collect()
    }

    /// What a real server was sent and sent back.
    pub fn traffic_of(&self, slot: u32) -> Traffic {
        self.traffic
            .borrow()
            .get(&slot)
            .copied()
            .unwrap_or_default()
    }
}

/// How many persistent clients a director is told from others: few, so that there can be too many.
pub const MAX_TEMPLATES: usize = 8;

/// A large array, made where it is to be.
fn zeroed<T, const N: usize>(make: impl Fn(usize) -> T) -> Box<[T; N]> {
    let values: Box<[T]> = (0..N).map(make).collect();
    match values.try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("it was made of that length"),
    }
}

impl<A: Ip> Buckets for World<A> {
    type Atoms = Host;
    type Addr = A;

    fn bucket(&self, index: u32) -> Option<&Bucket<Host, A>> {
        self.buckets.get(index as usize)
    }
}

impl<A: Ip> Loads for World<A> {
    fn add(&self, real: u32, change: u64) {
        if let Some(record) = self.real(real) {
            load::add(
                &self.loads[(real & (LOADS_LEN - 1)) as usize],
                record,
                change,
            );
        }
    }
}

impl<A: Ip> Env for World<A> {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn clock(&self) -> u64 {
        self.clock.get()
    }

    fn random(&self) -> u32 {
        // Xorshift (Marsaglia, 2003): good enough to model a random number, and the same in each run.
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }

    fn filter(&self, word: u32) -> u64 {
        self.filter.get(word as usize).copied().unwrap_or_default()
    }

    fn real(&self, slot: u32) -> Option<&Real> {
        self.reals.get(slot as usize)
    }

    fn timeouts(&self, profile: u32) -> Option<&Timeouts> {
        self.timeouts.get(profile as usize)
    }

    fn service(&self, key: &ServiceKey<A>) -> Option<u32> {
        self.services.get(key).copied()
    }

    fn current(&self, service: u32) -> Option<u32> {
        self.current.get(service as usize).copied()
    }

    fn plan(&self, generation: u32) -> Option<&Plan> {
        self.plans.get(generation as usize)
    }

    fn standby(&self, router: u32) -> bool {
        self.standby.contains(&router)
    }

    fn own_macs(&self, place: u32) -> Option<&OwnMacs> {
        self.own_macs.get(place as usize)
    }

    fn turn(&self, generation: u32) -> Option<&AtomicU64> {
        self.turns.get(generation as usize)
    }

    fn members(&self) -> Option<&[Member; MEMBERS_LEN as usize]> {
        Some(&self.members)
    }

    fn slots(&self, index: u32) -> u64 {
        self.slots.get(index as usize).copied().unwrap_or_default()
    }

    fn loads(&self) -> Option<&[AtomicU64; LOADS_LEN as usize]> {
        Some(&self.loads)
    }

    fn locality(&self, key: &LocalityKey<A>) -> Option<Locality> {
        self.locality.borrow().get(key).copied()
    }

    fn remember(&self, key: &LocalityKey<A>, locality: &Locality) {
        self.locality.borrow_mut().insert(*key, *locality);
    }

    fn template(&self, key: &TemplateKey<A>) -> Option<Template> {
        self.templates.borrow().get(key).copied()
    }

    fn add_template(&self, key: &TemplateKey<A>, template: Template) -> bool {
        let mut templates = self.templates.borrow_mut();
        let has_room = !templates.contains_key(key) && templates.len() < MAX_TEMPLATES;
        if has_room {
            templates.insert(*key, template);
        }
        has_room
    }

    fn put_template(&self, key: &TemplateKey<A>, template: Template) -> bool {
        let mut templates = self.templates.borrow_mut();
        let has_room = templates.contains_key(key) || templates.len() < MAX_TEMPLATES;
        if has_room {
            templates.insert(*key, template);
        }
        has_room
    }

    fn nat_real(&self, key: &RealKey<A>) -> Option<ServiceKey<A>> {
        self.nat_reals.get(key).copied()
    }

    fn datagram(&self, key: &DatagramKey<A>) -> Option<Datagram<A>> {
        self.datagrams.borrow().get(key).copied()
    }

    fn keep_datagram(&self, key: &DatagramKey<A>, datagram: &Datagram<A>) {
        self.datagrams.borrow_mut().insert(*key, *datagram);
    }

    fn traffic(&self, real: u32, change: impl FnOnce(&mut Traffic)) {
        change(self.traffic.borrow_mut().entry(real).or_default());
    }

    fn cpu<R>(&self, change: impl FnOnce(&mut CpuState) -> R) -> Option<R> {
        Some(change(&mut self.cpu.borrow_mut()))
    }

    fn ingress(&self) -> u32 {
        self.ingress.get()
    }

    fn route(&self, query: &Query<A>) -> Route {
        match self.routes.get(&query.dst) {
            Some(path) if query.len > path.mtu => Route::TooBig,
            Some(Path { ifindex, macs, .. }) => Route::Via {
                ifindex: *ifindex,
                macs: *macs,
            },
            None => Route::Stack,
        }
    }

    fn repeat<P: Pool, S: Step<P>>(&self, pool: &P, times: u32, mut step: S) -> S {
        for round in 0..times {
            if !step.step(pool, round) {
                break;
            }
        }
        step
    }
}
