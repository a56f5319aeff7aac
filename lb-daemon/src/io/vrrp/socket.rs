//! A raw socket that speaks VRRP on one interface, in one family.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recvmsg, sendmsg,
    setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::filter;
use crate::core::vrrp::packet::PROTOCOL;
use crate::core::vrrp::{Datagram, Reject, multicast_group};

/// The longest packet that is looked at: an IP header with options, and a message with 255 IPv6 addresses.
const LONGEST: usize = 4_400;
/// Internetwork control, as routing protocols have it.
const TOS: u32 = 0xC0;
/// The only TTL that crosses no router.
const TTL: u32 = 255;
/// How much may wait to be read: a burst of some thousand advertisements.
const QUEUE: usize = 1 << 20;

/// A socket of one interface and family.
#[derive(Debug)]
pub(super) struct VrrpSocket {
    socket: Socket,
    ifindex: u32,
    v6: bool,
    vrids: BTreeSet<u8>,
    buffer: Box<[u8; LONGEST]>,
}

impl VrrpSocket {
    /// Opens one that receives nothing yet.
    pub(super) fn open(interface: &str, ifindex: u32, v6: bool) -> io::Result<Self> {
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let protocol = Protocol::from(i32::from(PROTOCOL));
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        let vrids = BTreeSet::new();
        socket.attach_filter(&filter::of(v6, &vrids))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_recv_buffer_size(QUEUE)?;
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
        Ok(Self {
            socket,
            ifindex,
            v6,
            vrids,
            buffer: Box::new([0; LONGEST]),
        })
    }

    /// Receives what is of these virtual routers from now on.
    pub(super) fn listen_to(&mut self, vrids: BTreeSet<u8>) -> io::Result<()> {
        if self.vrids != vrids {
            self.socket.attach_filter(&filter::of(self.v6, &vrids))?;
            self.vrids = vrids;
        }
        Ok(())
    }

    /// A packet that is there, if there is one; what is no packet of VRRP at all is an `Err` in it.
    pub(super) fn receive(&mut self) -> io::Result<Result<Datagram<'_>, Reject>> {
        if self.v6 {
            self.receive_v6()
        } else {
            let length = (&self.socket).read(self.buffer.as_mut_slice())?;
            Ok(Datagram::from_ipv4(
                self.buffer.get(..length).unwrap_or_default(),
            ))
        }
    }

    fn receive_v6(&mut self) -> io::Result<Result<Datagram<'_>, Reject>> {
        let mut control = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let (mut destination, mut ttl) = (None, None);
        let (length, source) = {
            let mut slices = [IoSliceMut::new(self.buffer.as_mut_slice())];
            let fd = self.socket.as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<SockaddrIn6>(fd, &mut slices, Some(&mut control), flags)?;
            for said in message.cmsgs()? {
                match said {
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                    }
                    ControlMessageOwned::Ipv6HopLimit(limit) => ttl = u8::try_from(limit).ok(),
                    _ => {}
                }
            }
            (message.bytes, message.address.map(|a| a.ip()))
        };
        let (Some(source), Some(destination), Some(ttl)) = (source, destination, ttl) else {
            return Ok(Err(Reject::Ip));
        };
        Ok(Ok(Datagram {
            source: source.into(),
            destination: destination.into(),
            ttl,
            payload: self.buffer.get(..length).unwrap_or_default(),
        }))
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
