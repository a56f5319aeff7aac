//! What does a text in a check mean?

use std::path::PathBuf;

use hickory_proto::rr::{Name as DnsName, RecordType};
use hyper::Method as HttpMethod;

use super::super::super::node::shown;
use super::super::super::value::{Wrong, number};
use crate::core::health::probe::{Digest, Pattern};

pub(super) fn wrong(takes: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong {
        takes: takes.into(),
        hint: hint.into(),
    }
}

pub(super) fn request_path(text: &str) -> Result<String, Wrong> {
    let fits = text.starts_with('/') && text.parse::<hyper::Uri>().is_ok();
    if fits {
        return Ok(text.to_owned());
    }
    let hint = match text
        .strip_prefix("http")
        .and_then(|rest| rest.split_once("://"))
    {
        Some((_, rest)) => {
            let path = rest.find('/').map_or("/", |at| &rest[at..]);
            format!("write `{}`, and the name under `host`", shown(path))
        }
        None => "write `/healthz`, for example".to_owned(),
    };
    Err(wrong(
        "it takes a path that begins with `/`, without spaces",
        hint,
    ))
}

pub(super) fn method(text: &str) -> Result<String, Wrong> {
    let fits = text.bytes().all(|b| b.is_ascii_uppercase())
        && HttpMethod::from_bytes(text.as_bytes()).is_ok();
    if fits && text != "CONNECT" {
        return Ok(text.to_owned());
    }
    Err(wrong(
        "it takes a method in capitals",
        "write `GET`, `HEAD` or `OPTIONS`, for example",
    ))
}

pub(super) fn host(text: &str) -> Result<String, Wrong> {
    let fits =
        !text.contains(['/', '@', '?', '#']) && text.parse::<hyper::http::uri::Authority>().is_ok();
    if fits {
        return Ok(text.to_owned());
    }
    Err(wrong(
        "it takes a name, with or without a port",
        "write `www.example.com`, for example",
    ))
}

pub(super) fn server_name(text: &str) -> Result<String, Wrong> {
    use tokio_rustls::rustls::pki_types::ServerName;
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(wrong(
            "it takes the name of a host",
            "write `www.example.com`, for example",
        )),
    }
}

/// An absolute path in the file system.
pub(in super::super) fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.starts_with('/') && !text.contains('\0') {
        return Ok(text.into());
    }
    Err(wrong(
        "it takes the path of a file from `/` on",
        "write the whole path",
    ))
}

pub(super) fn statuses(text: &str) -> Result<std::ops::RangeInclusive<u16>, Wrong> {
    let status =
        |text: &str| number(text.trim(), 100..=999).map(|n| u16::try_from(n).unwrap_or(u16::MAX));
    let range = match text.split_once('-') {
        Some((low, high)) => status(low)?..=status(high)?,
        None => status(text)?..=status(text)?,
    };
    if range.is_empty() {
        let hint = format!("write `{}-{}`", range.end(), range.start());
        return Err(wrong("the range is empty", hint));
    }
    Ok(range)
}

pub(super) fn pattern(text: &str) -> Result<Pattern, Wrong> {
    Pattern::new(text).map_err(|error| {
        // The last line of the error says what is wrong; those before draw where.
        let text = error.to_string();
        let why = text
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .trim();
        wrong(
            format!("the regular expression does not compile: {why}"),
            "mend the expression; `\\` takes a character as it is",
        )
    })
}

pub(super) fn digest(text: &str) -> Result<Digest, Wrong> {
    let takes = "it takes `sha256:` with 64 hex digits, or `md5:` with 32";
    let hint = "`sha256sum` prints it for a body that was saved with `curl -o`";
    let read = || match text.split_once(':')? {
        ("sha256", digits) => Some(Digest::Sha256(hex(digits)?.try_into().ok()?)),
        ("md5", digits) => Some(Digest::Md5(hex(digits)?.try_into().ok()?)),
        _ => None,
    };
    read().ok_or_else(|| wrong(takes, hint))
}

/// Bytes from hex digits.
pub(super) fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |d: &u8| char::from(*d).to_digit(16);
    let pairs = digits.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

pub(super) fn fits_datagram(bytes: Vec<u8>) -> Result<Vec<u8>, Wrong> {
    // What fits into a frame without fragments, tunnel included.
    const MOST: usize = 1400;
    if bytes.len() <= MOST {
        return Ok(bytes);
    }
    Err(wrong(
        format!("up to {MOST} bytes can be sent"),
        "send less",
    ))
}

pub(super) fn domain(text: &str) -> Result<String, Wrong> {
    match DnsName::from_ascii(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(wrong(
            "it takes a domain name",
            "write `www.example.com`, for example",
        )),
    }
}

pub(super) fn record(text: &str) -> Result<String, Wrong> {
    let known = text
        .parse::<RecordType>()
        .is_ok_and(|r| !matches!(r, RecordType::Unknown(_) | RecordType::ZERO));
    if known {
        return Ok(text.to_owned());
    }
    Err(wrong(
        "there is no such type of record",
        "write `A`, `AAAA`, `SOA`, `NS`, `MX`, `TXT` or another one in capitals",
    ))
}
