//! For how long do clients get no answer, at 500 new connections a second, by DR and by NAT? `LB_RUNS=20` tries each twenty
//! times.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::lab::{Pair, Silence, Vip, poll};
use tests::needs_lab;

use super::{SOON, TENTH, is, lose_power, regain_power, runs, settled, started};

const SECOND: Duration = Duration::from_secs(1);
/// For so long there may be no answer when the part is handed over.
pub(super) const HAND_OVER: Duration = Duration::from_millis(50);
/// For so long when power is lost, with advertisements every 100 ms.
pub(super) const POWER_LOST: Duration = Duration::from_millis(600);

/// For how long there was no answer, each time.
struct Silences {
    what: String,
    /// By DR and by NAT.
    runs: Vec<[Duration; 2]>,
    /// By how much those who measured were late, at worst.
    late: Duration,
}

impl Silences {
    fn new(what: &str, interval: Duration) -> Self {
        Self {
            what: format!("{what}, advertisements every {interval:?}"),
            runs: Vec::new(),
            late: Duration::ZERO,
        }
    }

    /// One more.
    fn add(&mut self, silence: Silent) {
        self.runs.push(silence.longest);
        self.late = self.late.max(silence.late);
    }

    /// Fails if one was shorter than it can be.
    fn are_at_least(&self, least: Duration) -> Result<()> {
        let shortest = self.runs.iter().flatten().min().copied();
        ensure!(
            shortest.is_some_and(|s| s >= least),
            "{self}: somebody answered before anybody could be master, {least:?} after it happened"
        );
        Ok(())
    }

    /// Prints them, and fails if one was longer than it may be.
    fn judge(self, most: Duration) -> Result<()> {
        println!("{self}; at most {most:?} allowed");
        let longest = self.runs.iter().flatten().max().copied();
        ensure!(longest.is_some_and(|l| l <= most), "{self}, not {most:?}");
        Ok(())
    }
}

impl fmt::Display for Silences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, runs, late } = self;
        write!(f, "{what}: {} runs, no answer", runs.len())?;
        for (n, method) in ["DR", "NAT"].into_iter().enumerate() {
            let mut all: Vec<Duration> = runs.iter().map(|run| run[n]).collect();
            all.sort_unstable();
            if let (Some(least), Some(most)) = (all.first(), all.last()) {
                let middle = all[all.len() / 2];
                write!(
                    f,
                    ", {method} {least:.1?} to {most:.1?} (median {middle:.1?})"
                )?;
            }
        }
        write!(f, "; asked up to {late:.1?} late")
    }
}

/// For how long there was no answer, by DR and by NAT, and by how much who measured was late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silent {
    pub(super) longest: [Duration; 2],
    late: Duration,
}

/// Something happens to the first director while clients connect; for how long there is no answer.
pub(super) fn silence(
    pair: &mut Pair,
    happen: impl FnOnce(&mut Pair) -> Result<()>,
) -> Result<Silent> {
    let watch = [Vip::Dr, Vip::Nat].map(|vip| Silence::start(&pair.client, vip.web(), 250));
    std::thread::sleep(Duration::from_millis(300));
    let moment = Instant::now();
    happen(pair)?;
    poll("the second to be master", SOON, || {
        is(&pair.directors[1], "outside", "master")?;
        is(&pair.directors[1], "inside", "master")
    })?;
    // What the new master answers counts too.
    std::thread::sleep(Duration::from_millis(500));
    let mut all = Silent::default();
    for ((longest, watch), method) in all.longest.iter_mut().zip(watch).zip(["DR", "NAT"]) {
        let heard = watch.stop()?;
        let (answers, refused) = (heard.answers.len(), heard.refused);
        ensure!(
            answers > 20,
            "{method}: only {answers} answers, {refused} refused"
        );
        let last = heard.answers.last().context("there was no answer")?;
        let quiet = last.elapsed();
        ensure!(
            quiet < Duration::from_millis(200),
            "{method}: the last of {answers} answers was {quiet:.1?} ago, {:.1?} after it happened, {refused} refused",
            last.saturating_duration_since(moment)
        );
        let silent = heard.longest_after(moment);
        *longest = silent.context("nothing was heard after it")?;
        all.late = all.late.max(heard.late);
    }
    Ok(all)
}

fn power_is_lost(interval: Duration, most: Duration) -> Result<()> {
    let mut pair = started(interval)?;
    let mut silences = Silences::new("power lost", interval);
    for _ in 0..runs() {
        silences.add(silence(&mut pair, |pair| {
            lose_power(&mut pair.directors[0])
        })?);
        regain_power(&mut pair.directors[0])?;
        settled(&pair)?;
    }
    // The bridge floods what is for a director whose link is gone. The other one is a backup until the advertisements have been
    // missing for two intervals at least.
    silences.are_at_least(2 * interval)?;
    silences.judge(most)
}

#[test]
fn clients_are_answered_soon_after_their_director_has_lost_its_power() -> Result<()> {
    needs_lab!();
    power_is_lost(TENTH, POWER_LOST)
}

#[test]
fn at_one_second_clients_are_answered_within_the_time_of_its_timers() -> Result<()> {
    needs_lab!();
    power_is_lost(SECOND, Duration::from_millis(3_700))
}

/// An operator hands over, or has the daemon stop: the old master serves until the new one does.
#[test]
fn clients_hardly_notice_a_planned_hand_over() -> Result<()> {
    needs_lab!();
    for interval in [TENTH, SECOND] {
        let mut pair = started(interval)?;
        let mut handed_over = Silences::new("handed over", interval);
        let mut stopped = Silences::new("stopped", interval);
        for _ in 0..runs() {
            handed_over.add(silence(&mut pair, |pair| {
                pair.directors[0]
                    .lbctl(&["vrrp", "failover", "outside"])
                    .map(drop)
            })?);
            // Whom an operator made give way comes back when it is started anew.
            pair.directors[0].stop()?;
            pair.directors[0].start()?;
            settled(&pair)?;
            stopped.add(silence(&mut pair, |pair| pair.directors[0].stop())?);
            pair.directors[0].start()?;
            settled(&pair)?;
        }
        handed_over.judge(HAND_OVER)?;
        stopped.judge(HAND_OVER)?;
    }
    Ok(())
}
