//! What is each level of tests, and what does it need?

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::harness::{self, Suite};
use super::stock;
use super::tally::Tally;
use crate::vm::Kernel;
use crate::{sh, ui};

/// A level of tests, from the quickest to the most real.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Level {
    /// On the host, without privileges
    Host,
    /// Every interleaving of the connection table's atomic steps
    Loom,
    /// The real programs on single packets in the kernel
    Golden,
    /// Real traffic between network namespaces
    Namespaces,
    /// The same on a stock kernel, in a virtual machine, beside the levels loom and golden
    Vm,
}

impl Level {
    /// All levels, in the order of running.
    pub(crate) const ALL: &[Self] = &[
        Self::Host,
        Self::Loom,
        Self::Golden,
        Self::Vm,
        Self::Namespaces,
    ];

    /// What the level finds out.
    pub(crate) fn question(self) -> &'static str {
        match self {
            Self::Host => "do the parts do what they say?",
            Self::Loom => "does every interleaving keep the connection table right?",
            Self::Golden => "does the program in the kernel answer each packet as it must?",
            Self::Namespaces => "does real traffic arrive?",
            Self::Vm => "does it arrive on stock kernels, too?",
        }
    }

    /// Run the level's tests, those in virtual machines on each of `kernels`. What guests print is shown at once if `live`.
    pub(crate) fn run(
        self,
        suites: &[Suite],
        filter: Option<&str>,
        kernels: &[Kernel],
        live: bool,
    ) -> Result<Tally> {
        match self {
            Self::Host => {
                let mut tally = self.run_suites(suites, filter)?;
                if filter.is_none() {
                    tally += doc_tests()?;
                }
                Ok(tally)
            }
            Self::Loom => loom(filter),
            Self::Golden | Self::Namespaces => self.run_suites(suites, filter),
            Self::Vm => self.each(suites, filter, |suite, count| {
                stock::run(suite, count, filter, kernels, self.limit(), live)
            }),
        }
    }

    /// Whether a level of virtual machines can run meanwhile: nothing here has to happen in time.
    pub(crate) fn has_no_deadlines(self) -> bool {
        matches!(self, Self::Loom | Self::Golden)
    }

    /// Whether a test program belongs to this level: its name says.
    fn has(self, suite: &Suite) -> bool {
        let golden = suite.target.starts_with("golden");
        let namespaces = suite.target.starts_with("e2e");
        let loom = suite.target.starts_with("loom");
        let vm = suite.target.starts_with("stock");
        match self {
            Self::Host => !golden && !namespaces && !loom && !vm,
            Self::Loom => loom,
            Self::Golden => golden,
            Self::Namespaces => namespaces,
            Self::Vm => vm,
        }
    }

    fn run_suites(self, suites: &[Suite], filter: Option<&str>) -> Result<Tally> {
        self.each(suites, filter, |suite, _| {
            suite.run(filter, self.threads(suite), self.limit())
        })
    }

    /// How many tests of a program run at once, unless as many as there are processors.
    fn threads(self, suite: &Suite) -> Option<usize> {
        match self {
            Self::Host | Self::Loom | Self::Vm => None,
            // Those who have to be alone say so themselves, and each waits more than it computes.
            Self::Namespaces if suite.package == "tests" => Some(2),
            // Programs and maps are the kernel's: tests of one program at a time keep the clock of each to itself.
            Self::Golden | Self::Namespaces => Some(1),
        }
    }

    /// Run those of our test programs that have such tests, if we may.
    fn each(
        self,
        suites: &[Suite],
        filter: Option<&str>,
        run: impl Fn(&Suite, usize) -> Result<Tally>,
    ) -> Result<Tally> {
        let mut total = Tally::default();
        for suite in suites.iter().filter(|suite| self.has(suite)) {
            let count = suite.count(filter)?;
            if count == 0 {
                continue;
            }
            if self.needs_root() && !sh::is_root() {
                total.skip(count, "only root may load programs and make namespaces");
                continue;
            }
            let tally = run(suite, count)?;
            println!("  {} {}: {tally}", mark(&tally), suite.name());
            total += tally;
        }
        Ok(total)
    }

    fn needs_root(self) -> bool {
        matches!(self, Self::Golden | Self::Namespaces | Self::Vm)
    }

    /// How long one test program may take.
    fn limit(self) -> Duration {
        let minutes = match self {
            Self::Namespaces => 20,
            Self::Vm => 15,
            Self::Host | Self::Loom | Self::Golden => 10,
        };
        Duration::from_secs(60 * minutes)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Loom => "loom",
            Self::Golden => "golden",
            Self::Namespaces => "namespaces",
            Self::Vm => "vm",
        })
    }
}

/// The examples in the documentation.
fn doc_tests() -> Result<Tally> {
    let output = sh::cargo()
        .args(["test", "--doc", "--quiet", "--", "--color", "never"])
        .output()?;
    let lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    let mut total = Tally::default();
    // One report for each crate.
    for report in lines.split_inclusive(|line| line.starts_with("test result: ")) {
        total += harness::tally("documentation", report, harness::Ended::Well);
    }
    if !output.status.success() && total.failed == 0 {
        total.fail("documentation: the examples do not build".to_owned());
    }
    if total.failed > 0 {
        println!(
            "{}\n{}",
            lines.join("\n"),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    println!("  {} documentation: {total}", mark(&total));
    Ok(total)
}

/// The models, built with loom's atomics in place of the machine's.
fn loom(filter: Option<&str>) -> Result<Tally> {
    let mut cargo = sh::cargo();
    cargo.args([
        "test",
        "--package",
        "lb-common",
        "--test",
        "loom",
        "--no-run",
        "--quiet",
        "--release",
        "--target-dir",
    ]);
    cargo
        .arg(sh::target_dir().join("loom"))
        .env("RUSTFLAGS", "--cfg loom");
    let suites = ui::step("build the models", || harness::suites(&mut cargo))?;
    Level::Loom.run_suites(&suites, filter)
}

fn mark(tally: &Tally) -> String {
    if tally.failed == 0 {
        ui::paint("1;32", "✓")
    } else {
        ui::paint("1;31", "✗")
    }
}
