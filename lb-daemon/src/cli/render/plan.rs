//! What differs, or was changed: one line each.

use std::fmt::Write as _;

use super::style::{Role, Style};
use crate::api::types::Change;

/// The changes, one a line.
pub fn changes(changes: &[Change], style: Style) -> String {
    let mut out = String::new();
    for change in changes {
        let role = match change.sign {
            '+' => Role::Good,
            '-' => Role::Bad,
            _ => Role::Warning,
        };
        let _ = writeln!(
            out,
            "{}",
            style.paint(role, &format!("{} {}", change.sign, change.text))
        );
    }
    out
}
