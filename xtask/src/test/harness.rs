//! How are test programs found, run and read?
//!
//! A test that cannot run on a machine prints `SKIP: reason` and returns; it counts as skipped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::tally::Tally;
use crate::{sh, ui};

/// How a skipped test begins its last line.
const SKIP: &str = "SKIP: ";

/// A test program.
pub(crate) struct Suite {
    /// The crate it tests.
    pub(crate) package: String,
    /// The name of the target: the crate's own for unit tests, the file's for integration tests.
    pub(crate) target: String,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its crate's folder, in which it runs.
    folder: PathBuf,
}

/// Build all test programs.
pub(crate) fn build() -> Result<Vec<Suite>> {
    ui::step("build the tests", || {
        suites(sh::cargo().args(["test", "--no-run", "--quiet"]))
    })
}

/// The test programs that a cargo command builds.
pub(crate) fn suites(cargo: &mut Command) -> Result<Vec<Suite>> {
    ui::flush();
    let messages = cargo
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let messages = sh::output(messages)?;
    Ok(messages
        .lines()
        .filter_map(|line| suite(&serde_json::from_str(line).ok()?))
        .collect())
}

/// The test program that one of cargo's messages tells of.
fn suite(message: &Value) -> Option<Suite> {
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let program = is_test.then(|| message["executable"].as_str())??;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some(Suite {
        package: folder.file_name()?.to_str()?.to_owned(),
        target: message["target"]["name"].as_str()?.to_owned(),
        program: program.into(),
        folder: folder.into(),
    })
}

impl Suite {
    /// How it is shown.
    pub(crate) fn name(&self) -> String {
        if self.target.replace('_', "-") == self.package {
            self.package.clone()
        } else {
            format!("{}/{}", self.package, self.target)
        }
    }

    /// How many tests it has whose name contains `filter`.
    pub(crate) fn count(&self, filter: Option<&str>) -> Result<usize> {
        let list = sh::output(
            self.command()
                .args(["--list", "--format", "terse"])
                .args(filter),
        )?;
        Ok(list.lines().filter(|line| line.ends_with(": test")).count())
    }

    /// Run its tests, at most `threads` at once and no longer than `limit` in all.
    pub(crate) fn run(
        &self,
        filter: Option<&str>,
        threads: Option<usize>,
        limit: Duration,
    ) -> Result<Tally> {
        let mut command = self.command();
        command
            .args(["--show-output", "--color", "never"])
            .args(filter);
        if let Some(threads) = threads {
            command.arg(format!("--test-threads={threads}"));
        }
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let child = child.with_context(|| format!("cannot run {}", self.program.display()))?;
        let (report, ended) = follow(child, limit)?;
        report.tally(&self.name(), ended)
    }

    fn command(&self) -> Command {
        let mut command = sh::command(&self.program);
        // A failure says what failed on what; where in our own code it was noticed tells nothing more.
        command
            .current_dir(&self.folder)
            .env("RUST_LIB_BACKTRACE", "0");
        command
    }
}

/// How a test program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// With success.
    Well,
    /// With another exit status, or by a signal.
    Badly,
    /// Not in time; it was killed.
    Late,
}

/// Read what a test program prints until it ends; show each test as it ends, where that takes a while.
fn follow(mut child: Child, limit: Duration) -> Result<(Report, Ended)> {
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("the test program has no output");
    };
    let (lines, next) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        // What could be read before an error is still worth showing.
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });

    let deadline = Instant::now() + limit;
    let mut last = Instant::now();
    let mut report = Report::default();
    let in_time = loop {
        match next.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let slow = last.elapsed() > Duration::from_millis(500);
                if slow && test_line(&line).is_some() {
                    println!("    {line} ({})", ui::seconds(last.elapsed()));
                }
                last = Instant::now();
                report.lines.push(line);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break true,
            Err(mpsc::RecvTimeoutError::Timeout) => break false,
        }
    };
    if !in_time {
        child
            .kill()
            .context("cannot kill a test program that is late")?;
    }
    let status = child.wait()?;
    if in_time {
        // Neither thread panics.
        let _ = reader.join();
        report.errors = errors.join().unwrap_or_default();
    }
    let ended = if !in_time {
        Ended::Late
    } else if status.success() {
        Ended::Well
    } else {
        Ended::Badly
    };
    Ok((report, ended))
}

/// What a test program printed.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    errors: String,
}

impl Report {
    /// Count the outcomes; print what a failed test said.
    fn tally(self, suite: &str, ended: Ended) -> Result<Tally> {
        let tally = tally(suite, &self.lines, ended);
        if tally.failed > 0 {
            let from = self
                .lines
                .iter()
                .position(|line| line == "failures:")
                .unwrap_or(0);
            println!(
                "{}\n{}",
                self.lines[from..].join("\n"),
                self.errors.trim_end()
            );
        }
        Ok(tally)
    }
}

/// Read the report of a test program.
pub(crate) fn tally(suite: &str, lines: &[String], ended: Ended) -> Tally {
    let mut tally = Tally::default();
    let skips = skip_reasons(lines);
    let has_summary = lines.iter().any(|line| line.starts_with("test result: "));
    if let Some(summary) = lines
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("test result: "))
    {
        tally.passed = summary_count(summary, "passed").saturating_sub(skips.len());
        skips.values().for_each(|reason| tally.skip(1, reason));
        tally.skip(
            summary_count(summary, "ignored"),
            "they are marked to be ignored",
        );
        failures(lines).for_each(|name| tally.fail(format!("{suite}: {name}")));
    } else {
        // It did not come to its summary: what is known is what each test said.
        for (name, outcome) in lines.iter().filter_map(|line| test_line(line)) {
            match outcome {
                "ok" => tally.passed += 1,
                "FAILED" => tally.fail(format!("{suite}: {name}")),
                _ => {}
            }
        }
    }
    match ended {
        Ended::Well => {}
        Ended::Badly if tally.failed > 0 && has_summary => {}
        Ended::Badly => tally.fail(format!("{suite}: the test program broke off")),
        Ended::Late => tally.fail(format!("{suite}: the test program did not end in time")),
    }
    tally
}

/// The name and outcome of `test NAME ... OUTCOME`.
fn test_line(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.rsplit_once(" ... ")
}

/// A number of the last line: `ok. 3 passed; 0 failed; 1 ignored; …`.
fn summary_count(summary: &str, word: &str) -> usize {
    let part = summary
        .split([';', '.'])
        .find_map(|part| part.trim().strip_suffix(word));
    part.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

/// The names in the last list of failures.
fn failures(lines: &[String]) -> impl Iterator<Item = &str> {
    let from = lines
        .iter()
        .rposition(|line| line == "failures:")
        .map_or(lines.len(), |at| at + 1);
    lines[from..]
        .iter()
        .map_while(|line| line.strip_prefix("    "))
}

/// Why tests were skipped, by name. What a failed test printed does not hide that it failed.
fn skip_reasons(lines: &[String]) -> BTreeMap<&str, &str> {
    let mut reasons = BTreeMap::new();
    let mut current = None;
    for line in lines.iter().take_while(|line| *line != "failures:") {
        if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            current = Some(name);
        } else if let (Some(name), Some(reason)) = (current, line.strip_prefix(SKIP)) {
            reasons.insert(name, reason);
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const MIXED: &str = "
running 4 tests
test a::works ... ok
test b_skips ... ok
test c_waits ... ignored, needs a VM
test d_breaks ... FAILED

successes:

---- b_skips stdout ----
some words
SKIP: not root

failures:

---- d_breaks stdout ----
SKIP: words of a failed test do not hide it

failures:
    d_breaks

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn each_outcome_is_counted_once() {
        let tally = tally("suite", &lines(MIXED), Ended::Badly);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 1, 2));
        assert_eq!(tally.failures, ["suite: d_breaks"]);
        assert_eq!(tally.reasons["not root"], 1);
        assert_eq!(tally.reasons["they are marked to be ignored"], 1);
    }

    #[test]
    fn a_program_that_breaks_off_is_a_failure() {
        let text = lines("test a ... ok\ntest b ... FAILED\ntest c ... ");
        let broken = tally("s", &text, Ended::Badly);
        assert_eq!(broken.passed, 1);
        assert_eq!(broken.failures, ["s: b", "s: the test program broke off"]);
        assert_eq!(
            tally("s", &text, Ended::Late).failures,
            ["s: b", "s: the test program did not end in time"]
        );
    }

    #[test]
    fn the_last_line_counts_even_when_other_words_spoilt_a_tests_own() {
        let text = lines(
            "test a ... words of a child\nok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n",
        );
        assert_eq!(tally("s", &text, Ended::Well).passed, 1);
    }

    #[test]
    fn only_test_programs_are_taken_from_cargos_messages() {
        let message = |test: bool, executable: Value| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": "/src/tests/Cargo.toml",
                "target": {"name": "e2e_methods"}, "profile": {"test": test}, "executable": executable,
            })
        };
        assert_eq!(
            suite(&message(true, "/t/e2e".into())).unwrap().name(),
            "tests/e2e_methods"
        );
        assert!(suite(&message(false, "/t/lbd".into())).is_none());
        assert!(suite(&message(true, Value::Null)).is_none());
    }
}
