//! What must be true, and what was measured.

use std::fmt;

use crate::director::{Director, Time};

/// Watches one run.
#[derive(Default)]
pub(crate) struct Judge {
    /// When anything last happened that may change who is master, or will at the latest.
    pub disturbed: Time,
    /// A master went while all was settled: by when there must be another, and the earliest that could be asked.
    awaited: Option<Awaited>,
    /// Since when there is more than one master.
    several: Option<Time>,
    pub takeovers: u64,
    pub handovers: u64,
    pub longest_takeover: f64,
    pub longest_double: Time,
    pub changes: u64,
}

struct Awaited {
    since: Time,
    until: Time,
    planned: bool,
}

impl Judge {
    /// Something happens.
    pub(crate) fn disturb(&mut self, now: Time) {
        self.disturbed = self.disturbed.max(now);
        self.awaited = None;
    }

    /// The only master has gone, with nothing else amiss: its successor has this long.
    pub(crate) fn expect(&mut self, now: Time, bound: Time, planned: bool) {
        self.awaited = Some(Awaited {
            since: now,
            until: now + bound,
            planned,
        });
    }

    /// Somebody became master.
    pub(crate) fn mastered(&mut self, now: Time) {
        self.changes += 1;
        let on_time = |awaited: &mut Awaited| now <= awaited.until;
        let Some(awaited) = self.awaited.take_if(on_time) else {
            return;
        };
        let share = (now - awaited.since) as f64 / (awaited.until - awaited.since).max(1) as f64;
        self.longest_takeover = self.longest_takeover.max(share);
        if awaited.planned {
            self.handovers += 1;
        } else {
            self.takeovers += 1;
        }
    }

    /// Looks at all directors after something was done.
    pub(crate) fn look(
        &mut self,
        now: Time,
        settled: Time,
        directors: &[Director],
    ) -> Result<(), String> {
        let masters: Vec<_> = directors.iter().map(Director::is_master).collect();
        let count = masters.iter().filter(|m| **m).count();
        let able = directors.iter().any(Director::able);
        let quiet = now.saturating_sub(self.disturbed);
        if let Some(awaited) = self.awaited.as_ref().filter(|a| now > a.until) {
            return Err(format!(
                "at {now} nobody has taken over since {}, and the bound was {}",
                awaited.since, awaited.until
            ));
        }
        if count > 1 {
            let since = *self.several.get_or_insert(now);
            if quiet > settled {
                return Err(format!(
                    "at {now} {count} are master, since {since}, {quiet} after the last disturbance"
                ));
            }
            self.longest_double = self.longest_double.max(now - since);
        } else {
            self.several = None;
        }
        if count == 0 && able && quiet > settled {
            return Err(format!(
                "at {now} nobody is master, {quiet} after the last disturbance"
            ));
        }
        Ok(())
    }
}

/// Of many runs.
#[derive(Default)]
pub(crate) struct Sum {
    pub takeovers: u64,
    pub handovers: u64,
    changes: u64,
    longest_takeover: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, judge: &Judge) {
        self.takeovers += judge.takeovers;
        self.handovers += judge.handovers;
        self.changes += judge.changes;
        self.longest_takeover = self.longest_takeover.max(judge.longest_takeover);
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} times somebody became master; {} takeovers and {} hand-overs from a settled state, the longest {:.1} % of \
             its bound",
            self.changes,
            self.takeovers,
            self.handovers,
            self.longest_takeover * 100.0
        )
    }
}
