//! Asks a Redis server whether it answers, and which role it has.

use redis::{Value, cmd, parse_redis_value};

use super::error::ProbeError;
use super::stream::{self, ANSWER, Dialogue};
use super::talk::quoted;
use super::{Good, Place, tls};
use crate::core::health::probe::{Redis, RedisRole};

/// An answer has no more than this.
const LIMIT: usize = 16 * 1024;

pub(super) async fn ask(redis: &Redis, to: &Place<'_>) -> Result<Good, ProbeError> {
    let host = to.address().ip().to_string();
    let tls = redis.tls.as_ref().map(|tls| (tls, host.as_str(), tls::ANY));
    let stream = stream::open(to, tls, ANSWER).await?;
    let mut dialogue = Dialogue::new(stream, to.talk, LIMIT);
    if let Some(password) = &redis.password {
        to.talk.note("> AUTH (secret)");
        let mut auth = cmd("AUTH");
        auth.arg(redis.user.as_deref()).arg(password.reveal());
        dialogue
            .say_unrecorded(&auth.get_packed_command(), "authenticating")
            .await?;
        answer(&mut dialogue, "waiting for the answer to AUTH").await?;
    }
    dialogue
        .say(&cmd("PING").get_packed_command(), "sending PING")
        .await?;
    match answer(&mut dialogue, "waiting for the answer to PING").await? {
        Value::SimpleString(pong) if pong == "PONG" => {}
        other => {
            return Err(ProbeError::Unexpected(format!(
                "PING was answered with {}",
                shown(&other)
            )));
        }
    }
    let Some(wanted) = redis.role else {
        dialogue.end(b"").await;
        return Ok(Good::new("PONG"));
    };
    dialogue
        .say(&cmd("ROLE").get_packed_command(), "asking for the role")
        .await?;
    let role = answer(&mut dialogue, "waiting for the answer to ROLE").await?;
    dialogue.end(b"").await;
    judge(&role, wanted)
}

/// The next answer, unless it is an error.
async fn answer(dialogue: &mut Dialogue<'_>, stage: &'static str) -> Result<Value, ProbeError> {
    match dialogue.hear(stage, parse).await? {
        Value::ServerError(error) => {
            let text = error.details().map_or_else(
                || error.code().to_owned(),
                |d| format!("{} {d}", error.code()),
            );
            Err(ProbeError::Refused(text))
        }
        value => Ok(value),
    }
}

/// An answer takes all that was heard, for nothing is asked before the last answer has come.
fn parse(heard: &[u8], ended: bool) -> Result<Option<(usize, Value)>, ProbeError> {
    match parse_redis_value(heard) {
        Ok(value) => Ok(Some((heard.len(), value))),
        Err(error) if error.is_io_error() && !ended => Ok(None),
        Err(_) if heard.is_empty() => Ok(None),
        Err(_) => Err(ProbeError::Protocol {
            protocol: "Redis",
            got: quoted(heard),
        }),
    }
}

/// `ROLE` answers `master ...`, or `slave HOST PORT STATE OFFSET`.
fn judge(role: &Value, wanted: RedisRole) -> Result<Good, ProbeError> {
    let Value::Array(parts) = role else {
        return Err(ProbeError::Protocol {
            protocol: "Redis",
            got: shown(role),
        });
    };
    let part = |n: usize| match parts.get(n) {
        Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).unwrap_or_default(),
        _ => "",
    };
    let wanted_word = match wanted {
        RedisRole::Master => "master",
        RedisRole::Replica => "replica",
    };
    match (part(0), wanted) {
        ("master", RedisRole::Master) => Ok(Good::new("PONG, master")),
        ("slave", RedisRole::Replica) if part(3) == "connected" => Ok(Good::new("PONG, replica")),
        ("slave", RedisRole::Replica) => Err(ProbeError::Refused(format!(
            "its link to the master is `{}`",
            part(3)
        ))),
        ("slave", RedisRole::Master) => Err(ProbeError::Role {
            got: "replica".to_owned(),
            wanted: wanted_word,
        }),
        (other, _) => Err(ProbeError::Role {
            got: quoted(other.as_bytes()),
            wanted: wanted_word,
        }),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => quoted(bytes),
        Value::SimpleString(text) => quoted(text.as_bytes()),
        Value::Okay => "`OK`".to_owned(),
        _ => "something else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn role(text: &[u8], wanted: RedisRole) -> Result<Good, ProbeError> {
        judge(&parse(text, false).unwrap().unwrap().1, wanted)
    }

    const MASTER: &[u8] = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
    const REPLICA: &[u8] =
        b"*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:42\r\n";
    const LOST: &[u8] = b"*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.1\r\n:6379\r\n$7\r\nconnect\r\n:-1\r\n";

    #[test]
    fn a_role_is_the_wanted_one_or_it_is_said_what_it_is() {
        assert!(role(MASTER, RedisRole::Master).is_ok());
        assert!(role(REPLICA, RedisRole::Replica).is_ok());
        assert!(
            matches!(role(REPLICA, RedisRole::Master), Err(ProbeError::Role { got, .. }) if got == "replica")
        );
        assert!(matches!(
            role(MASTER, RedisRole::Replica),
            Err(ProbeError::Role { .. })
        ));
        assert!(
            matches!(role(LOST, RedisRole::Replica), Err(ProbeError::Refused(_))),
            "cut off from its master"
        );
    }

    #[test]
    fn an_answer_in_pieces_is_waited_for() {
        for len in 0..REPLICA.len() {
            assert!(parse(&REPLICA[..len], false).unwrap().is_none(), "{len}");
        }
        assert!(parse(&REPLICA[..20], true).is_err(), "but not for ever");
        assert!(parse(b"HTTP/1.1 400 Bad Request\r\n", false).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes, false);
        }

        #[test]
        fn a_damaged_answer_is_parsed_without_panic(at in 0..64usize, byte in any::<u8>(), len in 0..64usize) {
            let mut bytes = REPLICA.to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(len);
            if let Ok(Some((_, value))) = parse(&bytes, false) {
                let _ = judge(&value, RedisRole::Replica);
            }
        }
    }
}
