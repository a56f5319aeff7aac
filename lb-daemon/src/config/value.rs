//! What can a scalar mean?
//!
//! Each kind of value is read and written by a pair of functions here. What is read exactly as written means the
//! same again.

mod address;
mod duration;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

pub(crate) use address::{
    Endpoint, endpoint, interface_address, mask, plain_address, real_address, with_port,
};
pub(crate) use duration::{Written, duration, seconds};

use super::nearest::nearest;
use crate::core::desired::{Scheduler, SchedulerFlags};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{takes}")]
pub(crate) struct Wrong {
    /// What the text should be.
    pub takes: String,
    /// What to write instead.
    pub hint: String,
}

pub(crate) fn wrong(takes: impl Into<String>, hint: impl Into<String>) -> Wrong {
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
mod tests;
