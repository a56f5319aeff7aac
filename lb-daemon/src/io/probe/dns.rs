//! Asks a DNS question.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use super::error::ProbeError;
use super::stream::{self, ANSWER, Dialogue};
use super::talk::quoted;
use super::{Good, Place, udp};
use crate::core::health::probe::Dns;

pub(super) async fn ask(dns: &Dns, to: &Place<'_>) -> Result<Good, ProbeError> {
    let query = query(dns)?;
    let bytes = query
        .to_vec()
        .map_err(|error| ProbeError::Cannot(error.to_string()))?;
    to.talk.note(format!(
        "> query {} {} {}",
        query.metadata.id, dns.record, dns.name
    ));
    if dns.tcp {
        return over_tcp(dns, to, &query, &bytes).await;
    }
    let mut socket = udp::open(to).await?;
    socket.send(&bytes).await?;
    to.talk.begin("waiting for the answer");
    loop {
        let answer = socket.receive().await?;
        // A late answer to a former query is no answer.
        let Some(answer) = parse(&answer, &query)? else {
            continue;
        };
        if answer.metadata.truncation && !dns.expect.is_empty() {
            to.talk.note("the answer is truncated; asking over TCP");
            return over_tcp(dns, to, &query, &bytes).await;
        }
        return judge(dns, to, &answer);
    }
}

async fn over_tcp(
    dns: &Dns,
    to: &Place<'_>,
    query: &Message,
    bytes: &[u8],
) -> Result<Good, ProbeError> {
    let stream = stream::open(to, None, ANSWER).await?;
    let mut dialogue = Dialogue::new(stream, to.talk, 2 + 65_535);
    let len = u16::try_from(bytes.len())
        .map_err(|_| ProbeError::Cannot("the query is too long".to_owned()))?;
    let mut framed = len.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    dialogue
        .say_unrecorded(&framed, "sending the query")
        .await?;
    let answer = dialogue
        .hear("waiting for the answer", |heard, _| {
            let Some((&[a, b], rest)) = heard.split_first_chunk() else {
                return Ok(None);
            };
            let len = usize::from(u16::from_be_bytes([a, b]));
            Ok(rest.get(..len).map(|answer| (2 + len, answer.to_vec())))
        })
        .await?;
    dialogue.end(b"").await;
    match parse(&answer, query)? {
        Some(answer) => judge(dns, to, &answer),
        None => Err(ProbeError::Protocol {
            protocol: "DNS",
            got: "the answer to another query".to_owned(),
        }),
    }
}

fn query(dns: &Dns) -> Result<Message, ProbeError> {
    let cannot = |error: &dyn std::fmt::Display| ProbeError::Cannot(error.to_string());
    let mut name = Name::from_ascii(&dns.name).map_err(|error| cannot(&error))?;
    name.set_fqdn(true);
    let record: RecordType = dns.record.parse().map_err(|error| cannot(&error))?;
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, record));
    Ok(message)
}

/// The answer to this query; `None` if it is to another one.
fn parse(bytes: &[u8], query: &Message) -> Result<Option<Message>, ProbeError> {
    let answer = Message::from_vec(bytes).map_err(|error| ProbeError::Protocol {
        protocol: "DNS",
        got: format!("{}: {error}", quoted(bytes)),
    })?;
    let is_answer = answer.metadata.message_type == MessageType::Response;
    let same_question = answer.queries.is_empty() || answer.queries == query.queries;
    Ok((is_answer && answer.metadata.id == query.metadata.id && same_question).then_some(answer))
}

fn judge(dns: &Dns, to: &Place<'_>, answer: &Message) -> Result<Good, ProbeError> {
    let values: Vec<String> = answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    to.talk.note(format!("< {}", answer.metadata.response_code));
    for record in &answer.answers {
        to.talk.note(format!("< {record}"));
    }
    if answer.metadata.response_code != ResponseCode::NoError {
        return Err(ProbeError::Refused(
            answer.metadata.response_code.to_string(),
        ));
    }
    if dns.expect.is_empty() {
        return Ok(Good::new(format!("{} answers", values.len())));
    }
    let found = dns
        .expect
        .iter()
        .find(|wanted| values.iter().any(|value| same(value, wanted)));
    match found {
        Some(found) => Ok(Good::new(format!("answered {found}"))),
        None if values.is_empty() => {
            Err(ProbeError::Unexpected("there is no such record".to_owned()))
        }
        None => Err(ProbeError::Unexpected(format!(
            "it answered {}",
            values.join(", ")
        ))),
    }
}

/// Names are the same in any case, with the root's dot or without; texts with quotes or without.
fn same(value: &str, wanted: &str) -> bool {
    let plain = |text: &str| {
        text.trim_matches('"')
            .trim_end_matches('.')
            .to_ascii_lowercase()
    };
    plain(value) == plain(wanted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_compared_as_an_operator_writes_them() {
        assert!(same("www.example.com.", "WWW.example.com"));
        assert!(same("192.0.2.1", "192.0.2.1"));
        assert!(same("\"v=spf1 -all\"", "v=spf1 -all"));
        assert!(!same("192.0.2.1", "192.0.2.10"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { timeout: Duration::from_secs(5).as_millis() as u32, ..Default::default() })]
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let dns = Dns { name: "a".into(), record: "A".into(), expect: vec![], tcp: false };
            let _ = parse(&bytes, &query(&dns).unwrap());
        }
    }
}
