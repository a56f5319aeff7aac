//! A connection to a real server that gives no more bytes than a sensible answer has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::error::ProbeError;
use super::talk::Talk;
use super::tls;
use super::{Path, Place};
use crate::core::health::probe::Tls;

/// What an answer may have in all, with headers and what TLS adds.
pub(super) const ANSWER: usize = 256 * 1024;

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection, over TLS or not.
pub(super) type Stream = Box<dyn Duplex>;

/// Connects, over TLS if that is asked for. The other side may send `limit` bytes in all.
pub(super) async fn open(
    to: &Place<'_>,
    tls: Option<(&Tls, &str, &'static [u8])>,
    limit: usize,
) -> Result<Stream, ProbeError> {
    let plain = connect(to).await?;
    let bounded = Bounded {
        inner: plain,
        left: limit,
    };
    let Some((tls, host, alpn)) = tls else {
        return Ok(Box::new(bounded));
    };
    let stream = tls::handshake(to, tls, host, alpn, bounded).await?;
    Ok(Box::new(stream))
}

async fn connect(to: &Place<'_>) -> Result<Stream, ProbeError> {
    to.talk.begin("connecting");
    let stream: Stream = match to.path().await? {
        Path::Plain(address) => {
            to.talk.note(format!("connecting to {address}"));
            let stream = TcpStream::connect(address)
                .await
                .map_err(ProbeError::Connect)?;
            // A probe is a few small packets, each of which is waited for.
            stream.set_nodelay(true).map_err(ProbeError::Connect)?;
            Box::new(stream)
        }
        Path::Vip(gate, way) => Box::new(gate.connect(way).await?),
    };
    to.talk.note("connected");
    Ok(stream)
}

/// Gives an error once more has come than may come.
struct Bounded {
    inner: Stream,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the answer has no end",
            )));
        }
        let most = buf.remaining().min(self.left);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        let result = Pin::new(&mut self.inner).poll_read(cx, &mut part);
        let read = part.filled().len();
        buf.advance(read);
        self.left -= read;
        result
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A conversation in plain bytes: what is sent, and what has come so far.
pub(super) struct Dialogue<'a> {
    stream: Stream,
    talk: &'a Talk,
    heard: Vec<u8>,
    limit: usize,
}

impl<'a> Dialogue<'a> {
    /// Over this connection; no single answer has more than `limit` bytes.
    pub(super) fn new(stream: Stream, talk: &'a Talk, limit: usize) -> Self {
        Self {
            stream,
            talk,
            heard: Vec::new(),
            limit,
        }
    }

    /// Sends something. What was heard before is done with.
    pub(super) async fn say(
        &mut self,
        bytes: &[u8],
        stage: &'static str,
    ) -> Result<(), ProbeError> {
        self.talk.begin(stage);
        self.talk.sent(bytes);
        self.say_unrecorded(bytes, stage).await
    }

    /// Sends something that nobody may see.
    pub(super) async fn say_unrecorded(
        &mut self,
        bytes: &[u8],
        stage: &'static str,
    ) -> Result<(), ProbeError> {
        self.talk.begin(stage);
        let failed = |error| ProbeError::Io { stage, error };
        self.stream.write_all(bytes).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)
    }

    /// Listens until `enough` finds an answer at the beginning of what was heard, and takes it away: its length and
    /// what it means. At the end of the connection `enough` is asked a last time, with `true`.
    pub(super) async fn hear<T>(
        &mut self,
        stage: &'static str,
        mut enough: impl FnMut(&[u8], bool) -> Result<Option<(usize, T)>, ProbeError>,
    ) -> Result<T, ProbeError> {
        self.talk.begin(stage);
        let mut chunk = vec![0; 4096];
        let mut ended = false;
        loop {
            if let Some((used, meaning)) = enough(&self.heard, ended)? {
                let rest = self.heard.split_off(used.min(self.heard.len()));
                self.heard = rest;
                return Ok(meaning);
            }
            if ended {
                return Err(ProbeError::Closed(stage));
            }
            if self.heard.len() >= self.limit {
                return Err(ProbeError::TooMuch(self.limit));
            }
            let read = self
                .stream
                .read(&mut chunk)
                .await
                .map_err(|error| ProbeError::Io { stage, error })?;
            let bytes = chunk.get(..read).unwrap_or_default();
            self.talk.got(bytes);
            self.heard.extend_from_slice(bytes);
            ended = read == 0;
        }
    }

    /// Listens for one line.
    pub(super) async fn hear_line(&mut self, stage: &'static str) -> Result<Vec<u8>, ProbeError> {
        self.hear(stage, |heard, _| {
            let end = heard.iter().position(|&b| b == b'\n');
            Ok(end.map(|end| (end + 1, heard.get(..end).unwrap_or_default().to_vec())))
        })
        .await
    }

    /// Says goodbye and closes; the other side need not answer.
    pub(super) async fn end(mut self, goodbye: &[u8]) {
        if !goodbye.is_empty() && self.stream.write_all(goodbye).await.is_ok() {
            self.talk.sent(goodbye);
        }
        // The answer is in; how the connection ends is not part of it.
        let _ = self.stream.shutdown().await;
    }
}
