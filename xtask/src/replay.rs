//! How are recordings of IPVS played to the XDP program?

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{compile, setup, sh, ui};

/// What to play.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Recordings; tests/oracle/README.md describes the format
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// `cargo xtask replay`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !sh::is_root() {
        bail!("replay loads the XDP program\nhint: run cargo xtask replay as root");
    }
    compile::programs(&setup::toolchain()?)?;
    ui::step("build the player", || {
        let mut cargo = sh::cargo();
        cargo.args(["build", "--quiet", "--package", "tests", "--bin", "replay"]);
        sh::run(&mut cargo)
    })?;
    ui::flush();
    let program = sh::target_dir().join("debug/replay");
    let error = sh::command(&program).args(&args.files).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
