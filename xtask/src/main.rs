//! The project's own commands: `cargo xtask setup | build | check | test | fuzz | demo | bench | replay | vm | clean`.

mod bench;
mod check;
mod clean;
mod compile;
mod demo;
mod dist;
mod fuzz;
mod install;
mod replay;
mod setup;
mod sh;
mod test;
mod toolchain;
mod ui;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building, the demo and the tests need; quick when nothing is missing
    Setup,
    /// Build the XDP programs, then lbd and lbctl with the programs inside
    Build(compile::Args),
    /// Format, lints, host tests and documentation, as they must be before a change lands
    Check,
    /// Run every test level that this machine can run
    Test(test::Args),
    /// Give decoders what nobody would think of, with libFuzzer
    Fuzz(fuzz::Args),
    /// Balance real traffic over DR, TUN and NAT in network namespaces, and show how it was shared
    Demo(demo::Args),
    /// Measure what a packet costs, on one core and without a network
    Bench(bench::Args),
    /// Play recordings of what IPVS did to the real XDP program: one line a file, and a summary
    Replay(replay::Args),
    /// Run a command on a stock kernel of Debian, in a virtual machine
    Vm(vm::Args),
    /// Make a Debian package of an optimised build
    Dist(dist::Args),
    /// Take down labs that were kept or left behind
    Clean,
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Setup => setup::run(),
        Command::Build(args) => compile::run(&args),
        Command::Check => check::run(),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Clean => clean::run(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
