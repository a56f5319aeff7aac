//! The manual page of the configuration, written from the tables that the decoder reads.

use std::fmt::Write as _;

use super::keys::TABLES;
use super::reference::{default, takes};

/// `lbd.yaml(5)`, for man(1).
pub fn manual() -> String {
    let mut page = HEAD.to_owned();
    for table in TABLES {
        let title = if table.at.is_empty() {
            "THE FILE"
        } else {
            table.at
        };
        let _ = writeln!(page, ".SH \"{}\"\n{}", text(title), text(table.about));
        for key in table.keys {
            let _ = writeln!(
                page,
                ".TP\n.B {}\n{}\n.br\nTakes {}; default: {}.",
                text(key.name),
                text(key.about),
                text(&takes(key)),
                text(&default(key)),
            );
        }
    }
    page.push_str(FOOT);
    page
}

const HEAD: &str = r#".TH LBD.YAML 5 "" lbd lbd
.SH NAME
lbd.yaml \- configuration of the load balancer lbd
.SH SYNOPSIS
.I /etc/lbd/lbd.yaml
.SH DESCRIPTION
One YAML file, of which this is a whole one:
.PP
.nf
services:
  \- name: web
    address: 192.0.2.80:80
    reals:
      \- 192.0.2.21
      \- 192.0.2.22
.fi
.PP
A file with anything wrong is refused whole, with line and hint;
.B lbd \-\-check
.I FILE
says whether it is right. Durations have units: 100ms, 90s, 5m, 1h30m, 1d.
"#;

const FOOT: &str = ".SH SEE ALSO\n.BR lbd (8),\n.BR lbctl (8)\n";

/// Markdown as a line of roff: marks and the targets of links are left out, and nothing in it is a request.
fn text(markdown: &str) -> String {
    let mut out = String::new();
    let mut rest = markdown;
    while let Some((before, after)) = rest.split_once("](") {
        let (before, link) = before.rsplit_once('[').unwrap_or((before, ""));
        out.push_str(before);
        out.push_str(link);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    let out = out
        .replace('`', "")
        .replace("**", "")
        .replace('\\', r"\e")
        .replace('-', r"\-")
        .replace('\n', " ");
    match out.starts_with(['.', '\'']) {
        true => format!(r"\&{out}"),
        false => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_plain_text() {
        assert_eq!(text("as [`tcp`](#tcp) says, `a-b`"), r"as tcp says, a\-b");
        assert_eq!(text(".hidden"), r"\&.hidden");
    }

    #[test]
    fn no_line_but_ours_is_a_request() {
        let ours = [
            ".TH", ".SH", ".TP", ".B", ".BR", ".I", ".PP", ".nf", ".fi", ".br",
        ];
        for line in manual().lines().filter(|line| line.starts_with('.')) {
            let request = line.split(' ').next().unwrap_or_default();
            assert!(ours.contains(&request), "{line}");
        }
    }
}
