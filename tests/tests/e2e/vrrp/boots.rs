//! Is one who has just been started, and is read anew at once, a director like any other?

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::{Director, Vip, poll};
use tests::needs_lab;

use super::{SOON, TENTH, answers, configuration, is, router, runs, settled, started};

/// Reloads come while it starts, as soon as it has started, and once more: it hears the other, and there is one master. In turn it
/// is one that stays a backup and one that takes over. `LB_RUNS=50` starts it fifty times.
#[test]
fn one_that_is_read_anew_while_it_starts_hears_the_others() -> Result<()> {
    needs_lab!();
    let mut pair = started(TENTH)?;
    pair.directors[0].stop()?;
    poll("the second to be master", SOON, || {
        is(&pair.directors[1], "outside", "master")
    })?;
    for run in 0..runs() {
        let takes_over = run % 2 == 1;
        let priority = if takes_over { 150 } else { 50 };
        let again = configuration(&pair, priority - 1, TENTH, "");
        pair.directors[0].configure(&configuration(&pair, priority, TENTH, ""))?;
        let before = router(&pair.directors[1], "outside")?.masterships;
        pair.directors[0].launch()?;
        let pid = Pid::from_raw(pair.directors[0].pid()?.try_into()?);
        poll("it to take the signal", SOON, || {
            takes_hangup(&pair.directors[0])
        })?;
        kill(pid, Signal::SIGHUP)?;
        pair.directors[0].wait()?;
        kill(pid, Signal::SIGHUP)?;
        pair.directors[0].configure(&again)?;
        pair.directors[0].lbctl(&["reload"])?;
        let first = &pair.directors[0];
        if takes_over {
            settled(&pair)?;
        } else {
            poll("it to hear the master", SOON, || {
                let is = router(first, "outside")?;
                ensure!(is.heard >= 10 && is.state == "backup", "{is:?}");
                ensure!(is.masterships == 0, "it was master meanwhile");
                Ok(())
            })?;
            let after = router(&pair.directors[1], "outside")?;
            ensure!(
                after.state == "master" && after.masterships == before,
                "{after:?}"
            );
            answers(&pair, Vip::Dr)?;
        }
        let is = router(first, "outside")?;
        ensure!(
            is.priority == priority - 1 && is.rejected.is_empty(),
            "{is:?}"
        );
        pair.directors[0].stop()?;
        poll("the second to be master", SOON, || {
            is_master(&pair.directors[1])
        })?;
    }
    Ok(())
}

fn is_master(director: &Director) -> Result<()> {
    is(director, "outside", "master")?;
    is(director, "inside", "master")
}

/// An error unless lbd does something else at a hangup than to end.
fn takes_hangup(director: &Director) -> Result<()> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", director.pid()?))?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.context("no word of signals")?.trim(), 16)?;
    ensure!(caught & 1 << (Signal::SIGHUP as u32 - 1) != 0, "not yet");
    Ok(())
}
