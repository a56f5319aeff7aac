//! Who is let in, how many at once, and for how long: from the listening socket to the router.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::peer::{Access, Peer, Right};
use super::types::{Kind, Problem};
use crate::stop::Stop;

/// The bounds of what clients may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub clients: usize,
    /// How many of them may be of peers that may only read: those who may write always find a place.
    pub readers: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Bytes of a body that is, or makes, a whole configuration.
    pub file: usize,
    /// For a request's head to arrive, and for an idle connection.
    pub head_timeout: Duration,
    /// For a request's body to arrive.
    pub body_timeout: Duration,
    /// For a reader to take the next piece of a stream.
    pub stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 64,
            readers: 48,
            body: 1 << 20,
            file: crate::config::MAX_BYTES,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// What a handler may know of the connection that a request came by.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who asks.
    pub peer: Peer,
    /// What they may do.
    pub right: Right,
    /// The bounds that hold.
    pub limits: Limits,
    /// Ends the connection: for a stream whose reader does not read.
    pub hang_up: Arc<Notify>,
}

/// Serves the router on the socket until it is time to stop; then lets requests under way end, for a moment.
pub async fn serve(
    listener: UnixListener,
    router: Router,
    access: Access,
    limits: Limits,
    mut stop: Stop,
) {
    let places = Places::new(&limits);
    let for_connections = stop.clone();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some(connection) = admit(stream, &access, limits, &places) {
                        connections.spawn(connection.run(router.clone(), for_connections.clone()));
                    }
                }
                Err(err) => {
                    // Out of file descriptors, most likely: they come back as connections end.
                    warn!("cannot accept on the control socket: {err}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stop.wait() => break,
        }
    }
    let grace = tokio::time::sleep(Duration::from_secs(2));
    tokio::pin!(grace);
    loop {
        tokio::select! {
            ended = connections.join_next() => if ended.is_none() { return },
            () = &mut grace => return,
        }
    }
}

/// How many more may come in.
struct Places {
    clients: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

impl Places {
    fn new(limits: &Limits) -> Self {
        Self {
            clients: Arc::new(Semaphore::new(limits.clients)),
            readers: Arc::new(Semaphore::new(limits.readers)),
        }
    }

    fn take(&self, right: Right) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut permits = vec![self.clients.clone().try_acquire_owned().ok()?];
        if right < Right::Write {
            permits.push(self.readers.clone().try_acquire_owned().ok()?);
        }
        Some(permits)
    }
}

/// A connection that was let in.
struct Connection {
    stream: UnixStream,
    caller: Caller,
    _places: Vec<OwnedSemaphorePermit>,
}

/// Lets a peer in if it has a right and there is a place; else tells it why not.
fn admit(
    stream: UnixStream,
    access: &Access,
    limits: Limits,
    places: &Places,
) -> Option<Connection> {
    let peer = match Peer::of(stream.as_fd()) {
        Ok(peer) => peer,
        Err(err) => {
            warn!("cannot tell who connected to the control socket: {err}");
            return None;
        }
    };
    let right = access.right(&peer);
    if right == Right::None {
        warn!(
            uid = peer.uid,
            pid = peer.pid,
            "refused a connection to the control socket"
        );
        turn_away(stream, &forbidden(&peer));
        return None;
    }
    let Some(permits) = places.take(right) else {
        warn!(
            uid = peer.uid,
            pid = peer.pid,
            "too many connections to the control socket"
        );
        let busy = Problem::new(Kind::Busy, "the daemon has as many clients as it takes")
            .why(format!("at most {} are connected at once", limits.clients))
            .hint("try again, and close connections that are not used");
        turn_away(stream, &busy);
        return None;
    };
    let caller = Caller {
        peer,
        right,
        limits,
        hang_up: Arc::new(Notify::new()),
    };
    Some(Connection {
        stream,
        caller,
        _places: permits,
    })
}

/// The problem of a peer that may not do what it asks.
pub(super) fn forbidden(peer: &Peer) -> Problem {
    Problem::new(Kind::Forbidden, format!("user {} may not do this", peer.uid))
        .why("root and the group of `api: group` may change things; others may read with `api: others_read: true`")
        .hint("use sudo, or join that group")
}

/// Says why and closes, without waiting for a request or for a slow reader.
fn turn_away(mut stream: UnixStream, problem: &Problem) {
    let body = serde_json::to_string(problem).unwrap_or_default();
    let status = problem.kind.status();
    let answer = format!(
        "HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len(),
    );
    tokio::spawn(async move {
        let farewell = async {
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
    });
}

impl Connection {
    async fn run(self, router: Router, mut stop: Stop) {
        let Self {
            stream,
            caller,
            _places,
        } = self;
        let hang_up = Arc::clone(&caller.hang_up);
        let head_timeout = caller.limits.head_timeout;
        let service = service_fn(move |request| answer(router.clone(), caller.clone(), request));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(err) = ended {
                        debug!("connection to the control socket ended: {err}");
                    }
                    return;
                }
                () = hang_up.notified() => return,
                () = stop.wait(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn answer(
    router: Router,
    caller: Caller,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(caller);
    router.oneshot(request).await
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = hyper::StatusCode::from_u16(self.kind.status())
            .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(self)).into_response()
    }
}
