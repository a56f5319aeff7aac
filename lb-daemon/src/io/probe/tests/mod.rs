//! Probes against servers of this process, well-behaved and hostile ones.

mod good;
mod hostile;
mod secure;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Prober;
use crate::core::health::Outcome;
use crate::core::health::plan::{Check, Target, Timing};
use crate::core::health::probe::{
    Grpc, Http, HttpVersion, Probe, Redis, Smtp, Statuses, Tcp, Tls, Zookeeper,
};

const TIMEOUT: Duration = Duration::from_millis(500);

fn check(probe: Probe, at: SocketAddr) -> Check {
    let timing = Timing {
        timeout: TIMEOUT,
        ..Timing::default()
    };
    Check {
        name: "test".into(),
        probe,
        target: Target::Address(at),
        timing,
    }
}

async fn ask(probe: Probe, at: SocketAddr) -> Outcome {
    Prober::default().ask(&check(probe, at)).await
}

/// Asks, and stops the test unless the answer is as wanted and says so in these words.
async fn wants(probe: Probe, at: SocketAddr, passes: bool, words: &str) {
    let outcome = ask(probe.clone(), at).await;
    assert_eq!(outcome.passed, passes, "{probe:?}: {}", outcome.words);
    assert!(
        outcome.words.contains(words),
        "{probe:?}: `{}` lacks `{words}`",
        outcome.words
    );
}

fn http(path: &str) -> Http {
    Http {
        tls: None,
        version: HttpVersion::One,
        method: "GET".into(),
        path: path.into(),
        host: None,
        headers: vec![],
        status: Statuses::default(),
        body: vec![],
        body_limit: 64 * 1024,
    }
}

/// Serves each connection with `serve`, for as long as the test runs.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A server that reads a request of any kind, and answers it with these bytes.
async fn answers(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> SocketAddr {
    let bytes = Arc::new(bytes);
    server(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes.as_ref().as_ref()).await;
        }
    })
    .await
}

/// An address where nothing listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}
