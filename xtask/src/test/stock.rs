//! How is a test program run on a stock kernel?

use std::time::Duration;

use anyhow::{Context, Result};

use super::harness::{self, Ended, Suite};
use super::tally::Tally;
use crate::vm::{Guest, Kernel, Outcome};
use crate::{setup, sh, ui};

/// How many times as long as on this machine the lab waits in a guest: the processor is emulated.
const PATIENCE: u32 = 20;

/// Run the tests of a program in a guest of each kernel; what they print is shown at once, or at the end in one piece. They count as
/// skipped where a kernel cannot be had.
pub(super) fn run(
    suite: &Suite,
    count: usize,
    filter: Option<&str>,
    kernels: &[Kernel],
    limit: Duration,
    live: bool,
) -> Result<Tally> {
    let mut total = Tally::default();
    for kernel in kernels {
        match setup::vm().and_then(|()| kernel.install()) {
            Ok(installed) => {
                let guest = Guest::with_lab(installed)?;
                let name = format!("{} on Linux {}", suite.name(), kernel.version());
                total += run_in(guest, suite, &name, filter, limit, live)?;
            }
            Err(error) => total.skip(count, &format!("{error:#}").replace('\n', "; ")),
        }
    }
    Ok(total)
}

/// Run the tests of a program in a guest, and show what they print: what they found out there is worth knowing.
fn run_in(
    mut guest: Guest,
    suite: &Suite,
    name: &str,
    filter: Option<&str>,
    limit: Duration,
    live: bool,
) -> Result<Tally> {
    guest.add(&suite.program)?;
    let program = suite.program.to_str().context("a path is no text")?;
    let patience = format!("LB_PATIENCE={PATIENCE}");
    let command = [
        "env",
        &patience,
        program,
        "--test-threads=1",
        "--show-output",
    ]
    .into_iter()
    .chain(filter)
    .map(str::to_owned);
    let mut lines = Vec::new();
    let outcome = ui::step(&format!("run {name}"), || {
        guest.run(&command.collect::<Vec<_>>(), sh::root(), limit, |line| {
            if live {
                println!("    {line}");
            }
            lines.push(line);
        })
    })?;
    if !live {
        println!("    {}", lines.join("\n    "));
    }
    let ended = match outcome {
        Outcome::Exit(0) => Ended::Well,
        Outcome::Exit(_) => Ended::Badly,
        Outcome::Late => Ended::Late,
        Outcome::Broken(console) => {
            println!("the guest broke off; the last words of its console:\n{console}");
            Ended::Badly
        }
    };
    Ok(harness::tally(name, &lines, ended))
}
