//! `lbctl status`: the director on one screen.

use std::fmt::Write as _;

use super::number::{bytes, grouped, long_time, plural};
use super::style::{Role, Style};
use crate::api::types::{Occupancy, Status};

/// The director's state; warnings last, where the eye ends.
pub fn status(status: &Status, socket: &str, style: Style) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(
            out,
            "{} {text}",
            style.paint(Role::Faint, &format!("{name:<12}"))
        );
    };
    line(
        "lbd",
        &format!(
            "{}, pid {}, up {}",
            status.version.lbd,
            status.pid,
            long_time(status.uptime)
        ),
    );
    line("kernel", &status.version.kernel);
    line("socket", socket);
    line("config", &status.config);
    line("", &saved(status.unsaved));
    if status.interfaces.is_empty() {
        line("interfaces", "none");
    }
    for (i, attachment) in status.interfaces.iter().enumerate() {
        let name = if i == 0 { "interfaces" } else { "" };
        line(
            name,
            &format!(
                "{}, XDP {}, program {}",
                attachment.interface, attachment.mode, attachment.program
            ),
        );
    }
    line("connections", &occupancy(&status.connections));
    line(
        "services",
        &format!(
            "{} with {}",
            status.services,
            plural(status.reals, "real server")
        ),
    );
    for warning in &status.warnings {
        let _ = writeln!(out, "{} {warning}", style.paint(Role::Warning, "warning:"));
    }
    out
}

fn saved(unsaved: Option<usize>) -> String {
    match unsaved {
        Some(0) => "no change to save".to_owned(),
        Some(n) => format!("{} not saved (`lbctl diff` shows)", plural(n, "change")),
        None => "cannot be read (`lbctl diff` says why)".to_owned(),
    }
}

fn occupancy(connections: &Occupancy) -> String {
    let Occupancy {
        used,
        capacity,
        memory,
    } = *connections;
    let permille = used
        .saturating_mul(1_000)
        .checked_div(capacity)
        .unwrap_or(0);
    format!(
        "{} of {} ({}.{} %), {}",
        grouped(used),
        grouped(capacity),
        permille / 10,
        permille % 10,
        bytes(memory),
    )
}
