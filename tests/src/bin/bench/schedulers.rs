//! What does a new connection cost with each scheduler, and how does that grow with the number of real servers?
//!
//! A service of each scheduler and size is there at once, and all of them take turns within a repetition.

use anyhow::{Context, Result, ensure};
use lb_common::abi::Method;
use lb_common::counter::Counter;
use lb_common::sched::Scheduler;

use std::net::Ipv4Addr;

use crate::frame::{self, DIRECTOR_MAC, Segment, real_mac};
use crate::kernel::CHUNK;
use crate::measure::{Bench, lower_quartile};
use crate::product::Whose;
use crate::run::Run;

/// How many turns of each pool make a repetition, and how many runs a turn.
const TURNS: u32 = 6;
const RUNS: u32 = 2;

/// How many new flows a turn brings.
const NEW: u32 = RUNS * CHUNK;

/// Numbers of real servers.
pub(crate) const SIZES: [u32; 4] = [2, 16, 256, 1024];

/// A scheduler with so many real servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pool {
    pub(crate) scheduler: Scheduler,
    pub(crate) reals: u32,
}

/// What a target compares a pool with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Yardstick {
    /// The same scheduler with the fewest real servers.
    Smallest,
    /// rr with as many real servers.
    Rr,
}

impl Pool {
    /// All that is measured.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let sizes = |&scheduler| SIZES.map(|reals| Self { scheduler, reals });
        Scheduler::ALL.iter().flat_map(sizes)
    }

    /// Its service's address.
    pub(crate) fn vip(self) -> Ipv4Addr {
        let size = SIZES.iter().position(|&n| n == self.reals).unwrap_or(0);
        Ipv4Addr::new(192, 0, 2, 16 * (size as u8 + 1) + self.scheduler as u8)
    }

    /// The weight of its `n`th real server. ovf takes no more connections than that, so it gets room for all.
    pub(crate) fn weight(self, n: u32) -> u16 {
        match self.scheduler {
            Scheduler::Ovf => u16::MAX,
            _ => (1 + n % 4) as u16,
        }
    }

    /// What it may take at most, as a share of what. The others look at each real server, and have none.
    pub(crate) fn target(self) -> Option<(f64, Yardstick)> {
        match (self.scheduler, self.reals) {
            (
                Scheduler::Rr | Scheduler::Wrr | Scheduler::Sh | Scheduler::Dh | Scheduler::Mh,
                1024,
            ) => Some((1.1, Yardstick::Smallest)),
            (Scheduler::Lc | Scheduler::Wlc | Scheduler::Sed | Scheduler::Nq, 16) => {
                Some((1.3, Yardstick::Rr))
            }
            (Scheduler::Lc | Scheduler::Wlc | Scheduler::Sed | Scheduler::Nq, 256) => {
                Some((2.5, Yardstick::Rr))
            }
            _ => None,
        }
    }

    /// What its target compares it with.
    fn yardstick(self) -> Option<Self> {
        Some(match self.target()?.1 {
            Yardstick::Smallest => Self {
                reals: SIZES[0],
                ..self
            },
            Yardstick::Rr => Self {
                scheduler: Scheduler::Rr,
                ..self
            },
        })
    }

    fn run(self, flows: u32) -> Run {
        let mut run = frame::run(self.vip(), Segment::Syn);
        (run.first_flow, run.flow, run.end_flow) = (flows, flows, flows + NEW);
        frame::expect(&mut run, real_mac(0), DIRECTOR_MAC, 0);
        run
    }
}

/// What a pool took.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) pool: Pool,
    /// Nanoseconds a new flow, the harness's own taken off, by repetition.
    pub(crate) nanoseconds: Vec<f64>,
    /// The same as a share of the yardstick's.
    pub(crate) ratios: Vec<f64>,
}

impl Bench {
    /// Measures new flows with every scheduler, in an empty table.
    pub(crate) fn schedulers(&mut self) -> Result<Vec<Cost>> {
        self.product.serve_pools()?;
        let pools: Vec<Pool> = Pool::all().collect();
        let mut times = vec![Vec::new(); pools.len()];
        for repetition in 0..=self.repetitions {
            match repetition {
                0 => println!("  schedulers: warming up"),
                n => println!("  schedulers: repetition {n} of {}", self.repetitions),
            }
            let mut harness = Vec::new();
            let mut runs = vec![Vec::new(); pools.len()];
            for _ in 0..TURNS {
                harness.extend(self.harness()?);
                for (pool, runs) in pools.iter().zip(&mut runs) {
                    let turn = self.pool(*pool);
                    runs.extend(turn.with_context(|| format!("{pool:?}"))?);
                }
            }
            let harness = lower_quartile(&mut harness);
            for (times, runs) in times.iter_mut().zip(&mut runs) {
                // The first one warms up.
                if repetition > 0 {
                    times.push(lower_quartile(runs) - harness);
                }
            }
        }
        let times_of = |pool: Pool| {
            let at = pools.iter().position(|p| *p == pool)?;
            times.get(at)
        };
        let cost = |(pool, times): (&Pool, &Vec<f64>)| {
            let yardstick = pool.yardstick().and_then(times_of);
            let ratios = yardstick.map_or_else(Vec::new, |yardstick| {
                let pairs = times.iter().zip(yardstick);
                pairs.map(|(ours, other)| ours / other).collect()
            });
            Cost {
                pool: *pool,
                nanoseconds: times.clone(),
                ratios,
            }
        };
        Ok(pools.iter().zip(&times).map(cost).collect())
    }

    /// What the harness takes by itself, in each run of a turn.
    fn harness(&mut self) -> Result<Vec<f64>> {
        let nothing = self.kernel.program("nothing")?;
        self.kernel.test(&nothing)?;
        let mut run = frame::run(crate::product::vip(Method::Dr), Segment::Syn);
        run.end_flow = NEW;
        frame::expect(&mut run, DIRECTOR_MAC, frame::ROUTER_MAC, 0);
        (0..RUNS)
            .map(|_| self.kernel.send(&mut run, CHUNK))
            .collect()
    }

    /// What a new flow of a pool takes with the harness, in each run of a turn.
    fn pool(&mut self, pool: Pool) -> Result<Vec<f64>> {
        let program = self.product.program(Whose::Ours)?.fd()?.try_clone()?;
        self.kernel.test(&program)?;
        let before = self.product.counters()?;
        let mut run = pool.run(0);
        let runs = (0..RUNS)
            .map(|_| self.kernel.send(&mut run, CHUNK))
            .collect::<Result<Vec<f64>>>()?;
        self.counted(Counter::ForwardedDr, u64::from(NEW), &before)?;
        self.product.forget(pool.vip(), 0..NEW);
        let left = self.product.load();
        ensure!(left == (0, 0), "connections left behind: {left:?}");
        Ok(runs)
    }
}
