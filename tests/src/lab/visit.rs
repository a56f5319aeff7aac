//! One connection to a web server, over which pages are asked for as long as one likes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use super::host::Host;

/// How long a request may take before it counts as failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a web server.
pub struct Visit(BufReader<TcpStream>);

impl Host {
    /// Open a connection to a web server, from the given port or any.
    ///
    /// # Errors
    ///
    /// The port is in use, or nobody answers.
    pub fn visit(&self, server: impl Into<SocketAddr>, port: Option<u16>) -> Result<Visit> {
        let server = server.into();
        self.inside(|| Visit::open(server, port))
    }
}

impl Visit {
    /// A connection of this thread's namespace.
    pub(super) fn open(server: impl Into<SocketAddr>, port: Option<u16>) -> Result<Self> {
        Self::open_within(server, port, PATIENCE)
    }

    /// The same, with each step that waits for the server in so much time.
    pub(super) fn open_within(
        server: impl Into<SocketAddr>,
        port: Option<u16>,
        patience: Duration,
    ) -> Result<Self> {
        let server = server.into();
        let any = match server {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let connect = || {
            let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
            if let Some(port) = port {
                // The same port may have been used a moment ago.
                socket.set_reuse_address(true)?;
                socket.bind(&SocketAddr::new(any, port).into())?;
            }
            socket.connect_timeout(&server.into(), patience)?;
            socket.set_read_timeout(Some(patience))?;
            socket.set_tcp_nodelay(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = connect().with_context(|| format!("cannot connect to {server}"))?;
        Ok(Self(BufReader::new(socket.into())))
    }

    /// Ask for the page with the real server's name.
    ///
    /// # Errors
    ///
    /// The connection does not work any more.
    pub fn ask(&mut self) -> Result<String> {
        self.request("keep-alive")?;
        self.response()
    }

    /// Ask for the page for the last time; the server closes then.
    ///
    /// # Errors
    ///
    /// The connection does not work any more.
    pub(super) fn ask_once(mut self) -> Result<String> {
        self.request("close")?;
        self.response()
    }

    fn request(&mut self, connection: &str) -> Result<()> {
        let text = format!("GET / HTTP/1.1\r\nHost: lab\r\nConnection: {connection}\r\n\r\n");
        self.0
            .get_mut()
            .write_all(text.as_bytes())
            .context("cannot send a request")
    }

    /// Read a response, whose body is the real server's name.
    fn response(&mut self) -> Result<String> {
        let status = self.line()?;
        ensure!(
            status.starts_with("HTTP/1.1 200"),
            "the response is `{status}`"
        );
        let mut length = None;
        loop {
            let header = self.line()?;
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
        self.0
            .read_exact(&mut body)
            .context("the response is cut off")?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.0.read_line(&mut line).context("no response")?;
        ensure!(length > 0, "the connection was closed");
        Ok(line.trim_end().to_owned())
    }
}
