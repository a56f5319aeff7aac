//! The programs in the kernel, with maps made from a model's memory.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use aya::maps::Map;
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use lb_common::abi::{Generation, Load, Traffic, map};
use lb_common::counter::Counter;
use lb_common::model::World;

use super::raw::{self, Plain};

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

/// A program in the kernel, and its maps.
#[derive(Debug)]
pub struct Program {
    ebpf: Ebpf,
    name: &'static str,
}

/// Where the loader's build puts the object.
fn object() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    target.join("bpf/bpfel-unknown-none/bpf/lb")
}

impl Program {
    /// Loads a program, its maps as large as the model's memory.
    ///
    /// # Errors
    ///
    /// The programs are not built, or the kernel refuses them.
    pub fn load(name: &'static str, world: &World) -> Result<Self> {
        let path = object();
        let object = std::fs::read(&path)
            .with_context(|| format!("read {}\nhint: cargo xtask build", path.display()))?;
        let ebpf = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries(map::CONNS4, world.settings.bucket_mask + 1)
            .load(&object)
            .context("make the maps")?;
        let mut program = Self { ebpf, name };
        program
            .xdp()?
            .load()
            .with_context(|| format!("load `{name}`"))?;
        program.install(world)?;
        Ok(program)
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

    /// Writes the model's memory into the maps; connections stay as they are.
    ///
    /// # Errors
    ///
    /// A map does not take a value.
    pub fn install(&self, world: &World) -> Result<()> {
        self.put(map::SETTINGS, 0u32, &world.settings)?;
        for (word, bits) in (0u32..).zip(&world.filter) {
            self.put(map::FILTER, word, bits)?;
        }
        for (slot, real) in (0u32..).zip(&world.reals) {
            self.put(map::REALS, slot, real)?;
        }
        for (profile, timeouts) in (0u32..).zip(&world.timeouts) {
            self.put(map::TIMEOUTS, profile, timeouts)?;
        }
        for (generation, plan) in (0u32..).zip(&world.plans) {
            let generation_value = Generation {
                plan: *plan,
                ..Generation::default()
            };
            self.put(map::GENERATIONS, generation, &generation_value)?;
        }
        for (service, generation) in (0u32..).zip(&world.current) {
            self.put(map::CURRENT, service, &u64::from(*generation))?;
        }
        for (index, word) in (0u32..).zip(&world.slots) {
            self.put(map::SLOTS, index, word)?;
        }
        for (key, service) in &world.services {
            self.put(map::SERVICES4, *key, service)?;
        }
        for (key, service) in &world.nat_reals {
            self.put(map::NATREALS4, *key, service)?;
        }
        let members: Vec<u8> = world
            .members
            .iter()
            .flat_map(|member| member.bytes().to_vec())
            .collect();
        raw::update(self.map(map::MEMBERS)?, 0u32.bytes(), &members).context("write `MEMBERS`")?;
        Ok(())
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
        let before = self.counters()?;
        let mut out = vec![0; frame.len() + 256];
        let result = self.xdp()?.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        })?;
        out.truncate(result.data_size_out as usize);
        let verdict = match result.return_value {
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            3 => Verdict::Tx,
            4 => Verdict::Redirect,
            other => bail!("verdict {other}"),
        };
        let counted = self
            .counters()?
            .into_iter()
            .zip(before)
            .filter_map(|((counter, now), (_, before))| {
                (now > before).then_some((counter, now - before))
            })
            .collect();
        Ok(Run {
            verdict,
            frame: out,
            counted,
        })
    }

    /// Every counter, over all CPUs.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>> {
        Counter::ALL
            .iter()
            .map(|counter| {
                let each: Vec<u64> = self.per_cpu(map::COUNTERS, *counter as u32)?;
                Ok((*counter, each.iter().sum()))
            })
            .collect()
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
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn load_of(&self, slot: u32) -> Result<Load> {
        let mut all = vec![0; lb_common::abi::LOADS_LEN as usize * size_of::<Load>()];
        raw::lookup(self.map(map::LOADS)?, 0u32.bytes(), &mut all).context("read `LOADS`")?;
        let at = slot as usize * size_of::<Load>();
        let conns = all
            .get(at..at + size_of::<Load>())
            .and_then(u64::from_bytes);
        Ok(Load {
            conns: conns.context("no such slot")?,
        })
    }

    fn per_cpu<V: Plain>(&self, name: &str, key: u32) -> Result<Vec<V>> {
        let size = size_of::<V>().next_multiple_of(8);
        let cpus =
            aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        let mut all = vec![0; size * cpus];
        raw::lookup(self.map(name)?, key.bytes(), &mut all)
            .with_context(|| format!("read `{name}`"))?;
        Ok(all
            .chunks(size)
            .filter_map(|one| V::from_bytes(one.get(..size_of::<V>())?))
            .collect())
    }
}
