//! `lbctl doctor`: what is wrong first, with what to do about it.

use std::fmt::Write as _;

use super::number::plural;
use super::style::{Role, Style};
use super::words::wrapped;
use crate::api::types::{Diagnosis, Finding, Standing};

/// How far what belongs to a finding stands from the left.
const INDENT: usize = 4;
/// The columns of a mark and the blank after it.
const MARK: usize = 2;

/// Findings for a terminal of so many columns; what is well is only counted, unless `all` is to be shown.
pub fn diagnosis(found: &Diagnosis, all: bool, columns: usize, style: Style) -> String {
    let mut out = String::new();
    let of = |standing| move |finding: &&Finding| finding.standing == standing;
    for standing in [Standing::Bad, Standing::Unknown, Standing::Advice] {
        for finding in found.findings.iter().filter(of(standing)) {
            one(&mut out, finding, columns, style);
        }
    }
    let good = found.findings.iter().filter(of(Standing::Good));
    if all {
        for finding in good.clone() {
            one(&mut out, finding, columns, style);
        }
    }
    let count = |standing| found.findings.iter().filter(of(standing)).count();
    let (bad, unknown) = (count(Standing::Bad), count(Standing::Unknown));
    let mut summary = match bad {
        0 => format!("nothing is wrong: {} well", are(good.count())),
        bad => format!("{} wrong, {} well", are(bad), are(good.count())),
    };
    if unknown > 0 {
        let _ = write!(summary, ", {} not looked at", are(unknown));
    }
    let role = if bad == 0 { Role::Good } else { Role::Bad };
    let _ = writeln!(out, "{}", style.paint(role, &summary));
    if !found.daemon {
        let note = "lbd does not run: this was looked at from here, for the configuration that it would begin with";
        for line in wrapped(note, columns) {
            let _ = writeln!(out, "{}", style.paint(Role::Faint, &line));
        }
    }
    out
}

fn are(n: usize) -> String {
    format!(
        "{} {}",
        plural(n, "thing"),
        if n == 1 { "is" } else { "are" }
    )
}

fn one(out: &mut String, finding: &Finding, columns: usize, style: Style) {
    let (role, mark) = match finding.standing {
        Standing::Good => (Role::Good, "✓"),
        Standing::Bad => (Role::Bad, "✗"),
        Standing::Advice => (Role::Faint, "·"),
        Standing::Unknown => (Role::Warning, "?"),
    };
    let what = format!("{mark} {} [{}]", finding.what, finding.check);
    for (n, line) in wrapped(&what, columns.saturating_sub(MARK))
        .iter()
        .enumerate()
    {
        let _ = match line.strip_prefix(mark).filter(|_| n == 0) {
            Some(rest) => writeln!(out, "{}{rest}", style.paint(role, mark)),
            None => writeln!(out, "{:MARK$}{line}", ""),
        };
    }
    let mut below = |text: &str, role: Role| {
        for line in wrapped(text, columns.saturating_sub(INDENT)) {
            let _ = writeln!(out, "{:INDENT$}{}", "", style.paint(role, &line));
        }
    };
    below(&finding.evidence, Role::Faint);
    if let Some(consequence) = &finding.consequence {
        below(consequence, Role::Warning);
    }
    if let Some(command) = &finding.command {
        // A command is one line, whatever its length: it is copied.
        let hint = style.paint(Role::Good, "hint:");
        let _ = writeln!(out, "{:INDENT$}{hint} {command}", "");
    }
}
