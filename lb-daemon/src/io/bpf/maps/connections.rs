//! The connection tables, to be walked and looked up on any thread.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lb_common::abi::{Load, Real, Timeouts};
use lb_common::atomic::Host;
use lb_common::conn::{Loads, Meta, State, Tick};
use lb_common::net::{Be32, Be128, Flow};
use lb_common::sched::threshold;
use lb_common::table::{Bucket, Buckets, Lookup, Recorded, Swept, Table};

use crate::io::bpf::family::{any, of_family};
use crate::io::bpf::region::{self, Region};

/// The buckets of one family's connection table.
#[derive(Clone, Debug)]
pub(super) struct Conns<A> {
    region: Arc<Region>,
    mask: u32,
    family: PhantomData<A>,
}

impl<A> Conns<A> {
    pub(super) const fn new(region: Arc<Region>, mask: u32) -> Self {
        Self {
            region,
            mask,
            family: PhantomData,
        }
    }
}

impl<A: Recorded> Buckets for Conns<A> {
    type Atoms = Host;
    type Addr = A;

    fn bucket(&self, index: u32) -> Option<&Bucket<Host, A>> {
        self.region.bucket(index)
    }
}

/// The connection tables of both families, and what their entries refer to.
///
/// Their buckets are numbered on, those of IPv4 first.
#[derive(Clone, Debug)]
pub(in crate::io::bpf) struct Connections {
    pub(super) conns4: Conns<Be32>,
    pub(super) conns6: Conns<Be128>,
    pub(super) reals: Arc<Region>,
    pub(super) loads: Arc<Region>,
    pub(super) timeouts: Arc<Region>,
    pub(super) key: [u64; 2],
}

/// A bucket of one of the tables.
enum Place {
    V4(u32),
    V6(u32),
}

impl Connections {
    fn table4(&self) -> Table<'_, Conns<Be32>> {
        Table::new(&self.conns4, self.conns4.mask, self.key)
    }

    fn table6(&self) -> Table<'_, Conns<Be128>> {
        Table::new(&self.conns6, self.conns6.mask, self.key)
    }

    fn place(&self, bucket: u32) -> Place {
        match bucket.checked_sub(self.conns4.region.len()) {
            None => Place::V4(bucket),
            Some(bucket) => Place::V6(bucket),
        }
    }

    /// How many buckets they have.
    pub(in crate::io::bpf) fn buckets(&self) -> u32 {
        self.buckets_by_family().into_iter().sum()
    }

    /// How many buckets each of them has, that of IPv4 first.
    pub(in crate::io::bpf) fn buckets_by_family(&self) -> [u32; 2] {
        [self.conns4.region.len(), self.conns6.region.len()]
    }

    /// The connections of a bucket.
    pub(in crate::io::bpf) fn of_bucket(&self, bucket: u32) -> Vec<(Flow<IpAddr>, Meta)> {
        match self.place(bucket) {
            Place::V4(bucket) => {
                let all = self.table4().connections(bucket);
                all.map(|(flow, meta)| (any(&flow), meta)).collect()
            }
            Place::V6(bucket) => {
                let all = self.table6().connections(bucket);
                all.map(|(flow, meta)| (any(&flow), meta)).collect()
            }
        }
    }

    /// Takes out the entries of a bucket whose time has passed, and those that `cut` names.
    pub(in crate::io::bpf) fn sweep_where(
        &self,
        bucket: u32,
        now: Tick,
        cut: impl Fn(Meta) -> bool,
    ) -> Swept {
        match self.place(bucket) {
            Place::V4(bucket) => self.table4().sweep_where(bucket, now, cut, self),
            Place::V6(bucket) => self.table6().sweep_where(bucket, now, cut, self),
        }
    }

    /// The entry of a flow, found as the program finds it.
    pub(in crate::io::bpf) fn entry(&self, flow: &Flow<IpAddr>, now: Tick) -> Option<Meta> {
        if let Some(flow) = of_family::<Be32>(flow) {
            found(&self.table4(), &flow, now)
        } else {
            found(&self.table6(), &of_family::<Be128>(flow)?, now)
        }
    }

    /// The real server of a slot.
    pub(in crate::io::bpf) fn real(&self, slot: u32) -> Option<Real> {
        region::load(self.reals.entry(slot)?)
    }

    /// The timeout of a state under a profile, in ticks.
    pub(in crate::io::bpf) fn timeout(&self, profile: u32, state: State) -> Option<u32> {
        let timeouts: Timeouts = region::load(self.timeouts.entry(profile)?)?;
        timeouts.ticks.get(state as usize).copied()
    }
}

fn found<B: Buckets>(table: &Table<'_, B>, flow: &Flow<B::Addr>, now: Tick) -> Option<Meta> {
    match table.lookup(flow, &table.place(flow), now) {
        Lookup::Hit(hit) => Some(hit.meta),
        Lookup::Miss { .. } => None,
    }
}

/// What the daemon takes out of the table, or changes in it, is reflected in the loads as what the program does.
impl Loads for Connections {
    fn add(&self, real: u32, change: u64) {
        let Some(word) = self.loads.word(real) else {
            return;
        };
        let load = Load {
            conns: word
                .fetch_add(change, Ordering::AcqRel)
                .wrapping_add(change),
        };
        if let Some(real) = load.overloaded().then(|| self.real(real)).flatten()
            && threshold::after_unbind(&real, load) == threshold::Flag::Clear
        {
            word.fetch_and(!Load::OVERLOADED, Ordering::AcqRel);
        }
    }
}
