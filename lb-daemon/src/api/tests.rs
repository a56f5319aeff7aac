//! The socket as strangers use it: half messages, floods, the wrong user. No engine is behind these routes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use super::body::Json;
use super::client::Client;
use super::peer::Access;
use super::server::{Caller, Limits, serve};
use super::socket::ControlSocket;
use super::stream;
use super::types::{Kind, Problem};
use crate::stop::{self, Stopper};

const QUICK: Limits = Limits {
    clients: 4,
    readers: 2,
    body: 1000,
    file: 1000,
    head_timeout: Duration::from_millis(300),
    body_timeout: Duration::from_millis(300),
    stall_timeout: Duration::from_millis(300),
};

/// Everybody may read; the tests' own user may write.
fn own() -> Access {
    Access {
        owner: nix::unistd::getuid().as_raw(),
        group: None,
        others_read: true,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    a: u64,
    #[serde(default)]
    b: u64,
}

fn routes() -> Router {
    Router::new()
        .route(
            "/sum",
            post(async |Json(Sum { a, b }): Json<Sum>| axum::Json(a + b)),
        )
        .route(
            "/count",
            get(async |axum::Extension(caller): axum::Extension<Caller>| {
                stream::lines::<u64>(Box::new(0..1_000_000), caller)
            }),
        )
}

/// A server that ends with the test.
struct Fixture {
    path: PathBuf,
    stop: Stopper,
    task: tokio::task::JoinHandle<()>,
    _socket: ControlSocket,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn start(access: Access) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lbd.sock");
        let (listener, socket) = ControlSocket::bind(
            &path,
            &Access {
                others_read: true,
                ..access
            },
        )
        .unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let (stop, stopped) = stop::channel();
        let task = tokio::spawn(serve(listener, routes(), access, QUICK, stopped));
        Self {
            path,
            stop,
            task,
            _socket: socket,
            _dir: dir,
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    fn client(&self) -> Client {
        Client::new(&self.path)
    }

    async fn sum(&self) -> Result<u64, Problem> {
        self.client()
            .post("/sum", &serde_json::json!({"a": 2, "b": 3}))
            .await
    }
}

/// Everything that comes until the other end closes.
fn rest(mut stream: UnixStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered() {
    let server = Fixture::start(own());
    assert_eq!(server.sum().await, Ok(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_understood_says_why() {
    let server = Fixture::start(own());
    let wrong: Result<u64, _> = server
        .client()
        .post("/sum", &serde_json::json!({"a": 2, "c": 3}))
        .await;
    let problem = wrong.unwrap_err();
    assert_eq!(problem.kind, Kind::Invalid);
    assert!(problem.why.unwrap().contains("unknown field `c`"));
    let broken: Result<u64, _> = server.client().post_text("/sum", "{\"a\": ".into()).await;
    assert_eq!(broken.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused() {
    let server = Fixture::start(own());
    let long: Result<u64, _> = server
        .client()
        .post_text("/sum", format!("{{\"a\": {}}}", "1".repeat(2000)))
        .await;
    assert_eq!(long.unwrap_err().kind, Kind::TooLong);
    // Also when its length is not announced.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    for _ in 0..20 {
        let _ = stream.write_all(format!("64\r\n{}\r\n", "1".repeat(100)).as_bytes());
    }
    assert!(rest(stream).starts_with("HTTP/1.1 413"));
    assert_eq!(server.sum().await, Ok(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_messages_hold_nobody_up_and_end() {
    let server = Fixture::start(own());
    let mut half_head = server.connect();
    half_head
        .write_all(b"POST /sum HTTP/1.1\r\nHost: x\r\nContent-Le")
        .unwrap();
    let mut half_body = server.connect();
    half_body
        .write_all(b"POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"a\":")
        .unwrap();
    let silent = server.connect();
    assert_eq!(server.sum().await, Ok(5));
    let began = Instant::now();
    rest(half_head);
    assert!(rest(half_body).starts_with("HTTP/1.1 408"));
    rest(silent);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(server.sum().await, Ok(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_connection_and_no_other() {
    let server = Fixture::start(own());
    let mut fastrand = fastrand::Rng::with_seed(45);
    for len in [1, 10, 100, 1_000, 100_000] {
        let mut stream = server.connect();
        let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand.u8(..))
            .take(len)
            .collect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        rest(stream);
    }
    assert_eq!(server.sum().await, Ok(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_too_many_is_told_so_and_a_place_that_is_free_again_is_given() {
    let server = Fixture::start(own());
    let held: Vec<UnixStream> = (0..QUICK.clients).map(|_| server.connect()).collect();
    let busy = tokio::task::block_in_place(|| rest(server.connect()));
    assert!(busy.starts_with("HTTP/1.1 503"), "{busy}");
    assert!(busy.contains("\"hint\""), "{busy}");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.sum().await != Ok(5) {
        assert!(Instant::now() < deadline, "no place came free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_right_is_told_so() {
    let nobody = Access {
        owner: u32::MAX - 1,
        group: None,
        others_read: false,
    };
    let server = Fixture::start(nobody);
    // Root always has the right; the tests may run as anybody.
    let answer = tokio::task::block_in_place(|| {
        let mut stream = server.connect();
        let _ = stream.write_all(b"GET /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        rest(stream)
    });
    if nix::unistd::getuid().is_root() {
        assert!(
            answer.starts_with("HTTP/1.1 200"),
            "{}",
            &answer[..100.min(answer.len())]
        );
    } else {
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_whole() {
    let server = Fixture::start(own());
    let mut lines = server.client().lines("/count").await.unwrap();
    let mut expected = 0u64;
    while let Some(n) = lines.next::<u64>().await.unwrap() {
        assert_eq!(n, expected);
        expected += 1;
    }
    assert_eq!(expected, 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_does_not_read_is_hung_up_on() {
    let server = Fixture::start(own());
    let mut stream = server.connect();
    stream
        .write_all(b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    tokio::time::sleep(QUICK.stall_timeout * 4).await;
    let text = tokio::task::block_in_place(|| rest(stream));
    assert!(!text.contains("999999"), "it went on to the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_idle_connections_at_once() {
    let server = Fixture::start(own());
    let idle = server.connect();
    assert_eq!(server.sum().await, Ok(5));
    let began = Instant::now();
    server.stop.stop();
    server.task.await.unwrap();
    drop(idle);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}
