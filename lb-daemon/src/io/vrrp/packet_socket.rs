//! Sockets of whole frames, on any interface.

#![expect(
    unsafe_code,
    reason = "the address of an interface can only be given to the kernel as bytes"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Has a socket receive the frames of an EtherType on all interfaces.
pub(super) fn bind(socket: &Socket, ether_type: u16) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is plain data for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ether_type.to_be();
    // SAFETY: `address` is initialised and outlives the call, and the length is its own.
    let failed = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends frames.
#[derive(Debug)]
pub(super) struct PacketSocket(Socket);

impl PacketSocket {
    /// Opens it. With protocol 0 it receives nothing.
    pub(super) fn open() -> io::Result<Self> {
        Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).map(Self)
    }

    /// Sends a frame, or gives up at once if the interface cannot take it now.
    pub(super) fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        // SAFETY: `sockaddr_ll` is plain data for which all zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = i32::try_from(ifindex).unwrap_or(0);
        // SAFETY: `frame` and `address` are initialised and outlive the call; the lengths are theirs.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}
