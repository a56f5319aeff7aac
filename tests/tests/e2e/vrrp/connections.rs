//! Do connections outlive the director that had them?

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::{Load, Pair, Vip, Work, poll};
use tests::needs_lab;

use super::{SOON, TENTH, configuration, is, lose_power, settled};

/// Connections that are open when the director goes.
const OPEN: usize = 20;

#[test]
fn where_hashes_choose_open_connections_outlive_the_director_that_had_them() -> Result<()> {
    needs_lab!();
    let mut pair = Pair::new(2)?;
    for (n, priority) in [(0, 150), (1, 100)] {
        let yaml = configuration(&pair, priority, TENTH, "")
            .replace("scheduler: rr", "scheduler: mh, scheduler_flags: [mh-port]")
            + "forwarding: {sloppy_tcp: true}\n";
        pair.directors[n].configure(&yaml)?;
        pair.directors[n].start()?;
    }
    settled(&pair)?;
    let load = Load::start(&pair.client, &[Work::Stay(Vip::Dr.web()); OPEN]);
    thread::sleep(Duration::from_secs(1));
    lose_power(&mut pair.directors[0])?;
    let second = &pair.directors[1];
    poll("the second to be master", SOON, || {
        is(second, "outside", "master")
    })?;
    thread::sleep(Duration::from_secs(1));
    let outcome = load.stop();
    let answers = &outcome.answers;
    println!(
        "{OPEN} connections: {} answers, the slowest after {:.2?}",
        answers.total(),
        outcome.slowest
    );
    ensure!(answers.failures.is_empty(), "{answers:?}");
    // Each real server had some of them, and both directors have served.
    ensure!(
        answers.by_name.len() == pair.reals.len() && outcome.slowest > TENTH,
        "{answers:?}, the slowest after {:?}",
        outcome.slowest
    );
    Ok(())
}
