//! How is measured what a packet costs?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{compile, setup, sh, ui};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Numbers of connections in the table [default: 1,100000,1000000]
    #[arg(long, value_delimiter = ',')]
    connections: Vec<u32>,
    /// How often everything is measured [default: 7]
    #[arg(long)]
    repetitions: Option<u32>,
    /// The core to run on [default: the last one]
    #[arg(long)]
    cpu: Option<u32>,
    /// Measure the balancer of another build's object in place of this one's
    #[arg(long)]
    lb: Option<PathBuf>,
    /// Where to write the figures as JSON [default: bench.json in the target folder]
    #[arg(long)]
    json: Option<PathBuf>,
}

/// `cargo xtask bench`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
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
    let default_json = sh::target_dir().join("bench.json");
    bench
        .arg("--json")
        .arg(args.json.as_ref().unwrap_or(&default_json));
    if !args.connections.is_empty() {
        let numbers: Vec<String> = args.connections.iter().map(u32::to_string).collect();
        bench.arg("--connections").arg(numbers.join(","));
    }
    if let Some(repetitions) = args.repetitions {
        bench.arg("--repetitions").arg(repetitions.to_string());
    }
    if let Some(cpu) = args.cpu {
        bench.arg("--cpu").arg(cpu.to_string());
    }
    if let Some(object) = &args.lb {
        bench.arg("--lb").arg(object);
    }
    ui::flush();
    let status = sh::status(&mut bench)?;
    Ok(ExitCode::from(u8::from(!status.success())))
}
