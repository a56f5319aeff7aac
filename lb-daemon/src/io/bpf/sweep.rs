//! Walking the connection table: freeing what has expired, cutting what shall go, and counting what is there.
//!
//! The walk goes in slices, so that the daemon's loop never waits for it, and is over the whole table every few
//! seconds. The program frees nothing by itself, though it takes the places of expired entries when it needs them.
//!
//! A daemon that is killed between taking an entry out and subtracting it from its real server's load leaves that load
//! too high for ever. So each walk also adds up what the entries should make of each load. A load that is off in two
//! walks by the same is put right, if during the second nothing happened at the real server: its load is the
//! same at both ends, and it was given no connection meanwhile, so that none can have ended either.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use lb_common::abi::Load;
use lb_common::conn::{Meta, Tick};

use super::clients::{self, Clients};
use super::error::MapError;
use super::maps::{Connections, Maps};

/// How long one walk over the table takes.
const WALK: Duration = Duration::from_secs(3);

/// Buckets between two looks at the clock.
const STRIDE: u32 = 512;

/// A walk over the connection table, again and again.
#[derive(Debug)]
pub(super) struct Sweeper {
    table: Connections,
    /// The bucket that comes next.
    cursor: u32,
    /// When the last slice began.
    last: Option<Instant>,
    /// What the entries seen in this walk add up to, by real server.
    sums: Vec<u64>,
    /// The same of the last whole walk.
    found: Vec<u64>,
    /// The loads when this walk began.
    loads: Vec<u64>,
    /// Loads that were off in the last walk, by slot.
    off: HashMap<u32, Off>,
    /// Entries seen in this walk, those of IPv4 first.
    seen: [u64; 2],
    /// Entries seen in the last whole walk.
    live: [u64; 2],
    /// Real servers whose entries are taken out whatever their time.
    cut: HashSet<u32>,
    /// The persistent clients.
    clients: Clients,
}

/// A load that is not what the entries add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Off {
    /// What is to be added to it.
    by: u64,
    /// Connections that the real server had been given by then.
    given: u64,
}

/// What a slice did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slice {
    /// Entries taken out.
    pub freed: u32,
    /// Loads put right.
    pub mended: u32,
    /// It ended a walk.
    pub walk_done: bool,
}

impl Sweeper {
    /// Begins at the first bucket.
    pub(super) fn new(maps: &Maps) -> Result<Self, MapError> {
        let reals = maps.reals_len() as usize;
        let mut sweeper = Self {
            table: maps.connections()?,
            cursor: 0,
            last: None,
            sums: vec![0; reals],
            found: vec![u64::MAX; reals],
            loads: vec![0; reals],
            off: HashMap::new(),
            seen: [0; 2],
            live: [0; 2],
            cut: HashSet::new(),
            clients: Clients::new(maps.templates()),
        };
        sweeper.begin_walk(maps)?;
        Ok(sweeper)
    }

    /// Entries in the tables, as of the last whole walk, those of IPv4 first.
    pub(super) fn live(&self) -> [u64; 2] {
        self.live
    }

    /// Takes out all entries of these real servers in the walk that begins next, and goes on until there is none.
    pub(super) fn cut(&mut self, slots: impl IntoIterator<Item = u32>) {
        self.cut.extend(slots);
    }

    /// Goes on with the walk, as far as is due since the last slice, but no longer than `budget`.
    pub(super) fn slice(
        &mut self,
        maps: &mut Maps,
        now: Instant,
        tick: Tick,
        budget: Duration,
    ) -> Result<Slice, MapError> {
        let due = self.due(now);
        let began = crate::io::clock::now();
        let mut slice = Slice::default();
        let mut walked = 0;
        while walked < due {
            let end = (self.cursor + STRIDE.min(due - walked)).min(self.table.buckets());
            walked += end - self.cursor;
            slice.freed += self.sweep(maps, end, tick)?;
            if self.cursor >= self.table.buckets() {
                self.clients.end_walk(tick);
                slice.mended += self.end_walk(maps)?;
                slice.walk_done = true;
                break;
            }
            if crate::io::clock::now() - began >= budget {
                break;
            }
        }
        self.clients.slice(tick, budget)?;
        Ok(slice)
    }

    /// Buckets that have become due since the last slice.
    fn due(&mut self, now: Instant) -> u32 {
        let passed = self
            .last
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        if !self.cut.is_empty() {
            return self.table.buckets();
        }
        let share = passed.as_secs_f64() / WALK.as_secs_f64();
        (f64::from(self.table.buckets()) * share.min(1.0)).ceil() as u32
    }

    fn sweep(&mut self, maps: &Maps, end: u32, tick: Tick) -> Result<u32, MapError> {
        if self.clients.wants_to_see() {
            self.see_clients(maps, end)?;
        }
        let sums = Cell::from_mut(self.sums.as_mut_slice()).as_slice_of_cells();
        let cut = &self.cut;
        let stays_not = |meta: Meta| {
            if cut.contains(&meta.real()) {
                return true;
            }
            if let Some(sum) = sums.get(meta.real() as usize) {
                sum.set(sum.get().wrapping_add(meta.load()));
            }
            false
        };
        let [of_ipv4, _] = self.table.buckets_by_family();
        let mut freed = 0;
        for bucket in self.cursor..end {
            let swept = self.table.sweep_where(bucket, tick, stays_not);
            freed += swept.freed;
            let [seen4, seen6] = &mut self.seen;
            let seen = if bucket < of_ipv4 { seen4 } else { seen6 };
            *seen += u64::from(swept.live);
        }
        self.cursor = end;
        Ok(freed)
    }

    /// Notes the connections of persistent clients, also those that are over and about to be taken out.
    fn see_clients(&mut self, maps: &Maps, end: u32) -> Result<(), MapError> {
        let table = &self.table;
        for (flow, meta) in (self.cursor..end).flat_map(|bucket| table.of_bucket(bucket)) {
            if meta.template().is_some()
                && let Some(real) = self.table.real(meta.real())
            {
                let mask = clients::mask(maps, real.service)?;
                self.clients.see(real.service, mask, &flow, meta);
            }
        }
        Ok(())
    }

    /// Whether the last walk found a connection of a real server, or a client that is held to it.
    pub(super) fn found(&self, slot: u32) -> bool {
        self.found.get(slot as usize).is_none_or(|sum| *sum != 0)
            || self.clients(slot) > 0
            // What is given back may be another real server's before the walk is over.
            || self.cut.contains(&slot)
    }

    /// How many persistent clients are held to a real server.
    pub(super) fn clients(&self, slot: u32) -> u32 {
        self.clients.count(slot)
    }

    /// Begins a walk: the loads as they are now, and no entries yet.
    fn begin_walk(&mut self, maps: &Maps) -> Result<(), MapError> {
        self.clients.begin_walk()?;
        self.cursor = 0;
        self.seen = [0; 2];
        self.sums.fill(0);
        for (slot, load) in (0..).zip(&mut self.loads) {
            *load = connections(maps, slot)?;
        }
        Ok(())
    }

    /// Ends a walk: mends loads that are off. Returns how many.
    fn end_walk(&mut self, maps: &mut Maps) -> Result<u32, MapError> {
        self.live = self.seen;
        let mut mended = 0;
        let mut off = HashMap::new();
        for (slot, (sum, before)) in (0..).zip(self.sums.iter().zip(&self.loads)) {
            let load = connections(maps, slot)?;
            if load == *sum || load != *before {
                continue;
            }
            let now = Off {
                by: sum.wrapping_sub(load),
                given: maps.traffic(slot)?.conns,
            };
            if self.off.get(&slot) == Some(&now) {
                let (counted, found) = (load as u32, *sum as u32);
                tracing::warn!(
                    "real server slot {slot}: {counted} connections counted, {found} found; mended"
                );
                maps.add_load(slot, now.by)?;
                mended += 1;
            } else {
                off.insert(slot, now);
            }
        }
        self.off = off;
        self.cut
            .retain(|slot| maps.load(*slot).is_ok_and(|load| load.total() > 0));
        std::mem::swap(&mut self.found, &mut self.sums);
        self.begin_walk(maps)?;
        Ok(mended)
    }
}

/// A load without its flag.
fn connections(maps: &Maps, slot: u32) -> Result<u64, MapError> {
    Ok(maps.load(slot)?.conns & !Load::OVERLOADED)
}
