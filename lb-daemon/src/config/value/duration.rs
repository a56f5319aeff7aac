//! What can a duration mean?

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Wrong, wrong};

/// The units of durations, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration: `100ms`, `1s`, `5m`, `1h30m`.
pub(crate) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    let takes = format!(
        "it takes a duration from {} to {}",
        Written(*range.start()),
        Written(*range.end())
    );
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let unit = shorten(text);
        return Err(wrong(
            takes,
            format!("write the unit: `{unit}s` for seconds, `{unit}m` for minutes"),
        ));
    }
    let Some(duration) = parse_duration(text) else {
        return Err(wrong(
            takes,
            "write a number and a unit of d, h, m, s or ms, such as `90s`, `1h30m` or `100ms`",
        ));
    };
    if duration < *range.start() {
        Err(wrong(
            takes,
            format!("the least is {}", Written(*range.start())),
        ))
    } else if duration > *range.end() {
        Err(wrong(
            takes,
            format!("the most is {}", Written(*range.end())),
        ))
    } else {
        Ok(duration)
    }
}

/// As [`duration`], in whole seconds.
pub(crate) fn seconds(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    let duration = duration(text, range)?;
    if duration.subsec_nanos() == 0 {
        Ok(duration)
    } else {
        let up = Duration::from_secs(duration.as_secs() + 1);
        Err(wrong(
            "it takes whole seconds",
            format!("write `{}`", Written(up)),
        ))
    }
}

fn shorten(digits: &str) -> &str {
    digits.get(..digits.len().min(10)).unwrap_or(digits)
}

fn parse_duration(mut text: &str) -> Option<Duration> {
    let mut total = 0u64;
    let mut last = u64::MAX;
    while !text.is_empty() {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits);
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, rest) = rest.split_at(letters);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        // Each unit once, in falling order: `1h30m`, not `30m1h`.
        if *unit >= last {
            return None;
        }
        last = *unit;
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(*unit)?)?;
        text = rest;
    }
    (last != u64::MAX).then(|| Duration::from_millis(total))
}

/// A duration as one writes it: `1h30m`.
pub(crate) struct Written(pub Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}
