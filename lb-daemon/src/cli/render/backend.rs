//! `lbctl backend`: what changed on a real server, and what is not as it must be.

use std::fmt::Write as _;

use super::number::plural;
use super::style::{Role, Style};
use crate::cli::verbs::backend::{Answer, ChangeLine, Checked, Prepared};
use crate::core::backend::check::{Finding, Standing};

/// What a preparation changed.
pub fn prepared(prepared: &Prepared, style: Style) -> String {
    let Prepared { role, done } = prepared;
    let mut out = lines(&done.changes, style);
    files(
        &mut out,
        &done.files,
        if done.applied { "wrote" } else { "would write" },
    );
    let _ = match (
        done.changes.is_empty() && done.files.is_empty(),
        done.applied,
    ) {
        (true, _) => writeln!(out, "nothing to change: this machine is prepared ({role})"),
        (false, false) => writeln!(out, "would make {}", plural(done.changes.len(), "change")),
        (false, true) => writeln!(
            out,
            "made {}; this machine is a real server ({role})\n`lbctl backend undo` puts back what was; `systemctl start \
             lbd-backend` keeps it so from now on",
            plural(done.changes.len(), "change"),
        ),
    };
    out
}

/// What was put back.
pub fn undone(done: &Answer, style: Style) -> String {
    let mut out = lines(&done.changes, style);
    files(
        &mut out,
        &done.files,
        if done.applied {
            "removed"
        } else {
            "would remove"
        },
    );
    for left in &done.left {
        let ChangeLine { item, old, new } = left;
        let _ = writeln!(
            out,
            "{} {item} is {old} and was {new}; something else keeps it so",
            style.paint(Role::Warning, "warning:")
        );
    }
    let _ = match done.applied {
        true => writeln!(out, "everything is as it was before"),
        false => writeln!(out, "would make {}", plural(done.changes.len(), "change")),
    };
    out
}

/// What was found, one thing a line; below what is wrong, why it matters and what mends it.
pub fn checked(checked: &Checked, style: Style) -> String {
    let mut out = String::new();
    for finding in &checked.findings {
        one(&mut out, finding, style);
    }
    let bad = checked
        .findings
        .iter()
        .filter(|f| f.standing == Standing::Bad);
    let _ = match bad.count() {
        0 => writeln!(out, "ready as a real server ({})", checked.role),
        n => writeln!(out, "{} wrong ({})", plural(n, "thing"), checked.role),
    };
    out
}

fn one(out: &mut String, finding: &Finding, style: Style) {
    let mark = match finding.standing {
        Standing::Good => style.paint(Role::Good, "✓"),
        Standing::Bad => style.paint(Role::Bad, "✗"),
        Standing::Advice => style.paint(Role::Faint, "·"),
    };
    let Finding { item, found, .. } = finding;
    let _ = match &finding.wanted {
        Some(wanted) => writeln!(out, "{mark} {item}: {found}, must be {wanted}"),
        None => writeln!(out, "{mark} {item}: {found}"),
    };
    if let Some(why) = &finding.why {
        let _ = writeln!(out, "    {}", style.paint(Role::Faint, why));
    }
    if let Some(command) = &finding.command {
        let _ = writeln!(out, "    {} {command}", style.paint(Role::Good, "hint:"));
    }
}

fn lines(changes: &[ChangeLine], style: Style) -> String {
    let width = changes.iter().map(|c| c.item.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut out = String::new();
    for ChangeLine { item, old, new } in changes {
        let _ = writeln!(
            out,
            "{item:<width$}  {} → {}",
            style.paint(Role::Faint, old),
            style.paint(Role::Good, new)
        );
    }
    out
}

fn files(out: &mut String, files: &[std::path::PathBuf], did: &str) {
    for file in files {
        let _ = writeln!(out, "{did} {}", file.display());
    }
}
