//! Does every request succeed while something happens to the director?
//!
//! A client of our own, so that each request that fails is counted and says why.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::client::{Answers, dns_question};
use super::host::Host;

/// How long a request may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a worker does, over and over.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// A new connection for each page.
    Connect(SocketAddrV4),
    /// One connection for all pages; the answers must all come from the same real server.
    Stay(SocketAddrV4),
    /// A DNS question, each from a port of its own.
    Ask(SocketAddrV4),
}

/// Workers on a host.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Outcome>>,
}

/// What the workers saw.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Who answered, and what failed.
    pub answers: Answers,
    /// The longest that one request took.
    pub slowest: Duration,
}

impl Load {
    /// Start one worker for each piece of work; each rests a millisecond after each request.
    pub fn start(host: &Host, work: &[Work]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = |(index, &work): (usize, &Work)| {
            let (host, stop) = (host.clone(), Arc::clone(&stop));
            thread::spawn(move || worker(&host, work, index, &stop))
        };
        Self {
            workers: work.iter().enumerate().map(worker).collect(),
            stop,
        }
    }

    /// Stop, and say what was seen.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Outcome::default();
        for worker in self.workers {
            let outcome = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            total.slowest = total.slowest.max(outcome.slowest);
            total.answers.failures.extend(outcome.answers.failures);
            for (name, count) in outcome.answers.by_name {
                *total.answers.by_name.entry(name).or_default() += count;
            }
        }
        total
    }
}

impl Host {
    /// Fetch a page from a port of one's choice over a new connection, which the client closes; returns the real server's name.
    ///
    /// # Errors
    ///
    /// There is no answer in time.
    pub fn fetch_from(&self, port: u16, server: SocketAddrV4) -> Result<String> {
        self.inside(|| {
            let mut stream = connect_from(port, server)?;
            request(stream.get_mut(), "keep-alive")?;
            response(&mut stream)
        })
    }
}

fn worker(host: &Host, work: Work, index: usize, stop: &AtomicBool) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = host.enter() {
        outcome.answers.add(Err(error));
        return outcome;
    }
    let start = Instant::now();
    let mut connection = None;
    // Ports of questions: a range for each worker, gone through in order.
    let mut ports = (0..1000_u16)
        .map(|port| 30_000 + (index as u16 % 30) * 1000 + port)
        .cycle();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = match work {
            Work::Connect(server) => fetch_once(server),
            Work::Stay(server) => fetch_again(&mut connection, server),
            Work::Ask(server) => dns_question(server, ports.next(), PATIENCE),
        };
        outcome.slowest = outcome.slowest.max(began.elapsed());
        outcome
            .answers
            .add(answer.with_context(|| format!("{work:?} after {:.1?}", start.elapsed())));
        thread::sleep(Duration::from_millis(1));
    }
    outcome
}

/// Fetch a page over a new connection.
fn fetch_once(server: SocketAddrV4) -> Result<String> {
    let mut stream = connect(server)?;
    request(stream.get_mut(), "close")?;
    response(&mut stream)
}

/// Fetch a page over the connection that there is, or a new one at first.
fn fetch_again(
    connection: &mut Option<(BufReader<TcpStream>, String)>,
    server: SocketAddrV4,
) -> Result<String> {
    let Some((stream, name)) = connection else {
        let mut stream = connect(server)?;
        request(stream.get_mut(), "keep-alive")?;
        let name = response(&mut stream)?;
        *connection = Some((stream, name.clone()));
        return Ok(name);
    };
    let answer = request(stream.get_mut(), "keep-alive").and_then(|()| response(stream));
    let expected = name.clone();
    if answer.as_ref().ok() != Some(&expected) {
        *connection = None;
    }
    let answer = answer.context("on a connection that had worked")?;
    ensure!(
        answer == expected,
        "a connection to {expected} was answered by {answer}"
    );
    Ok(answer)
}

fn connect(server: SocketAddrV4) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&server.into(), PATIENCE).context("cannot connect")?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("cannot set a timeout")?;
    stream.set_nodelay(true).context("cannot set an option")?;
    Ok(BufReader::new(stream))
}

/// Connect from a port of one's choice, which may have served another connection just before.
fn connect_from(port: u16, server: SocketAddrV4) -> Result<BufReader<TcpStream>> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    // Linux gives up connecting, too, after this time.
    let patience = TimeVal::microseconds(PATIENCE.as_micros().try_into()?);
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    bind(
        socket.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)),
    )
    .with_context(|| format!("cannot bind to port {port}"))?;
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrIn::from(server))
        .with_context(|| format!("cannot connect to {server} from port {port}"))?;
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("cannot set a timeout")?;
    Ok(BufReader::new(stream))
}

fn request(stream: &mut TcpStream, connection: &str) -> Result<()> {
    let text = format!("GET / HTTP/1.1\r\nHost: lab\r\nConnection: {connection}\r\n\r\n");
    stream
        .write_all(text.as_bytes())
        .context("cannot send a request")
}

/// Read a response, whose body is the real server's name.
fn response(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    let mut next = |stream: &mut BufReader<TcpStream>| -> Result<String> {
        line.clear();
        ensure!(
            stream.read_line(&mut line).context("no response")? > 0,
            "the connection was closed"
        );
        Ok(line.trim_end().to_owned())
    };
    let status = next(stream)?;
    ensure!(
        status.starts_with("HTTP/1.1 200"),
        "the response is `{status}`"
    );
    let mut length = None;
    loop {
        let header = next(stream)?;
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let Some(length) = length.filter(|length| *length < 100) else {
        bail!("the response has no usable length");
    };
    let mut body = vec![0; length];
    stream
        .read_exact(&mut body)
        .context("the response is cut off")?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}
