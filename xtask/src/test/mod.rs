//! Which tests can this machine run, and how do they end?

mod harness;
mod level;
mod stock;
mod tally;

use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{compile, setup, sh, ui, vm};
pub(crate) use level::Level;
use tally::Tally;

/// Which tests to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only these levels
    #[arg(long = "level", value_enum)]
    levels: Vec<Level>,
    /// The kernels of the level vm, one after another; `all` for each of them
    #[arg(long = "kernel", value_name = "VERSION", default_value = "6.1", value_parser = vm::parse)]
    kernels: vm::Choice,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

impl Args {
    /// One level, all of it.
    pub(crate) fn only(level: Level) -> Self {
        Self {
            levels: vec![level],
            kernels: vm::Choice::default(),
            filter: None,
        }
    }
}

/// `cargo xtask test`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    prepare()?;
    let suites = harness::build()?;
    let levels = if args.levels.is_empty() {
        Level::ALL
    } else {
        &args.levels
    };
    let run = |level: Level, live: bool| -> Result<Row> {
        println!("\n{} {level}: {}", ui::paint("1;36", "→"), level.question());
        let began = Instant::now();
        let tally = level.run(&suites, args.filter.as_deref(), &args.kernels.0, live)?;
        Ok((level, tally, began.elapsed()))
    };
    let rows = run_levels(levels, &run)?;

    let mut total = Tally::default();
    println!();
    for (level, tally, time) in rows {
        println!("{:11} {tally} in {}", level.to_string(), ui::seconds(time));
        total += tally;
    }
    for (reason, count) in &total.reasons {
        println!("skipped     {count} because {reason}");
    }
    for name in &total.failures {
        println!("failed      {name}");
    }
    println!("in all      {}", ui::seconds(start.elapsed()));
    println!("{total}");
    Ok(if total.failed == 0 && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A level, how its tests ended, and how long they took.
type Row = (Level, Tally, Duration);

/// Run levels in this order. One that emulates a processor and keeps a part of the machine busy for minutes runs beside those that have
/// no deadlines.
fn run_levels(
    levels: &[Level],
    run: &(impl Fn(Level, bool) -> Result<Row> + Sync),
) -> Result<Vec<Row>> {
    thread::scope(|scope| {
        let mut guests = None;
        let mut rows = Vec::new();
        for (n, &level) in levels.iter().enumerate() {
            if level.has_no_deadlines() && guests.is_none() && levels[n..].contains(&Level::Vm) {
                guests = Some(scope.spawn(|| run(Level::Vm, false)));
            }
            rows.push(match guests.take_if(|_| level == Level::Vm) {
                Some(guests) => guests.join().unwrap_or_else(|panic| resume_unwind(panic))?,
                None => run(level, true)?,
            });
        }
        Ok(rows)
    })
}

/// Install and build what the tests use. Without root the host level needs none of it, and the others do not run.
fn prepare() -> Result<()> {
    if sh::is_root() {
        let toolchain = setup::toolchain()?;
        ui::present(&format!("eBPF tool chain: {}", toolchain.describe()));
        setup::peers()?;
        return compile::everything(&toolchain, false);
    }
    compile::workspace(false)
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use super::*;

    /// The order in which levels began and ended; guests begin while loom runs, and end when golden has.
    fn order(levels: &[Level]) -> Vec<String> {
        let events = Mutex::new(Vec::new());
        let (begun, over) = (Barrier::new(2), Barrier::new(2));
        let run = |level: Level, live: bool| {
            let note = |what: &str| events.lock().unwrap().push(format!("{level} {what}"));
            note(if live { "begins" } else { "begins beside" });
            let beside = levels.len() > 2;
            match level {
                Level::Loom if beside => drop(begun.wait()),
                Level::Vm if beside => {
                    begun.wait();
                    over.wait();
                }
                _ => {}
            }
            note("ends");
            if level == Level::Golden && beside {
                over.wait();
            }
            Ok((level, Tally::default(), Duration::ZERO))
        };
        let rows = run_levels(levels, &run).unwrap();
        let ran: Vec<Level> = rows.into_iter().map(|(level, ..)| level).collect();
        assert_eq!(ran, levels);
        events.into_inner().unwrap()
    }

    #[test]
    fn guests_run_beside_what_has_no_deadlines_and_nothing_else() {
        let events = order(Level::ALL);
        let at = |event: &str| events.iter().position(|e| e == event).expect(event);
        assert!(at("host ends") < at("vm begins beside"));
        assert!(at("vm begins beside") < at("loom ends"));
        assert!(at("golden ends") < at("vm ends"));
        assert!(at("vm ends") < at("namespaces begins"));
        assert_eq!(
            order(&[Level::Vm, Level::Namespaces]),
            [
                "vm begins",
                "vm ends",
                "namespaces begins",
                "namespaces ends"
            ]
        );
    }
}
