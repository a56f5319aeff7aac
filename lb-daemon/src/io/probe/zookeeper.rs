//! Sends ZooKeeper a four-letter word.

use super::error::ProbeError;
use super::stream::{self, ANSWER, Dialogue};
use super::talk::quoted;
use super::{Good, Place};
use crate::core::health::probe::{Zookeeper, ZookeeperRole};

/// An answer has no more than this.
const LIMIT: usize = 16 * 1024;

pub(super) async fn ask(zookeeper: Zookeeper, to: &Place<'_>) -> Result<Good, ProbeError> {
    let stream = stream::open(to, None, ANSWER).await?;
    let mut dialogue = Dialogue::new(stream, to.talk, LIMIT);
    let word: &[u8] = if zookeeper.role.is_some() {
        b"srvr"
    } else {
        b"ruok"
    };
    dialogue.say(word, "sending the four-letter word").await?;
    // The server closes the connection after its answer.
    let answer = dialogue
        .hear("waiting for the answer", |heard, ended| {
            Ok(ended.then(|| (heard.len(), heard.to_vec())))
        })
        .await?;
    judge(zookeeper, &answer)
}

fn judge(zookeeper: Zookeeper, answer: &[u8]) -> Result<Good, ProbeError> {
    let text = String::from_utf8_lossy(answer);
    if text.contains("not in the whitelist") {
        let word = if zookeeper.role.is_some() {
            "srvr"
        } else {
            "ruok"
        };
        return Err(ProbeError::Refused(format!(
            "`{word}` is not allowed; hint: add it to 4lw.commands.whitelist in zoo.cfg"
        )));
    }
    let Some(role) = zookeeper.role else {
        return if text == "imok" {
            Ok(Good::new("imok"))
        } else {
            Err(ProbeError::Protocol {
                protocol: "ZooKeeper",
                got: quoted(answer),
            })
        };
    };
    let mode = text
        .lines()
        .find_map(|line| line.strip_prefix("Mode: "))
        .map(str::trim);
    let wanted = match role {
        ZookeeperRole::Leader => "leader",
        ZookeeperRole::Follower => "follower",
    };
    match mode {
        Some(mode) if mode == wanted => Ok(Good::new(mode)),
        Some(mode) => Err(ProbeError::Role {
            got: mode.to_owned(),
            wanted,
        }),
        None if text.contains("not currently serving requests") => Err(ProbeError::Refused(
            "it is not serving requests: no quorum".to_owned(),
        )),
        None => Err(ProbeError::Protocol {
            protocol: "ZooKeeper",
            got: quoted(answer),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SRVR: &[u8] =
        b"Zookeeper version: 3.8.0\nLatency min/avg/max: 0/0/0\nMode: follower\nNode count: 5\n";

    #[test]
    fn answers_are_judged_by_the_mode() {
        let role = |role| Zookeeper { role: Some(role) };
        assert!(judge(role(ZookeeperRole::Follower), SRVR).is_ok());
        assert!(matches!(
            judge(role(ZookeeperRole::Leader), SRVR),
            Err(ProbeError::Role { .. })
        ));
        assert!(judge(Zookeeper::default(), b"imok").is_ok());
        assert!(judge(Zookeeper::default(), b"HTTP/1.1 400 Bad Request\r\n").is_err());
        let refused = b"ruok is not executed because it is not in the whitelist.\n";
        assert!(matches!(
            judge(Zookeeper::default(), refused),
            Err(ProbeError::Refused(_))
        ));
        let alone = b"This ZooKeeper instance is not currently serving requests\n";
        assert!(matches!(
            judge(role(ZookeeperRole::Leader), alone),
            Err(ProbeError::Refused(_))
        ));
        assert!(judge(role(ZookeeperRole::Leader), b"\xff\xfe").is_err());
    }
}
