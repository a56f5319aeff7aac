//! A raw socket of VRRP on one interface, in one family.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::dropped;
use crate::core::vrrp::multicast_group;
use crate::core::vrrp::packet::PROTOCOL;

/// Internetwork control, as routing protocols have it.
const TOS: u32 = 0xC0;
/// The only TTL that crosses no router.
const TTL: u32 = 255;
/// How much may wait to be read: some thousand packets.
const QUEUE: usize = 4 << 20;

/// A socket of one interface and family.
#[derive(Debug)]
pub(super) struct VrrpSocket {
    socket: Socket,
    ifindex: u32,
}

impl VrrpSocket {
    /// Opens one that receives what a filter lets through.
    pub(super) fn open(
        interface: &str,
        ifindex: u32,
        v6: bool,
        filter: &[SockFilter],
    ) -> io::Result<Self> {
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let protocol = Protocol::from(i32::from(PROTOCOL));
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.attach_filter(filter)?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        // More than `net.core.rmem_max`, where that is allowed.
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &QUEUE))?;
        match multicast_group(any(v6)) {
            IpAddr::V4(group) => {
                let at = InterfaceIndexOrAddress::Index(ifindex);
                socket.join_multicast_v4_n(&group, &at)?;
                socket.set_multicast_loop_v4(false)?;
                socket.set_multicast_ttl_v4(TTL)?;
                socket.set_ttl_v4(TTL)?;
                socket.set_tos_v4(TOS)?;
            }
            IpAddr::V6(group) => {
                socket.join_multicast_v6(&group, ifindex)?;
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_hops_v6(TTL)?;
                socket.set_unicast_hops_v6(TTL)?;
                socket.set_tclass_v6(TOS)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            }
        }
        Ok(Self { socket, ifindex })
    }

    /// Receives what another filter lets through from now on.
    pub(super) fn set_filter(&self, filter: &[SockFilter]) -> io::Result<()> {
        self.socket.attach_filter(filter)
    }

    /// How many packets came when the queue was full.
    pub(super) fn dropped(&self) -> u32 {
        dropped::of(self.as_fd())
    }

    /// Sends a message.
    pub(super) fn send(&self, from: IpAddr, to: IpAddr, message: &[u8]) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        let slices = [IoSlice::new(message)];
        let flags = MsgFlags::MSG_DONTWAIT;
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: i32::try_from(self.ifindex).unwrap_or(0),
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from(from).to_be(),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(fd, &slices, &control, flags, Some(&to))?;
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: from.octets(),
                    },
                    ipi6_ifindex: self.ifindex,
                };
                let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, self.ifindex));
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmsg(fd, &slices, &control, flags, Some(&to))?;
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        Ok(())
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An address that stands for a family.
const fn any(v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}
