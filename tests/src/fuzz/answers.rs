//! What real servers answer to checks: whatever it is, a check ends in time, and says so in words fit for a terminal.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lb_daemon::core::health::plan::{Check, Target, Timing};
use lb_daemon::core::health::probe::{
    BodyRule, Dns, Expect, Grpc, Http, HttpVersion, Pattern, Probe, Redis, RedisRole, Smtp,
    Statuses, Tcp, Zookeeper, ZookeeperRole,
};
use lb_daemon::io::probe::Prober;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// For so long a check waits for an answer.
const TIMEOUT: Duration = Duration::from_millis(20);
/// And what a busy machine may add.
const SLACK: Duration = Duration::from_secs(5);
/// The most characters of a verdict, and what stands for more.
const WORDS: usize = 201;

/// The first byte chooses the check; the rest is the answer, after which the connection is closed.
pub(super) fn take(bytes: &[u8]) {
    let (choice, answer) = super::choice(bytes);
    SERVER.with(|server| {
        let probe = &server.probes[choice % server.probes.len()];
        server.runtime.block_on(ask(server, probe.clone(), answer));
    });
}

async fn ask(server: &Server, probe: Probe, answer: &[u8]) {
    let check = Check {
        name: "fuzz".to_owned(),
        probe,
        target: Target::Address(server.address),
        timing: Timing {
            timeout: TIMEOUT,
            ..Timing::default()
        },
    };
    let began = Instant::now();
    let serve = async {
        let Ok((mut stream, _)) = server.listener.accept().await else {
            return;
        };
        // Who asks may have gone, for it has heard enough.
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
        let _ = stream.read(&mut [0; 1024]).await;
    };
    let (outcome, lines) = tokio::select! {
        told = server.prober.ask_and_tell(&check) => told,
        // It was told all that there is, and has its timeout.
        told = async { serve.await; std::future::pending().await } => told,
    };
    assert!(began.elapsed() < TIMEOUT + SLACK, "it took too long");
    let words = outcome.words.chars();
    assert!(!outcome.words.is_empty() && words.clone().count() <= WORDS);
    for line in lines.iter().map(String::as_str).chain([&*outcome.words]) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

/// One of each sort that reads an answer over TCP.
fn probes() -> Vec<Probe> {
    let http = |version| Http {
        tls: None,
        version,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        status: Statuses::default(),
        body: vec![BodyRule::Contains("well".to_owned())],
        body_limit: 1024,
    };
    vec![
        Probe::Http(Box::new(http(HttpVersion::One))),
        Probe::Http(Box::new(http(HttpVersion::Two))),
        Probe::Tcp(Tcp {
            tls: None,
            send: None,
            expect: Some(Expect::Matches(Pattern::new("^220 .*ready").unwrap())),
        }),
        Probe::Smtp(Smtp {
            helo: "lbd".to_owned(),
        }),
        Probe::Redis(Redis {
            tls: None,
            user: None,
            password: None,
            role: Some(RedisRole::Master),
        }),
        Probe::Zookeeper(Zookeeper {
            role: Some(ZookeeperRole::Leader),
        }),
        Probe::Grpc(Grpc {
            tls: None,
            service: String::new(),
            host: None,
        }),
        Probe::Dns(Dns {
            name: "example.com".to_owned(),
            record: "A".to_owned(),
            expect: Vec::new(),
            tcp: true,
        }),
    ]
}

struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    prober: Prober,
    probes: Vec<Probe>,
}

thread_local! {
    static SERVER: Server = {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        Server { runtime, listener, address, prober: Prober::default(), probes: probes() }
    };
}
