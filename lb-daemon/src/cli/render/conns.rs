//! `lbctl conns`: the columns of `ipvsadm -Lnc`, and how long each connection has been idle.

use super::number::{clock, short_time};
use super::style::{Role, Style};
use crate::api::types::Connection;

const HEADINGS: [&str; COLUMNS] = [
    "pro",
    "expire",
    "idle",
    "state",
    "source",
    "virtual",
    "destination",
];
const COLUMNS: usize = 7;

/// The table's layout, chosen from the first rows: later ones may be wider, and then their cells push the rest
/// of the line to the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    widths: [usize; COLUMNS],
    short_states: bool,
}

impl Layout {
    /// The layout for these rows, if possible not wider than `columns`.
    pub fn fit(rows: &[Connection], columns: usize) -> Self {
        let long = Self::measure(rows, false);
        if long.width() <= columns {
            return long;
        }
        Self::measure(rows, true)
    }

    fn measure(rows: &[Connection], short_states: bool) -> Self {
        let mut widths = HEADINGS.map(str::len);
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(cells(row, short_states)) {
                *width = (*width).max(cell.len());
            }
        }
        Self {
            widths,
            short_states,
        }
    }

    fn width(&self) -> usize {
        self.widths.iter().sum::<usize>() + COLUMNS - 1
    }

    /// The heading's line.
    pub fn heading(&self, style: Style) -> String {
        style.paint(Role::Heading, &self.line(&HEADINGS.map(str::to_owned)))
    }

    /// A connection's line.
    pub fn row(&self, connection: &Connection) -> String {
        self.line(&cells(connection, self.short_states))
    }

    fn line(&self, cells: &[String; COLUMNS]) -> String {
        let padded: Vec<String> = cells
            .iter()
            .zip(self.widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join(" ").trim_end().to_owned()
    }
}

fn cells(row: &Connection, short_states: bool) -> [String; COLUMNS] {
    let state = match row.state.as_str() {
        // As `ss` writes it: what makes the line fit when all three addresses are long.
        "ESTABLISHED" if short_states => "ESTAB",
        state => state,
    };
    [
        row.protocol.name().to_uppercase(),
        clock(row.expires),
        short_time(row.idle),
        state.to_owned(),
        row.client.clone(),
        row.vip.clone(),
        row.real.clone(),
    ]
}
