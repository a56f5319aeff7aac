//! How is a command run on a stock kernel other than this machine's?
//!
//! A guest is a stock kernel of Debian with a file system in memory: busybox, the modules that a network needs, and
//! the programs to run with their libraries, each at the path that it has outside. QEMU emulates the processor, so
//! no help of the machine's own kernel is needed, and everything takes some ten times as long.

mod archive;
mod boot;
mod files;
mod guest;
mod kernel;
mod modules;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{compile, setup, sh, ui};
pub(crate) use boot::Outcome;
pub(crate) use guest::Guest;
pub(crate) use kernel::{Choice, Kernel, mirror, parse};

/// The exit status of a command that did not end in time, as that of timeout(1).
const LATE: u8 = 124;

/// What to run, and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernels to run it on, one after another; `all` for each of them
    #[arg(long = "kernel", value_name = "VERSION", default_value = "6.1", value_parser = kernel::parse)]
    kernels: kernel::Choice,
    /// End the guest after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// Another program, file or folder that the command needs; may be repeated
    #[arg(long = "with", value_name = "PATH")]
    with: Vec<PathBuf>,
    /// The command: a path, a program of this machine, one of busybox, or lbd, lbctl and lab as just built
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// `cargo xtask vm`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::vm()?;
    if sh::is_root() {
        setup::peers()?;
        compile::everything(&setup::toolchain()?, false)?;
    } else {
        compile::workspace(false)?;
    }
    let mut worst = 0;
    for &kernel in &args.kernels.0 {
        let mut guest = Guest::with_lab(kernel.install()?)?;
        for path in &args.with {
            guest.add(path)?;
        }
        guest.add_program(&args.command)?;
        let limit = Duration::from_secs(args.timeout);
        let outcome = guest.run(&args.command, sh::root(), limit, |line| println!("{line}"))?;
        let code = match outcome {
            Outcome::Exit(code) => code,
            Outcome::Late => {
                eprintln!("error: the guest did not end within {}", ui::seconds(limit));
                LATE
            }
            Outcome::Broken(console) => {
                bail!("the guest ended without an exit status; its last words:\n{console}")
            }
        };
        worst = worst.max(code);
    }
    Ok(ExitCode::from(worst))
}
