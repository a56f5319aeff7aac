//! Asks over HTTP/1.1 or HTTP/2.

use std::future::Future;
use std::pin::pin;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::error::ProbeError;
use super::stream::{self, ANSWER, Stream};
use super::talk::quoted;
use super::tasks::Tasks;
use super::{Good, Place, tls};
use crate::core::health::probe::{BodyRule, Digest, Http, HttpVersion, contains};

/// The most headers of an answer, and the most bytes of them.
const HEADERS: usize = 100;
const HEADER_BYTES: usize = 32 * 1024;

pub(super) async fn ask(http: &Http, to: &Place<'_>) -> Result<Good, ProbeError> {
    let address = to.address();
    let host = http.host.clone().unwrap_or_else(|| address.to_string());
    let alpn = match http.version {
        HttpVersion::One => tls::HTTP1,
        HttpVersion::Two => tls::H2,
    };
    let name = host_name(&host);
    let tls = http.tls.as_ref().map(|tls| (tls, name, alpn));
    let stream = stream::open(to, tls, ANSWER + http.body_limit).await?;
    let request = request(http, &host)?;
    to.talk.sent(shown(&request).as_bytes());
    to.talk.begin("waiting for the response");
    match http.version {
        HttpVersion::One => over_1(http, to, stream, request).await,
        HttpVersion::Two => over_2(http, to, stream, request).await,
    }
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    match (host.strip_prefix('['), host.rsplit_once(':')) {
        (Some(bracketed), _) => bracketed.split(']').next().unwrap_or(bracketed),
        (None, Some((name, _))) if !name.contains(':') => name,
        _ => host,
    }
}

fn request(http: &Http, host: &str) -> Result<Request<Empty<Bytes>>, ProbeError> {
    let cannot = |what: &str| ProbeError::Cannot(format!("the request cannot be made: {what}"));
    let method = Method::from_bytes(http.method.as_bytes()).map_err(|_| cannot("method"))?;
    let scheme = if http.tls.is_some() { "https" } else { "http" };
    let uri: Uri = match http.version {
        HttpVersion::One => http.path.parse(),
        HttpVersion::Two => format!("{scheme}://{host}{}", http.path).parse(),
    }
    .map_err(|_| cannot("path or host"))?;
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("lbd/", env!("CARGO_PKG_VERSION"))),
    );
    if http.version == HttpVersion::One {
        headers.insert(
            HOST,
            HeaderValue::from_str(host).map_err(|_| cannot("host"))?,
        );
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    } else {
        *request.version_mut() = Version::HTTP_2;
    }
    for (name, value) in &http.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| cannot("header"))?;
        let value = HeaderValue::from_str(value).map_err(|_| cannot("header"))?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

fn shown(request: &Request<Empty<Bytes>>) -> String {
    let mut text = format!(
        "{} {} {:?}\n",
        request.method(),
        request.uri(),
        request.version()
    );
    for (name, value) in request.headers() {
        let secret = ["authorization", "cookie", "proxy-authorization"].contains(&name.as_str());
        let value = if secret {
            "(secret)".into()
        } else {
            String::from_utf8_lossy(value.as_bytes())
        };
        text.push_str(&format!("{name}: {value}\n"));
    }
    text
}

async fn over_1(
    http: &Http,
    to: &Place<'_>,
    stream: Stream,
    request: Request<Empty<Bytes>>,
) -> Result<Good, ProbeError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| protocol(&error))?;
    alongside(exchange(http, to, sender.send_request(request)), connection).await
}

async fn over_2(
    http: &Http,
    to: &Place<'_>,
    stream: Stream,
    request: Request<Empty<Bytes>>,
) -> Result<Good, ProbeError> {
    let tasks = Tasks::default();
    let (mut sender, connection) = http2::Builder::new(tasks.clone())
        .max_header_list_size(HEADER_BYTES as u32)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| protocol(&error))?;
    alongside(exchange(http, to, sender.send_request(request)), connection).await
}

async fn exchange(
    http: &Http,
    to: &Place<'_>,
    response: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> Result<Good, ProbeError> {
    let response = response.await.map_err(|error| protocol(&error))?;
    judge(http, to, response).await
}

/// Does an exchange while its connection is kept going; both end with it.
pub(super) async fn alongside<T>(exchange: impl Future<Output = T>, connection: impl Future) -> T {
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // Then all that the exchange waits for has come, or will never come.
        _ = connection => exchange.await,
    }
}

async fn judge(
    http: &Http,
    to: &Place<'_>,
    response: Response<Incoming>,
) -> Result<Good, ProbeError> {
    let status = response.status();
    to.talk.note(format!("< {:?} {status}", response.version()));
    for (name, value) in response.headers() {
        to.talk.note(format!(
            "< {name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        ));
    }
    if !http.status.contains(status.as_u16()) {
        return Err(ProbeError::Status {
            got: status.as_u16(),
            wanted: http.status.clone(),
        });
    }
    if http.body.is_empty() {
        return Ok(Good::new(format!("status {}", status.as_u16())));
    }
    to.talk.begin("reading the body");
    let (body, whole) = read(response.into_body(), http.body_limit).await?;
    to.talk.got(&body);
    for rule in &http.body {
        obey(rule, &body, whole)?;
    }
    Ok(Good::new(format!(
        "status {}, body as expected",
        status.as_u16()
    )))
}

/// Reads a body up to a limit. Says whether that was all of it.
async fn read(mut body: Incoming, limit: usize) -> Result<(Vec<u8>, bool), ProbeError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| protocol(&error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let room = limit - bytes.len();
        bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        if data.len() > room {
            return Ok((bytes, false));
        }
    }
    Ok((bytes, true))
}

fn obey(rule: &BodyRule, body: &[u8], whole: bool) -> Result<(), ProbeError> {
    let unexpected = |what: String| {
        let part = if whole {
            String::new()
        } else {
            format!(" in its first {} bytes", body.len())
        };
        Err(ProbeError::Unexpected(format!("the body {what}{part}")))
    };
    match rule {
        BodyRule::Contains(text) if !contains(body, text.as_bytes()) => {
            unexpected(format!("lacks {}", quoted(text.as_bytes())))
        }
        BodyRule::Matches(pattern) if !pattern.is_match(body) => unexpected(format!(
            "does not match {}",
            quoted(pattern.as_str().as_bytes())
        )),
        BodyRule::MatchesNot(pattern) if pattern.is_match(body) => {
            unexpected(format!("matches {}", quoted(pattern.as_str().as_bytes())))
        }
        BodyRule::Digest(_) if !whole => Err(ProbeError::TooMuch(body.len())),
        BodyRule::Digest(wanted) if digest(*wanted, body) != *wanted => {
            unexpected("has another digest".to_owned())
        }
        _ => Ok(()),
    }
}

/// The digest of a body, of the kind of `like`.
fn digest(like: Digest, body: &[u8]) -> Digest {
    match like {
        Digest::Md5(_) => Digest::Md5(Md5::digest(body).into()),
        Digest::Sha256(_) => Digest::Sha256(Sha256::digest(body).into()),
    }
}

/// What is wrong with an answer, in words: hyper's own are short, and its cause says more.
pub(super) fn protocol(error: &hyper::Error) -> ProbeError {
    let mut got = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        got = format!("{got}: {error}");
        cause = error.source();
    }
    ProbeError::Protocol {
        protocol: "HTTP",
        got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::health::probe::Pattern;

    #[test]
    fn a_host_is_known_without_its_port() {
        for (host, name) in [
            ("example.com", "example.com"),
            ("example.com:8443", "example.com"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(host_name(host), name);
        }
    }

    #[test]
    fn a_body_is_good_if_every_rule_is_obeyed() {
        let sha = *b"\x2c\xf2\x4d\xba\x5f\xb0\xa3\x0e\x26\xe8\x3b\x2a\xc5\xb9\xe2\x9e\x1b\x16\x1e\x5c\x1f\xa7\x42\x5e\x73\x04\x33\x62\x93\x8b\x98\x24";
        let md5 = *b"\x5d\x41\x40\x2a\xbc\x4b\x2a\x76\xb9\x71\x9d\x91\x10\x17\xc5\x92";
        let pattern = |text| Pattern::new(text).unwrap();
        for (rule, good) in [
            (BodyRule::Contains("ell".into()), true),
            (BodyRule::Contains("elk".into()), false),
            (BodyRule::Matches(pattern("^h.*o$")), true),
            (BodyRule::Matches(pattern("^x")), false),
            (BodyRule::MatchesNot(pattern("error")), true),
            (BodyRule::MatchesNot(pattern("hello")), false),
            (BodyRule::Digest(Digest::Sha256(sha)), true),
            (BodyRule::Digest(Digest::Sha256([0; 32])), false),
            (BodyRule::Digest(Digest::Md5(md5)), true),
            (BodyRule::Digest(Digest::Md5([0; 16])), false),
        ] {
            assert_eq!(obey(&rule, b"hello", true).is_ok(), good, "{rule:?}");
        }
        let cut = obey(&BodyRule::Digest(Digest::Sha256(sha)), b"hello", false);
        assert!(
            matches!(cut, Err(ProbeError::TooMuch(5))),
            "half a body has no digest"
        );
    }
}
