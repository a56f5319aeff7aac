//! Long answers, a piece at a time: as fast as the reader reads, and not a byte faster.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc};
use tracing::warn;

use super::server::Caller;

/// About how many bytes make a piece.
const PIECE: usize = 32 * 1024;
/// How many pieces may wait for the reader.
const PIECES: usize = 4;

/// An answer of one JSON object a line. The values are read on a thread where that may take its time; a reader who takes
/// nothing for long is hung up on.
pub(super) fn lines<T: Serialize + 'static>(
    values: Box<dyn Iterator<Item = T> + Send>,
    caller: Caller,
) -> Response {
    let (sender, receiver) = mpsc::channel(PIECES);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let send = |piece: Vec<u8>| runtime.block_on(hand_over(&sender, piece.into(), &caller));
        let mut piece = Vec::with_capacity(PIECE + 512);
        for value in values {
            if serde_json::to_writer(&mut piece, &value).is_err() {
                return;
            }
            piece.push(b'\n');
            if piece.len() >= PIECE && !send(std::mem::take(&mut piece)) {
                return;
            }
        }
        if !piece.is_empty() {
            send(piece);
        }
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::new(Pieces(receiver)),
    )
        .into_response()
}

/// An answer of one JSON object a line, each when it happens, until there will be no more.
pub(super) fn live<T: Serialize + Clone + Send + 'static>(
    mut values: broadcast::Receiver<T>,
    caller: Caller,
) -> Response {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        loop {
            let value = tokio::select! {
                () = sender.closed() => return,
                value = values.recv() => value,
            };
            let value = match value {
                Ok(value) => value,
                // A reader who is slow misses some.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            let Ok(mut line) = serde_json::to_vec(&value) else {
                return;
            };
            line.push(b'\n');
            if !hand_over(&sender, line.into(), &caller).await {
                return;
            }
        }
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::new(Pieces(receiver)),
    )
        .into_response()
}

/// Gives a piece to the reader; false when there is no reader any more, or none that reads.
async fn hand_over(sender: &mpsc::Sender<Bytes>, piece: Bytes, caller: &Caller) -> bool {
    match tokio::time::timeout(caller.limits.stall_timeout, sender.send(piece)).await {
        Ok(sent) => sent.is_ok(),
        Err(_) => {
            warn!(
                uid = caller.peer.uid,
                pid = caller.peer.pid,
                "hung up on a reader who does not read"
            );
            caller.hang_up.notify_one();
            false
        }
    }
}

/// A body of the pieces that come.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(hyper::body::Frame::data(piece))))
    }
}
