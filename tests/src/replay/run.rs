//! How do recordings go when the real program plays them?

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Result;

use super::{Deviation, Program, Report, play, recording::Recording};

/// How a recording went.
#[derive(Debug)]
pub enum Outcome {
    /// It was played to its end.
    Played(Report),
    /// It cannot be played, and why.
    Skipped(String),
    /// It could not be read, or broke off.
    Broken(String),
}

impl Outcome {
    /// Plays a recording to the program.
    pub fn of(file: &Path, program: &mut Program) -> Self {
        let mut played = || -> Result<Self> {
            let recording = Recording::read(file)?;
            if let Some(reason) = recording.unsupported() {
                return Ok(Self::Skipped(reason));
            }
            program.clear()?;
            play(&recording, program).map(Self::Played)
        };
        played().unwrap_or_else(|error| Self::Broken(format!("{error:#}")))
    }

    /// Whether the program did what IPVS did, but for what was decided on.
    pub fn is_good(&self) -> bool {
        match self {
            Self::Played(report) => report.different.is_empty() && report.equal > 0,
            Self::Skipped(_) => true,
            Self::Broken(_) => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Played(Report { equal: 0, .. }) => f.write_str("FAIL  it checks nothing"),
            Self::Played(report) => {
                let verdict = if self.is_good() { "ok   " } else { "FAIL " };
                write!(f, "{verdict} {} equal", report.equal)?;
                if !report.deviations.is_empty() {
                    write!(f, ", {} otherwise by decision", report.deviations.len())?;
                }
                if let Some((event, text)) = report.different.first() {
                    let count = report.different.len();
                    let first = text.lines().next().unwrap_or_default();
                    write!(
                        f,
                        ", {count} different; the first at event {event}: {first}"
                    )?;
                }
                Ok(())
            }
            Self::Skipped(reason) => write!(f, "SKIP  {reason}"),
            Self::Broken(error) => write!(f, "FAIL  {error}"),
        }
    }
}

/// How all recordings went.
#[derive(Debug, Default)]
pub struct Summary {
    /// Played, and as IPVS but for what was decided on.
    pub good: usize,
    /// Not played.
    pub skipped: usize,
    /// Different, or broken.
    pub bad: usize,
    /// Expectations that were met.
    pub equal: usize,
    /// What was otherwise by decision, and how often.
    pub deviations: BTreeMap<Deviation, usize>,
}

impl Summary {
    /// Adds a recording.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Skipped(_) => self.skipped += 1,
            _ if outcome.is_good() => self.good += 1,
            _ => self.bad += 1,
        }
        if let Outcome::Played(report) = outcome {
            self.equal += report.equal;
            for (_, deviation) in &report.deviations {
                *self.deviations.entry(*deviation).or_default() += 1;
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            good,
            skipped,
            bad,
            equal,
            deviations,
        } = self;
        write!(
            f,
            "{good} recordings as IPVS ({equal} checks), {bad} different, {skipped} skipped"
        )?;
        for (deviation, count) in deviations {
            write!(f, "\n{count} times by decision: {}", deviation.reason())?;
        }
        Ok(())
    }
}
