//! The client that `lbctl` uses: one request on one connection.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::types::{Kind, Problem};

/// The daemon behind a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The daemon that listens on this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether somebody listens there. Who may not ask is told so when he asks.
    pub async fn is_there(&self) -> bool {
        match UnixStream::connect(&self.socket).await {
            Ok(_) => true,
            Err(err) => !matches!(
                err.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ),
        }
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Has something made or done.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.ask(Method::POST, path, json(body)?).await
    }

    /// Has text looked at.
    pub async fn post_text<T: DeserializeOwned>(
        &self,
        path: &str,
        text: String,
    ) -> Result<T, Problem> {
        self.ask(Method::POST, path, Bytes::from(text)).await
    }

    /// Has something changed.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.ask(Method::PATCH, path, json(body)?).await
    }

    /// Has something removed.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.ask(Method::DELETE, path, Bytes::new()).await
    }

    /// Asks for a stream of JSON lines.
    pub async fn lines(&self, path: &str) -> Result<Lines, Problem> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        Ok(Lines {
            body: response.into_body(),
            buffer: Vec::new(),
            start: 0,
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, Problem> {
        let response = self.send(method, path, body).await?;
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|err| broken(&err))?
            .to_bytes();
        serde_json::from_slice(&bytes).map_err(|err| {
            Problem::failed(format!("cannot understand the daemon's answer to {path}"))
                .why(err.to_string())
                .hint("lbctl and lbd should be of the same version; see `lbctl status`")
        })
    }

    /// Sends a request; an answer that is not a success is a problem.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Problem> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|err| unreachable(&self.socket, &err))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|err| broken(&err))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "lbd")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|err| {
                Problem::invalid(format!("cannot ask for {path}")).why(err.to_string())
            })?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|err| broken(&err))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let kind = Kind::from_status(status.as_u16());
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|err| broken(&err))?
            .to_bytes();
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(Problem { kind, ..problem }),
            Err(_) => Err(Problem::new(
                kind,
                format!("the daemon answered {status} to {path}"),
            )),
        }
    }
}

/// A stream of JSON lines.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    start: usize,
}

impl Lines {
    /// The next line's bytes, without the line's end.
    pub async fn next_line(&mut self) -> Result<Option<&[u8]>, Problem> {
        let end = loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(len) = rest.iter().position(|byte| *byte == b'\n') {
                break self.start + len;
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(err)) => return Err(broken(&err)),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    return Err(Problem::failed(
                        "the daemon's answer ends in the middle of a line",
                    ));
                }
            }
        };
        let line = self.start..end;
        self.start = end + 1;
        Ok(self.buffer.get(line))
    }

    /// The next line, understood.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Problem> {
        let Some(line) = self.next_line().await? else {
            return Ok(None);
        };
        serde_json::from_slice(line).map(Some).map_err(|err| {
            Problem::failed("cannot understand a line of the daemon's answer").why(err.to_string())
        })
    }
}

/// A segment of a path, with everything escaped that is not plain.
pub fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A query string of the fields that are there, or nothing.
pub fn query(fields: &[(&str, Option<String>)]) -> String {
    let given: Vec<String> = fields
        .iter()
        .filter_map(|(name, value)| {
            value
                .as_ref()
                .map(|value| format!("{name}={}", segment(value)))
        })
        .collect();
    if given.is_empty() {
        String::new()
    } else {
        format!("?{}", given.join("&"))
    }
}

fn json(body: &impl Serialize) -> Result<Bytes, Problem> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|err| Problem::failed("cannot write the request").why(err.to_string()))
}

fn broken(err: &hyper::Error) -> Problem {
    Problem::failed("the daemon broke off")
        .why(err.to_string())
        .hint("see its log: journalctl -u lbd -n 50")
}

/// What to do when nobody answers on the socket.
fn unreachable(socket: &Path, err: &io::Error) -> Problem {
    let problem = Problem::failed(format!("cannot reach lbd on {}", socket.display()));
    match err.kind() {
        io::ErrorKind::NotFound => problem
            .why("there is no such socket")
            .hint("start the daemon (`systemctl start lbd`), or name its socket with --socket or LBD_SOCKET"),
        io::ErrorKind::ConnectionRefused => problem
            .why("nobody listens on it: the daemon has died")
            .hint("start it again (`systemctl start lbd`); connections and forwarding were kept"),
        io::ErrorKind::PermissionDenied => problem
            .why("this user may not open it")
            .hint("use sudo, or join the group that `api: group` names in lbd's configuration"),
        _ => problem.why(err.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_segment_keeps_plain_characters_and_escapes_the_rest() {
        assert_eq!(segment("tcp:192.0.2.1:80"), "tcp:192.0.2.1:80");
        assert_eq!(segment("tcp:10.20.0.0/16:80"), "tcp:10.20.0.0%2F16:80");
        assert_eq!(segment("tcp:[2001:db8::1]:80"), "tcp:%5B2001:db8::1%5D:80");
        assert_eq!(segment("web & co"), "web%20%26%20co");
    }

    #[test]
    fn a_query_has_only_what_was_given() {
        assert_eq!(query(&[("a", None), ("b", None)]), "");
        assert_eq!(
            query(&[
                ("a", Some("x=y".into())),
                ("b", None),
                ("c", Some("1".into()))
            ]),
            "?a=x%3Dy&c=1"
        );
    }
}
