//! Servers that speak their protocol: what is good and what is not.

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncBufReadExt;
use tokio::net::UdpSocket;

use super::*;
use crate::core::health::probe::{
    BodyRule, Digest, Dns, Expect, Pattern, RedisRole, Script, Secret, Udp, ZookeeperRole,
};

#[tokio::test]
async fn http_is_judged_by_status_and_body() {
    let ok = answers("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n").await;
    wants(Probe::Http(http("/").into()), ok, true, "status 200").await;
    for (rule, passes) in [
        (BodyRule::Contains("hello".into()), true),
        (BodyRule::Contains("bye".into()), false),
        (BodyRule::Matches(Pattern::new("^hel+o\n$").unwrap()), true),
        (
            BodyRule::Digest(Digest::Md5(
                *b"\xb1\x94\x6a\xc9\x24\x92\xd2\x34\x7c\x62\x35\xb4\xd2\x61\x11\x84",
            )),
            true,
        ),
    ] {
        let probe = Http {
            body: vec![rule],
            ..http("/")
        };
        wants(Probe::Http(probe.into()), ok, passes, "").await;
    }
    let sick = answers("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    wants(
        Probe::Http(http("/").into()),
        sick,
        false,
        "status 503, wanted 200-299",
    )
    .await;
    let wanted = Http {
        status: Statuses::new(vec![200..=200, 500..=503]),
        ..http("/")
    };
    wants(Probe::Http(wanted.into()), sick, true, "status 503").await;
    let chunked = answers(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    )
    .await;
    let wanted = Http {
        body: vec![BodyRule::Contains("hello".into())],
        ..http("/")
    };
    wants(
        Probe::Http(wanted.into()),
        chunked,
        true,
        "body as expected",
    )
    .await;
}

#[tokio::test]
async fn an_http_request_is_what_was_configured() {
    let echo = server(|mut stream| async move {
        let mut request = vec![0; 4096];
        let len = stream.read(&mut request).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&request[..len]).await.unwrap();
    })
    .await;
    let mut probe = Http {
        method: "HEADY".into(),
        host: Some("www.example.com".into()),
        headers: vec![("X-Token".into(), "abc".into())],
        ..http("/health?deep=1")
    };
    for text in [
        "HEADY /health?deep=1 HTTP/1.1\r\n",
        "host: www.example.com\r\n",
        "x-token: abc\r\n",
        "connection: close\r\n",
    ] {
        probe.body.push(BodyRule::Contains(text.into()));
    }
    wants(Probe::Http(probe.into()), echo, true, "").await;
}

/// An HTTP/2 server whose answer depends on the path.
async fn http2_server() -> SocketAddr {
    server(|stream| async move {
        let serve = service_fn(|request: Request<hyper::body::Incoming>| async move {
            let path = request.uri().path().to_owned();
            let request = request.into_body().collect().await?.to_bytes();
            let (body, status): (&[u8], &str) =
                match (path.as_str(), request.get(7..).unwrap_or_default()) {
                    ("/grpc.health.v1.Health/Check", b"") => (&[0, 0, 0, 0, 2, 8, 1], "0"),
                    ("/grpc.health.v1.Health/Check", b"down") => (&[0, 0, 0, 0, 2, 8, 2], "0"),
                    ("/grpc.health.v1.Health/Check", _) => (&[], "5"),
                    _ => (b"over two", "0"),
                };
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            let frames = [
                Ok::<_, hyper::Error>(Frame::data(Bytes::copy_from_slice(body))),
                Ok(Frame::trailers(trailers)),
            ];
            let body: BoxBody<Bytes, hyper::Error> =
                BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)));
            let response = Response::builder()
                .header("content-type", "application/grpc")
                .body(body);
            Ok::<_, hyper::Error>(response.unwrap())
        });
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), serve)
            .await;
    })
    .await
}

#[tokio::test]
async fn http_2_is_spoken_by_prior_knowledge() {
    let at = http2_server().await;
    let rule = BodyRule::Contains("over two".into());
    let probe = Http {
        version: HttpVersion::Two,
        body: vec![rule],
        ..http("/x")
    };
    wants(Probe::Http(probe.into()), at, true, "status 200").await;
    let only_1 = answers("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let probe = Http {
        version: HttpVersion::Two,
        ..http("/x")
    };
    wants(Probe::Http(probe.into()), only_1, false, "HTTP").await;
}

#[tokio::test]
async fn grpc_is_judged_by_the_serving_status() {
    let at = http2_server().await;
    let of = |service: &str| {
        Probe::Grpc(Grpc {
            service: service.into(),
            ..Grpc::default()
        })
    };
    wants(of(""), at, true, "SERVING").await;
    wants(of("down"), at, false, "NOT_SERVING").await;
    wants(of("strange"), at, false, "does not know the service").await;
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp_unless_more_is_expected() {
    let at = answers("220 ready\r\n").await;
    wants(Probe::Tcp(Tcp::default()), at, true, "connected").await;
    wants(Probe::Tcp(Tcp::default()), nobody().await, false, "refused").await;
    let expect = |text: &str| Some(Expect::Contains(text.as_bytes().to_vec()));
    let hello = Some(b"hello\n".to_vec());
    wants(
        Probe::Tcp(Tcp {
            send: hello.clone(),
            expect: expect("ready"),
            tls: None,
        }),
        at,
        true,
        "220 ready",
    )
    .await;
    wants(
        Probe::Tcp(Tcp {
            send: hello,
            expect: expect("PONG"),
            tls: None,
        }),
        at,
        false,
        "it ended after `220 ready`",
    )
    .await;
}

#[tokio::test]
async fn silence_is_good_over_udp_and_an_icmp_error_is_not() {
    let udp = |expect: Option<&str>| {
        let expect = expect.map(|text| Expect::Contains(text.as_bytes().to_vec()));
        Probe::Udp(Udp {
            send: b"ping".to_vec(),
            expect,
        })
    };
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    wants(udp(None), silent.local_addr().unwrap(), true, "no error").await;
    wants(
        udp(Some("pong")),
        silent.local_addr().unwrap(),
        false,
        "no answer within",
    )
    .await;
    let closed = {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.local_addr().unwrap()
    };
    wants(udp(None), closed, false, "unreachable").await;

    let echo = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = echo.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 100];
        while let Ok((len, from)) = echo.recv_from(&mut datagram).await {
            let _ = echo.send_to(&datagram[..len], from).await;
        }
    });
    wants(udp(Some("ping")), at, true, "answered `ping`").await;
    wants(udp(Some("pong")), at, false, "it answered `ping`").await;
    wants(udp(None), at, true, "answered `ping`").await;
}

#[tokio::test]
async fn smtp_servers_greet_and_are_greeted() {
    async fn mail(stream: TcpStream, greeting: &'static str, knows_ehlo: bool) {
        let (read, mut write) = stream.into_split();
        let mut lines = tokio::io::BufReader::new(read).lines();
        write.write_all(greeting.as_bytes()).await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = match line.split(' ').next() {
                Some("EHLO") if knows_ehlo => {
                    "250-mail.example.com\r\n250-SIZE 1000\r\n250 HELP\r\n"
                }
                Some("HELO") if line == "HELO director" => "250 hello\r\n",
                Some("QUIT") => "221 bye\r\n",
                _ => "502 what?\r\n",
            };
            let _ = write.write_all(answer.as_bytes()).await;
        }
    }
    let smtp = || {
        Probe::Smtp(Smtp {
            helo: "director".into(),
        })
    };
    let modern = server(|stream| mail(stream, "220 mail.example.com ESMTP\r\n", true)).await;
    wants(smtp(), modern, true, "220 mail.example.com ESMTP").await;
    let old = server(|stream| mail(stream, "220-two\r\n220 lines\r\n", false)).await;
    wants(smtp(), old, true, "220 lines").await;
    let closed = server(|stream| mail(stream, "554 no service here\r\n", true)).await;
    wants(smtp(), closed, false, "554 no service here").await;
}

#[tokio::test]
async fn redis_servers_answer_pings_and_tell_their_role() {
    async fn serve(mut stream: TcpStream, password: Option<&'static str>) {
        let mut request = vec![0; 4096];
        let mut known = password.is_none();
        while let Ok(len @ 1..) = stream.read(&mut request).await {
            let text = String::from_utf8_lossy(&request[..len]).into_owned();
            let words: Vec<&str> = text
                .split("\r\n")
                .filter(|w| !w.starts_with(['*', '$']))
                .collect();
            let answer = match words.as_slice() {
                ["AUTH", given, ..] if Some(*given) == password => {
                    known = true;
                    "+OK\r\n"
                }
                ["AUTH", ..] => "-WRONGPASS invalid username-password pair\r\n",
                _ if !known => "-NOAUTH Authentication required.\r\n",
                ["PING", ..] => "+PONG\r\n",
                ["ROLE", ..] => "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
                _ => "-ERR unknown command\r\n",
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
    let open = server(|stream| serve(stream, None)).await;
    wants(Probe::Redis(Redis::default()), open, true, "PONG").await;
    let with_role = |role| {
        Probe::Redis(Redis {
            role: Some(role),
            ..Redis::default()
        })
    };
    wants(with_role(RedisRole::Master), open, true, "master").await;
    wants(with_role(RedisRole::Replica), open, false, "wanted replica").await;
    let closed = server(|stream| serve(stream, Some("sesame"))).await;
    wants(Probe::Redis(Redis::default()), closed, false, "NOAUTH").await;
    let with_password = |text: &str| Redis {
        password: Some(Secret::new(text.into())),
        ..Redis::default()
    };
    wants(Probe::Redis(with_password("sesame")), closed, true, "PONG").await;
    wants(
        Probe::Redis(with_password("wrong")),
        closed,
        false,
        "WRONGPASS",
    )
    .await;

    let (outcome, lines) = Prober::default()
        .ask_and_tell(&check(Probe::Redis(with_password("sesame")), closed))
        .await;
    assert!(outcome.passed);
    assert!(
        lines.iter().any(|line| line == "> PING") && lines.iter().any(|line| line == "< +PONG"),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.contains("sesame")),
        "a password is never shown: {lines:?}"
    );
}

#[tokio::test]
async fn zookeeper_servers_are_asked_for_their_mode() {
    let server = |text: &'static str| answers(text);
    let role = |role| Probe::Zookeeper(Zookeeper { role: Some(role) });
    wants(
        Probe::Zookeeper(Zookeeper::default()),
        server("imok").await,
        true,
        "imok",
    )
    .await;
    let leader = server("Zookeeper version: 3.8\nMode: leader\nNode count: 4\n").await;
    wants(role(ZookeeperRole::Leader), leader, true, "leader").await;
    wants(
        role(ZookeeperRole::Follower),
        leader,
        false,
        "its role is leader, wanted follower",
    )
    .await;
}

#[tokio::test]
async fn dns_answers_are_judged_by_code_and_value() {
    use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{RData, Record};

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = socket.local_addr().unwrap();
    let answer_to = |query: &Message, truncated: bool| {
        let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_queries(query.queries.clone());
        let name = query.queries[0].name().clone();
        match name.to_ascii().as_str() {
            "www.example.com." if !truncated => {
                answer.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 7))));
            }
            "www.example.com." => answer.metadata.truncation = true,
            "empty.example.com." => {}
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        answer.to_vec().unwrap()
    };
    tokio::spawn(async move {
        let mut datagram = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut datagram).await {
            let query = Message::from_vec(&datagram[..len]).unwrap();
            // The answer to somebody else's query comes first.
            let mut stray = query.clone();
            stray.metadata.id = query.metadata.id.wrapping_add(1);
            let _ = socket.send_to(&answer_to(&stray, false), from).await;
            let _ = socket.send_to(&answer_to(&query, false), from).await;
        }
    });
    let dns = |name: &str, expect: &[&str]| {
        let expect = expect.iter().map(|&e| e.into()).collect();
        Probe::Dns(Dns {
            name: name.into(),
            record: "A".into(),
            expect,
            tcp: false,
        })
    };
    wants(dns("www.example.com", &[]), at, true, "1 answers").await;
    wants(
        dns("www.example.com", &["192.0.2.1", "192.0.2.7"]),
        at,
        true,
        "192.0.2.7",
    )
    .await;
    wants(
        dns("www.example.com", &["192.0.2.8"]),
        at,
        false,
        "it answered 192.0.2.7",
    )
    .await;
    wants(
        dns("empty.example.com", &["192.0.2.8"]),
        at,
        false,
        "no such record",
    )
    .await;
    wants(
        dns("missing.example.com", &[]),
        at,
        false,
        "Non-Existent Domain",
    )
    .await;

    // Truncated over UDP, whole over TCP.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(at).await.unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 1500];
        let (len, from) = socket.recv_from(&mut datagram).await.unwrap();
        let query = Message::from_vec(&datagram[..len]).unwrap();
        socket
            .send_to(&answer_to(&query, true), from)
            .await
            .unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let len = usize::from(stream.read_u16().await.unwrap());
        let mut query = vec![0; len];
        stream.read_exact(&mut query).await.unwrap();
        let answer = answer_to(&Message::from_vec(&query).unwrap(), false);
        stream
            .write_u16(u16::try_from(answer.len()).unwrap())
            .await
            .unwrap();
        stream.write_all(&answer).await.unwrap();
    });
    wants(
        dns("www.example.com", &["192.0.2.7"]),
        at,
        true,
        "192.0.2.7",
    )
    .await;
}

#[tokio::test]
async fn a_script_is_run_with_what_it_needs_to_know() {
    let at = nobody().await;
    let sh = |script: &str| {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Probe::Script(Script {
            command,
            user: None,
        })
    };
    wants(sh("true"), at, true, "exit status 0").await;
    wants(sh("echo disk full; exit 1"), at, false, "disk full").await;
    wants(
        sh("sleep 60"),
        at,
        false,
        "script: it took too long and was killed",
    )
    .await;
    let script = format!("test $LBD_REAL_ADDRESS:$LBD_REAL_PORT = {at} && test $LBD_CHECK = test");
    wants(sh(&script), at, true, "").await;
    let outcome = ask(sh("exit 12"), at).await;
    assert_eq!((outcome.passed, outcome.weight), (true, Some(10)));
}

#[tokio::test]
async fn a_file_has_the_weight() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "25\n").unwrap();
    let at = nobody().await;
    let outcome = ask(Probe::File(file.path().into()), at).await;
    assert_eq!((outcome.passed, outcome.weight), (true, Some(25)));
    wants(
        Probe::File("/nonexistent/weight".into()),
        at,
        false,
        "No such file",
    )
    .await;
}

#[tokio::test]
async fn full_bodies_are_answers_too() {
    // A body without a length ends with the connection.
    let at = answers("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    let probe = Http {
        body: vec![BodyRule::Contains("to the end".into())],
        ..http("/")
    };
    wants(Probe::Http(probe.into()), at, true, "body as expected").await;
    let _: Full<Bytes> = Full::default();
}
