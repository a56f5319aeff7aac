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
use std::net::{IpAddr, SocketAddr};
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
    flows4: OnceCell<Arc<Flows>>,
    flows6: OnceCell<Arc<Flows>>,
}

/// Where the packets of a probe go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    vip: SocketAddr,
    /// The director's address towards the real server, of the same family.
    source: IpAddr,
    mtu: usize,
    hop: Hop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hop {
    /// To the real server's MAC.
    Neighbour { ifindex: u32, mac: Mac },
    /// In a tunnel to the real server.
    Tunnel(IpAddr),
}

/// How a probe to a VIP goes.
pub(super) enum Path {
    /// By a way of its own.
    Way(Way),
    /// As any other packet, to this address.
    Plain(SocketAddr),
}

/// Which of the two tables of flows, and what differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    V4,
    V6,
}

impl Family {
    const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The EtherType of its packets.
    const fn ether_type(self) -> u16 {
        match self {
            Self::V4 => libc::ETH_P_IP as u16,
            Self::V6 => libc::ETH_P_IPV6 as u16,
        }
    }

    /// The length of a header without options, which is what a tunnel puts around a packet.
    const fn header(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

impl Gate {
    pub(super) fn new(net: Net) -> Self {
        Self {
            net,
            flows4: OnceCell::new(),
            flows6: OnceCell::new(),
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
        let family = Family::of(vip.ip());
        if family != Family::of(real) {
            return Err(cannot("they are of different families"));
        }
        let source = hop.source.filter(|source| Family::of(*source) == family);
        let source = source.ok_or_else(|| cannot("the director has no address there"))?;
        let mtu = usize::try_from(hop.mtu).unwrap_or(usize::MAX).min(65_535);
        let way = match method {
            Method::Tun => Way {
                vip,
                source,
                mtu: mtu.saturating_sub(family.header()),
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
        let family = Family::of(way.source);
        let flows = match family {
            Family::V4 => &self.flows4,
            Family::V6 => &self.flows6,
        };
        let flows = flows
            .get_or_try_init(|| async { Flows::start(family) })
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

/// Sends packets of one family past the kernel's routes.
#[derive(Debug)]
struct Outlet {
    packets: PacketSocket,
    /// Sends IP in IP of the same family; the kernel makes the outer header, and finds the way.
    tunnel: Socket,
}

impl Outlet {
    fn open(family: Family, packets: PacketSocket) -> io::Result<Self> {
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, libc::IPPROTO_IPIP),
            Family::V6 => (Domain::IPV6, libc::IPPROTO_IPV6),
        };
        let tunnel = Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)))?;
        tunnel.set_nonblocking(true)?;
        // It also receives what comes in tunnels, which is nothing to it.
        tunnel.set_recv_buffer_size(1)?;
        Ok(Self { packets, tunnel })
    }

    fn send(&self, hop: Hop, packet: &[u8]) -> io::Result<()> {
        match hop {
            Hop::Neighbour { ifindex, mac } => self.packets.send(ifindex, Some(mac), packet),
            Hop::Tunnel(real) => {
                let to = SockAddr::from(SocketAddr::new(real, 0));
                self.tunnel.send_to(packet, &to).map(|_| ())
            }
        }
    }
}
