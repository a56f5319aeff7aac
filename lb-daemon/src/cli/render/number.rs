//! Numbers, sizes and times in few characters.

/// A count in at most nine characters with a leading space, as ipvsadm prints it: whole up to 99,999,999, then
/// in thousands, millions, thousand millions, million millions.
pub fn large(n: u64, exact: bool) -> String {
    if exact {
        return format!(" {n:>8}");
    }
    match n {
        0..100_000_000 => format!(" {n:>8}"),
        100_000_000..1_000_000_000 => format!(" {:>7}K", n / 1_000),
        1_000_000_000..100_000_000_000 => format!(" {:>7}M", n / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!(" {:>7}G", n / 1_000_000_000),
        _ => format!(" {:>7}T", n / 1_000_000_000_000),
    }
}

/// Seconds as `mm:ss`, minutes beyond 99 if need be.
pub fn clock(seconds: u32) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

/// Seconds in one unit: `42s`, `17m`, `5h`, `3d`.
pub fn short_time(seconds: u32) -> String {
    match seconds {
        0..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds / 60),
        6_000..360_000 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Seconds in two units: `42 s`, `17 min 3 s`, `5 h 2 min`, `3 d 4 h`.
pub fn long_time(seconds: u64) -> String {
    let (days, hours, minutes, rest) = (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Digits in groups of three.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in binary units: `512 B`, `64 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut left = n;
    while left >= 10 * 1024 && unit + 1 < UNITS.len() {
        left /= 1024;
        unit += 1;
    }
    format!("{left} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// `1 change`, `2 changes`.
pub fn plural(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_keep_their_column() {
        for (n, text) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (100_000_000_000, "     100G"),
            (100_000_000_000_000, "     100T"),
            (u64::MAX, " 18446744T"),
        ] {
            assert_eq!(large(n, false), text);
        }
        assert_eq!(large(123_456_789_012, true), " 123456789012");
    }

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(clock(59), "00:59");
        assert_eq!(clock(899), "14:59");
        assert_eq!(clock(86_400), "1440:00");
        assert_eq!(short_time(99), "99s");
        assert_eq!(short_time(100), "1m");
        assert_eq!(short_time(900), "15m");
        assert_eq!(long_time(61), "1 min 1 s");
        assert_eq!(long_time(3 * 86_400 + 4 * 3_600), "3 d 4 h");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(grouped(12), "12");
        assert_eq!(bytes(67_108_864), "64 MiB");
        assert_eq!(bytes(9_000), "9000 B");
        assert_eq!(plural(1, "change"), "1 change");
        assert_eq!(plural(0, "change"), "0 changes");
    }
}
