//! How it is measured.
//!
//! A repetition is many short runs of each program, in turns of a few, so that a slow moment of the machine meets all of them.
//! Whatever disturbs a run makes it slower, so the run that a quarter of them are faster than is what a program takes.
//! What the harness takes itself is taken off, and ratios are made, within a repetition.

use anyhow::{Context, Result, ensure};
use aya::programs::ProgramFd;
use lb_common::abi::Method;
use lb_common::counter::Counter;

use crate::case::{Case, NEW};
use crate::frame::{self, Segment};
use crate::kernel::{CHUNK, Kernel};
use crate::product::{Product, Whose, vip};
use crate::run::Run;
use crate::schedulers::Cost;

/// How many runs of a program make a turn.
const TURN: u32 = NEW / CHUNK;

/// How many frames of a method are compared byte by byte.
const SAMPLES: u32 = 61;

/// `XDP_TX`.
const TX: u32 = 3;

/// One case with so many connections in the table.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) case: Case,
    pub(crate) flows: u32,
    /// Nanoseconds a packet, the harness's own taken off, by repetition.
    pub(crate) nanoseconds: Vec<f64>,
    /// The same as a share of the yardstick's.
    pub(crate) ratios: Vec<f64>,
    /// The same as a share of what the other build takes, if there is one.
    pub(crate) against: Vec<f64>,
}

/// A filled table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    pub(crate) flows: u32,
    /// Connections that found no place.
    pub(crate) stateless: u32,
}

/// Everything measured.
#[derive(Default, Debug)]
pub(crate) struct Results {
    pub(crate) series: Vec<Series>,
    pub(crate) filled: Vec<Filled>,
    pub(crate) pools: Vec<Cost>,
}

/// The laboratory.
pub(crate) struct Bench {
    pub(crate) kernel: Kernel,
    pub(crate) product: Product,
    pub(crate) repetitions: usize,
}

/// A case, ready to run.
struct Probe {
    case: Case,
    whose: Whose,
    program: ProgramFd,
    run: Run,
    packets: u32,
}

impl Bench {
    /// Measures everything with so many connections in the tables.
    pub(crate) fn with(&mut self, flows: u32, results: &mut Results) -> Result<()> {
        for method in [Method::Dr, Method::Tun, Method::Nat] {
            println!("  {method:?}: opening the connections");
            let stateless = self
                .fill(method, flows)
                .with_context(|| format!("filling, {method:?}"))?;
            results.filled.push(Filled { flows, stateless });
            self.sample(method, flows)?;
            let series = self
                .phase(method, flows)
                .with_context(|| format!("{method:?}"))?;
            results.series.extend(series);
            self.product.forget(vip(method), 0..flows);
            self.kernel.forget(vip(method), 0..flows)?;
            let left = self.product.load();
            ensure!(left == (0, 0), "connections left behind: {left:?}");
        }
        Ok(())
    }

    /// Opens connections in both tables; how many found no place in ours.
    fn fill(&mut self, method: Method, flows: u32) -> Result<u32> {
        let ours = self.product.program(Whose::Ours)?.fd()?.try_clone()?;
        let limit = self.kernel.program("limit_insert")?;
        let mut steps = [
            (&limit, Segment::Syn),
            (&ours, Segment::Syn),
            (&ours, Segment::Ack),
        ]
        .map(|(program, segment)| {
            let mut run = frame::run(vip(method), segment);
            run.end_flow = flows;
            (program, run)
        });
        let mut left = flows;
        while left > 0 {
            let packets = left.min(CHUNK);
            // Handshakes are completed before others begin: one that waits for seconds may have to give way.
            for (program, run) in &mut steps {
                self.kernel.test(program)?;
                self.kernel.send(run, packets)?;
            }
            left -= packets;
        }
        let (all, active) = self.product.load();
        ensure!(
            all == active && all <= u64::from(flows),
            "{all} connections, {active} active"
        );
        Ok(flows - all as u32)
    }

    /// Compares frames of some flows byte by byte.
    fn sample(&mut self, method: Method, flows: u32) -> Result<()> {
        let program = self.product.program(Whose::Ours)?;
        for flow in (0..flows).step_by((flows / SAMPLES).max(1) as usize) {
            let frame = frame::frame(vip(method), Segment::Ack, flow);
            let (verdict, out) = self.kernel.send_one(program, &frame)?;
            ensure!(
                verdict == TX,
                "flow {flow}, {method:?}: verdict {verdict} in place of TX"
            );
            frame::check(method, &frame, &out).with_context(|| format!("flow {flow}"))?;
        }
        Ok(())
    }

    /// Measures one method, and with DR what does not depend on the method.
    fn phase(&mut self, method: Method, flows: u32) -> Result<Vec<Series>> {
        let mut probes = Vec::new();
        for case in Case::phase(method) {
            probes.push(self.probe(case, Whose::Ours, method, flows)?);
            if self.product.is_compared() && case.program().is_none() {
                probes.push(self.probe(case, Whose::Other, method, flows)?);
            }
        }
        let mut times = vec![Vec::new(); probes.len()];
        for repetition in 0..=self.repetitions {
            match repetition {
                0 => println!("  {method:?}: warming up"),
                n => println!("  {method:?}: repetition {n} of {}", self.repetitions),
            }
            if self.product.is_compared() {
                self.product.reload()?;
                for probe in probes
                    .iter_mut()
                    .filter(|probe| probe.case.program().is_none())
                {
                    probe.program = self.product.program(probe.whose)?.fd()?.try_clone()?;
                }
            }
            let repeated = self.repetition(&mut probes, method, flows)?;
            // The first one warms up.
            if repetition > 0 {
                for (times, time) in times.iter_mut().zip(repeated) {
                    times.push(time);
                }
            }
        }
        let times_of = |case, whose| {
            let at = probes
                .iter()
                .position(|probe| probe.case == case && probe.whose == whose)?;
            Some(times[at].clone())
        };
        let nothing =
            times_of(Case::Nothing, Whose::Ours).context("the harness is always measured")?;
        let net = |case, whose| {
            let mut times = times_of(case, whose)?;
            for (i, time) in times.iter_mut().enumerate() {
                *time -= nothing[i];
                if case == Case::Established(Method::Tun) {
                    *time -= (times_of(Case::Grow, Whose::Ours)?[i] - nothing[i]) / 2.0;
                }
            }
            Some(times)
        };
        let shown = |case: &Case| match case {
            Case::Nothing | Case::Grow => false,
            Case::Established(_) => true,
            _ => method == Method::Dr,
        };
        let shares = |of: &[f64], whole: Option<Vec<f64>>| {
            let pairs = of.iter().zip(whole.unwrap_or_default());
            pairs.map(|(part, whole)| part / whole).collect()
        };
        let series = |case: Case| {
            let nanoseconds = net(case, Whose::Ours)?;
            let yardstick = case.yardstick().and_then(|case| net(case, Whose::Ours));
            Some(Series {
                case,
                flows,
                ratios: shares(&nanoseconds, yardstick),
                against: shares(&nanoseconds, net(case, Whose::Other)),
                nanoseconds,
            })
        };
        Ok(probes
            .iter()
            .filter(|probe| probe.whose == Whose::Ours)
            .map(|probe| probe.case)
            .filter(shown)
            .filter_map(series)
            .collect())
    }

    fn probe(&mut self, case: Case, whose: Whose, method: Method, flows: u32) -> Result<Probe> {
        let program = match case.program() {
            Some(name) => self.kernel.program(name)?,
            None => self.product.program(whose)?.fd()?.try_clone()?,
        };
        let mut run = case.run(method, flows);
        if whose == Whose::Other {
            // Not the flows that ours has just brought into the caches.
            run.flow += (run.end_flow - run.first_flow) / 2;
        }
        Ok(Probe {
            case,
            whose,
            program,
            run,
            packets: case.packets(flows),
        })
    }

    /// What each program takes in a repetition.
    fn repetition(&mut self, probes: &mut [Probe], method: Method, flows: u32) -> Result<Vec<f64>> {
        let mut runs = vec![Vec::new(); probes.len()];
        let mut left: Vec<u32> = probes.iter().map(|probe| probe.packets / CHUNK).collect();
        let mut is_way_back = false;
        while left.iter().any(|&left| left > 0) {
            // There and back, so that nobody always comes after the same.
            let mut line: Vec<_> = probes.iter_mut().zip(&mut runs).zip(&mut left).collect();
            if is_way_back {
                line.reverse();
            }
            is_way_back = !is_way_back;
            for ((probe, runs), left) in line {
                let turn = TURN.min(*left);
                if turn == 0 {
                    continue;
                }
                self.turn(probe, turn, runs, method, flows)
                    .with_context(|| probe.case.label())?;
                *left -= turn;
            }
        }
        Ok(runs.iter_mut().map(|runs| lower_quartile(runs)).collect())
    }

    /// Some runs of a program.
    fn turn(
        &mut self,
        probe: &mut Probe,
        turn: u32,
        runs: &mut Vec<f64>,
        method: Method,
        flows: u32,
    ) -> Result<()> {
        self.kernel.test(&probe.program)?;
        let before = self.product.counters()?;
        for _ in 0..turn {
            runs.push(self.kernel.send(&mut probe.run, CHUNK)?);
        }
        if let Some(counter) = probe.case.counter() {
            self.counted(counter, u64::from(turn * CHUNK), &before)?;
        }
        let new = flows..flows + NEW;
        match probe.case {
            Case::New => self.product.forget(vip(method), new),
            Case::LimitNew => self.kernel.forget(vip(method), new)?,
            _ => (),
        }
        Ok(())
    }

    /// Checks that packets were counted as they must, or as forwarded without an entry.
    pub(crate) fn counted(
        &self,
        counter: Counter,
        packets: u64,
        before: &[(Counter, u64)],
    ) -> Result<()> {
        let mut counted = 0;
        for ((which, now), (_, before)) in self.product.counters()?.into_iter().zip(before) {
            let more = now - before;
            if which == counter || which == Counter::ForwardedStateless {
                counted += more;
            } else {
                ensure!(more == 0, "{more} packets ended as {}", which.label());
            }
        }
        ensure!(
            counted == packets,
            "{counted} of {packets} packets ended as {}",
            counter.label()
        );
        Ok(())
    }
}

/// What a quarter of the runs stay below.
pub(crate) fn lower_quartile(runs: &mut [f64]) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 4).copied().unwrap_or(f64::NAN)
}
