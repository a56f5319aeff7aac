//! `lbctl doctor`: what is wrong first, with what to do about it.

use std::fmt::Write as _;

use super::number::plural;
use super::style::{Role, Style};
use crate::api::types::{Diagnosis, Finding, Standing};

/// How far what belongs to a finding stands from the left.
const INDENT: usize = 4;

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
        wrapped(
            &mut out,
            "lbd does not run: this was looked at from here, for the configuration that it would begin with",
            0,
            columns,
            |line| style.paint(Role::Faint, line),
        );
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
    let mut first = true;
    wrapped(out, &what, 0, columns, |line| {
        let is_first = std::mem::take(&mut first);
        match line.strip_prefix(mark).filter(|_| is_first) {
            Some(rest) => format!("{}{rest}", style.paint(role, mark)),
            None => format!("  {line}"),
        }
    });
    let mut below = |text: &str, role: Role| {
        wrapped(out, text, INDENT, columns, |line| style.paint(role, line));
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

/// Words on lines of so many columns, each so far from the left.
fn wrapped(
    out: &mut String,
    text: &str,
    indent: usize,
    columns: usize,
    mut paint: impl FnMut(&str) -> String,
) {
    let room = columns.saturating_sub(indent.max(2)).max(20);
    let mut line = String::new();
    let mut flush = |line: &mut String| {
        if !line.is_empty() {
            let _ = writeln!(out, "{:indent$}{}", "", paint(line));
            line.clear();
        }
    };
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            flush(&mut line);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    flush(&mut line);
}
