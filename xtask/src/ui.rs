//! How do the commands tell what they do, and how long it takes?

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Announce a step, do it, and say how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("{} {what}", paint("1;36", "→"));
    let start = Instant::now();
    let result = work();
    let time = seconds(start.elapsed());
    match &result {
        Ok(_) => println!("{} {what} ({time})", paint("1;32", "✓")),
        Err(_) => println!("{} {what} ({time})", paint("1;31", "✗")),
    }
    result
}

/// Something that needed no work.
pub(crate) fn present(what: &str) {
    println!("{} {what}", paint("1;32", "✓"));
}

/// A duration as people read it.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// `text` in a colour, when somebody looks at a terminal.
pub(crate) fn paint(colour: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Make what was printed so far visible, before another program prints.
pub(crate) fn flush() {
    // Nobody reads us any more when this fails.
    let _ = std::io::stdout().flush();
}
