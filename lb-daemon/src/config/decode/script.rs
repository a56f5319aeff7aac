//! Programs of the operator's.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::keys::Table;
use super::super::node::{Kind, Node};
use super::super::refusal::Refusal;
use super::super::value::{Wrong, duration};
use super::{Decoder, Map, Subject, keys};
use crate::core::health::plan::Command;

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// How long a program that is told of a change may take, if nothing is said.
pub(in super::super) const NOTIFY_TIMEOUT: Duration = Duration::from_secs(30);

/// A program that is told of a change, under a key of a map.
pub(super) fn notify<'n, 't>(
    decoder: &mut Decoder,
    map: &Map<'n, 't>,
    key: &'static str,
    service: &'n Node<'t>,
) -> Option<Command> {
    let node = map.get(key)?;
    let subject = Subject::PartOf(service, key);
    let (argv, user) = read(decoder, node, key, &keys::NOTIFY, subject)?;
    // The keys were looked through already.
    let timeout = node
        .get("timeout")
        .and_then(|node| decoder.scalar(node, "timeout", subject, |text| duration(text, TIMEOUT)));
    Some(Command {
        argv,
        user,
        timeout: timeout.unwrap_or(NOTIFY_TIMEOUT),
    })
}

/// A program with its arguments, and the user that it runs as: a path, a list, or keys.
pub(super) fn read<'n, 't>(
    decoder: &mut Decoder,
    node: &'n Node<'t>,
    key: &'static str,
    table: &'static Table,
    subject: Subject<'n, 't>,
) -> Option<(Vec<String>, Option<String>)> {
    if !matches!(node.kind, Kind::Map(_)) {
        return Some((argv(decoder, node, key, subject)?, None));
    }
    let map = decoder.map(node, table, subject)?;
    let user = decoder.value(&map, "user", user);
    let Some(command) = map.get("command") else {
        let what = format!("{subject}the key `command` is missing");
        decoder.refuse(Refusal::new(what, "add `command: [/PATH, ARGUMENT]`").at(node.span));
        return None;
    };
    Some((argv(decoder, command, "command", subject)?, user))
}

fn argv(
    decoder: &mut Decoder,
    node: &Node<'_>,
    key: &str,
    subject: Subject<'_, '_>,
) -> Option<Vec<String>> {
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let Some((first, rest)) = items.split_first() else {
        let what = format!("{subject}`{key}` names no program");
        decoder.refuse(Refusal::new(what, "write `[/PATH, ARGUMENT]`").at(node.span));
        return None;
    };
    let mut argv = vec![decoder.scalar(first, key, subject, program)?];
    for item in rest {
        argv.push(decoder.scalar(item, key, subject, argument)?);
    }
    Some(argv)
}

fn program(text: &str) -> Result<String, Wrong> {
    if text.starts_with('/') && text.contains(char::is_whitespace) {
        let list = text.split_whitespace().collect::<Vec<_>>().join(", ");
        return Err(wrong(
            "no shell reads it: a program and its arguments are a list",
            format!("write `[{list}]`"),
        ));
    }
    super::probe::path(text)?;
    argument(text)
}

fn argument(text: &str) -> Result<String, Wrong> {
    if text.contains('\0') {
        return Err(wrong("a program cannot be given a zero byte", "remove it"));
    }
    Ok(text.to_owned())
}

fn user(text: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    if !text.is_empty() && text.len() <= 32 && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(wrong(
        "it takes the name of a user",
        "write `nobody`, for example",
    ))
}

fn wrong(takes: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong {
        takes: takes.into(),
        hint: hint.into(),
    }
}
