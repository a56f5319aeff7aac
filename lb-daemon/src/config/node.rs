//! What does a YAML text say, and where in the text?
//!
//! A [`Node`] is a value with the place that it came from; scalars are text, for their meaning depends on the key
//! that they belong to.

use std::borrow::Cow;
use std::fmt;

/// A part of a text: byte offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where it begins.
    pub start: u32,
    /// Where it has ended. With a block of several lines, this is `start`.
    pub end: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    /// Where it stands. Of a value that was repeated by an alias: where it was written.
    pub span: Span,
    /// What it is.
    pub kind: Kind<'t>,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind<'t> {
    /// Nothing, or `null`.
    Null,
    /// A number, a word, a text: as written, without quotes.
    Scalar(Cow<'t, str>),
    /// A list.
    List(Vec<Node<'t>>),
    /// Keys and values, in the order of the text; a key may occur twice.
    Map(Vec<(Name<'t>, Node<'t>)>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Name<'t> {
    /// Where it stands.
    pub span: Span,
    /// The key.
    pub text: Cow<'t, str>,
}

impl<'t> Node<'t> {
    /// In words, to say what was found instead of what was expected.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Scalar(text) => format!("`{}`", shown(text)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "keys and values".to_owned(),
        }
    }

    /// The scalar at this node.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text) => Some(text),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node<'t>> {
        match &self.kind {
            Kind::Map(entries) => entries
                .iter()
                .find(|(name, _)| name.text == key)
                .map(|(_, node)| node),
            Kind::Null | Kind::Scalar(_) | Kind::List(_) => None,
        }
    }

    /// Where the value of a path stands; of what is not written, where the nearest part that is stands.
    pub(crate) fn locate(&self, path: &Path) -> Span {
        let mut node = self;
        for step in &path.0 {
            let next = match step {
                Step::Key(key) => node.get(key),
                Step::Item(n) => match &node.kind {
                    Kind::List(items) => items.get(*n),
                    // A list of one may be written without the list.
                    Kind::Scalar(_) | Kind::Map(_) if *n == 0 => Some(node),
                    Kind::Null | Kind::Scalar(_) | Kind::Map(_) => None,
                },
            };
            match next {
                Some(found) => node = found,
                None => break,
            }
        }
        node.span
    }
}

/// Text from outside, fit for a message: short, on one line, without control characters.
pub(crate) fn shown(text: &str) -> String {
    shown_up_to(text, 60)
}

/// As [`shown`], of so many characters at most.
pub(crate) fn shown_up_to(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == longest {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The way to a value from the top of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(&'static str),
    Item(usize),
}

impl Path {
    /// The whole configuration.
    pub(crate) const fn top() -> Self {
        Self(Vec::new())
    }

    /// A value of this map.
    #[must_use]
    pub(crate) fn key(mut self, key: &'static str) -> Self {
        self.0.push(Step::Key(key));
        self
    }

    /// An item of this list.
    #[must_use]
    pub(crate) fn item(mut self, n: usize) -> Self {
        self.0.push(Step::Item(n));
        self
    }
}

/// `services[0].reals[1].weight`
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_one_would_write_it() {
        let path = Path::top()
            .key("services")
            .item(0)
            .key("reals")
            .item(1)
            .key("weight");
        assert_eq!(path.to_string(), "services[0].reals[1].weight");
    }

    #[test]
    fn text_in_messages_is_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 61);
    }
}
