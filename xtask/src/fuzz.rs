//! How are decoders tried with what nobody would think of?
//!
//! Our own crates are built to tell libFuzzer where they have been, by the compiler in use; all others are as in any other build.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{sh, ui};

/// What to try, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One target; all without, one after the other
    target: Option<String>,
    /// For so long each
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Then add to the corpus in git what reaches more than that does
    #[arg(long)]
    keep: bool,
}

/// `cargo xtask fuzz`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let targets = targets()?;
    let chosen: Vec<&String> = match &args.target {
        None => targets.iter().collect(),
        Some(name) if targets.contains(name) => vec![name],
        Some(name) => bail!("there is no target {name}\nhint: {}", targets.join(", ")),
    };
    if std::env::var_os("CXX").is_none() && sh::find("c++").is_none() {
        bail!(
            "no C++ compiler is found, which libFuzzer is built with\nhint: apt-get install g++, or what brings a program `c++`"
        );
    }
    ui::step("build the targets", || {
        ui::flush();
        let mut cargo = sh::cargo();
        cargo.args(["build", "--package", "fuzz", "--bins"]);
        cargo.arg("--target-dir").arg(sh::target_dir());
        cargo.env("RUSTC_WORKSPACE_WRAPPER", folder().join("rustc"));
        sh::run(&mut cargo)
    })?;
    for name in chosen {
        ui::step(&format!("{name}, {} s", args.seconds), || {
            try_one(name, args)
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries a target. What is interesting goes to a folder of its own first: the corpus in git changes by `--keep` alone.
fn try_one(name: &str, args: &Args) -> Result<()> {
    let kept = folder().join("corpus").join(name);
    let found = sh::target_dir().join("fuzz").join(name);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let program = sh::target_dir().join("debug").join(format!("fuzz-{name}"));
    ui::flush();
    let mut fuzzer = sh::command(&program);
    // More than any frame needs, and most configurations; ten seconds for one input is a fault.
    fuzzer
        .args(["-max_len=8192", "-timeout=10", "-print_final_stats=1"])
        .arg(format!("-max_total_time={}", args.seconds))
        .arg(format!("-artifact_prefix={}/", kept.display()))
        .args([&found, &kept]);
    if !sh::status(&mut fuzzer)?.success() {
        bail!(
            "{name} fails\nhint: the input, which is named above, is among its corpus from now on; mend what it shows"
        );
    }
    if args.keep {
        sh::run(sh::command(&program).arg("-merge=1").args([&kept, &found]))?;
    }
    Ok(())
}

/// Where the targets and the corpus are.
fn folder() -> PathBuf {
    sh::root().join("tests/fuzz")
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder().join("corpus")).context("there is no corpus")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}
