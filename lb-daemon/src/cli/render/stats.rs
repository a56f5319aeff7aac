//! `lbctl stats`: the columns of `ipvsadm -Ln --stats` and `--rate`, and how packets ended.

use std::fmt::Write as _;

use super::number::{grouped, large};
use super::style::{Role, Style};
use crate::api::types::{CounterValue, Rates, Stats, Totals};

/// Counts since the services were added.
pub fn totals(stats: &Stats, exact: bool, style: Style) -> String {
    let heading = [
        "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes",
        "  -> RemoteAddress:Port",
    ];
    table(stats, &heading, style, |totals, _| {
        let Totals {
            conns,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        } = *totals;
        [conns, in_packets, out_packets, in_bytes, out_bytes]
            .map(|n| large(n, exact))
            .concat()
    })
}

/// Counts per second.
pub fn rates(stats: &Stats, exact: bool, style: Style) -> String {
    let heading = [
        "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS",
        "  -> RemoteAddress:Port",
    ];
    table(stats, &heading, style, |_, rates| {
        let Rates {
            conns,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        } = *rates;
        [conns, in_packets, out_packets, in_bytes, out_bytes]
            .map(|n| large(n, exact))
            .concat()
    })
}

fn table(
    stats: &Stats,
    heading: &[&str],
    style: Style,
    cells: impl Fn(&Totals, &Rates) -> String,
) -> String {
    let mut out = String::new();
    for line in heading {
        let _ = writeln!(out, "{}", style.paint(Role::Heading, line));
    }
    for service in &stats.services {
        let name = format!(
            "{:<4} {}",
            service.listener.protocol.name().to_uppercase(),
            service.listener.address
        );
        let _ = writeln!(out, "{name:<33}{}", cells(&service.totals, &service.rates));
        for real in &service.reals {
            let name = format!("  -> {}", real.address);
            let _ = writeln!(out, "{name:<33}{}", cells(&real.totals, &real.rates));
        }
    }
    if stats.services.len() > 1 {
        let _ = writeln!(out, "{:<33}{}", "all", cells(&stats.totals, &stats.rates));
    }
    out
}

/// How packets ended: those ways that any packet took.
pub fn counters(counters: &[CounterValue], style: Style) -> String {
    let mut out = String::new();
    let taken: Vec<_> = counters
        .iter()
        .filter(|counter| counter.packets > 0)
        .collect();
    let _ = writeln!(
        out,
        "{}",
        style.paint(Role::Heading, "Packets by how they ended")
    );
    if taken.is_empty() {
        out.push_str("  none yet\n");
    }
    let width = taken
        .iter()
        .map(|counter| grouped(counter.packets).len())
        .max()
        .unwrap_or(0);
    for counter in taken {
        let role = if counter.name.starts_with("drop") {
            Role::Warning
        } else {
            Role::Faint
        };
        let name = style.paint(role, &format!("{:<22}", counter.name));
        let _ = writeln!(out, "  {name} {:>width$}", grouped(counter.packets));
    }
    out
}
