//! `lbctl health`: each check of each real server on a line, under its service.

use std::fmt::Write as _;

use super::number::short_time;
use super::style::{Role, Style};
use super::words;
use crate::api::types::{
    Asked, CheckReport, HealthReport, Place, RealReport, ServiceReport, Verdict,
};

/// How many recent answers are drawn.
const RECENT: usize = 20;
/// How many there are on a narrow terminal, where the words of the last answer are worth more.
const RECENT_NARROW: usize = 10;
/// The width from which on a terminal is not narrow.
const WIDE: usize = 120;
/// An answer that does not fit behind its check has lines of its own, that far from the left and so many.
const INDENT: usize = 6;
const ANSWER_LINES: usize = 3;
/// From the fastest answer to the slowest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// An answer that was no good.
const FAILED: char = '×';

const HEADING: [&str; COLUMNS] = ["real", "state", "since", "check", "says", "since", "recent"];
const COLUMNS: usize = 7;
/// The heading of what stands behind them.
const ANSWER: &str = "last answer";

/// Services, their real servers and what each check says, for a terminal of so many columns.
pub fn health(report: &HealthReport, columns: usize, style: Style) -> String {
    let mut out = String::new();
    for (n, service) in report.services.iter().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        service_lines(&mut out, service, columns, style);
    }
    out.push_str(&hint(report, columns));
    out
}

/// What to do where nothing is checked.
fn hint(report: &HealthReport, columns: usize) -> String {
    if report.services.is_empty() {
        return "there are no services\nhint: `lbctl add-service -t VIP:PORT` adds one, and `lbctl add-real` its real servers\n"
            .to_owned();
    }
    let unchecked = |service: &&ServiceReport| {
        let mut reals = service.reals.iter();
        !service.reals.is_empty() && reals.all(|real| real.place == Place::Unchecked)
    };
    let names: Vec<&str> = report
        .services
        .iter()
        .filter(unchecked)
        .map(|service| service.name.as_str())
        .collect();
    let (first, others) = match names.as_slice() {
        [] => return String::new(),
        [first] => (first, String::new()),
        [first, others @ ..] => (first, format!(" and of {} more", others.len())),
    };
    let hint = format!(
        "hint: real servers of {first}{others} are used dead or alive; a line such as \
         `health: tcp` in the service's configuration has them checked"
    );
    format!("\n{}\n", words::wrapped(&hint, columns).join("\n"))
}

/// What a check that was made for somebody said, with all that was sent and answered.
pub fn asked(answers: &[Asked], style: Style) -> String {
    let mut out = String::new();
    for asked in answers {
        let heading = format!("{}, check {}", asked.service, asked.check);
        let _ = writeln!(out, "{}", style.paint(Role::Heading, &heading));
        for line in &asked.lines {
            let _ = writeln!(out, "  {line}");
        }
        let (role, verdict) = if asked.passed {
            (Role::Good, "good")
        } else {
            (Role::Bad, "bad")
        };
        let weight = asked
            .weight
            .map_or_else(String::new, |weight| format!(", weight {weight}"));
        let _ = writeln!(
            out,
            "{} after {}: {}{weight}",
            style.paint(role, verdict),
            milliseconds(asked.latency_ms),
            asked.words,
        );
    }
    if answers.is_empty() {
        out.push_str("it has no checks\nhint: a line such as `health: tcp` in its service's configuration has it checked\n");
    }
    out
}

fn service_lines(out: &mut String, service: &ServiceReport, columns: usize, style: Style) {
    let alive = |real: &&RealReport| matches!(real.place, Place::Up | Place::Unchecked);
    let alive = service.reals.iter().filter(alive).count();
    let _ = write!(
        out,
        "{} {}, {alive} of {} up, live weight {}, quorum {}",
        style.paint(Role::Heading, &service.name),
        service.service,
        service.reals.len(),
        service.live_weight,
        service.quorum,
    );
    if service.hysteresis > 0 {
        let _ = write!(out, "±{}", service.hysteresis);
    }
    if !service.has_quorum {
        let _ = write!(out, " {}", style.paint(Role::Bad, "lost"));
    }
    if let Some(sorry) = service.sorry {
        let what = if sorry.serves {
            style.paint(Role::Warning, "serves")
        } else {
            "waits".to_owned()
        };
        let _ = write!(out, ", sorry server {} {what}", sorry.address);
    }
    out.push('\n');
    let recent = match columns {
        ..WIDE => RECENT_NARROW,
        _ => RECENT,
    };
    let rows: Vec<Row> = service
        .reals
        .iter()
        .flat_map(|real| rows(real, recent))
        .collect();
    let mut widths = HEADING.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut heading = line(&HEADING.map(str::to_owned), widths);
    if heading.chars().count() + ANSWER.len() <= columns {
        heading.push_str(ANSWER);
    }
    let _ = writeln!(out, "{}", style.paint(Role::Heading, heading.trim_end()));
    for row in rows {
        let line = line(&row.cells, widths);
        let fits = line.chars().count() + row.last.chars().count() <= columns;
        let (line, below) = if fits {
            (line + &row.last, Vec::new())
        } else {
            (line, wrapped(&row.last, columns))
        };
        let _ = writeln!(out, "{}", style.paint(row.role, line.trim_end()));
        for answer in below {
            let _ = writeln!(out, "{:INDENT$}{}", "", style.paint(row.role, &answer));
        }
    }
}

/// A check on its line.
struct Row {
    cells: [String; COLUMNS],
    last: String,
    role: Role,
}

/// The lines of a real server; its own columns are on the first one only.
fn rows(real: &RealReport, recent: usize) -> Vec<Row> {
    let role = match real.place {
        Place::Up if real.share_tenths < 10 => Role::Warning,
        Place::Up => Role::Good,
        Place::Unchecked => Role::Faint,
        Place::Held => Role::Warning,
        Place::Down => Role::Bad,
    };
    let own = [
        real.address.to_string(),
        state(real),
        short_time(real.for_seconds as u32),
    ];
    let cells = |own: [String; 3], check: [String; 4]| {
        let [address, state, since] = own;
        let [name, says, check_since, recent] = check;
        [address, state, since, name, says, check_since, recent]
    };
    if real.checks.is_empty() {
        return vec![Row {
            cells: cells(own, Default::default()),
            last: String::new(),
            role,
        }];
    }
    let mut own = Some(own);
    real.checks
        .iter()
        .map(|check| Row {
            cells: cells(own.take().unwrap_or_default(), of_check(check, recent)),
            last: last(check),
            role: match (role, check.verdict) {
                (Role::Bad, Verdict::Up) => Role::Good,
                _ => role,
            },
        })
        .collect()
}

fn state(real: &RealReport) -> String {
    match real.place {
        Place::Unchecked => "unchecked".to_owned(),
        Place::Up if real.weight == 0 => "up, weight 0".to_owned(),
        Place::Up if real.share_tenths < 10 => format!("up, {}0 %", real.share_tenths),
        Place::Up => "up".to_owned(),
        Place::Down => "down".to_owned(),
        Place::Held => {
            let left = real.held_seconds.unwrap_or_default();
            format!("held {}", short_time(left.ceil() as u32))
        }
    }
}

fn of_check(check: &CheckReport, recent: usize) -> [String; 4] {
    let verdict = match check.verdict {
        Verdict::Up => "up",
        Verdict::Down => "down",
    };
    let says = if check.against == 0 {
        verdict.to_owned()
    } else {
        let towards = match check.verdict {
            Verdict::Up => "fall",
            Verdict::Down => "rise",
        };
        format!("{verdict}, {towards} {}/{}", check.against, check.needed)
    };
    let since = short_time(check.for_seconds as u32);
    [
        check.name.clone(),
        says,
        since,
        sparkline(&check.latencies_ms, recent),
    ]
}

fn last(check: &CheckReport) -> String {
    match &check.last {
        None => "no answer yet".to_owned(),
        Some(last) => {
            let weight = last
                .weight
                .map_or_else(String::new, |weight| format!(", weight {weight}"));
            format!("{}, {}{weight}", milliseconds(last.latency_ms), last.words)
        }
    }
}

/// The latest answers, the newest last: bars from nothing to the slowest of them.
fn sparkline(latencies: &[Option<f64>], most: usize) -> String {
    let recent = latencies.get(latencies.len().saturating_sub(most)..);
    let recent = recent.unwrap_or_default();
    let slowest = recent.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |latency: f64| {
        let step = latency / slowest * (BARS.len() - 1) as f64;
        let at = if step.is_finite() { step.round() } else { 0.0 };
        BARS.get(at as usize).copied().unwrap_or(FAILED)
    };
    recent
        .iter()
        .map(|answer| answer.map_or(FAILED, bar))
        .collect()
}

fn milliseconds(latency: f64) -> String {
    match latency {
        ..10.0 => format!("{latency:.1} ms"),
        10.0..10_000.0 => format!("{latency:.0} ms"),
        _ => format!("{:.1} s", latency / 1000.0),
    }
}

fn line(cells: &[String; COLUMNS], widths: [usize; COLUMNS]) -> String {
    let mut line = "  ".to_owned();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(line, "{cell:<width$}  ");
    }
    line
}

/// An answer on lines of its own, each as long as fits.
fn wrapped(answer: &str, columns: usize) -> Vec<String> {
    let room = columns.saturating_sub(INDENT).max(20);
    let mut lines = words::wrapped(answer, room);
    if lines.len() > ANSWER_LINES {
        lines.truncate(ANSWER_LINES);
        if let Some(last) = lines.last_mut() {
            last.push('…');
        }
    }
    for line in &mut lines {
        if line.chars().count() > room {
            *line = line.chars().take(room - 1).chain(['…']).collect();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{LastAnswer, ProbeReport, SorryReport};

    fn check(verdict: Verdict, against: u32, last: &str, latencies: &[Option<f64>]) -> CheckReport {
        let latest = latencies.last().copied().flatten();
        CheckReport {
            name: "http".into(),
            kind: "http".into(),
            target: "10.0.0.1:80".into(),
            verdict,
            for_seconds: 65.0,
            against,
            needed: if verdict == Verdict::Up { 3 } else { 2 },
            last: Some(LastAnswer {
                passed: latest.is_some(),
                words: last.into(),
                latency_ms: latest.unwrap_or(1000.0),
                seconds_ago: 0.3,
                weight: None,
            }),
            next_seconds: Some(1.0),
            latencies_ms: latencies.to_vec(),
            passes: 10,
            failures: 2,
        }
    }

    fn real(n: u8, place: Place, checks: Vec<CheckReport>) -> RealReport {
        RealReport {
            address: format!("10.0.0.{n}:80").parse().unwrap(),
            place,
            for_seconds: 7200.0,
            held_seconds: (place == Place::Held).then_some(12.3),
            weight: 1,
            full_weight: 1,
            share_tenths: 10,
            checks,
        }
    }

    fn web() -> HealthReport {
        let tcp = CheckReport {
            name: "tcp".into(),
            last: None,
            latencies_ms: Vec::new(),
            ..check(Verdict::Up, 0, "", &[])
        };
        let reals = vec![
            real(
                1,
                Place::Up,
                vec![check(
                    Verdict::Up,
                    0,
                    "200 OK",
                    &[Some(1.0), Some(8.0), Some(2.0)],
                )],
            ),
            real(
                2,
                Place::Down,
                vec![
                    check(Verdict::Down, 1, "503", &[Some(0.5), None, None, Some(0.5)]),
                    tcp,
                ],
            ),
            real(
                3,
                Place::Held,
                vec![check(Verdict::Up, 2, "no answer within 1s", &[None])],
            ),
            real(4, Place::Unchecked, Vec::new()),
        ];
        HealthReport {
            services: vec![ServiceReport {
                name: "web".into(),
                service: "tcp 192.0.2.1:80".into(),
                has_quorum: false,
                live_weight: 2,
                quorum: 4,
                hysteresis: 1,
                sorry: Some(SorryReport {
                    address: "10.0.0.99:80".parse().unwrap(),
                    serves: true,
                }),
                reals,
            }],
            probes: ProbeReport::default(),
        }
    }

    #[test]
    fn each_check_has_its_line() {
        let wanted = "\
web tcp 192.0.2.1:80, 2 of 4 up, live weight 2, quorum 4±1 lost, sorry server 10.0.0.99:80 serves
  real         state      since  check  says            since  recent  last answer
  10.0.0.1:80  up         2h     http   up              65s    ▂█▃     2.0 ms, 200 OK
  10.0.0.2:80  down       2h     http   down, rise 1/2  65s    █××█    0.5 ms, 503
                                 tcp    up              65s            no answer yet
  10.0.0.3:80  held 13s   2h     http   up, fall 2/3    65s    ×       1000 ms, no answer within 1s
  10.0.0.4:80  unchecked  2h
";
        assert_eq!(health(&web(), usize::MAX, Style::PLAIN), wanted);
    }

    #[test]
    fn what_does_not_fit_into_the_terminal_is_on_lines_of_its_own() {
        let mut report = web();
        let service = &mut report.services[0];
        service.sorry = None;
        let words = "TLS: invalid peer certificate: certificate expired: verification time 1795318748 (UNIX), \
                     but certificate is not valid after 1609459200 (333 days ago)";
        let answers: Vec<Option<f64>> = (0..20).map(|n| Some(f64::from(n))).collect();
        service.reals[0].checks = vec![check(Verdict::Up, 0, "200 OK", &answers)];
        service.reals[1].checks = vec![check(Verdict::Down, 0, words, &[None; 20])];
        let wanted = "\
web tcp 192.0.2.1:80, 2 of 4 up, live weight 2, quorum 4±1 lost
  real         state      since  check  says          since  recent
  10.0.0.1:80  up         2h     http   up            65s    ▅▅▅▆▆▇▇▇██
      19 ms, 200 OK
  10.0.0.2:80  down       2h     http   down          65s    ××××××××××
      1000 ms, TLS: invalid peer certificate: certificate expired: verification
      time 1795318748 (UNIX), but certificate is not valid after 1609459200 (333
      days ago)
  10.0.0.3:80  held 13s   2h     http   up, fall 2/3  65s    ×
      1000 ms, no answer within 1s
  10.0.0.4:80  unchecked  2h
";
        assert_eq!(health(&report, 80, Style::PLAIN), wanted);
    }

    #[test]
    fn an_answer_without_end_has_three_lines() {
        let long = "x".repeat(200);
        assert_eq!(wrapped(&long, 80), ["x".repeat(73) + "…"]);
        let many = "word ".repeat(100);
        let lines = wrapped(&many, 80);
        assert!(lines.len() == 3 && lines[2].ends_with('…'));
        assert!(lines.iter().all(|line| line.chars().count() <= 75));
        assert_eq!(wrapped("", 0), [""]);
    }

    #[test]
    fn where_nothing_is_checked_it_is_said_what_to_do() {
        let mut report = web();
        assert!(!hint(&report, 80).contains("hint"));
        report.services[0].reals = vec![real(4, Place::Unchecked, Vec::new())];
        assert!(hint(&report, 80).contains("real servers of web are used"));
        report.services.push(report.services[0].clone());
        let words = hint(&report, 80);
        assert!(words.contains("of web and of 1 more are"), "{words}");
        assert!(words.lines().all(|line| line.len() <= 80), "{words}");
        report.services.clear();
        let text = health(&report, 80, Style::PLAIN);
        assert!(text.contains("hint: `lbctl add-service"), "{text}");
    }

    #[test]
    fn what_was_asked_is_told_line_by_line() {
        let answer = Asked {
            service: "tcp 192.0.2.1:80".into(),
            check: "http".into(),
            passed: false,
            words: "status 503, not 200-299".into(),
            latency_ms: 3.2,
            weight: None,
            lines: vec!["> GET /healthz HTTP/1.1".into(), "< HTTP/1.1 503".into()],
        };
        let wanted = "tcp 192.0.2.1:80, check http\n  > GET /healthz HTTP/1.1\n  < HTTP/1.1 503\n\
                      bad after 3.2 ms: status 503, not 200-299\n";
        assert_eq!(asked(&[answer], Style::PLAIN), wanted);
        assert!(asked(&[], Style::PLAIN).starts_with("it has no checks\nhint: "));
    }

    #[test]
    fn any_latency_has_a_bar() {
        let line = |latencies: &[Option<f64>]| sparkline(latencies, RECENT);
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[Some(0.0), None]), "▁×");
        assert_eq!(line(&[Some(0.0), Some(3.0), Some(7.0)]), "▁▄█");
        assert_eq!(
            line(&[Some(f64::NAN), Some(f64::INFINITY)]).chars().count(),
            2
        );
        assert_eq!(line(&[Some(1.0); 50]).chars().count(), RECENT);
    }
}
