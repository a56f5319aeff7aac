//! What does a packet cost? `cargo xtask bench` runs this.
//!
//! The balancer's own program and maps, made and filled by the daemon's code, beside the least that such a program can do: a
//! look-up in the kernel's hash map and a MAC rewrite.

mod case;
mod frame;
mod kernel;
mod measure;
mod product;
mod report;
#[path = "../../../../lb-ebpf/src/bench/run.rs"]
mod run;
mod schedulers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use kernel::Kernel;
use measure::{Bench, Results};
use product::Product;
use report::{Machine, Memory, Report};

/// Measures what a packet costs, with `BPF_PROG_TEST_RUN` on one core.
#[derive(Parser)]
struct Args {
    /// The object of the benchmark's programs
    #[arg(long)]
    object: PathBuf,
    /// The balancer's object
    #[arg(long)]
    lb: PathBuf,
    /// Another build of the balancer's object, to be measured beside the first, over the same maps
    #[arg(long)]
    against: Option<PathBuf>,
    /// Write the figures to a file too, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// How often everything is measured
    #[arg(long, default_value_t = 7)]
    repetitions: usize,
    /// Numbers of connections in the table
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100_000, 1_000_000])]
    connections: Vec<u32>,
    /// What to measure
    #[arg(long, value_delimiter = ',', default_values_t = [Part::Packets, Part::Schedulers])]
    parts: Vec<Part>,
    /// The core to run on; the last one by default
    #[arg(long)]
    cpu: Option<usize>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Packets of each kind, with few and many connections
    Packets,
    /// New connections by each scheduler, with few and many real servers
    Schedulers,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Packets => "packets",
            Self::Schedulers => "schedulers",
        })
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args).and_then(|report| tell(&report, args.json.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell(report: &Report, json: Option<&Path>) -> Result<()> {
    print!("\n{}", report.text());
    if let Some(path) = json {
        std::fs::write(path, format!("{:#}\n", report.json()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("the figures are in {}", path.display());
    }
    Ok(())
}

fn measure(args: &Args) -> Result<Report> {
    let cpu = pin(args.cpu)?;
    let ingress = product::isolate()?;
    let kernel = Kernel::load(&args.object, ingress)?;
    let product = Product::start(ingress, &args.lb, args.against.as_deref())?;
    let mut bench = Bench {
        kernel,
        product,
        repetitions: args.repetitions.max(1),
    };
    let mut results = Results::default();
    let connections = args.connections.iter().copied();
    for connections in connections.filter(|_| args.parts.contains(&Part::Packets)) {
        println!("measuring with {connections} connections");
        let context = || format!("with {connections} connections");
        bench
            .with(connections.max(1), &mut results)
            .with_context(context)?;
    }
    if args.parts.contains(&Part::Schedulers) {
        println!("measuring schedulers");
        results.pools = bench.schedulers()?;
    }
    let memory = Memory {
        table: bench.product.table_memory()?,
        slots: bench.product.slots(),
        hash: bench.kernel.hash_memory()?,
    };
    let machine = Machine {
        processor: processor(),
        kernel: release(),
        cpu,
    };
    Ok(Report {
        machine,
        results,
        memory,
    })
}

/// Keeps this thread on one core; which.
fn pin(wanted: Option<usize>) -> Result<usize> {
    let me = Pid::from_raw(0);
    let allowed = sched_getaffinity(me)?;
    let last = (0..CpuSet::count())
        .rev()
        .find(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    let cpu = wanted.or(last).context("no core to run on")?;
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(me, &set).with_context(|| format!("cannot run on CPU {cpu}"))?;
    Ok(cpu)
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    model
        .and_then(|line| line.split_once(": "))
        .map_or("?", |(_, model)| model)
        .to_owned()
}

fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}
