//! What a configuration costs to read, however it was made: a huge one that is right, and hostile ones.
//!
//! Each file is read in a process of its own, so that its peak memory and its processor time can be told.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lb_daemon::config::{self, Anywhere};

/// Names the file to the process that reads it.
const FILE: &str = "CONFIG_COST_FILE";

/// An unoptimised build may take so many times longer.
const SLOWER: u32 = if cfg!(debug_assertions) { 8 } else { 1 };

struct Cost {
    accepted: bool,
    time: Duration,
    kib: u64,
}

/// The child: reads the file and says what that cost.
#[test]
fn read_one_file() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let before = processor_time();
    let accepted = config::load(Path::new(&file), &Anywhere).is_ok();
    let millis = (processor_time() - before).as_millis();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap();
    let kib = peak.trim().trim_end_matches(" kB");
    println!("\ncost {accepted} {millis} {kib}");
}

/// The time that this process has run on a processor: other load on the machine does not count.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name, in parentheses, may have spaces; user and system time are the 12th and 13th after it, in 1/100 s.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let words: Vec<_> = rest.split_whitespace().collect();
    let ticks = |n: usize| words[n].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

fn cost(file: &Path) -> Cost {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "read_one_file", "--nocapture"])
        .env(FILE, file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("cost "))
        .unwrap_or_else(|| {
            panic!(
                "{}: the process that read it ended with {}",
                file.display(),
                output.status
            )
        });
    let words: Vec<_> = line.split(' ').collect();
    let cost = Cost {
        accepted: words[0] == "true",
        time: Duration::from_millis(words[1].parse().unwrap()),
        kib: words[2].parse().unwrap(),
    };
    let name = file.file_name().unwrap().to_string_lossy();
    println!(
        "{name}: {:?}, {} KiB, accepted: {}",
        cost.time, cost.kib, cost.accepted
    );
    cost
}

/// 1,000 services of 100 real servers.
fn huge() -> String {
    let mut text = String::from("limits: {reals: 100000}\nservices:\n");
    for s in 0..1000 {
        let (a, b) = (s / 250, s % 250);
        writeln!(
            text,
            "  - name: s{s}\n    address: 10.{a}.{b}.1:80\n    reals:"
        )
        .unwrap();
        for r in 1..=100 {
            let real = format!("10.{}.{b}.{r}:80", 100 + a);
            writeln!(text, "      - {{address: {real}, weight: {r}}}").unwrap();
        }
    }
    text
}

#[test]
fn a_thousand_services_with_a_hundred_real_servers_each_are_checked_in_two_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("huge");
    std::fs::write(&file, huge()).unwrap();
    let cost = cost(&file);
    assert!(cost.accepted);
    assert!(
        cost.time < Duration::from_secs(2) * SLOWER,
        "{:?}",
        cost.time
    );
    assert!(cost.kib < 256 << 10, "{} KiB", cost.kib);
}

#[test]
fn no_hostile_file_costs_more_than_a_second_and_64_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (last, next) in ('a'..'y').zip('b'..'z') {
        let items = vec![format!("*{last}"); 9].join(", ");
        writeln!(bomb, "{next}: &{next} [{items}]").unwrap();
    }
    let merges: String = (0..20_000).map(|n| format!("k{n}: {{<<: *a}}\n")).collect();
    let hostile = [
        ("bomb", bomb),
        (
            "aliases",
            format!(
                "a: &a [{}]\nb: [{}]\n",
                "x, ".repeat(300),
                "*a, ".repeat(100_000)
            ),
        ),
        ("merges", format!("a: &a {{b: c, d: e, f: g}}\n{merges}")),
        ("deep-flow", "[".repeat(10 << 20)),
        ("deep-maps", "{a: ".repeat(1 << 20)),
        ("deep-block", "- ".repeat(1 << 20)),
        ("long-key", format!("? {}", "x".repeat(15 << 20))),
        ("long-line", "x".repeat(15 << 20)),
        (
            "one-scalar",
            format!("mode: \"{}\"\n", "\\u00e4".repeat(2 << 20)),
        ),
        ("nul", "\0".repeat(15 << 20)),
    ];
    for (name, text) in hostile {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        limited(&file, 64, 1);
    }
    // A gibibyte that takes no room on the disk.
    let file = dir.path().join("gibibyte");
    File::create(&file).unwrap().set_len(1 << 30).unwrap();
    limited(&file, 64, 1);
    // Latin-1 from the middle on.
    let mut latin = File::create(dir.path().join("latin")).unwrap();
    latin.write_all(&[b'a'; 8 << 20]).unwrap();
    latin.write_all(&[0xe4; 7 << 20]).unwrap();
    limited(&dir.path().join("latin"), 64, 1);
}

/// As many values as are read at all, none of which means anything: bounded, though not as low.
#[test]
fn a_file_full_of_small_values_is_bounded_too() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("list", format!("[{}a]", "a, ".repeat(2_000_000))),
        (
            "keys",
            (0..1_000_000).map(|n| format!("k{n}: a\n")).collect(),
        ),
        ("maps", "- {a: b}\n".repeat(600_000)),
        (
            "same-real",
            format!(
                "services: [{{address: 192.0.2.1:80, reals: [{}]}}]",
                "10.0.0.1, ".repeat(1_000_000)
            ),
        ),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        limited(&file, 96, 2);
    }
}

fn limited(file: &Path, mib: u64, seconds: u64) {
    let cost = cost(file);
    assert!(!cost.accepted);
    assert!(
        cost.time < Duration::from_secs(seconds) * SLOWER,
        "{:?}",
        cost.time
    );
    assert!(cost.kib < mib << 10, "{} KiB", cost.kib);
}
