//! Why is a configuration refused, and how is that said?
//!
//! Everything that is wrong with a configuration is one [`Refusal`]: what, why and how to mend it. For a file they
//! come together as [`Refused`], each with its line, column and the line itself.

use std::fmt;
use std::path::PathBuf;

use super::node::{Node, Path, Span};

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, and with what.
    pub what: String,
    /// Why that is wrong, where it does not go without saying.
    pub why: Option<String>,
    /// What to change.
    pub hint: String,
    /// Whether the configuration is at fault, or only does not fit this machine as it is now.
    pub fault: Fault,
    pub(super) place: Place,
    /// The place that it is in conflict with.
    pub(super) first: Option<Box<Place>>,
    pub(super) secret: bool,
}

/// What was found to be wrong so far. The first thousand are kept; a hostile file may have a million.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) refusals: Vec<Refusal>,
    more: usize,
}

impl Findings {
    const KEPT: usize = 1_000;

    pub(super) fn push(&mut self, refusal: Refusal) {
        if self.refusals.len() < Self::KEPT {
            self.refusals.push(refusal);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.refusals.is_empty()
    }
}

impl From<Refusal> for Findings {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusals: vec![refusal],
            more: 0,
        }
    }
}

/// What would have to change for a refused configuration to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The configuration.
    Configuration,
    /// The configuration or the machine: an interface or a route may yet appear.
    Machine,
}

/// Where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file as a whole.
    Whole,
    /// In a part of its text.
    Text(Span),
    /// In a value.
    Value(Path),
}

impl Refusal {
    /// Something is wrong with the configuration.
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: None,
            hint: hint.into(),
            fault: Fault::Configuration,
            place: Place::Whole,
            first: None,
            secret: false,
        }
    }

    /// Says why.
    #[must_use]
    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Says where in the text.
    #[must_use]
    pub(super) fn at(mut self, span: Span) -> Self {
        self.place = Place::Text(span);
        self
    }

    /// Says of which value.
    #[must_use]
    pub(super) fn of(mut self, path: Path) -> Self {
        self.place = Place::Value(path);
        self
    }

    /// Says where in the text that is which came first.
    #[must_use]
    pub(super) fn first_at(mut self, span: Span) -> Self {
        self.first = Some(Box::new(Place::Text(span)));
        self
    }

    /// Says of which value that is which came first.
    #[must_use]
    pub(super) fn first_of(mut self, path: Path) -> Self {
        self.first = Some(Box::new(Place::Value(path)));
        self
    }

    /// The machine may change so that it fits.
    #[must_use]
    pub(super) fn by_machine(mut self) -> Self {
        self.fault = Fault::Machine;
        self
    }

    /// Its line holds a secret and must not be shown.
    #[must_use]
    pub(super) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// As for a change that did not come from a file.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        write!(f, "; hint: {}", self.hint)
    }
}

impl std::error::Error for Refusal {}

/// A configuration file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The file's name.
    pub file: PathBuf,
    /// What is wrong with it, in the order of the file.
    pub refusals: Vec<Refusal>,
    /// How much else is wrong.
    more: usize,
    excerpts: Vec<Option<Excerpt>>,
}

/// A line of the file, with a part of it underlined.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: usize,
    column: usize,
    shown: String,
    indent: usize,
    width: usize,
    /// The line of what came first.
    first: Option<usize>,
}

/// How many refusals are printed; the rest is counted.
const PRINTED: usize = 20;

impl Refused {
    /// Of a file that could not even be read as text.
    pub(super) fn whole(file: PathBuf, refusal: Refusal) -> Self {
        Self {
            file,
            refusals: vec![refusal],
            more: 0,
            excerpts: vec![None],
        }
    }

    /// Of a text; `root` is what it says, if that is known.
    pub(super) fn in_text(
        file: PathBuf,
        text: &str,
        root: Option<&Node<'_>>,
        found: impl Into<Findings>,
    ) -> Self {
        let Findings { refusals, more } = found.into();
        let find = |place: &Place| match (place, root) {
            (Place::Text(span), _) => Some(*span),
            (Place::Value(path), Some(root)) => Some(root.locate(path)),
            (Place::Value(_), None) | (Place::Whole, _) => None,
        };
        let mut placed: Vec<(Option<Span>, Refusal)> = refusals
            .into_iter()
            .map(|refusal| (find(&refusal.place), refusal))
            .collect();
        placed.sort_by_key(|(span, _)| span.map(|s| s.start));
        // Only those printed need their line; a hostile file may have a great many.
        let excerpts = placed
            .iter()
            .enumerate()
            .map(|(n, (span, refusal))| {
                let span = span.filter(|_| n < PRINTED)?;
                let mut excerpt = Excerpt::of(text, span, refusal.secret);
                let first = refusal.first.as_deref().and_then(find);
                excerpt.first = first.map(|first| line_of(text, first.start as usize));
                Some(excerpt)
            })
            .collect();
        let refusals = placed.into_iter().map(|(_, refusal)| refusal).collect();
        Self {
            file,
            refusals,
            more,
            excerpts,
        }
    }

    /// The line and column (both from 1) of a refusal, if it has a place.
    pub fn position(&self, n: usize) -> Option<(usize, usize)> {
        let excerpt = self.excerpts.get(n)?.as_ref()?;
        Some((excerpt.line, excerpt.column))
    }

    /// Whether only this machine, as it is now, stands against the configuration.
    pub fn only_by_machine(&self) -> bool {
        self.refusals.iter().all(|r| r.fault == Fault::Machine)
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (refusal, excerpt) in self.refusals.iter().zip(&self.excerpts).take(PRINTED) {
            match excerpt {
                Some(excerpt) => {
                    let Excerpt { line, column, .. } = excerpt;
                    writeln!(f, "{file}:{line}:{column}: {}", refusal.what)?;
                    write!(f, "{excerpt}")?;
                }
                None => writeln!(f, "{file}: {}", refusal.what)?,
            }
            if let Some(why) = &refusal.why {
                writeln!(f, "  why: {why}")?;
            }
            writeln!(f, "  hint: {}", refusal.hint)?;
            writeln!(f)?;
        }
        let count = self.refusals.len() + self.more;
        if count > PRINTED {
            writeln!(f, "... and {} more", count - PRINTED)?;
        }
        let errors = if count == 1 { "error" } else { "errors" };
        write!(f, "{file}: refused, {count} {errors}")
    }
}

impl Excerpt {
    fn of(text: &str, span: Span, secret: bool) -> Self {
        let start = floor(text, span.start as usize);
        let end = floor(text, span.end as usize).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let rest = &text[line_start..];
        let line = rest[..rest.find('\n').unwrap_or(rest.len())].trim_end();
        let column = text[line_start..start].chars().count();
        // An empty span is the beginning of a block: the rest of its first line is underlined.
        let width = if end > start {
            text[start..end]
                .chars()
                .take_while(|c| *c != '\n' && *c != '\r')
                .count()
        } else {
            let line = without_comment(line);
            line.chars().count().saturating_sub(column)
        };
        let number = line_of(text, line_start);
        let (shown, indent) = if secret {
            let kept: String = line.chars().take(column).collect();
            (window(&format!("{kept}****"), column).0, column.min(WIDEST))
        } else {
            window(line, column)
        };
        let width = if secret { 4 } else { width };
        let room = shown.chars().count().saturating_sub(indent);
        Self {
            line: number,
            column: column + 1,
            indent,
            width: width.clamp(1, room.max(1)),
            shown,
            first: None,
        }
    }
}

/// The number of the line in which a byte is.
fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|b| **b == b'\n').count() + 1
}

/// The most characters of a line that are shown.
const WIDEST: usize = 100;

/// The part of a line that contains a column, made harmless for a terminal, and where in it the column is.
fn window(line: &str, column: usize) -> (String, usize) {
    let before = 60;
    let skip = column.saturating_sub(before);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = line.chars().skip(skip).take(WIDEST).map(plain).collect();
    let indent = (column - skip).min(shown.chars().count());
    (shown, indent)
}

/// A line up to its comment.
fn without_comment(line: &str) -> &str {
    let code = line.find(" #").map_or(line, |n| &line[..n]);
    code.trim_end()
}

/// The nearest place at or before `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(self.indent);
        let carets = "^".repeat(self.width);
        writeln!(f, " {margin} |")?;
        writeln!(f, " {number} | {}", self.shown)?;
        match self.first {
            Some(line) => writeln!(
                f,
                " {margin} | {indent}{carets} the first is in line {line}"
            ),
            None => writeln!(f, " {margin} | {indent}{carets}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, start: u32, end: u32) -> String {
        let refusal = Refusal::new("bad", "mend it").at(Span { start, end });
        Refused::in_text("f.yaml".into(), text, None, refusal).to_string()
    }

    #[test]
    fn a_refusal_shows_the_line_and_underlines_the_part() {
        assert_eq!(
            refused("a: 1\nbäd: twö # c\nc: 3\n", 11, 15),
            "f.yaml:2:6: bad\n   |\n 2 | bäd: twö # c\n   |      ^^^\n  hint: mend it\n\n\
             f.yaml: refused, 1 error"
        );
    }

    #[test]
    fn a_place_outside_the_text_or_inside_a_character_does_no_harm() {
        for text in ["", "ä", "ä\n", "\r\n\r\n", "x\ty"] {
            for start in 0..6 {
                for end in 0..6 {
                    refused(text, start, end);
                }
            }
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("{}bad{}", "x".repeat(500), "y".repeat(500));
        let shown = refused(&text, 500, 503);
        assert!(shown.lines().all(|l| l.chars().count() < 120), "{shown}");
        assert!(shown.contains("xbady"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let refusal = Refusal::new("too long", "shorten it")
            .at(Span { start: 6, end: 16 })
            .secret();
        let shown =
            Refused::in_text("f".into(), "pass: correcthor # horse", None, refusal).to_string();
        assert!(
            !shown.contains("correct") && !shown.contains("horse"),
            "{shown}"
        );
        assert!(shown.contains("pass: ****"), "{shown}");
    }

    #[test]
    fn refusals_come_in_the_order_of_the_file_and_no_more_than_a_screenful() {
        let mut found = Findings::default();
        for n in (0..50).rev() {
            found.push(Refusal::new(format!("no {n}"), "-").at(Span { start: n, end: n }));
        }
        let refused = Refused::in_text("f".into(), &"x".repeat(60), None, found);
        let shown = refused.to_string();
        assert!(shown.starts_with("f:1:1: no 0\n"));
        assert!(shown.contains("no 19\n") && !shown.contains("no 20\n"));
        assert!(shown.ends_with("... and 30 more\nf: refused, 50 errors"));
    }
}
