//! A TCP connection to a VIP through one real server, over a stack of its own.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::flows::Flow;
use super::packet::Arrival;
use crate::io::clock;

/// The connection's buffers, one for each direction.
const BUFFER: usize = 16 * 1024;

/// A TCP connection.
pub(in super::super) struct Connection {
    flow: Flow,
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// When the stack has to look again although nothing has come.
    timer: Pin<Box<Sleep>>,
    start: std::time::Instant,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(flow: Flow) -> io::Result<Self> {
        let start = clock::now();
        let mut wire = Wire {
            arrived: VecDeque::new(),
            sent: VecDeque::new(),
            mtu: flow.way.mtu,
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = fastrand::u64(..);
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        let source = IpAddress::from(flow.way.source);
        // Everything goes the same way; the next hop of the stack's own routes is never looked at.
        let routes = interface.routes_mut();
        let (whole, route) = match flow.way.source {
            IpAddr::V4(_) => (32, routes.add_default_ipv4_route(Ipv4Addr::new(0, 0, 0, 1))),
            IpAddr::V6(_) => (
                128,
                routes.add_default_ipv6_route(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
            ),
        };
        route.map_err(io::Error::other)?;
        interface.update_ip_addrs(|addresses| {
            // There is room for the first one.
            let _ = addresses.push(IpCidr::new(source, whole));
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket
            .connect(interface.context(), flow.way.vip, (source, flow.port))
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        let timer = Box::pin(sleep_until(start.into()));
        let mut connection = Self {
            flow,
            wire,
            interface,
            sockets,
            handle,
            timer,
            start,
        };
        poll_fn(|cx| connection.poll_connected(cx)).await?;
        Ok(connection)
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx)?;
        match self.socket().state() {
            State::SynSent | State::SynReceived => Poll::Pending,
            State::Closed => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Moves packets to and fro as far as possible now, and asks to be woken when more can be done.
    fn drive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let mut news = false;
            while let Poll::Ready(arrival) = self.flow.arrivals.poll_recv(cx) {
                match arrival {
                    Some(Arrival::Packet(bytes)) => self.wire.arrived.push_back(bytes),
                    Some(Arrival::Unreachable) => return Err(io::ErrorKind::HostUnreachable.into()),
                    None => return Err(io::ErrorKind::NotConnected.into()),
                }
                news = true;
            }
            let now = self.now();
            self.interface.poll(now, &mut self.wire, &mut self.sockets);
            while let Some(packet) = self.wire.sent.pop_front() {
                self.flow.send(&packet)?;
            }
            let Some(delay) = self.interface.poll_delay(now, &self.sockets) else {
                if news {
                    continue;
                }
                return Ok(());
            };
            self.timer
                .as_mut()
                .reset((clock::now() + std::time::Duration::from(delay)).into());
            if Future::poll(self.timer.as_mut(), cx).is_pending() && !news {
                return Ok(());
            }
        }
    }

    fn now(&self) -> Instant {
        let passed = clock::now().saturating_duration_since(self.start);
        Instant::from_micros(i64::try_from(passed.as_micros()).unwrap_or(i64::MAX))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.drive(cx)?;
        let socket = self.socket();
        if socket.can_recv() {
            let read = socket
                .recv_slice(buf.initialize_unfilled())
                .map_err(|e| io::Error::other(e.to_string()))?;
            buf.advance(read);
            // The window that this opens is told with the next packets.
            self.drive(cx)?;
            return Poll::Ready(Ok(()));
        }
        match socket.state() {
            // The other side has ended the connection properly.
            State::CloseWait | State::LastAck | State::TimeWait | State::Closing => {
                Poll::Ready(Ok(()))
            }
            State::Closed => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            _ => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.drive(cx)?;
        let socket = self.socket();
        if !socket.may_send() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !socket.can_send() {
            return Poll::Pending;
        }
        let sent = socket
            .send_slice(bytes)
            .map_err(|e| io::Error::other(e.to_string()))?;
        self.drive(cx)?;
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx)?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().close();
        self.drive(cx)?;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The real server shall not keep the connection until it times out there.
        self.socket().abort();
        let now = self.now();
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        while let Some(packet) = self.wire.sent.pop_front() {
            let _ = self.flow.send(&packet);
        }
    }
}

/// The stack's network interface: packets that have come, and packets to send.
#[derive(Debug)]
struct Wire {
    arrived: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
    mtu: usize,
}

struct Rx(Vec<u8>);

struct Tx<'a>(&'a mut VecDeque<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        let packet = self.arrived.pop_front()?;
        Some((Rx(packet), Tx(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // A packet that never left the machine may have no checksum yet, and the card has verified all others.
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
