//! What can a scalar mean?
//!
//! Each kind of value is read and written by a pair of functions here. What is read exactly as written means the
//! same again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::nearest::nearest;
use crate::core::desired::{Scheduler, SchedulerFlags, full_prefix};

/// What connection timeouts can be.
pub(crate) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);

/// What the timeout of persistence can be: what IPVS takes.
pub(crate) const PERSISTENCE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(i32::MAX as u64);

/// What weights can be.
pub(crate) const WEIGHT: RangeInclusive<u32> = 0..=65_535;

/// What thresholds can be: what IPVS takes.
pub(crate) const THRESHOLD: RangeInclusive<u32> = 0..=i32::MAX as u32;

/// Why a text is not a value of some kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What the text should be.
    pub takes: String,
    /// What to write instead.
    pub hint: String,
}

fn wrong(takes: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong {
        takes: takes.into(),
        hint: hint.into(),
    }
}

/// A whole number in a range.
pub(crate) fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, Wrong> {
    let (low, high) = (range.start(), range.end());
    let takes = format!("it takes a number from {low} to {high}");
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong(
            takes,
            "write it in plain digits, without unit or sign",
        ));
    }
    match text.parse::<u64>().map(u32::try_from) {
        Ok(Ok(n)) if range.contains(&n) => Ok(n),
        Ok(Ok(n)) if n < *low => Err(wrong(takes, format!("the least is {low}"))),
        Ok(_) | Err(_) => Err(wrong(takes, format!("the most is {high}"))),
    }
}

/// `true` or `false`.
pub(crate) fn truth(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => {
            let hint = match text.to_ascii_lowercase().as_str() {
                "yes" | "y" | "on" | "1" | "true" => "write `true`",
                _ => "write `true` or `false`",
            };
            Err(wrong("it takes `true` or `false`", hint))
        }
    }
}

/// One word of several.
pub(crate) fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, Wrong> {
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names = words.iter().map(|(name, _)| *name);
    let (first, rest) = match nearest(text, names.clone()) {
        Some(near) => (
            format!("did you mean `{near}`? "),
            std::iter::once(near)
                .chain(names.filter(|n| *n != near))
                .collect::<Vec<_>>(),
        ),
        None => (String::new(), names.collect()),
    };
    Err(wrong(
        "there is no such word for it",
        format!("{first}the words are {}", rest.join(", ")),
    ))
}

/// The name of a scheduler.
pub(crate) fn scheduler(text: &str) -> Result<Scheduler, Wrong> {
    let words: Vec<_> = Scheduler::ALL.iter().map(|s| (s.name(), *s)).collect();
    word(text, &words).map_err(|wrong| Wrong {
        takes: "there is no such scheduler".to_owned(),
        hint: wrong.hint.replace("the words are", "the schedulers are"),
    })
}

/// A flag of a scheduler, and what it sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    /// The only scheduler that has it.
    pub of: Scheduler,
    /// What it sets there.
    pub sets: SchedulerFlags,
}

/// The name of a flag, as ipvsadm has them; `mh-kernel-table` is ours.
pub(crate) fn scheduler_flag(text: &str) -> Result<Flag, Wrong> {
    let none = SchedulerFlags::default();
    let port = |of| Flag {
        of,
        sets: SchedulerFlags { port: true, ..none },
    };
    let fallback = |of| Flag {
        of,
        sets: SchedulerFlags {
            fallback: true,
            ..none
        },
    };
    let kernel_table = Flag {
        of: Scheduler::Mh,
        sets: SchedulerFlags {
            kernel_table: true,
            ..none
        },
    };
    word(
        text,
        &[
            ("sh-port", port(Scheduler::Sh)),
            ("sh-fallback", fallback(Scheduler::Sh)),
            ("mh-port", port(Scheduler::Mh)),
            ("mh-fallback", fallback(Scheduler::Mh)),
            ("mh-kernel-table", kernel_table),
        ],
    )
}

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

/// Where a service listens: an address, the length of its prefix, a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub addr: IpAddr,
    pub prefix: u8,
    pub port: u16,
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`, `10.20.0.0/16:80`, `[2001:db8::/32]:80`.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let takes = "it takes an address and a port, such as `192.0.2.1:80`";
    let (host, port) = split_port(text, takes)?;
    let Some(port) = port else {
        return Err(wrong(
            takes,
            format!("write the port too: `{}`", with_port(host, "80")),
        ));
    };
    let (host, prefix) = match host.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (host, None),
    };
    let addr = address(host, takes)?;
    let longest = full_prefix(addr);
    let prefix = match prefix {
        None => longest,
        Some(prefix) => prefix_length(prefix, longest)?,
    };
    let network = mask(addr, prefix);
    if network != addr {
        return Err(wrong(
            format!("`{addr}` is not the first address of a network of {prefix} bits"),
            format!(
                "write `{}` for the network, or the address without `/{prefix}`",
                with_port(&format!("{network}/{prefix}"), &port.to_string())
            ),
        ));
    }
    Ok(Endpoint { addr, prefix, port })
}

fn prefix_length(text: &str, longest: u8) -> Result<u8, Wrong> {
    match number(text, 0..=u32::from(longest)) {
        Ok(n) => Ok(u8::try_from(n).unwrap_or(longest)),
        Err(_) => Err(wrong(
            format!("the length of a prefix is a number from 0 to {longest}"),
            "write how many leading bits of the address make the network",
        )),
    }
}

/// An address and how many of its leading bits make its network: `192.0.2.16/24`; the whole address without.
pub(crate) fn interface_address(text: &str) -> Result<(IpAddr, u8), Wrong> {
    let takes = "it takes an address with the length of its prefix, such as `192.0.2.16/24`";
    match text.split_once('/') {
        None => {
            let addr = address(text, takes)?;
            Ok((addr, full_prefix(addr)))
        }
        Some((host, prefix)) => {
            let addr = address(host, takes)?;
            Ok((addr, prefix_length(prefix, full_prefix(addr))?))
        }
    }
}

/// `192.0.2.21`, `192.0.2.21:80`, `2001:db8::21`, `[2001:db8::21]:80`.
pub(crate) fn real_address(text: &str) -> Result<(IpAddr, Option<u16>), Wrong> {
    let takes = "it takes an address, with or without a port, such as `192.0.2.21:80`";
    if let Ok(addr) = text.parse::<Ipv6Addr>() {
        return Ok((addr.into(), None));
    }
    let (host, port) = split_port(text, takes)?;
    Ok((address(host, takes)?, port))
}

/// An address alone.
pub(crate) fn plain_address(text: &str) -> Result<IpAddr, Wrong> {
    address(text, "it takes an address, such as `192.0.2.21`")
}

/// The host without its brackets, and the port.
fn split_port<'t>(text: &'t str, takes: &str) -> Result<(&'t str, Option<u16>), Wrong> {
    if text.contains("://") {
        let rest = text.rsplit("://").next().unwrap_or_default();
        return Err(wrong(
            takes,
            format!("write `{rest}` alone, and the protocol as `protocol: tcp` or `udp`"),
        ));
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((host, rest)) = rest.split_once(']') else {
            return Err(wrong(takes, "close the bracket: `[2001:db8::1]:80`"));
        };
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(wrong(takes, "write `:` and the port after the bracket")),
        }
    } else {
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err(wrong(
                    takes,
                    "write an IPv6 address in brackets: `[2001:db8::1]:80`",
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    match port {
        None => Ok((host, None)),
        Some(port) => match number(port, 0..=65_535) {
            Ok(n) => Ok((host, u16::try_from(n).ok())),
            Err(_) => Err(wrong(
                "a port is a number from 0 to 65535",
                format!("write the port's number after `{host}:`"),
            )),
        },
    }
}

fn address(host: &str, takes: &str) -> Result<IpAddr, Wrong> {
    if let Ok(addr) = host.parse::<IpAddr>() {
        return Ok(addr);
    }
    let digits = |b: u8| b.is_ascii_digit() || b == b'.';
    let hint = if host.is_empty() {
        "write an address before the port"
    } else if host.bytes().all(digits) {
        "an IPv4 address has four numbers from 0 to 255, without leading zeros"
    } else if host.contains(':') {
        "an IPv6 address has eight groups of up to four hex digits; `::` stands for zeros, once"
    } else {
        "names are not looked up: write the address itself"
    };
    Err(wrong(takes, hint))
}

/// An address with all but its leading bits zero.
pub(crate) fn mask(addr: IpAddr, prefix: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
            Ipv4Addr::from(u32::from(a) & bits.unwrap_or(0)).into()
        }
        IpAddr::V6(a) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix.min(128)));
            Ipv6Addr::from(u128::from(a) & bits.unwrap_or(0)).into()
        }
    }
}

/// A host (perhaps with a prefix) and a port, with brackets where they are needed.
pub(crate) fn with_port(host: &str, port: &str) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.prefix == full_prefix(self.addr) {
            self.addr.to_string()
        } else {
            format!("{}/{}", self.addr, self.prefix)
        };
        f.write_str(&with_port(&host, &self.port.to_string()))
    }
}

/// How many leading bits of a client's address count. A dotted mask is answered with its length.
pub(crate) fn client_mask(text: &str) -> Result<u8, Wrong> {
    let takes =
        "it takes how many leading bits of a client's address count, 0 to 32 (128 for IPv6)";
    if let Ok(dotted) = text.parse::<Ipv4Addr>() {
        let bits = u32::from(dotted);
        return Err(if bits.leading_ones() + bits.trailing_zeros() >= 32 {
            wrong(takes, format!("write `{}`", bits.leading_ones()))
        } else {
            wrong(takes, "a mask is a row of ones followed by zeros")
        });
    }
    match number(text.strip_prefix('/').unwrap_or(text), 0..=128) {
        Ok(n) => Ok(u8::try_from(n).unwrap_or(128)),
        Err(_) => Err(wrong(
            takes,
            "write `24` so that a /24 network counts as one client",
        )),
    }
}

/// A name of something: fit for command lines, URLs and metrics as it is.
pub(crate) fn name(text: &str) -> Result<String, Wrong> {
    let takes = "a name has 1 to 63 letters, digits, `.`, `_`, `-` or `:`, and begins with a letter or digit";
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && text.len() <= 63 && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    let mut better: String = text
        .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(63)
        .collect();
    if better.is_empty() {
        better.push_str("web");
    }
    Err(wrong(takes, format!("write `{better}`, for example")))
}

/// The name of a group of users.
pub(crate) fn group(text: &str) -> Result<String, Wrong> {
    let takes = "the name of a group has 1 to 32 letters, digits, `_`, `-` or `.`, and begins with a letter or `_`";
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && text.len() <= 32 && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(wrong(
        takes,
        "`getent group` lists the groups of this machine",
    ))
}

/// A network: `192.0.2.0/24`, or an address alone.
pub(crate) fn network(text: &str) -> Result<IpNet, Wrong> {
    let (addr, prefix) = interface_address(text)?;
    let first = mask(addr, prefix);
    let net = IpNet::new(first, prefix).ok().filter(|_| first == addr);
    net.ok_or_else(|| {
        wrong(
            format!("`{addr}` is not the first address of a network of {prefix} bits"),
            format!("write `{first}/{prefix}` for the network"),
        )
    })
}

/// The label of an IPv4 address.
pub(crate) fn label(text: &str) -> Result<String, Wrong> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if text.is_empty() || text.len() > 15 || text.contains(bad) || !text.contains(':') {
        return Err(wrong(
            "a label has 1 to 15 characters: an interface, `:` and a text",
            "write `eth0:vip`, for example",
        ));
    }
    Ok(text.to_owned())
}

/// The name of a process as the kernel has it.
pub(crate) fn process_name(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.len() > 15 || text.contains('/') {
        return Err(wrong(
            "the kernel's name of a process has 1 to 15 bytes, and no path",
            "`ps -e -o comm` lists the names",
        ));
    }
    Ok(text.to_owned())
}

/// A path from the root.
pub(crate) fn absolute_path(text: &str) -> Result<String, Wrong> {
    if text.contains('\0') {
        return Err(wrong("a path has no NUL", "remove it"));
    }
    if !text.starts_with('/') {
        return Err(wrong(
            "it takes a path that begins with `/`",
            "write the whole path; arguments go into a list: `[/usr/local/bin/check, --fast]`",
        ));
    }
    if text.contains(char::is_whitespace) {
        let words: Vec<_> = text.split_whitespace().collect();
        return Err(wrong(
            "a path and its arguments are a list",
            format!("write `[{}]`", words.join(", ")),
        ));
    }
    Ok(text.to_owned())
}

/// How far something tracked moves a priority.
pub(crate) fn weight_shift(text: &str) -> Result<i16, Wrong> {
    let takes = "it takes a number from -253 to 253, but not 0";
    match text.parse::<i16>() {
        Ok(n) if n != 0 && n.unsigned_abs() <= 253 => Ok(n),
        Ok(0) => Err(wrong(
            takes,
            "leave `weight` out for a fault while it is down",
        )),
        _ => Err(wrong(takes, "write `-50` to lose 50 while it is down")),
    }
}

/// The name of a network interface.
pub(crate) fn interface(text: &str) -> Result<String, Wrong> {
    let takes = "the name of an interface has 1 to 15 characters, without spaces, `/` and `:`";
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':');
    if text.is_empty() || text.len() > 15 || text.contains(bad) || matches!(text, "." | "..") {
        return Err(wrong(
            takes,
            "`ip link` lists the interfaces of this machine",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1 << 48);

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, millis) in [
            ("100ms", 100),
            ("1s", 1_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1m1ms", 60_001),
            ("0s", 0),
        ] {
            assert_eq!(
                duration(text, ANY),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "", "s", "1", "1 s", "1x", "-1s", "1.5s", "30m1h", "1s1s", "1m 1s", "٣s",
        ] {
            assert!(duration(text, ANY).is_err(), "{text}");
        }
        let overflow = "99999999999999999999d";
        assert!(duration(overflow, ANY).is_err());
        assert!(duration("18446744073709551615d", ANY).is_err());
    }

    #[test]
    fn a_number_without_a_unit_is_not_guessed_at() {
        let wrong = duration("300", ANY).unwrap_err();
        assert_eq!(
            wrong.hint,
            "write the unit: `300s` for seconds, `300m` for minutes"
        );
    }

    #[test]
    fn endpoints_of_both_families_and_networks() {
        for text in [
            "192.0.2.1:80",
            "[2001:db8::1]:53",
            "10.20.0.0/16:80",
            "[2001:db8::/32]:0",
            "0.0.0.0/0:80",
        ] {
            assert_eq!(endpoint(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            ":",
            ":80",
            "192.0.2.1",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:-1",
            "192.0.2.256:80",
            "192.0.2.01:80",
            "2001:db8::1:80",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "web:80",
            "tcp://192.0.2.1:80",
            "10.20.0.1/16:80",
            "10.20.0.0/33:80",
            "10.20.0.0/:80",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
        let wrong = endpoint("10.20.0.1/16:80").unwrap_err();
        assert!(
            wrong.hint.starts_with("write `10.20.0.0/16:80`"),
            "{}",
            wrong.hint
        );
    }

    #[test]
    fn a_dotted_mask_is_answered_with_its_length() {
        assert_eq!(client_mask("24"), Ok(24));
        assert_eq!(client_mask("/24"), Ok(24));
        assert_eq!(client_mask("255.255.255.0").unwrap_err().hint, "write `24`");
        assert!(client_mask("255.0.255.0").is_err());
        assert!(client_mask("129").is_err());
    }

    #[test]
    fn a_bad_word_is_answered_with_the_nearest() {
        let words = [("auto", 1), ("native", 2), ("generic", 3)];
        assert_eq!(word("native", &words), Ok(2));
        assert_eq!(
            word("nativ", &words).unwrap_err().hint,
            "did you mean `native`? the words are native, auto, generic"
        );
        assert_eq!(
            word("x", &words).unwrap_err().hint,
            "the words are auto, native, generic"
        );
    }

    #[test]
    fn masks_keep_the_leading_bits() {
        let a: IpAddr = "10.20.30.40".parse().unwrap();
        assert_eq!(mask(a, 32), a);
        assert_eq!(mask(a, 0).to_string(), "0.0.0.0");
        assert_eq!(mask(a, 16).to_string(), "10.20.0.0");
        assert_eq!(
            mask("2001:db8::1".parse().unwrap(), 32).to_string(),
            "2001:db8::"
        );
        assert_eq!(mask("2001:db8::1".parse().unwrap(), 0).to_string(), "::");
    }

    proptest! {
        #[test]
        fn any_duration_survives_writing(millis in 0u64..1 << 50) {
            let d = Duration::from_millis(millis);
            prop_assert_eq!(duration(&Written(d).to_string(), ANY), Ok(d));
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in any::<String>()) {
            let _ = (duration(&text, ANY), endpoint(&text), real_address(&text), name(&text));
            let _ = (client_mask(&text), interface(&text), number(&text, 1..=9), truth(&text));
            let _ = (interface_address(&text), plain_address(&text));
        }

        #[test]
        fn what_looks_like_an_endpoint_is_read_without_panic(text in "[\\[\\]0-9a-f:./]{0,24}") {
            let _ = (endpoint(&text), real_address(&text), interface_address(&text));
        }

        #[test]
        fn a_hint_for_a_bad_name_is_a_good_name(text in any::<String>()) {
            if let Err(wrong) = name(&text) {
                let better = wrong.hint.split('`').nth(1).unwrap();
                prop_assert!(name(better).is_ok(), "{}", better);
            }
        }
    }
}
