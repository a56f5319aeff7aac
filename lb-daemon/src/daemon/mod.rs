//! lbd: from its command line to a running director, and what else it can be started for.

mod backend;
mod logging;
pub mod options;
mod plan;
mod serve;
mod systemd;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::api::types::Problem;
use crate::cli::failure::describe;
use crate::cli::render::style::{Style, When};
use crate::cli::usage;
use options::{Options, Task};

/// The exit status after an end for good, with which the units do not start it again.
const FOR_GOOD: u8 = 10;

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has done what it was started for, or was told to stop.
    Stopped,
    /// Somebody has taken away what it was there for: everything was detached, or the preparation undone.
    ForGood,
}

/// Runs one command line.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let options = match Options::try_parse_from(&args) {
        Ok(options) => options,
        Err(err) => return usage::explain(&err, Options::command(), &args),
    };
    let stopped = |()| End::Stopped;
    let done = match options.task() {
        Task::Check(file) => plan::check(&file).map(stopped),
        Task::Detach => plan::detach(&options.pin_dir).map(stopped),
        Task::DryRun => plan::dry_run(&options).map(stopped),
        Task::Backend => backend::serve(&options),
        Task::Serve => serve::serve(&options),
    };
    match done {
        Ok(End::Stopped) => ExitCode::SUCCESS,
        Ok(End::ForGood) => ExitCode::from(FOR_GOOD),
        Err(problem) => {
            report(&problem);
            ExitCode::FAILURE
        }
    }
}

fn report(problem: &Problem) {
    let style = Style::detect(When::Auto, &std::io::stderr());
    eprint!("{}", describe(problem, style));
}
