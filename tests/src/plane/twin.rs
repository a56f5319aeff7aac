//! The real program and the model, given the same frames: what one does, the other must do too.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lb_common::abi::{Load, Settings, TICK_SHIFT, real, ticks};
use lb_common::atomic::Host;
use lb_common::conn::{Loads, Meta, Tick};
use lb_common::model::World;
use lb_common::net::Be32;
use lb_common::table::{Bucket, Buckets as _, Table};
use lb_common::{forward, load};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::family::Family;
use super::kernel::{Program, Run, Verdict};

const SECOND: u64 = 1_000_000_000;

/// The program `lb` and a model with the same memory, on a clock that stands still between packets.
#[derive(Debug)]
pub struct Twin<A: Family = Be32> {
    world: World<A>,
    program: Program<A>,
    /// What both remember is compared after so many packets.
    every: u32,
    /// Packets since it was.
    since: u32,
}

/// This thread was kept waiting while the program ran, so that the program's clock was another than the model's.
#[derive(Clone, Copy, Debug)]
pub struct Disturbed;

impl fmt::Display for Disturbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the machine was too busy: the program saw another time than the model")
    }
}

impl std::error::Error for Disturbed {}

/// Tries again what the machine disturbed.
///
/// # Errors
///
/// What `attempt` says, if it is anything else.
pub fn undisturbed<R>(mut attempt: impl FnMut() -> Result<R>) -> Result<R> {
    const TRIES: u32 = 50;
    for _ in 1..TRIES {
        match attempt() {
            Err(error) if error.is::<Disturbed>() => {}
            result => return result,
        }
    }
    attempt()
}

impl<A: Family> Twin<A> {
    /// Loads the program for tables of up to so many buckets. The calling thread stays on its CPU from then on, for the
    /// program counts on each by itself.
    ///
    /// # Errors
    ///
    /// The program is not built, or the kernel refuses it.
    pub fn new(buckets: u32) -> Result<Self> {
        let world = World::new(buckets);
        let program = Program::load_director(&world)?;
        let mut here = CpuSet::new();
        here.set(sched_getcpu()?)?;
        sched_setaffinity(Pid::from_raw(0), &here).context("stay on this CPU")?;
        Ok(Self {
            world,
            program,
            every: 1,
            since: 0,
        })
    }

    /// Names the interface of an egress slot.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub fn set_egress(&self, slot: u32, ifindex: u32) -> Result<()> {
        self.program.set_egress(slot, ifindex)
    }

    /// Forgets everything, and becomes another director.
    ///
    /// # Errors
    ///
    /// The maps do not take it.
    pub fn become_director(&mut self, world: World<A>) -> Result<()> {
        self.world = world;
        self.program.reset(&self.world)
    }

    /// Has what both remember compared only after every so many packets, and by [`sweep`](Self::sweep): it takes longer than the
    /// packets themselves.
    pub const fn compare_every(&mut self, packets: u32) {
        self.every = packets;
    }

    /// The model.
    pub const fn world(&self) -> &World<A> {
        &self.world
    }

    /// Changes the configuration of both. Connections stay.
    ///
    /// # Errors
    ///
    /// The maps do not take it.
    pub fn change(&mut self, change: impl FnOnce(&mut World<A>)) -> Result<()> {
        change(&mut self.world);
        self.program.install(&self.world)
    }

    /// Time passes, in whole ticks.
    pub fn wait(&self, time: Duration) {
        // A packet may be a while on its way before the second, too, is another one.
        const ROOM: u64 = 20_000_000;
        const TICK: u64 = 1 << TICK_SHIFT;
        let mut now = self.world.clock.get() + (time.as_nanos() as u64).next_multiple_of(TICK);
        if now % SECOND > SECOND - ROOM {
            now += TICK;
        }
        self.world.clock.set(now);
    }

    /// Takes out of both what the daemon's sweeper would take out now: connections that are over, and those of real servers that
    /// were removed by force.
    ///
    /// # Errors
    ///
    /// The two do not agree on what that is, or on what they remember.
    pub fn sweep(&self) -> Result<()> {
        let now = Tick::at(self.world.clock.get());
        let is_cut = |meta: Meta| {
            let real = self.world.reals.get(meta.real() as usize);
            real.is_none_or(|real| real.flags & real::USED == 0)
        };
        let bucket_mask = A::bucket_mask(&self.world.settings);
        let hash_key = self.world.settings.hash_key;
        let (ours, its) = (
            self.world.table(),
            Table::new(self.program.buckets(), bucket_mask, hash_key),
        );
        for index in 0..=bucket_mask {
            let ours = ours.sweep_where(index, now, is_cut, &self.world);
            let its = its.sweep_where(index, now, is_cut, self);
            ensure!(ours == its, "bucket {index}: {its:?}, {ours:?}");
        }
        self.compare_memory()
    }

    /// Sends a frame through both.
    ///
    /// # Errors
    ///
    /// The two do not agree on what becomes of it or on what they remember, or [`Disturbed`].
    pub fn send(&mut self, frame: &[u8]) -> Result<Run> {
        self.send_behind(&[], frame)
    }

    /// Sends a frame that has less room in front through both, by so much metadata.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and where the kernel allows no such metadata.
    pub fn send_behind(&mut self, metadata: &[u8], frame: &[u8]) -> Result<Run> {
        let now = self.world.clock.get();
        let shift = now.wrapping_sub(coarse_clock()?);
        self.program.set(&Settings {
            clock_shift: shift,
            ..self.world.settings
        })?;
        let kernel = self
            .program
            .run_behind(metadata, frame)
            .context("run the program")?;
        let later = coarse_clock()?.wrapping_add(shift);
        if ticks(later) != ticks(now) || later / SECOND != now / SECOND {
            return Err(Disturbed.into());
        }
        let model = model(&self.world, frame, HEADROOM.saturating_sub(metadata.len()));
        if kernel != model {
            bail!("the program:\n  {kernel}\nthe model:\n  {model}");
        }
        self.since += 1;
        if self.since >= self.every {
            self.since = 0;
            self.compare_memory()?;
        }
        Ok(kernel)
    }

    /// Whether both remember the same, and whether what they remember holds together.
    fn compare_memory(&self) -> Result<()> {
        let mut counted: HashMap<u32, u64> = HashMap::new();
        for index in 0..=A::bucket_mask(&self.world.settings) {
            let (Some(ours), Some(its)) = (
                self.world.bucket(index),
                self.program.buckets().get(index as usize),
            ) else {
                bail!("no bucket {index}");
            };
            ensure!(
                words(ours) == words(its),
                "bucket {index} of the program:\n  {:x?}\nof the model:\n  {:x?}",
                words(its),
                words(ours)
            );
            for (_, meta) in self.world.table().connections(index) {
                let active = if meta.state().is_active() {
                    Load::ACTIVE
                } else {
                    0
                };
                *counted.entry(meta.real()).or_default() += Load::ONE + active;
            }
        }
        for slot in 0..self.world.reals.len() as u32 {
            let (ours, its) = (self.world.load_of(slot), self.program.load_of(slot));
            ensure!(ours == its, "load of real server {slot}: {its:?}, {ours:?}");
            let entries = counted.remove(&slot).unwrap_or_default();
            ensure!(
                its.conns & !Load::OVERLOADED == entries,
                "real server {slot} has {its:?}, and entries for {entries:#x}"
            );
            let (ours, its) = (self.world.traffic_of(slot), self.program.traffic_of(slot)?);
            ensure!(ours == its, "traffic of {slot}: {its:?}, {ours:?}");
        }
        ensure!(counted.is_empty(), "entries of no real server: {counted:?}");
        for (generation, turn) in (0u32..).zip(&self.world.turns) {
            let its = self.program.turn_of(generation)?;
            ensure!(
                its == turn.load(Ordering::SeqCst),
                "turn of {generation}: {its}, {turn:?}"
            );
        }
        for (key, template) in self.world.templates() {
            let its = self.program.template_of(key)?;
            ensure!(its == template.0, "{key:?}: {its:#x}, {template:x?}");
        }
        Ok(())
    }
}

/// The loads of the program's real servers, as its daemon would change them.
impl<A: Family> Loads for Twin<A> {
    fn add(&self, slot: u32, change: u64) {
        let real = self.world.reals.get(slot as usize);
        if let (Some(real), Some(word)) = (real, self.program.load_word(slot)) {
            load::add(word, real, change);
        }
    }
}

/// The room that the kernel leaves in front of a test's frame, without what `struct xdp_frame` takes of it.
const HEADROOM: usize = 256 - 40;

/// What becomes of a frame in the model, as the kernel would say it.
fn model<A: Family>(world: &World<A>, frame: &[u8], room: usize) -> Run {
    let (outcome, frame) = world.send_with_room(frame, room);
    let verdict = match outcome.verdict {
        forward::Verdict::Pass => Verdict::Pass,
        forward::Verdict::Drop => Verdict::Drop,
        forward::Verdict::Tx => Verdict::Tx,
        forward::Verdict::Slot | forward::Verdict::Interface => Verdict::Redirect,
    };
    Run {
        verdict,
        frame,
        counted: vec![(outcome.counter, 1)],
    }
}

/// All that is in a bucket.
fn words<A: Family>(bucket: &Bucket<Host, A>) -> Vec<u64> {
    let mut words = Vec::new();
    for line in &bucket.lines {
        words.extend(line.metas.iter().map(|meta| meta.load(Ordering::SeqCst)));
        words.extend(line.addrs.iter().flat_map(A::words));
        words.extend(
            line.ports
                .iter()
                .map(|word| u64::from(word.load(Ordering::SeqCst))),
        );
        words.push(line.note.load(Ordering::SeqCst).into());
    }
    words
}

/// The clock that the program reads.
fn coarse_clock() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).context("read the clock")?;
    Ok(time.tv_sec() as u64 * SECOND + time.tv_nsec() as u64)
}
