//! Connects, and says a line or two.

use super::error::ProbeError;
use super::stream::{self, ANSWER, Dialogue};
use super::talk::quoted;
use super::{Good, Place, tls};
use crate::core::health::probe::Tcp;

/// An answer has no more than this.
const LIMIT: usize = 64 * 1024;

pub(super) async fn ask(tcp: &Tcp, to: &Place<'_>) -> Result<Good, ProbeError> {
    let host = to.address().ip().to_string();
    let tls = tcp.tls.as_ref().map(|tls| (tls, host.as_str(), tls::ANY));
    let stream = stream::open(to, tls, ANSWER).await?;
    let mut dialogue = Dialogue::new(stream, to.talk, LIMIT);
    if let Some(bytes) = &tcp.send {
        dialogue.say(bytes, "sending").await?;
    }
    let Some(expect) = &tcp.expect else {
        dialogue.end(b"").await;
        return Ok(Good::new("connected"));
    };
    let stage = "waiting for the expected answer";
    let heard = dialogue
        .hear(stage, |heard, ended| {
            if expect.is_met(heard) {
                return Ok(Some((heard.len(), heard.to_vec())));
            }
            if ended && !heard.is_empty() {
                return Err(ProbeError::Unexpected(format!(
                    "it ended after {}",
                    quoted(heard)
                )));
            }
            Ok(None)
        })
        .await?;
    dialogue.end(b"").await;
    Ok(Good::new(format!("answered {}", quoted(&heard))))
}
