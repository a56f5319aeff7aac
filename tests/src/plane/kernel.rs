//! The programs in the kernel, with maps made from a model's memory.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use aya::maps::Map;
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use lb_common::abi::{
    CpuState, DatagramKey, Generation, LOADS_LEN, Load, LocalityKey, MAX_ROUTERS, Real, RealKey,
    ServiceKey, Settings, TemplateKey, Traffic, map,
};
use lb_common::atomic::Host;
use lb_common::counter::Counter;
use lb_common::decap::DECAPS;
use lb_common::model::{MAX_TEMPLATES, World};
use lb_common::net::{Be32, Be128};
use lb_common::table::Bucket;
use lb_daemon::io::bpf::verify;

use super::family::Family;
use super::raw::{self, Plain, Shared};

/// What a program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `XDP_DROP`.
    Drop,
    /// `XDP_PASS`.
    Pass,
    /// `XDP_TX`.
    Tx,
    /// `XDP_REDIRECT`.
    Redirect,
}

/// How a frame left a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is done with it.
    pub verdict: Verdict,
    /// What it is then.
    pub frame: Vec<u8>,
    /// What was counted, each with how often.
    pub counted: Vec<(Counter, u64)>,
}

/// What a program costs the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Instructions that the verifier went through, each as often as there are ways that lead to it. It refuses a program of more
    /// than a million.
    pub verified: u32,
    /// Length of the program as the kernel translated it, in bytes.
    pub translated: u32,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} ", self.verdict, self.counted)?;
        self.frame
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A program in the kernel, and its maps.
#[derive(Debug)]
pub struct Program<A: Family = Be32> {
    ebpf: Ebpf,
    name: &'static str,
    conns: Shared<Bucket<Host, A>>,
    loads: Shared<AtomicU64>,
    /// What stands in arrays that nobody else writes, to leave as it is what has not changed.
    written: HashMap<(&'static str, u32), Vec<u8>>,
    /// The counters after the last packet.
    counted: Option<Vec<u64>>,
}

/// Where the loader's build puts the object.
fn object() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    target.join("bpf/bpfel-unknown-none/bpf/lb")
}

impl<A: Family> Program<A> {
    /// Loads a program, its maps as large as the model's memory.
    ///
    /// # Errors
    ///
    /// The programs are not built, or the kernel refuses them.
    pub fn load(name: &'static str, world: &World<A>) -> Result<Self> {
        Self::load_with(name, &[], world)
    }

    /// Loads a program, and others beside it.
    fn load_with(name: &'static str, others: &[&str], world: &World<A>) -> Result<Self> {
        let path = object();
        let object = std::fs::read(&path)
            .with_context(|| format!("read {}\nhint: cargo xtask build", path.display()))?;
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries(A::MAPS.conns, A::bucket_mask(&world.settings) + 1)
            .map_max_entries(A::MAPS.templates, MAX_TEMPLATES as u32)
            .load(&object)
            .context("make the maps")?;
        verify(&mut ebpf, &[&[name], others].concat()).with_context(|| format!("load `{name}`"))?;
        let map = |name: &str| ebpf.map(name).with_context(|| format!("no map `{name}`"));
        let buckets = A::bucket_mask(&world.settings) as usize + 1;
        let conns = Shared::of(map(A::MAPS.conns)?, buckets).context("share the connections")?;
        let loads = Shared::of(map(map::LOADS)?, LOADS_LEN as usize).context("share `LOADS`")?;
        let mut program = Self {
            ebpf,
            name,
            conns,
            loads,
            written: HashMap::new(),
            counted: None,
        };
        program.install(world)?;
        Ok(program)
    }

    /// Loads the program that takes every packet, and behind it those that the family's are handed over to.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_director(world: &World<A>) -> Result<Self> {
        let others: Vec<&str> = A::HANDED_OVER.iter().map(|(name, _)| *name).collect();
        let mut director = Self::load_with("lb", &others, world)?;
        let takes = director.name;
        for (name, index) in A::HANDED_OVER {
            director.name = name;
            let fd = director
                .xdp()?
                .fd()
                .with_context(|| format!("load `{name}`"))?
                .as_fd()
                .as_raw_fd();
            director.put(map::PROGRAMS, *index, &fd.cast_unsigned())?;
        }
        director.name = takes;
        Ok(director)
    }

    /// What the program costs the kernel.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn size(&mut self) -> Result<Size> {
        let info = self.xdp()?.info()?;
        Ok(Size {
            verified: info
                .verified_instruction_count()
                .context("the kernel does not say what it verified")?,
            translated: info
                .size_translated()
                .context("the kernel does not say how long a program is")?,
        })
    }

    fn xdp(&mut self) -> Result<&mut Xdp> {
        let name = self.name;
        let program = self
            .ebpf
            .program_mut(name)
            .with_context(|| format!("no program `{name}`"))?;
        Ok(program.try_into()?)
    }

    fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf
            .map(name)
            .with_context(|| format!("no map `{name}`"))
    }

    fn put<K: Plain, V: Plain>(&self, name: &str, key: K, value: &V) -> Result<()> {
        raw::update(self.map(name)?, key.bytes(), value.bytes())
            .with_context(|| format!("write `{name}`"))
    }

    /// Writes an element of an array that nobody else writes.
    fn keep<V: Plain>(&mut self, name: &'static str, index: u32, value: &V) -> Result<()> {
        let place = (name, index);
        if self.written.get(&place).map(Vec::as_slice) != Some(value.bytes()) {
            self.put(name, index, value)?;
            self.written.insert(place, value.bytes().to_vec());
        }
        Ok(())
    }

    /// Writes the model's memory into the maps; connections stay as they are.
    ///
    /// # Errors
    ///
    /// A map does not take a value.
    pub fn install(&mut self, world: &World<A>) -> Result<()> {
        self.put(map::SETTINGS, 0u32, &world.settings)?;
        for (word, bits) in (0u32..).zip(&world.filter) {
            self.keep(map::FILTER, word, bits)?;
        }
        for (slot, real) in (0u32..).zip(&world.reals) {
            self.keep(map::REALS, slot, real)?;
        }
        for (profile, timeouts) in (0u32..).zip(&world.timeouts) {
            self.keep(map::TIMEOUTS, profile, timeouts)?;
        }
        for (index, (plan, turn)) in (0u32..).zip(world.plans.iter().zip(&world.turns)) {
            let generation = Generation {
                plan: *plan,
                turn: turn.load(Ordering::SeqCst),
                ..Generation::default()
            };
            self.put(map::GENERATIONS, index, &generation)?;
        }
        for (service, generation) in (0u32..).zip(&world.current) {
            self.keep(map::CURRENT, service, &u64::from(*generation))?;
        }
        for router in 1..MAX_ROUTERS {
            let is_standby = world.standby.contains(&router);
            self.keep(map::STANDBY, router, &u64::from(is_standby))?;
        }
        for (place, macs) in (0u32..).zip(&world.own_macs) {
            self.keep(map::OWNMACS, place, macs)?;
        }
        for (index, word) in (0u32..).zip(&world.slots) {
            self.keep(map::SLOTS, index, word)?;
        }
        for (key, service) in &world.services {
            self.put(A::MAPS.services, *key, service)?;
        }
        for (key, service) in &world.nat_reals {
            self.put(A::MAPS.nat_reals, *key, service)?;
        }
        self.keep(map::MEMBERS, 0u32, &*world.members)?;
        Ok(())
    }

    /// Forgets all that packets left behind, and takes over another model's memory; its table is not to be larger.
    ///
    /// Loading the program takes longer than thousands of packets.
    ///
    /// # Errors
    ///
    /// A map does not take a value.
    pub fn reset(&mut self, world: &World<A>) -> Result<()> {
        self.conns.clear();
        self.loads.clear();
        for (name, key_size) in [
            (A::MAPS.services, size_of::<ServiceKey<A>>()),
            (A::MAPS.nat_reals, size_of::<RealKey<A>>()),
            (A::MAPS.templates, size_of::<TemplateKey<A>>()),
            (A::MAPS.locality, size_of::<LocalityKey<A>>()),
            (A::MAPS.fragments, size_of::<DatagramKey<A>>()),
        ] {
            raw::clear(self.map(name)?, key_size).with_context(|| format!("clear `{name}`"))?;
        }
        self.put_each_cpu(map::CPU, 0, CpuState::default())?;
        for slot in (0u32..).zip(&world.reals).map(|(slot, _)| slot) {
            self.put_each_cpu(map::TRAFFIC, slot, Traffic::default())?;
        }
        self.install(world)
    }

    fn put_each_cpu<V: Plain>(&self, name: &str, key: u32, value: V) -> Result<()> {
        let one = [value.bytes(), &vec![0; padding::<V>()]].concat();
        raw::update(self.map(name)?, key.bytes(), &one.repeat(cpus()?))
            .with_context(|| format!("write `{name}`"))
    }

    /// Writes what holds for the whole data plane.
    ///
    /// # Errors
    ///
    /// The map does not take it.
    pub fn set(&self, settings: &Settings) -> Result<()> {
        self.put(map::SETTINGS, 0u32, settings)
    }

    /// Writes a real server.
    ///
    /// # Errors
    ///
    /// The map does not take it.
    pub fn set_real(&mut self, slot: u32, real: &Real) -> Result<()> {
        self.keep(map::REALS, slot, real)
    }

    /// Where rr and wrr of a generation are.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn turn_of(&self, generation: u32) -> Result<u64> {
        let mut value = [0; size_of::<Generation>()];
        raw::lookup(self.map(map::GENERATIONS)?, generation.bytes(), &mut value)
            .context("read `GENERATIONS`")?;
        let generation = Generation::from_bytes(&value).context("not a generation")?;
        Ok(generation.turn)
    }

    /// The word of a persistent client's template.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn template_of(&self, key: TemplateKey<A>) -> Result<u64> {
        let mut word = [0; 8];
        raw::lookup(self.map(A::MAPS.templates)?, key.bytes(), &mut word)
            .with_context(|| format!("{key:?} in `{}`", A::MAPS.templates))?;
        Ok(u64::from_ne_bytes(word))
    }

    /// The connection table.
    pub fn buckets(&self) -> &[Bucket<Host, A>] {
        self.conns.values()
    }

    /// Makes an address one at which tunnels end.
    ///
    /// # Errors
    ///
    /// The map does not take it.
    pub fn end_tunnels_at(&self, addr: Be128) -> Result<()> {
        self.put(map::TUNNELS, addr, &0u32)
    }

    /// How often frames ended in each way that the program `decap` counts, over all CPUs.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn decaps(&self) -> Result<Vec<u64>> {
        (0..DECAPS)
            .map(|end| Ok(self.per_cpu::<u64>(map::DECAPS, end)?.iter().sum()))
            .collect()
    }

    /// Names the interface of an egress slot.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub fn set_egress(&self, slot: u32, ifindex: u32) -> Result<()> {
        // `struct bpf_devmap_val`: the interface, and no program.
        self.put(map::EGRESS, slot, &u64::from(ifindex))
    }

    /// Gives the program a frame that came by the loopback interface of this network namespace.
    ///
    /// # Errors
    ///
    /// The kernel does not run it, or it aborts.
    pub fn run(&mut self, frame: &[u8]) -> Result<Run> {
        self.run_behind(&[], frame)
    }

    /// Gives the program a frame behind so much metadata (a multiple of four bytes), which takes room from it.
    ///
    /// # Errors
    ///
    /// The kernel does not run it, or it aborts. Linux before 6.8 knows no more than 32 bytes.
    pub fn run_behind(&mut self, metadata: &[u8], frame: &[u8]) -> Result<Run> {
        let before = match self.counted.take() {
            Some(before) => before,
            None => self.counters_now()?,
        };
        let input = [metadata, frame].concat();
        // `struct xdp_md`: data, data_end, data_meta; the interface is the loopback.
        let mut context = Vec::new();
        for word in [metadata.len() as u32, input.len() as u32, 0, 0, 0, 0] {
            context.extend(word.to_ne_bytes());
        }
        let mut out = vec![0; input.len() + 256];
        let result = self.xdp()?.test_run(TestRunOptions {
            data_in: Some(&input),
            data_out: Some(&mut out),
            ctx_in: (!metadata.is_empty()).then_some(&context),
            ..TestRunOptions::default()
        })?;
        out.truncate(result.data_size_out as usize);
        out.drain(..metadata.len());
        let verdict = match result.return_value {
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            3 => Verdict::Tx,
            4 => Verdict::Redirect,
            other => bail!("verdict {other}"),
        };
        let now = self.counters_now()?;
        let counted = Counter::ALL.iter().zip(now.iter().zip(before));
        let counted = counted
            .filter(|(_, (now, before))| *now > before)
            .map(|(counter, (now, before))| (*counter, now - before))
            .collect();
        self.counted = Some(now);
        Ok(Run {
            verdict,
            frame: out,
            counted,
        })
    }

    /// Every counter, over all CPUs, in the order of [`Counter::ALL`].
    fn counters_now(&self) -> Result<Vec<u64>> {
        let size = size_of::<u64>() * cpus()?;
        let all = raw::lookup_first(self.map(map::COUNTERS)?, Counter::ALL.len(), size)
            .context("read `COUNTERS`")?;
        let sum = |each: &[u8]| each.chunks(8).filter_map(u64::from_bytes).sum();
        Ok(all.chunks(size).map(sum).collect())
    }

    /// What a real server was sent and sent back, over all CPUs.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn traffic_of(&self, slot: u32) -> Result<Traffic> {
        let each: Vec<Traffic> = self.per_cpu(map::TRAFFIC, slot)?;
        Ok(each.iter().fold(Traffic::default(), |sum, one| Traffic {
            conns: sum.conns + one.conns,
            in_packets: sum.in_packets + one.in_packets,
            in_bytes: sum.in_bytes + one.in_bytes,
            out_packets: sum.out_packets + one.out_packets,
            out_bytes: sum.out_bytes + one.out_bytes,
        }))
    }

    /// The connections of a real server.
    pub fn load_of(&self, slot: u32) -> Load {
        Load {
            conns: self
                .load_word(slot)
                .map_or(0, |load| load.load(Ordering::SeqCst)),
        }
    }

    /// The word of a real server's connections.
    pub fn load_word(&self, slot: u32) -> Option<&AtomicU64> {
        self.loads.values().get(slot as usize)
    }

    fn per_cpu<V: Plain>(&self, name: &str, key: u32) -> Result<Vec<V>> {
        let size = size_of::<V>() + padding::<V>();
        let mut all = vec![0; size * cpus()?];
        raw::lookup(self.map(name)?, key.bytes(), &mut all)
            .with_context(|| format!("read `{name}`"))?;
        Ok(all
            .chunks(size)
            .filter_map(|one| V::from_bytes(one.get(..size_of::<V>())?))
            .collect())
    }
}

/// What the kernel puts behind each CPU's value.
const fn padding<V>() -> usize {
    size_of::<V>().next_multiple_of(8) - size_of::<V>()
}

fn cpus() -> Result<usize> {
    static COUNT: OnceLock<usize> = OnceLock::new();
    if let Some(count) = COUNT.get() {
        return Ok(*count);
    }
    let count = aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
    Ok(*COUNT.get_or_init(|| count))
}
