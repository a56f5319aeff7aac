//! From what a text says to a model: names, kinds and ranges of values.
//!
//! The decoder goes on after a refusal, so that one run finds as many as it can. What values mean together is
//! checked afterwards, by [`rules`](super::rules).

mod director;
mod health;
mod pool;
mod probe;
mod script;
mod service;
mod vrrp;

pub(super) use director::MODES;
pub(super) use health::VERDICTS;
pub(super) use pool::{DEAD_CONNECTIONS, ON_FAILURE};
pub(super) use probe::{BODY_LIMIT, REDIS_ROLES, ZOOKEEPER_ROLES};
pub(super) use script::NOTIFY_TIMEOUT;
pub(super) use vrrp::{SCOPES, SIGNING_MODES, everywhere, usual_window};

use std::borrow::Cow;
use std::fmt;

use super::keys::{self, Table};
use super::model::Model;
use super::nearest::nearest_key;
use super::node::{Kind, Name, Node, shown};
use super::refusal::{Findings, Refusal};
use super::value::Wrong;

/// What a text says as a model, and what is wrong with it.
pub(super) fn model(root: &Node<'_>) -> (Model, Findings) {
    let mut decoder = Decoder::default();
    let model = director::top(&mut decoder, root);
    (model, decoder.found)
}

/// Collects refusals on the way.
#[derive(Default)]
struct Decoder {
    found: Findings,
}

/// Whose value is decoded: how a refusal begins.
#[derive(Clone, Copy)]
enum Subject<'n, 't> {
    Top,
    Part(&'static str),
    Service(&'n Node<'t>),
    PartOf(&'n Node<'t>, &'static str),
    Real(&'n Node<'t>, &'n Node<'t>),
    Probe(&'n Node<'t>, &'static str),
    Router(&'n Node<'t>),
    RouterPart(&'n Node<'t>, &'static str),
}

/// ``service `web`, real server `192.0.2.21`: ``
impl fmt::Display for Subject<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |node: &Node<'_>, keys: [&str; 2]| {
            let value = keys.iter().find_map(|key| node.get(key)?.text());
            match value.or_else(|| node.text()) {
                Some(text) => format!(" `{}`", shown(text)),
                None => String::new(),
            }
        };
        let service = |node: &Node<'_>| label(node, ["name", "address"]);
        let router = |node: &Node<'_>| label(node, ["name", "interface"]);
        match self {
            Self::Top => Ok(()),
            Self::Part(part) => write!(f, "{part}: "),
            Self::Service(node) => write!(f, "service{}: ", service(node)),
            Self::PartOf(node, part) => write!(f, "service{}, {part}: ", service(node)),
            Self::Probe(node, kind) => write!(f, "service{}, {kind} check: ", service(node)),
            Self::Real(node, real) => write!(
                f,
                "service{}, real server{}: ",
                service(node),
                label(real, ["address", "address"])
            ),
            Self::Router(node) => write!(f, "virtual router{}: ", router(node)),
            Self::RouterPart(node, part) => {
                write!(f, "virtual router{}, {part}: ", router(node))
            }
        }
    }
}

/// A map whose keys are known.
#[derive(Clone, Copy)]
struct Map<'n, 't> {
    node: &'n Node<'t>,
    entries: &'n [(Name<'t>, Node<'t>)],
    table: &'static Table,
    subject: Subject<'n, 't>,
}

impl<'n, 't> Map<'n, 't> {
    /// The value of a key; the first if it is there twice, which is refused anyway.
    fn get(&self, key: &'static str) -> Option<&'n Node<'t>> {
        debug_assert!(self.table.names().contains(&key), "{key} is in no table");
        self.entries
            .iter()
            .find(|(name, _)| name.text == key)
            .map(|(_, node)| node)
            .filter(|node| !matches!(node.kind, Kind::Null))
    }
}

impl Map<'_, '_> {
    /// Whether a key that was refused was meant to be this one.
    fn misspells(&self, key: &'static str) -> bool {
        let names = self.table.names();
        self.entries
            .iter()
            .filter(|(name, _)| !names.contains(&name.text.as_ref()))
            .any(|(name, _)| nearest_key(&name.text, &names) == Some(key))
    }
}

impl Decoder {
    fn refuse(&mut self, refusal: Refusal) {
        self.found.push(refusal);
    }

    /// A map: refuses keys that it cannot have, or has twice.
    fn map<'n, 't>(
        &mut self,
        node: &'n Node<'t>,
        table: &'static Table,
        subject: Subject<'n, 't>,
    ) -> Option<Map<'n, 't>> {
        let Kind::Map(entries) = &node.kind else {
            let hint = match node.text() {
                Some(text) if table.begins_with_a_key(text) => {
                    "write a space after the colon that ends a key".to_owned()
                }
                _ => format!("write keys here, such as `{}: ...`", table.foremost()),
            };
            let what = format!("{subject}here is {}, not keys with values", node.describe());
            self.refuse(Refusal::new(what, hint).at(node.span));
            return None;
        };
        let mut seen: Vec<&Name<'_>> = Vec::with_capacity(table.keys.len());
        for (name, _) in entries {
            if !table.keys.iter().any(|k| k.name == name.text) {
                self.unknown_key(name, table, subject);
            } else if let Some(first) = seen.iter().find(|first| first.text == name.text) {
                self.refuse(
                    Refusal::new(
                        format!("{subject}the key `{}` is there twice", name.text),
                        "remove one of the two",
                    )
                    .at(name.span)
                    .first_at(first.span),
                );
            } else {
                seen.push(name);
            }
        }
        Some(Map {
            node,
            entries,
            table,
            subject,
        })
    }

    fn unknown_key(&mut self, name: &Name<'_>, table: &Table, subject: Subject<'_, '_>) {
        let names = table.names();
        let hint = match nearest_key(&name.text, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => match keys::elsewhere(&name.text) {
                Some((near, at)) => format!("`{near}` belongs in `{at}`"),
                None => format!("the keys here are {}", names.join(", ")),
            },
        };
        let what = format!("{subject}there is no key `{}`", shown(&name.text));
        self.refuse(Refusal::new(what, hint).at(name.span));
    }

    /// The items of a list.
    fn list<'n, 't>(&mut self, map: &Map<'n, 't>, key: &'static str) -> &'n [Node<'t>] {
        match map.get(key) {
            None => &[],
            Some(Node {
                kind: Kind::List(items),
                ..
            }) => items,
            Some(other) => {
                let hint = match &other.kind {
                    Kind::Scalar(text) => format!("write `{key}: [{}]`", shown(text)),
                    _ => format!("begin each item of `{key}` with `- `"),
                };
                let what = format!("{}`{key}` is {}, not a list", map.subject, other.describe());
                self.refuse(Refusal::new(what, hint).at(other.span));
                &[]
            }
        }
    }

    /// The value of a key, if it is there and right.
    fn value<T>(
        &mut self,
        map: &Map<'_, '_>,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = map.get(key)?;
        self.scalar(node, key, map.subject, read)
    }

    /// The value of a key that must be there.
    fn required<T>(
        &mut self,
        map: &Map<'_, '_>,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        if map.get(key).is_none() {
            if map.misspells(key) {
                return None;
            }
            let what = format!("{}the key `{key}` is missing", map.subject);
            let hint = format!("add `{key}: {example}`, for example");
            self.refuse(Refusal::new(what, hint).at(map.node.span));
            return None;
        }
        self.value(map, key, read)
    }

    /// A scalar that stands for `key`.
    fn scalar<T>(
        &mut self,
        node: &Node<'_>,
        key: &str,
        subject: Subject<'_, '_>,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text: Cow<'_, str> = match &node.kind {
            Kind::Scalar(text) => Cow::Borrowed(text),
            Kind::Null => Cow::Borrowed(""),
            Kind::List(_) | Kind::Map(_) => {
                let what = format!(
                    "{subject}`{key}` is {}, not a single value",
                    node.describe()
                );
                let hint = match (subject, &node.kind) {
                    (Subject::Service(_), Kind::List(_)) if key == "address" => {
                        "write the first one here, and the others as a list after `also:`"
                            .to_owned()
                    }
                    _ => format!("write one value after `{key}:`"),
                };
                self.refuse(Refusal::new(what, hint).at(node.span));
                return None;
            }
        };
        match read(&text) {
            Ok(value) => Some(value),
            Err(Wrong { takes, hint }) => {
                let what = format!("{subject}`{key}` cannot be `{}`", shown(&text));
                self.refuse(Refusal::new(what, hint).why(takes).at(node.span));
                None
            }
        }
    }
}

/// A part of the file that is a map by itself, such as `connections`.
fn part<'n, 't>(
    decoder: &mut Decoder,
    top: &Map<'n, 't>,
    key: &'static str,
    table: &'static Table,
) -> Option<Map<'n, 't>> {
    let node = top.get(key)?;
    decoder.map(node, table, Subject::Part(key))
}
