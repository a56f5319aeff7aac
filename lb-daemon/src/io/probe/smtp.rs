//! Greets a mail server.

use super::error::ProbeError;
use super::stream::{self, ANSWER, Dialogue};
use super::talk::quoted;
use super::{Good, Place};
use crate::core::health::probe::Smtp;

/// A reply, with all its lines, has no more than this.
const LIMIT: usize = 8 * 1024;

pub(super) async fn ask(smtp: &Smtp, to: &Place<'_>) -> Result<Good, ProbeError> {
    let stream = stream::open(to, None, ANSWER).await?;
    let mut dialogue = Dialogue::new(stream, to.talk, LIMIT);
    let greeting = reply(&mut dialogue, "waiting for the greeting").await?;
    wanted(&greeting, 220)?;
    dialogue
        .say(format!("EHLO {}\r\n", smtp.helo).as_bytes(), "greeting")
        .await?;
    let mut answer = reply(&mut dialogue, "waiting for the answer to EHLO").await?;
    if matches!(answer.code, 500 | 502) {
        dialogue
            .say(format!("HELO {}\r\n", smtp.helo).as_bytes(), "greeting")
            .await?;
        answer = reply(&mut dialogue, "waiting for the answer to HELO").await?;
    }
    wanted(&answer, 250)?;
    dialogue.end(b"QUIT\r\n").await;
    Ok(Good::new(format!("{} {}", greeting.code, greeting.text)))
}

/// A reply (RFC 5321, section 4.2): lines `250-text`, the last one `250 text`.
struct Reply {
    code: u16,
    text: String,
}

async fn reply(dialogue: &mut Dialogue<'_>, stage: &'static str) -> Result<Reply, ProbeError> {
    // The limit of a dialogue is for one line; a reply has a bounded number of them.
    for _ in 0..100 {
        let line = dialogue.hear_line(stage).await?;
        let (code, more, text) = parse(&line).ok_or_else(|| ProbeError::Protocol {
            protocol: "SMTP",
            got: quoted(&line),
        })?;
        if !more {
            return Ok(Reply { code, text });
        }
    }
    Err(ProbeError::TooMuch(LIMIT))
}

/// The code, whether more lines follow, and the text.
fn parse(line: &[u8]) -> Option<(u16, bool, String)> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let (code, rest) = text.split_at_checked(3)?;
    let code = code
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| code.parse().ok())??;
    match rest.as_bytes().first() {
        None => Some((code, false, String::new())),
        Some(b' ') => Some((code, false, rest[1..].to_owned())),
        Some(b'-') => Some((code, true, rest[1..].to_owned())),
        Some(_) => None,
    }
}

fn wanted(reply: &Reply, code: u16) -> Result<(), ProbeError> {
    if reply.code == code {
        return Ok(());
    }
    Err(ProbeError::Refused(format!(
        "{} {}",
        reply.code, reply.text
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_the_rfc_has_them() {
        let some = |code, more, text: &str| Some((code, more, text.to_owned()));
        assert_eq!(
            parse(b"220 mail.example.com ready\r"),
            some(220, false, "mail.example.com ready")
        );
        assert_eq!(parse(b"250-SIZE 1000\r"), some(250, true, "SIZE 1000"));
        assert_eq!(parse(b"250\r"), some(250, false, ""));
        for bad in [
            &b""[..],
            b"25",
            b"abc ready",
            b"220ready",
            b"+20 x",
            b"\xff\xff\xff\xff",
            "22é x".as_bytes(),
        ] {
            assert_eq!(parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
