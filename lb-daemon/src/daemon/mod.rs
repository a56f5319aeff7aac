//! lbd: from its command line to a running director, and what else it can be started for.

mod backend;
mod logging;
pub mod options;
mod plan;
mod serve;
mod systemd;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::api::types::Problem;
use crate::cli::failure::describe;
use crate::cli::render::style::{Style, When};
use options::{Options, Task};

/// Runs one command line.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        // Help and version are no errors: clap knows, and prints to the right stream.
        Err(err) => err.exit(),
    };
    let done = match options.task() {
        Task::Check(file) => plan::check(&file),
        Task::Detach => plan::detach(&options.pin_dir),
        Task::DryRun => plan::dry_run(&options),
        Task::Backend => backend::serve(&options),
        Task::Serve => serve::serve(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
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
