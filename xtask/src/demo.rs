//! How is the demonstration run?

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{compile, setup, sh, ui};

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave the lab up, and print how to enter each host and how to take the lab down
    #[arg(long)]
    keep: bool,
    /// The same over IPv6
    #[arg(long)]
    ipv6: bool,
}

/// `cargo xtask demo`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !sh::is_root() {
        bail!(
            "the demo makes network namespaces and loads XDP programs\nhint: run cargo xtask demo as root"
        );
    }
    let toolchain = setup::toolchain()?;
    ui::present(&format!("eBPF tool chain: {}", toolchain.describe()));
    setup::lab()?;
    compile::everything(&toolchain, false)?;
    let options = [(args.ipv6, "--ipv6"), (args.keep, "--keep")];
    let chosen = options.iter().filter(|(is, _)| *is).map(|(_, word)| *word);
    let words: Vec<&str> = std::iter::once("demo").chain(chosen).collect();
    lab(&words)
}

/// Become the lab's own program: an interrupt then reaches nobody but it, and the shell waits until it has cleaned up.
pub(crate) fn lab(words: &[&str]) -> Result<ExitCode> {
    ui::flush();
    let program = sh::target_dir().join("debug/lab");
    let error = sh::command(&program).args(words).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
