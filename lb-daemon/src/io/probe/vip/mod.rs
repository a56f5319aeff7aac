//! Probes that take the way of a service's packets: to the VIP, through one real server.
//!
//! The director may have the VIP itself, so its own stack would never send such a packet, nor take the answer, whose
//! source is the VIP. Therefore these connections are made by a small stack of our own ([`smoltcp`]): what it sends
//! goes to the real server's MAC (`dr`) or in a tunnel to it (`tun`), and what comes back is taken from a packet socket
//! before the kernel's stack drops it. The local ports are out of the kernel's usual range.
//!
//! With `nat` the real server does not know the VIP: there the probe goes to the real server as any other does.

mod datagrams;
mod flows;
mod packet;
mod tcp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::sync::OnceCell;

use super::error::ProbeError;
use crate::core::desired::Method;
use crate::core::hop::Mac;
use crate::io::net::Net;
use crate::io::packet_socket::PacketSocket;

pub(super) use datagrams::Datagrams;
use flows::{Flow, Flows};
pub(super) use tcp::Connection;

/// Makes connections to VIPs through real servers.
#[derive(Debug)]
pub(super) struct Gate {
    net: Net,
    flows: OnceCell<Arc<Flows>>,
}

/// Where the packets of a probe go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    vip: SocketAddrV4,
    /// The director's address towards the real server.
    source: Ipv4Addr,
    mtu: usize,
    hop: Hop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hop {
    /// To the real server's MAC.
    Neighbour { ifindex: u32, mac: Mac },
    /// In a tunnel to the real server.
    Tunnel(Ipv4Addr),
}

/// How a probe to a VIP goes.
pub(super) enum Path {
    /// By a way of its own.
    Way(Way),
    /// As any other packet, to this address.
    Plain(SocketAddr),
}

/// Length of an outer IPv4 header.
const OUTER: usize = 20;

impl Gate {
    pub(super) fn new(net: Net) -> Self {
        Self {
            net,
            flows: OnceCell::new(),
        }
    }

    /// How a probe to this VIP through this real server goes.
    pub(super) async fn path(
        &self,
        vip: SocketAddr,
        real: IpAddr,
        method: Method,
    ) -> Result<Path, ProbeError> {
        let plain = Path::Plain(SocketAddr::new(real, vip.port()));
        let cannot = |why: &str| ProbeError::Cannot(format!("no way to {vip} via {real}: {why}"));
        let hop = match self.net.hop(real) {
            Some(hop) => hop,
            None => self
                .net
                .resolve(real)
                .await
                .map_err(|error| cannot(&error.to_string()))?,
        };
        if hop.is_local() || matches!(method, Method::Nat | Method::Local) {
            return Ok(plain);
        }
        let (SocketAddr::V4(vip), IpAddr::V4(real)) = (vip, real) else {
            return Err(cannot("only IPv4 can be asked that way"));
        };
        let Some(IpAddr::V4(source)) = hop.source else {
            return Err(cannot("the director has no address there"));
        };
        let mtu = usize::try_from(hop.mtu).unwrap_or(usize::MAX).min(65_535);
        let way = match method {
            Method::Tun => Way {
                vip,
                source,
                mtu: mtu.saturating_sub(OUTER),
                hop: Hop::Tunnel(real),
            },
            Method::Dr | Method::Nat | Method::Local => {
                let mac = hop
                    .mac
                    .ok_or_else(|| cannot("its MAC address is not known (yet)"))?;
                Way {
                    vip,
                    source,
                    mtu,
                    hop: Hop::Neighbour {
                        ifindex: hop.ifindex,
                        mac,
                    },
                }
            }
        };
        Ok(Path::Way(way))
    }

    /// A new flow on this way.
    async fn flow(&self, way: Way, protocol: u8) -> Result<Flow, ProbeError> {
        let flows = self
            .flows
            .get_or_try_init(|| async { Flows::start() })
            .await
            .map_err(|error| ProbeError::Cannot(format!("no packet socket: {error}")))?;
        flows
            .open(way, protocol)
            .ok_or_else(|| ProbeError::Cannot("all local ports for probes are in use".to_owned()))
    }

    /// Connects over TCP.
    pub(super) async fn connect(&self, way: Way) -> Result<Connection, ProbeError> {
        let flow = self.flow(way, libc::IPPROTO_TCP as u8).await?;
        Connection::open(flow).await.map_err(ProbeError::Connect)
    }

    /// Opens a way for datagrams.
    pub(super) async fn datagrams(&self, way: Way) -> Result<Datagrams, ProbeError> {
        Ok(Datagrams::new(
            self.flow(way, libc::IPPROTO_UDP as u8).await?,
        ))
    }
}

/// Sends IPv4 packets past the kernel's routes.
#[derive(Debug)]
struct Outlet {
    packets: PacketSocket,
    /// Sends IP in IP; the kernel makes the outer header, and finds the way.
    tunnel: Socket,
}

impl Outlet {
    fn open(packets: PacketSocket) -> io::Result<Self> {
        let tunnel = Socket::new(
            Domain::IPV4,
            Type::RAW,
            Some(Protocol::from(libc::IPPROTO_IPIP)),
        )?;
        tunnel.set_nonblocking(true)?;
        // It also receives what comes in tunnels, which is nothing to it.
        tunnel.set_recv_buffer_size(1)?;
        Ok(Self { packets, tunnel })
    }

    fn send(&self, hop: Hop, packet: &[u8]) -> io::Result<()> {
        match hop {
            Hop::Neighbour { ifindex, mac } => self.packets.send(ifindex, Some(mac), packet),
            Hop::Tunnel(real) => {
                let to = SockAddr::from(SocketAddrV4::new(real, 0));
                self.tunnel.send_to(packet, &to).map(|_| ())
            }
        }
    }
}
