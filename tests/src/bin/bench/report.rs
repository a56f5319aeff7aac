//! The result, as a table and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::case::Case;
use crate::measure::{Filled, Results, Series};
use crate::product::CONNECTIONS;
use crate::schedulers::{Cost, SIZES, Yardstick};

/// What the figures were measured on.
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) cpu: usize,
}

/// What a table of connections takes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) table: u64,
    pub(crate) slots: u64,
    pub(crate) hash: u64,
}

/// Everything there is to tell.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) results: Results,
    pub(crate) memory: Memory,
}

fn min(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    }
}

/// A number of connections, short.
fn short(flows: u32) -> String {
    match flows {
        n if n >= 1_000_000 && n.is_multiple_of(1_000_000) => format!("{} M", n / 1_000_000),
        n if n >= 1000 && n.is_multiple_of(1000) => format!("{} k", n / 1000),
        n => n.to_string(),
    }
}

impl Series {
    /// What it takes as a share of what the other build takes.
    fn compared(&self) -> Option<f64> {
        (!self.against.is_empty()).then(|| median(&self.against))
    }

    fn ratio(&self) -> Option<f64> {
        (!self.ratios.is_empty()).then(|| median(&self.ratios))
    }

    /// Whether the target is met, if there is one.
    fn holds(&self) -> Option<bool> {
        Some(self.ratio()? <= self.case.target(self.flows)?)
    }
}

impl Cost {
    fn ratio(&self) -> Option<f64> {
        (!self.ratios.is_empty()).then(|| median(&self.ratios))
    }

    /// Whether the target is met, if there is one.
    fn holds(&self) -> Option<bool> {
        Some(self.ratio()? <= self.pool.target()?.0)
    }

    /// What the target says: `1.04 of 1.1 ✓`.
    fn verdict(&self) -> String {
        match (self.ratio(), self.pool.target(), self.holds()) {
            (Some(ratio), Some((target, _)), Some(holds)) => {
                format!("{ratio:.2} of {target:.1} {}", mark(holds))
            }
            _ => String::new(),
        }
    }

    fn json(&self) -> Value {
        let target = self.pool.target();
        let yardstick = target.map(|(_, yardstick)| match yardstick {
            Yardstick::Smallest => "the same scheduler with the fewest real servers",
            Yardstick::Rr => "rr with as many real servers",
        });
        json!({
            "scheduler": self.pool.scheduler.name(),
            "reals": self.pool.reals,
            "min_ns": min(&self.nanoseconds),
            "median_ns": median(&self.nanoseconds),
            "ns": self.nanoseconds,
            "yardstick": yardstick,
            "median_ratio": self.ratio(),
            "target": target.map(|(target, _)| target),
            "holds": self.holds(),
        })
    }
}

impl Memory {
    /// Bytes a connection when the table is two thirds full, to a tenth.
    fn per_connection(self) -> f64 {
        let bytes = self.table as f64 / (self.slots as f64 * 2.0 / 3.0);
        (bytes * 10.0).round() / 10.0
    }

    /// Whether that is as little as it shall be.
    fn holds(self) -> bool {
        self.per_connection() <= Self::TARGET
    }

    const TARGET: f64 = 32.0;
}

impl Report {
    /// Whether each target is met.
    fn targets(&self) -> impl Iterator<Item = bool> {
        let series = self.results.series.iter().filter_map(Series::holds);
        let pools = self.results.pools.iter().filter_map(Cost::holds);
        series.chain(pools).chain([self.memory.holds()])
    }

    /// Whether another build was measured too.
    fn is_compared(&self) -> bool {
        let mut series = self.results.series.iter();
        series.any(|series| !series.against.is_empty())
    }

    /// The table.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}, Linux {}, CPU {}; nanoseconds a packet without the harness\n\n",
            self.machine.processor, self.machine.kernel, self.machine.cpu
        );
        let _ = writeln!(
            text,
            "{:<37} {:>11} {:>7} {:>7} {:>6} {:>7}{}",
            "program",
            "connections",
            "min",
            "median",
            "ratio",
            "target",
            if self.is_compared() { "  against" } else { "" },
        );
        for case in Case::SHOWN {
            for series in self
                .results
                .series
                .iter()
                .filter(|series| series.case == case)
            {
                text.push_str(&line(series));
            }
        }
        text.push('\n');
        text.push_str(&self.schedulers());
        text.push_str(&self.fullness());
        let (met, all) = (
            self.targets().filter(|&met| met).count(),
            self.targets().count(),
        );
        let _ = writeln!(text, "{met} of {all} targets met");
        text
    }

    /// A line for each scheduler, a column for each number of real servers.
    fn schedulers(&self) -> String {
        let mut text = String::new();
        if self.results.pools.is_empty() {
            return text;
        }
        let _ = write!(text, "{:<15}", "new flow, DR");
        for reals in SIZES {
            let _ = write!(text, " {:>22}", format!("{reals} reals"));
        }
        text.push('\n');
        for row in self
            .results
            .pools
            .chunk_by(|a, b| a.pool.scheduler == b.pool.scheduler)
        {
            let name = row.first().map_or("", |cost| cost.pool.scheduler.name());
            let mut line = format!("{name:<15}");
            for cost in row {
                let _ = write!(
                    line,
                    " {:>7.1} {:<14}",
                    min(&cost.nanoseconds),
                    cost.verdict()
                );
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
        text
    }

    fn fullness(&self) -> String {
        let Memory { table, slots, hash } = self.memory;
        let mark = mark(self.memory.holds());
        let mut text = format!(
            "memory: {} MiB, {slots} places, {:.1} bytes a connection at two thirds full {mark} (target {}); the hash map \
             of the limit takes {} MiB\n",
            table >> 20,
            self.memory.per_connection(),
            Memory::TARGET,
            hash >> 20,
        );
        for Filled { flows, stateless } in &self.results.filled {
            if *stateless > 0 {
                let _ = writeln!(
                    text,
                    "of {flows} connections {stateless} found no place and went by hash ({:.3} %)",
                    100.0 * f64::from(*stateless) / f64::from(*flows)
                );
            }
        }
        text
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let series = |series: &Series| {
            json!({
                "case": series.case.name(),
                "connections": series.flows,
                "min_ns": min(&series.nanoseconds),
                "median_ns": median(&series.nanoseconds),
                "ns": series.nanoseconds,
                "yardstick": series.case.yardstick().map(Case::name),
                "median_ratio": series.ratio(),
                "ratios": series.ratios,
                "median_against": series.compared(),
                "against": series.against,
                "target": series.case.target(series.flows),
                "holds": series.holds(),
            })
        };
        json!({
            "processor": self.machine.processor,
            "kernel": self.machine.kernel,
            "cpu": self.machine.cpu,
            "capacity": CONNECTIONS,
            "series": self.results.series.iter().map(series).collect::<Vec<_>>(),
            "schedulers": self.results.pools.iter().map(Cost::json).collect::<Vec<_>>(),
            "memory": {
                "table_bytes": self.memory.table,
                "places": self.memory.slots,
                "bytes_per_connection": self.memory.per_connection(),
                "limit_bytes": self.memory.hash,
            },
            "without_entry": self.results.filled.iter().map(|filled| {
                json!({"connections": filled.flows, "without_entry": filled.stateless})
            }).collect::<Vec<_>>(),
        })
    }
}

const fn mark(holds: bool) -> char {
    if holds { '✓' } else { '✗' }
}

fn line(series: &Series) -> String {
    let ratio = series
        .ratio()
        .map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let target = match (series.case.target(series.flows), series.holds()) {
        (Some(target), Some(holds)) => format!("{target:.1} {}", mark(holds)),
        _ => String::new(),
    };
    let against = series
        .compared()
        .map_or(String::new(), |ratio| format!("{ratio:.3}"));
    let line = format!(
        "{:<37} {:>11} {:>7.1} {:>7.1} {ratio:>6} {target:>7}  {against:>7}",
        series.case.label(),
        short(series.flows),
        min(&series.nanoseconds),
        median(&series.nanoseconds),
    );
    format!("{}\n", line.trim_end())
}
