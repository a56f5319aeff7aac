//! How is measured what a packet costs?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{compile, setup, sh, ui};

/// What to measure.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Numbers of connections in the table [default: 1,100000,1000000]
    #[arg(long, value_delimiter = ',')]
    connections: Vec<u32>,
    /// What to measure: packets, schedulers [default: both]
    #[arg(long, value_delimiter = ',')]
    parts: Vec<String>,
    /// How often everything is measured [default: 7]
    #[arg(long)]
    repetitions: Option<u32>,
    /// The core to run on [default: the last one]
    #[arg(long)]
    cpu: Option<u32>,
    /// Measure another build's object too, in turns with this one's; both must share their maps' layout
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Where to write the figures as JSON [default: bench.json in the target folder]
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What else to measure.
#[derive(clap::Subcommand)]
enum What {
    /// Measure what health checks cost: processor time, memory, and how late probes start
    Health(Health),
}

/// How to measure health checks.
#[derive(clap::Args)]
struct Health {
    /// Numbers of real servers [default: 2000,5000]
    #[arg(long, value_delimiter = ',')]
    reals: Vec<u32>,
    /// How long is measured with each number, in seconds [default: 20]
    #[arg(long)]
    seconds: Option<u64>,
}

/// `cargo xtask bench health`.
fn health(args: &Health) -> Result<ExitCode> {
    ui::step("build the benchmark", || {
        ui::flush();
        let package = ["--package", "tests", "--bin", "bench-health"];
        sh::run(
            sh::cargo()
                .args(["build", "--quiet", "--release"])
                .args(package),
        )
    })?;
    let mut bench = sh::command(sh::target_dir().join("release/bench-health"));
    if !args.reals.is_empty() {
        let numbers: Vec<String> = args.reals.iter().map(u32::to_string).collect();
        bench.arg("--reals").arg(numbers.join(","));
    }
    if let Some(seconds) = args.seconds {
        bench.arg("--seconds").arg(seconds.to_string());
    }
    ui::flush();
    let status = sh::status(&mut bench)?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// `cargo xtask bench`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(What::Health(args)) = &args.what {
        return health(args);
    }
    if !sh::is_root() {
        bail!("the benchmark loads XDP programs\nhint: run cargo xtask bench as root");
    }
    let toolchain = setup::toolchain()?;
    ui::present(&format!("eBPF tool chain: {}", toolchain.describe()));
    compile::programs(&toolchain)?;
    ui::step("build the benchmark", || {
        ui::flush();
        sh::run(sh::cargo().args(["build", "--quiet", "--package", "tests", "--bin", "bench"]))
    })?;
    let mut bench = sh::command(sh::target_dir().join("debug/bench"));
    bench.arg("--object").arg(compile::object("bench"));
    bench.arg("--lb").arg(compile::object("lb"));
    let default_json = sh::target_dir().join("bench.json");
    bench
        .arg("--json")
        .arg(args.json.as_ref().unwrap_or(&default_json));
    if !args.connections.is_empty() {
        let numbers: Vec<String> = args.connections.iter().map(u32::to_string).collect();
        bench.arg("--connections").arg(numbers.join(","));
    }
    if !args.parts.is_empty() {
        bench.arg("--parts").arg(args.parts.join(","));
    }
    if let Some(repetitions) = args.repetitions {
        bench.arg("--repetitions").arg(repetitions.to_string());
    }
    if let Some(cpu) = args.cpu {
        bench.arg("--cpu").arg(cpu.to_string());
    }
    if let Some(object) = &args.against {
        bench.arg("--against").arg(object);
    }
    ui::flush();
    let status = sh::status(&mut bench)?;
    Ok(ExitCode::from(u8::from(!status.success())))
}
