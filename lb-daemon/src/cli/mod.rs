//! lbctl: verbs that an `ipvsadm` user knows by heart, output that a person likes to read.

pub mod context;
pub mod failure;
pub mod render;
pub mod target;
pub mod usage;
pub mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use context::Context;
pub use failure::Failure;
pub use verbs::Verb;

use render::style::When;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lbd/lbd.sock";

/// The heading of the options that every verb has.
const EVERYWHERE: &str = "With every command";

/// Controls lbd, the load balancer. `ipvsadm`'s commands and options work too: `lbctl -A -t VIP:80 -s wlc`, `lbctl -Ln`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "lbctl",
    version,
    disable_help_subcommand = true,
    max_term_width = 80,
    after_help = "Exit status: 0 done, 1 refused or failed, 2 wrong usage."
)]
pub struct Cli {
    /// The daemon's control socket.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "LBD_SOCKET", value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Print JSON, as the API answers.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// When to use colour.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "WHEN", default_value = "auto")]
    pub color: When,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Runs one command line.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(err) => return usage::explain(&err, Cli::command(), &args),
    };
    let context = Context::new(&cli);
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(err) => {
            eprintln!("error: cannot start: {err}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.verb.run(&context)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests;
