//! What was said, for a person who asks; and how far a probe has come.

use std::sync::Mutex;
use std::sync::PoisonError;

/// The most lines that are kept.
const LINES: usize = 60;
/// The longest line.
const LINE: usize = 160;

/// How far a probe has come, and what was said if somebody wants to know.
#[derive(Debug)]
pub(super) struct Talk {
    stage: Mutex<&'static str>,
    lines: Option<Mutex<Vec<String>>>,
}

impl Talk {
    /// Nobody wants to know.
    pub(super) fn silent() -> Self {
        Self {
            stage: Mutex::new("starting"),
            lines: None,
        }
    }

    /// Everything is noted.
    pub(super) fn recorded() -> Self {
        Self {
            lines: Some(Mutex::default()),
            ..Self::silent()
        }
    }

    /// What is being done now: `waiting for the greeting`.
    pub(super) fn begin(&self, stage: &'static str) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// What was being done last.
    pub(super) fn stage(&self) -> &'static str {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something.
    pub(super) fn note(&self, line: impl AsRef<str>) {
        if let Some(lines) = &self.lines {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() < LINES {
                lines.push(plain(line.as_ref(), LINE));
            }
        }
    }

    /// Notes what was sent.
    pub(super) fn sent(&self, bytes: &[u8]) {
        self.bytes("> ", bytes);
    }

    /// Notes what came.
    pub(super) fn got(&self, bytes: &[u8]) {
        self.bytes("< ", bytes);
    }

    fn bytes(&self, sign: &str, bytes: &[u8]) {
        if self.lines.is_none() {
            return;
        }
        let shown = bytes.get(..2048).unwrap_or(bytes);
        for line in String::from_utf8_lossy(shown).lines() {
            self.note(format!("{sign}{line}"));
        }
        if shown.len() < bytes.len() {
            self.note(format!("{sign}({} more bytes)", bytes.len() - shown.len()));
        }
    }

    /// What was noted.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines
            .map(|lines| lines.into_inner().unwrap_or_else(PoisonError::into_inner))
            .unwrap_or_default()
    }
}

/// Text from outside, fit for a terminal: on one line, without control characters, no longer than `most` and the sign that there was
/// more.
pub(super) fn plain(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut room = most;
    for c in text.chars() {
        let shown: String = if c.is_control() {
            c.escape_default().collect()
        } else {
            c.into()
        };
        // What is escaped takes the place of several.
        let Some(left) = room.checked_sub(shown.chars().count()) else {
            out.push('…');
            break;
        };
        room = left;
        out.push_str(&shown);
    }
    out
}

/// Bytes from outside as one short piece of text.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let shown = bytes.get(..200).unwrap_or(bytes);
    if shown.is_empty() {
        return "nothing".to_owned();
    }
    format!("`{}`", plain(String::from_utf8_lossy(shown).trim_end(), 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_short_and_harmless() {
        let talk = Talk::recorded();
        talk.got(b"HTTP/1.1 200 OK\r\nX: \x1b[31mred\r\n");
        talk.got(&[b'x'; 5000]);
        for _ in 0..100 {
            talk.note("more");
        }
        let lines = talk.into_lines();
        assert_eq!(lines[0], "< HTTP/1.1 200 OK");
        assert_eq!(lines[1], "< X: \\u{1b}[31mred");
        assert_eq!(lines[3], "< (2952 more bytes)");
        assert_eq!(lines.len(), LINES);
        assert!(lines.iter().all(|line| line.chars().count() <= LINE + 1));
    }

    #[test]
    fn escapes_count_for_as_many_characters_as_they_have() {
        assert_eq!(plain("a\0b", 7), "a\\u{0}b");
        assert_eq!(plain("a\0b", 6), "a\\u{0}…");
        assert_eq!(plain("a\0b", 5), "a…");
        assert_eq!(plain(&"\0".repeat(100), 12), "\\u{0}\\u{0}…");
        assert_eq!(plain("abc", 3), "abc");
    }

    #[test]
    fn nothing_is_kept_when_nobody_wants_to_know() {
        let talk = Talk::silent();
        talk.note("line");
        talk.begin("waiting");
        assert_eq!(talk.stage(), "waiting");
        assert!(talk.into_lines().is_empty());
    }

    #[test]
    fn bytes_are_quoted_on_one_line() {
        assert_eq!(quoted(b""), "nothing");
        assert_eq!(quoted(b"-ERR no\r\n"), "`-ERR no`");
        assert_eq!(quoted(&[0xff, 0, 10, 65]), "`\u{fffd}\\u{0}\\nA`");
    }
}
