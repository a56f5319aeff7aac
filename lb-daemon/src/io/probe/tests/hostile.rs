//! Servers that do harm: each probe ends in time, has taken a bounded number of bytes, and is one failure.

use std::time::Instant;

use tokio::time::sleep;

use super::*;
use crate::core::health::probe::{BodyRule, Digest, Expect, Pattern, RedisRole};
use crate::io::probe::stream::ANSWER;

/// What a hostile server does with a connection.
type Deed = fn(TcpStream, Arc<AtomicUsize>) -> futures_util::future::BoxFuture<'static, ()>;

/// Writes until it cannot any more, counting.
async fn flood(mut stream: TcpStream, sent: Arc<AtomicUsize>, first: &[u8], piece: &[u8]) {
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(first).await;
    while stream.write_all(piece).await.is_ok() {
        sent.fetch_add(piece.len(), Ordering::Relaxed);
    }
}

#[rustfmt::skip]
const DEEDS: &[(&str, Deed)] = &[
    ("closes at once", |stream, _| Box::pin(async move { drop(stream) })),
    ("says nothing", |stream, _| Box::pin(async move {
        sleep(Duration::from_secs(60)).await;
        drop(stream);
    })),
    ("one byte a while", |mut stream, sent| Box::pin(async move {
        for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() { return }
            sent.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(50)).await;
        }
    })),
    ("an endless line", |stream, sent| Box::pin(flood(stream, sent, b"", &[b'x'; 65536]))),
    ("endless lines", |stream, sent| Box::pin(flood(stream, sent, b"", b"220-x\r\n"))),
    ("endless zeroes", |stream, sent| Box::pin(flood(stream, sent, b"", &[0; 65536]))),
    ("an endless body", |stream, sent| Box::pin(flood(stream, sent, b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 65536]))),
    ("an endless chunked body", |stream, sent| Box::pin(async move {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut chunk = b"10000\r\n".to_vec();
        chunk.extend_from_slice(&[b'x'; 65536]);
        chunk.extend_from_slice(b"\r\n");
        flood(stream, sent, head, &chunk).await;
    })),
    ("a giant header", |stream, sent| Box::pin(flood(stream, sent, b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 65536]))),
    ("endless headers", |stream, sent| Box::pin(flood(stream, sent, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"))),
    ("endless interim answers", |stream, sent| Box::pin(flood(stream, sent, b"", b"HTTP/1.1 100 Continue\r\n\r\n"))),
    ("a giant redis string", |stream, sent| Box::pin(flood(stream, sent, b"$500000000\r\n", &[b'x'; 65536]))),
    ("a giant redis array", |stream, sent| Box::pin(flood(stream, sent, b"*500000000\r\n", b"*500000000\r\n"))),
    ("deep redis arrays", |stream, sent| Box::pin(flood(stream, sent, b"", b"*1\r\n"))),
    ("garbage for TLS", |stream, sent| Box::pin(flood(stream, sent, b"\x16\x03\x03\xff\xff", &[0xff; 65536]))),
    ("an endless TLS handshake", |stream, sent| Box::pin(async move {
        // Records of a handshake message that announces 16 MiB.
        let mut record = b"\x16\x03\x03\x40\x00".to_vec();
        record.extend_from_slice(b"\x02\xff\xff\xff");
        record.resize(5 + 0x4000, 0);
        flood(stream, sent, b"", &record).await;
    })),
    ("endless settings of HTTP/2", |stream, sent| Box::pin(flood(stream, sent, b"", b"\0\0\0\x04\0\0\0\0\0"))),
    ("endless pings of HTTP/2", |stream, sent| {
        Box::pin(flood(stream, sent, b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x08\x06\0\0\0\0\0lbdhello"))
    }),
    ("an endless header block of HTTP/2", |stream, sent| Box::pin(async move {
        let mut frame = b"\0\x40\0\x09\0\0\0\0\x01".to_vec();
        frame.resize(9 + 0x4000, 0x40);
        flood(stream, sent, b"\0\0\0\x04\0\0\0\0\0\0\0\0\x01\0\0\0\0\x01", &frame).await;
    })),
];

fn probes() -> Vec<Probe> {
    let digest = || BodyRule::Digest(Digest::Sha256([0; 32]));
    let never = || Expect::Matches(Pattern::new("never seen").unwrap());
    let tls = || {
        Some(Tls {
            verify: false,
            ..Tls::default()
        })
    };
    vec![
        Probe::Http(
            Http {
                body: vec![BodyRule::Contains("never seen".into())],
                ..http("/")
            }
            .into(),
        ),
        Probe::Http(
            Http {
                body: vec![digest()],
                ..http("/")
            }
            .into(),
        ),
        Probe::Http(
            Http {
                version: HttpVersion::Two,
                ..http("/")
            }
            .into(),
        ),
        Probe::Http(
            Http {
                tls: tls(),
                ..http("/")
            }
            .into(),
        ),
        Probe::Tcp(Tcp {
            send: Some(b"x".to_vec()),
            expect: Some(never()),
            tls: None,
        }),
        Probe::Tcp(Tcp {
            tls: tls(),
            ..Tcp::default()
        }),
        Probe::Smtp(Smtp { helo: "x".into() }),
        Probe::Redis(Redis {
            role: Some(RedisRole::Master),
            ..Redis::default()
        }),
        Probe::Zookeeper(Zookeeper::default()),
        Probe::Grpc(Grpc::default()),
    ]
}

/// What the kernel may have taken from the server that the probe never read: both socket buffers.
const BUFFERED: usize = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_deed_costs_a_bounded_time_and_number_of_bytes_and_is_one_failure() {
    println!(
        "{:<34} {:>9} {:>11}  (the most of {} probes, socket buffers included)",
        "the server",
        "took",
        "sent",
        probes().len()
    );
    for (name, deed) in DEEDS {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let at = server(move |stream| deed(stream, counter.clone())).await;
        let mut most = (Duration::ZERO, 0);
        for probe in probes() {
            sent.store(0, Ordering::Relaxed);
            let start = Instant::now();
            let outcome = ask(probe.clone(), at).await;
            let took = start.elapsed();
            let kind = probe.kind();
            assert!(!outcome.passed, "{kind} against {name}: {}", outcome.words);
            assert!(
                took < TIMEOUT + Duration::from_millis(300),
                "{kind} against {name}: {took:?}"
            );
            assert!(
                outcome.words.chars().count() <= 201,
                "{kind} against {name}"
            );
            let bytes = sent.load(Ordering::Relaxed);
            assert!(
                bytes <= ANSWER + 64 * 1024 + BUFFERED,
                "{kind} against {name}: {bytes} bytes"
            );
            most = (most.0.max(took), most.1.max(bytes));
        }
        let (took, bytes) = most;
        println!(
            "{name:<34} {:>6} ms {:>7} KiB",
            took.as_millis(),
            bytes / 1024
        );
    }
}

#[tokio::test]
async fn memory_stays_flat_under_attack() {
    let sent = Arc::new(AtomicUsize::new(0));
    let at = server(move |stream| {
        flood(
            stream,
            sent.clone(),
            b"HTTP/1.1 200 OK\r\n\r\n",
            &[b'x'; 65536],
        )
    })
    .await;
    let probe = || {
        Probe::Http(
            Http {
                body: vec![BodyRule::Contains("never seen".into())],
                ..http("/")
            }
            .into(),
        )
    };
    let prober = Arc::new(Prober::default());
    let round = |prober: Arc<Prober>| async move {
        let asking = (0..20).map(|_| {
            let prober = prober.clone();
            async move { prober.ask(&check(probe(), at)).await.passed }
        });
        assert!(!futures_util::future::join_all(asking).await.contains(&true));
    };
    round(prober.clone()).await;
    let before = resident();
    for _ in 0..10 {
        round(prober.clone()).await;
    }
    let grown = resident().saturating_sub(before);
    println!(
        "200 probes against an endless body: {} KiB resident before, {} KiB more after",
        before / 1024,
        grown / 1024
    );
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more");
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
