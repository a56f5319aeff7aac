//! Reading many packets with one system call.

use std::io::{self, IoSliceMut};
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn6, SockaddrStorage, recvmmsg,
};

use crate::core::vrrp::{Datagram, Reject};

/// The longest packet that is looked at: an IP header with options, and a message with 255 IPv6 addresses.
const LONGEST: usize = 4_400;
/// How many packets are read at a time.
const PACKETS: usize = 64;

/// Room for packets, and those that were read last.
#[derive(Debug, Default)]
pub(super) struct Batch {
    room: Vec<[u8; LONGEST]>,
    read: Vec<Read>,
}

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
struct Read {
    length: usize,
    /// IPv6, whose header is not among the bytes: source, destination and hop limit.
    header: Option<(Ipv6Addr, Ipv6Addr, u8)>,
}

impl Batch {
    /// Room, and nothing read yet.
    pub(super) fn new() -> Self {
        Self {
            room: vec![[0; LONGEST]; PACKETS],
            read: Vec::with_capacity(PACKETS),
        }
    }

    /// Reads what there is, as much as there is room for; whether that was all.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.read.clear();
        // The kernel shortens what the headers say there is room for, so they are made anew.
        let control = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(PACKETS, Some(control));
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .room
            .iter_mut()
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let all = recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, flags, None)?;
        let read = &mut self.read;
        read.extend(all.map(|message| Read {
            length: message.bytes,
            header: header(&message),
        }));
        Ok(read.len() < PACKETS)
    }

    /// How many packets were read.
    pub(super) const fn len(&self) -> usize {
        self.read.len()
    }

    /// A packet that was read; what is no packet of VRRP at all is an `Err`.
    pub(super) fn packet(&self, n: usize, v6: bool) -> Result<Datagram<'_>, Reject> {
        let read = self.read.get(n).ok_or(Reject::Ip)?;
        let room = self.room.get(n).ok_or(Reject::Ip)?;
        let bytes = room.get(..read.length).ok_or(Reject::Ip)?;
        if !v6 {
            return Datagram::from_ipv4(bytes);
        }
        let (source, destination, ttl) = read.header.ok_or(Reject::Ip)?;
        Ok(Datagram {
            source: source.into(),
            destination: destination.into(),
            ttl,
            payload: bytes,
        })
    }
}

/// What the kernel says of an IPv6 packet's header.
fn header(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<(Ipv6Addr, Ipv6Addr, u8)> {
    let source: &SockaddrIn6 = message.address.as_ref()?.as_sockaddr_in6()?;
    let (mut destination, mut ttl) = (None, None);
    for said in message.cmsgs().ok()? {
        match said {
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
            }
            ControlMessageOwned::Ipv6HopLimit(limit) => ttl = u8::try_from(limit).ok(),
            _ => {}
        }
    }
    Some((source.ip(), destination?, ttl?))
}
