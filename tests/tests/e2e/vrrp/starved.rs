//! What becomes of the part when its director gets hardly any time of a processor?

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Vrrp as Answer;
use tests::lab::{Director, Pair, Process, poll};
use tests::needs_lab;

use super::{SOON, TENTH, is, router, settled, started};

const SECOND: Duration = Duration::from_secs(1);
/// For so long somebody is starved.
const WHILE: Duration = Duration::from_secs(10);

/// Processes that get a tenth of one processor, all of it at the beginning of each second: a control group.
struct Cage(PathBuf);

impl Cage {
    /// Makes one, where control groups can be made; otherwise says why not.
    fn new(name: &str) -> Result<Option<Self>> {
        let (run, period) = (100_000, 1_000_000);
        let first = Path::new("/sys/fs/cgroup/cpu");
        let second = Path::new("/sys/fs/cgroup");
        let shared = fs::read_to_string(second.join("cgroup.subtree_control"));
        let cage = if first.join("cpu.cfs_quota_us").exists() {
            let cage = Self(first.join(name));
            fs::create_dir(&cage.0).context("cannot make a control group")?;
            cage.set("cpu.cfs_period_us", &period.to_string())?;
            cage.set("cpu.cfs_quota_us", &run.to_string())?;
            cage
        } else if shared.is_ok_and(|all| all.split_whitespace().any(|one| one == "cpu")) {
            let cage = Self(second.join(name));
            fs::create_dir(&cage.0).context("cannot make a control group")?;
            cage.set("cpu.max", &format!("{run} {period}"))?;
            cage
        } else {
            println!(
                "SKIP: no control groups for processors are at {}",
                second.display()
            );
            return Ok(None);
        };
        Ok(Some(cage))
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.0.join(file);
        fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Puts a process into it.
    fn lock(&self, pid: u32) -> Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// Lets a process out.
    fn free(&self, pid: u32) -> Result<()> {
        let outside = self.0.with_file_name("cgroup.procs");
        fs::write(outside, pid.to_string()).context("cannot leave a control group")
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // Those that were killed leave it a little later.
        let empty = poll("it to be empty", SOON, || Ok(fs::remove_dir(&self.0)?));
        if let Err(why) = empty {
            eprintln!("{} stays: {why:#}", self.0.display());
        }
    }
}

/// Two programs for each processor that never rest.
fn busy(director: &Director) -> Result<Vec<Process>> {
    let count = 2 * std::thread::available_parallelism()?.get();
    let loops = ["sh", "-c", "while :; do :; done"];
    (0..count)
        .map(|_| director.host().start("busy", &loops))
        .collect()
}

/// How often each is master so far, and how many timers of the first were late and by how much.
fn so_far(pair: &Pair) -> Result<([u64; 2], u64, u64)> {
    let [first, second] = &pair.directors;
    let times = [first, second].map(|d| router(d, "outside").map(|r| r.masterships));
    let [one, two] = times;
    let report: Answer = first.ask(&["vrrp"])?;
    Ok(([one?, two?], report.late_timers, report.latest_timer))
}

/// As shipped: no program that wants the processors for itself delays an advertisement for long.
#[test]
fn busy_programs_do_not_make_a_master_give_way() -> Result<()> {
    needs_lab!();
    let pair = started(TENTH)?;
    let before = so_far(&pair)?;
    let programs = busy(&pair.directors[0])?;
    std::thread::sleep(WHILE);
    let after = so_far(&pair)?;
    println!(
        "{} busy programs for {WHILE:?}: {} timers late, the worst ever by {} ms",
        programs.len(),
        after.1 - before.1,
        after.2
    );
    ensure!(after.0 == before.0, "{before:?}, then {after:?}");
    settled(&pair)
}

/// Without real-time priority and with a tenth of a processor, which busy programs share, a master is late by up to a second:
/// advertisements every second bear that. Every 100 ms they do not; then another takes over, once, and keeps the part until there
/// is time again.
#[test]
fn a_director_without_a_processor_gives_way_once_and_comes_back_when_it_has_one() -> Result<()> {
    needs_lab!();
    for interval in [SECOND, TENTH] {
        let pair = started(interval)?;
        let first = &pair.directors[0];
        let name = format!("{}-starved", first.host().name());
        let Some(cage) = Cage::new(&name)? else {
            return Ok(());
        };
        let before = so_far(&pair)?;
        let pid = first.pid()?;
        first
            .host()
            .run(&["chrt", "--other", "--pid", "0", &vrrp_thread(pid)?])?;
        let programs = busy(first)?;
        for pid in programs.iter().map(Process::pid).chain([pid]) {
            cage.lock(pid)?;
        }
        if interval == TENTH {
            poll("the second to take over", SOON, || {
                is(&pair.directors[1], "outside", "master")
            })?;
        }
        std::thread::sleep(WHILE);
        let second = router(&pair.directors[1], "outside")?;
        cage.free(pid)?;
        let freed = Instant::now();
        drop(programs);
        settled(&pair)?;
        let back = freed.elapsed();
        let after = so_far(&pair)?;
        let [ours, theirs] = [0, 1].map(|n| after.0[n] - before.0[n]);
        println!(
            "advertisements every {interval:?}: {} timers late, the worst ever by {} ms; the second was master {theirs} times, \
             and the first is it again after {back:.1?}",
            after.1 - before.1,
            after.2
        );
        ensure!(first.log().contains("ms late"), "it is not logged");
        ensure!(after.1 > before.1, "no timer was late: it was not starved");
        let expected = u64::from(interval == TENTH);
        ensure!(
            (ours, theirs) == (expected, expected),
            "the master changed {ours} and {theirs} times"
        );
        ensure!(
            (second.state == "master") == (interval == TENTH),
            "{second:?}"
        );
    }
    Ok(())
}

/// The number of the thread that speaks VRRP.
fn vrrp_thread(pid: u32) -> Result<String> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.trim() == "lbd-vrrp" {
            return Ok(task.file_name().to_string_lossy().into_owned());
        }
    }
    anyhow::bail!("lbd has no thread for VRRP")
}
