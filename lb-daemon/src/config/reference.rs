//! The reference of the configuration, written from the tables that the decoder reads.

use std::fmt::Write as _;

use lb_common::sched::Scheduler;

use super::keys::{Key, TABLES, Table};
use super::model::default_scheduler;

/// `docs/configuration.md`. A test compares the two.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for table in TABLES {
        section(&mut text, table);
    }
    text
}

const INTRODUCTION: &str = r#"# Configuration

<!-- Written from the tables in lb-daemon/src/config/keys.rs: change those, and run
     UPDATE_EXPECTED=1 cargo test -p lb-daemon --test config -->

`lbd` reads one YAML file, `/etc/lbd/lbd.yaml` unless `--config` names another. This is a whole one:

```yaml
services:
  - name: web
    address: 192.0.2.80:80
    reals:
      - 192.0.2.21
      - 192.0.2.22
```

And this is one that says more:

```yaml
interfaces: [eth0, eth1]
connections: {max: 2000000, tcp: 15m, tcp_fin: 2m, udp: 5m}
services:
  - name: shop
    address: 192.0.2.80:443
    also: [192.0.2.80:80, {protocol: udp, address: 192.0.2.80:443}]
    scheduler: wlc
    persistence: {timeout: 5m, mask: 24}
    health: {https: {path: /healthz, host: shop.example.com}, interval: 2s, fall: 3}
    sorry: 192.0.2.99
    reals:
      - {address: 192.0.2.21, weight: 3}
      - {address: 192.0.2.22, weight: 2, upper: 10000}
      - {address: 198.51.100.7, method: tun}
  - name: dns
    protocol: udp
    address: 192.0.2.80:53
    scheduler: mh
    scheduler_flags: [mh-port]
    method: nat
    timeouts: {udp: 10s}
    health: {dns: {name: www.example.com, record: A}, interval: 5s}
    reals: [10.0.0.53:5353, 10.0.1.53:5353]
```

`lbd --check FILE` and `lbctl check FILE` say whether a file is right. A file with anything wrong is refused whole: each fault
with its line, what is wrong, why, and a hint. `lbctl reload` applies the file to a running `lbd`, `lbctl diff` and
`lbctl reload --dry-run` say what would change, and `lbctl save` writes what runs to the file, whose old content is kept
with `.bak` at the end of its name.

- **Durations** have units: `100ms`, `90s`, `5m`, `1h30m`, `1d`.
- **Addresses** are addresses; names are not looked up. An IPv6 address with a port has brackets.
- **Anchors and aliases** (`&name`, `*name`, `<<`) repeat what several services have in common.
- A file has at most 16 MiB.
"#;

fn section(text: &mut String, table: &Table) {
    let title = if table.at.is_empty() {
        "The file".to_owned()
    } else {
        format!("`{}`", table.at)
    };
    let _ = writeln!(text, "\n## {title}\n\n{}\n", table.about);
    let _ = writeln!(
        text,
        "| key | takes | default | |\n| --- | --- | --- | --- |"
    );
    for key in table.keys {
        let _ = writeln!(text, "{}", row(key));
    }
}

fn row(key: &Key) -> String {
    let Key { name, about, .. } = key;
    format!("| `{name}` | {} | {} | {about} |", takes(key), default(key))
}

/// What a key takes.
pub(super) fn takes(key: &Key) -> String {
    match key.takes {
        "@schedulers" => {
            let names: Vec<_> = Scheduler::ALL
                .iter()
                .map(|s| format!("`{}`", s.name()))
                .collect();
            names.join(", ")
        }
        takes => takes.to_owned(),
    }
}

/// What holds without a key.
pub(super) fn default(key: &Key) -> String {
    match key.default {
        "@scheduler" => format!("`{}`", default_scheduler().name()),
        default => default.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The anchor that Markdown makes of a heading.
    fn anchor(table: &Table) -> String {
        let kept = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        table.at.chars().filter(kept).collect()
    }

    #[test]
    fn every_link_leads_to_a_table_and_every_table_is_linked_to() {
        let text = reference();
        for table in TABLES.iter().filter(|t| !t.at.is_empty()) {
            let link = format!("(#{})", anchor(table));
            assert!(text.contains(&link), "nothing leads to {link}");
        }
        for link in text.split("](#").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            assert!(
                TABLES.iter().any(|t| anchor(t) == link),
                "{link} leads nowhere"
            );
        }
    }
}
