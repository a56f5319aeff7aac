//! From bytes to what they say: the only place that meets untrusted YAML.
//!
//! Size, depth, number of values and what aliases may repeat are bounded, so that no file costs more than a
//! moment and a few megabytes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::AliasLimits;
use serde_yaml::{
    Budget, DuplicateKeyPolicy, Error, Location, NonFiniteFloatPolicy, Options, Spanned,
};

use super::node::{Kind, Name, Node, Span, shown_up_to};
use super::refusal::Refusal;

/// The largest file.
pub(crate) const MAX_BYTES: usize = 16 << 20;
/// The deepest nesting. A configuration needs eight.
const MAX_DEPTH: usize = 32;
/// The most values in a file.
const MAX_VALUES: usize = 1_200_000;
/// The most keys in one map: only lists are long.
const MAX_KEYS: usize = 1_000;
/// What the parser is told when there are more.
const TOO_MANY_KEYS: &str = "too many keys";
/// The most values that aliases may repeat.
const MAX_REPEATED: usize = 100_000;

/// The text of a file.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = line_of(bytes, error.valid_up_to());
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or(0);
            return Err(Refusal::new(
                format!("line {line} is not UTF-8 text: it has the byte 0x{byte:02x}"),
                "save the file as UTF-8; `iconv -f latin1 -t utf-8` converts from Latin-1",
            )
            .at(one_byte(error.valid_up_to())));
        }
    };
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        let line = line_of(bytes, at);
        return Err(Refusal::new(
            format!("line {line} has a NUL byte"),
            "this is a binary file, or one that was not written to its end: name another or restore it",
        )
        .at(one_byte(at)));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A file is larger than is read.
pub(crate) fn too_large(bytes: u64) -> Refusal {
    Refusal::new(
        format!("the file has {bytes} bytes"),
        "name a configuration file; one with all the real servers that fit has less than 16 MiB",
    )
    .why(format!("at most {MAX_BYTES} are read"))
}

fn one_byte(at: usize) -> Span {
    let start = u32::try_from(at).unwrap_or(u32::MAX);
    Span {
        start,
        end: start.saturating_add(1),
    }
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes.iter().take(at).filter(|b| **b == b'\n').count() + 1
}

/// What a text says. `None` when it says nothing.
pub(crate) fn parse(text: &str) -> Result<Option<Node<'_>>, Refusal> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let mut node: Node<'_> = serde_yaml::from_str_with_options(text, options())
        .map_err(|error| refusal(&error, text))?;
    with_spelling(&mut node, text);
    Ok(Some(node).filter(|node| !matches!(node.kind, Kind::Null)))
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_reader_input_bytes = Some(MAX_BYTES);
    budget.max_events = 3 * MAX_VALUES;
    budget.max_nodes = MAX_VALUES;
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH;
    budget.max_documents = 1;
    budget.max_total_scalar_bytes = MAX_BYTES;
    budget.max_recorded_anchor_events = MAX_REPEATED;
    budget.max_recorded_anchor_bytes = 1 << 20;
    budget.max_merge_keys = 10_000;
    budget.enforce_alias_anchor_ratio = false;
    let mut aliases = AliasLimits::default();
    aliases.max_total_replayed_events = MAX_REPEATED;
    aliases.max_replay_stack_depth = MAX_DEPTH;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits = aliases;
    // Both places of a duplicate are wanted, and all duplicates: the decoder finds them.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    options
}

fn refusal(error: &Error, text: &str) -> Refusal {
    let error = error.without_snippet();
    let refusal = match error {
        Error::AliasError { error, .. } => refusal(error, text),
        Error::Budget { breach, .. } => exceeded(breach),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => repeats_too_much(),
        Error::MultipleDocuments { .. } => several_documents(),
        Error::UnknownAnchor { .. } => Refusal::new(
            "the alias repeats an anchor that does not exist",
            "write the anchor (`&name`) before the alias (`*name`), or quote the text if it is none",
        ),
        Error::UnsupportedTag { .. } => Refusal::new(
            "tags, which begin with `!`, mean nothing here",
            "remove the tag, or quote the text if it is none",
        ),
        other => other_fault(&other.to_string()),
    };
    match error.location() {
        Some(at) if at.span().byte_offset().is_some() => refusal.at(span(&at)),
        Some(at) => refusal.at(span_of_column(text, at.line(), at.column())),
        None => refusal,
    }
}

/// Faults of syntax come with line and column (from 1) only.
fn span_of_column(text: &str, line: u64, column: u64) -> Span {
    let line = usize::try_from(line)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let column = usize::try_from(column)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    // At the end of the file there is nothing to show: the last line that says something is shown.
    let mut lines = text.split_inclusive('\n').take(line.saturating_add(1));
    let mut start = 0;
    let mut found = (0, "");
    for line in &mut lines {
        if !line.trim().is_empty() {
            found = (start, line);
        }
        start += line.len();
    }
    let (start, line_text) = found;
    let rest = line_text.trim_end();
    let within = rest.char_indices().nth(column).map_or(0, |(at, _)| at);
    one_byte(start + within)
}

/// A fault for which the parser's own words are good enough.
fn other_fault(message: &str) -> Refusal {
    // Its words end with a place, which we say in our own way.
    let message = message.split(" at line ").next().unwrap_or(message);
    if message.contains("recursion limit") || message.contains("nesting") {
        return too_deep();
    }
    if message.contains(TOO_MANY_KEYS) {
        return Refusal::new(
            "there are too many keys in one place",
            "name a configuration file; its longest tables have a dozen keys",
        )
        .why(format!("at most {MAX_KEYS} are read"));
    }
    Refusal::new(
        format!("this is not YAML: {}", shown_up_to(message, 120)),
        "check indentation, brackets and quotes here and in the line before",
    )
}

fn exceeded(breach: &BudgetBreach) -> Refusal {
    match breach {
        BudgetBreach::Depth { .. } => too_deep(),
        BudgetBreach::Documents { .. } => several_documents(),
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::MergeKeys { .. }
        | BudgetBreach::AliasAnchorRatio { .. }
        | BudgetBreach::RecordedAnchorEvents { .. }
        | BudgetBreach::RecordedAnchorBytes { .. } => repeats_too_much(),
        _ => Refusal::new(
            "the file has too many values",
            "name a configuration file; one with all the real servers that fit has fewer",
        )
        .why(format!("at most {MAX_VALUES} are read")),
    }
}

fn too_deep() -> Refusal {
    Refusal::new(
        "the file is nested too deep",
        "a configuration needs no more than eight levels: look for a bracket that is not closed",
    )
    .why(format!("at most {MAX_DEPTH} levels are read"))
}

fn several_documents() -> Refusal {
    Refusal::new(
        "the file has more than one YAML document",
        "put everything in one document: remove the `---` between them",
    )
}

fn repeats_too_much() -> Refusal {
    Refusal::new(
        "anchors and aliases repeat too much",
        "write out what they repeat, or repeat less",
    )
    .why(format!("aliases may repeat {MAX_REPEATED} values at most"))
}

fn span(at: &Location) -> Span {
    let span = at.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(len)) if start < u64::from(u32::MAX) => Span {
            start: start as u32,
            end: (start + len).min(u64::from(u32::MAX)) as u32,
        },
        _ => Span::default(),
    }
}

/// What the parser took for a number or a truth value: [`with_spelling`] puts what was written in its place.
const TYPED: Cow<'static, str> = Cow::Borrowed("");

/// Replaces what the parser took for numbers and truth values by what was written.
fn with_spelling<'t>(node: &mut Node<'t>, text: &'t str) {
    match &mut node.kind {
        Kind::Scalar(scalar) if scalar.is_empty() => {
            let written = text.get(node.span.start as usize..node.span.end as usize);
            if let Some(written) = written
                && !written.starts_with(['"', '\'', '|', '>', '!'])
            {
                *scalar = Cow::Borrowed(written.trim_end());
            }
        }
        Kind::Null | Kind::Scalar(_) => {}
        Kind::List(items) => {
            for item in items {
                with_spelling(item, text);
            }
        }
        Kind::Map(entries) => {
            for (_, value) in entries {
                with_spelling(value, text);
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<Kind<'de>>::deserialize(deserializer)?;
        Ok(Self {
            span: span(&defined),
            kind: value,
        })
    }
}

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<Text<'de>>::deserialize(deserializer)?;
        Ok(Self {
            span: span(&defined),
            text: value.0,
        })
    }
}

impl<'de> Deserialize<'de> for Kind<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Kind::Scalar(TYPED))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Kind::Scalar(TYPED))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Kind::Scalar(TYPED))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Self::Value, E> {
        Ok(Kind::Scalar(TYPED))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Self::Value, E> {
        Ok(Kind::Scalar(TYPED))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Kind::Scalar(TYPED))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Kind::Scalar(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Kind::Scalar(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            if entries.len() == MAX_KEYS {
                return Err(A::Error::custom(TOO_MANY_KEYS));
            }
            entries.push(entry);
        }
        // There may be a hundred thousand of these, most with two keys or three.
        entries.shrink_to_fit();
        Ok(Kind::Map(entries))
    }
}

/// A key: text whatever it looks like, borrowed where it stands in the file as it is.
struct Text<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text says, in one line: to compare.
    fn says(text: &str) -> String {
        fn write(node: &Node<'_>) -> String {
            match &node.kind {
                Kind::Null => "null".into(),
                Kind::Scalar(text) => format!("{text:?}"),
                Kind::List(items) => {
                    let items: Vec<_> = items.iter().map(write).collect();
                    format!("[{}]", items.join(", "))
                }
                Kind::Map(entries) => {
                    let entries: Vec<_> = entries
                        .iter()
                        .map(|(name, node)| format!("{}: {}", name.text, write(node)))
                        .collect();
                    format!("{{{}}}", entries.join(", "))
                }
            }
        }
        match parse(text) {
            Ok(Some(node)) => write(&node),
            Ok(None) => "nothing".into(),
            Err(refusal) => refusal.what,
        }
    }

    #[test]
    fn scalars_are_as_written() {
        assert_eq!(
            says("a: [0123, 1e3, on, True, .nan, 99999999999999999999, -7, 5m, \"\", '0x1', 1_0]"),
            r#"{a: ["0123", "1e3", "on", "True", ".nan", "99999999999999999999", "-7", "5m", "", "0x1", "1_0"]}"#
        );
        assert_eq!(
            says("a: \"11\\t\"\nb: ~\nc:\nd: 'null'"),
            r#"{a: "11\t", b: null, c: null, d: "null"}"#
        );
    }

    #[test]
    fn keys_are_text_and_may_come_twice() {
        assert_eq!(
            says("1: a\ntrue: b\n1: c"),
            r#"{1: "a", true: "b", 1: "c"}"#
        );
    }

    #[test]
    fn aliases_and_merges_repeat_with_the_spelling_of_their_anchor() {
        assert_eq!(
            says("a: &x {w: 007, e: on}\nb: *x\nc: {<<: *x, e: 1}"),
            r#"{a: {w: "007", e: "on"}, b: {w: "007", e: "on"}, c: {e: "1", w: "007"}}"#
        );
    }

    #[test]
    fn nothing_is_nothing() {
        for text in ["", " \n", "# only a comment\n", "---\n", "null", "~\n"] {
            assert_eq!(says(text), "nothing", "{text:?}");
        }
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "a: 1\nb:\n  - {c: [x, 'y']}\n";
        let root = parse(text).unwrap().unwrap();
        let at = |path: &super::super::node::Path| {
            let span = root.locate(path);
            &text[span.start as usize..span.end as usize]
        };
        let path = super::super::node::Path::top();
        assert_eq!(at(&path.clone().key("a")), "1");
        let c = path.key("b").item(0).key("c");
        assert_eq!(at(&c.clone().item(1)), "'y'");
        assert_eq!(at(&c.item(7)), "[", "the nearest part that is written");
    }

    #[test]
    fn bombs_are_refused_soon() {
        let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
        for (last, next) in ('a'..'y').zip('b'..'z') {
            let repeated = vec![format!("*{last}"); 9].join(",");
            bomb.push_str(&format!("{next}: &{next} [{repeated}]\n"));
        }
        assert_eq!(says(&bomb), "anchors and aliases repeat too much");
        let many = format!(
            "a: &a [{}x]\nb: [{}x]",
            "x,".repeat(1000),
            "*a,".repeat(1000)
        );
        assert_eq!(says(&many), "anchors and aliases repeat too much");
        assert_eq!(says(&"[".repeat(100_000)), "the file is nested too deep");
        assert_eq!(says(&"- ".repeat(100_000)), "the file is nested too deep");
        assert_eq!(says(&"{a: ".repeat(100_000)), "the file is nested too deep");
        let block: String = (0..100).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        assert_eq!(says(&block), "the file is nested too deep");
        assert_eq!(
            says("a: 1\n---\nb: 2\n"),
            "the file has more than one YAML document"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        assert_eq!(
            text(b"a: 1\nb: \xff\n").unwrap_err().what,
            "line 2 is not UTF-8 text: it has the byte 0xff"
        );
        assert_eq!(
            text(b"\xc3").unwrap_err().what,
            "line 1 is not UTF-8 text: it has the byte 0xc3"
        );
        assert_eq!(
            text(b"a: 1\n\n\0").unwrap_err().what,
            "line 3 has a NUL byte"
        );
        assert_eq!(text("\u{feff}a: 1".as_bytes()).unwrap(), "a: 1");
        let refusal = text(&vec![b'a'; MAX_BYTES + 1]).unwrap_err();
        assert_eq!(refusal.what, "the file has 16777217 bytes");
        assert_eq!(refusal.why.as_deref(), Some("at most 16777216 are read"));
        assert!(refusal.hint.contains("16 MiB"), "{}", refusal.hint);
    }
}
