//! Packet sockets: frames past the kernel's stack, filtered in the kernel.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::core::hop::Mac;

/// What a packet socket sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layer {
    /// Whole frames, with their link-layer header.
    Frame,
    /// What is in the frames; the kernel makes the header.
    Payload,
}

/// Receives what a filter lets through on all interfaces, and sends on any of them.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    socket: AsyncFd<OwnedFd>,
    protocol: u16,
    longest: usize,
}

/// What was received.
#[derive(Debug)]
pub(crate) struct Received {
    /// Index of the interface.
    pub(crate) ifindex: u32,
    /// The bytes, as many as the socket takes.
    pub(crate) bytes: Vec<u8>,
}

impl PacketSocket {
    /// Opens a socket for an EtherType, in the network namespace of the calling thread. Of longer packets the first
    /// `longest` bytes are taken.
    pub(crate) fn open(
        layer: Layer,
        ether_type: u16,
        filter: &[SockFilter],
        longest: usize,
    ) -> io::Result<Self> {
        let kind = match layer {
            Layer::Frame => Type::RAW,
            Layer::Payload => Type::DGRAM,
        };
        // With protocol 0 nothing is received until the socket is bound, so nothing slips past the filter.
        let socket = Socket::new(Domain::PACKET, kind, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(filter)?;
        let protocol = ether_type.to_be();
        let address = address(protocol, 0, None);
        // SAFETY: `address` is an initialised `sockaddr_ll` that outlives the call, and the length is its size.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                address_len(),
            )
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an `OwnedFd` is open and stays the same descriptor until it is dropped, with the `AsyncFd`.
        let socket =
            unsafe { AsyncFd::register_with_interest(OwnedFd::from(socket), Interest::READABLE)? };
        Ok(Self {
            socket,
            protocol,
            longest,
        })
    }

    /// Waits for a packet.
    pub(crate) async fn receive(&self) -> io::Result<Received> {
        self.socket
            .async_io(Interest::READABLE, |fd| receive(fd, self.longest))
            .await
    }

    /// A packet that is there already.
    pub(crate) fn try_receive(&self) -> Option<Received> {
        receive(self.socket.get_ref(), self.longest).ok()
    }

    /// Sends on an interface, or gives up at once if it cannot take it now. Without a header of its own the packet
    /// goes to `to`.
    pub(crate) fn send(&self, ifindex: u32, to: Option<Mac>, bytes: &[u8]) -> io::Result<()> {
        let address = address(self.protocol, ifindex, to);
        let fd = self.socket.get_ref().as_raw_fd();
        // SAFETY: `bytes` and `address` are initialised and outlive the call; the lengths are theirs.
        let sent = unsafe {
            libc::sendto(
                fd,
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                address_len(),
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

fn receive(fd: &OwnedFd, longest: usize) -> io::Result<Received> {
    let mut bytes = vec![0; longest];
    let mut from = MaybeUninit::<libc::sockaddr_ll>::zeroed();
    let mut from_len = address_len();
    // SAFETY: the buffer and the address are writable for the lengths given, and outlive the call.
    let received = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT,
            from.as_mut_ptr().cast(),
            &raw mut from_len,
        )
    };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `sockaddr_ll` is plain data and was zeroed, so it is initialised whatever the kernel wrote.
    let from = unsafe { from.assume_init() };
    bytes.truncate(usize::try_from(received).unwrap_or(0));
    Ok(Received {
        ifindex: u32::try_from(from.sll_ifindex).unwrap_or(0),
        bytes,
    })
}

/// An interface, and a station on it; 0 stands for all interfaces.
fn address(protocol: u16, ifindex: u32, to: Option<Mac>) -> libc::sockaddr_ll {
    // SAFETY: `sockaddr_ll` is plain data for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = i32::try_from(ifindex).unwrap_or(0);
    address.sll_halen = 6;
    if let Some(mac) = to {
        for (to, byte) in address.sll_addr.iter_mut().zip(mac.bytes()) {
            *to = byte;
        }
    }
    address
}

const fn address_len() -> libc::socklen_t {
    size_of::<libc::sockaddr_ll>() as libc::socklen_t
}

/// Instructions of a classic BPF filter.
pub(crate) mod filter {
    use socket2::SockFilter;

    const BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const BYTE_INDEXED: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_IND) as u16;
    const HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const HALF_INDEXED: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_IND) as u16;
    const WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const WORD_INDEXED: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_IND) as u16;
    const LENGTH: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_LEN) as u16;
    const STORE: u16 = libc::BPF_ST as u16;
    const STORED: u16 = (libc::BPF_LD | libc::BPF_MEM) as u16;
    const STORED_IN_X: u16 = (libc::BPF_LDX | libc::BPF_MEM) as u16;
    const SET_X: u16 = (libc::BPF_LDX | libc::BPF_IMM) as u16;
    const INTO_X: u16 = (libc::BPF_MISC | libc::BPF_TAX) as u16;
    const ADD_X: u16 = (libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X) as u16;
    const SUBTRACT: u16 = (libc::BPF_ALU | libc::BPF_SUB | libc::BPF_K) as u16;
    const SUBTRACT_X: u16 = (libc::BPF_ALU | libc::BPF_SUB | libc::BPF_X) as u16;
    const SHIFT_LEFT: u16 = (libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K) as u16;
    const SKIP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
    const EQUAL_TO_X: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X) as u16;
    const HEADER_LEN: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

    /// To whom the frame was sent: one of `PACKET_*`.
    pub(crate) const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
    /// Whether the frame has a tag of a VLAN that has no interface of its own.
    pub(crate) const VLAN: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG_PRESENT) as u32;

    /// Offsets from here on are those from the first byte of the IP header.
    pub(crate) const NETWORK: u32 = libc::SKF_NET_OFF as u32;

    /// Loads the byte at an offset.
    pub(crate) fn byte(at: u32) -> SockFilter {
        SockFilter::new(BYTE, 0, 0, at)
    }

    /// Loads two bytes.
    pub(crate) fn half(at: u32) -> SockFilter {
        SockFilter::new(HALF, 0, 0, at)
    }

    /// Loads two bytes behind the IPv4 header whose length [`header_len`] has loaded.
    pub(crate) fn half_behind(at: u32) -> SockFilter {
        SockFilter::new(HALF_INDEXED, 0, 0, at)
    }

    /// Loads four bytes.
    pub(crate) fn word(at: u32) -> SockFilter {
        SockFilter::new(WORD, 0, 0, at)
    }

    /// Loads the length of the IPv4 header at an offset.
    pub(crate) fn header_len(at: u32) -> SockFilter {
        SockFilter::new(HEADER_LEN, 0, 0, at)
    }

    /// Skips so many instructions if equal, so many if not.
    pub(crate) fn equal(value: u32, then: u8, or: u8) -> SockFilter {
        SockFilter::new(EQUAL, then, or, value)
    }

    /// Skips so many instructions if as great, so many if not.
    pub(crate) fn at_least(value: u32, then: u8, or: u8) -> SockFilter {
        SockFilter::new(AT_LEAST, then, or, value)
    }

    /// Skips so many instructions if one of the bits is set, so many if not.
    pub(crate) fn any_bit(bits: u32, then: u8, or: u8) -> SockFilter {
        SockFilter::new(ANY_BIT, then, or, bits)
    }

    /// Loads the byte so far behind the place in X.
    pub(crate) fn byte_behind(at: u32) -> SockFilter {
        SockFilter::new(BYTE_INDEXED, 0, 0, at)
    }

    /// Loads four bytes, so far behind the place in X.
    pub(crate) fn word_behind(at: u32) -> SockFilter {
        SockFilter::new(WORD_INDEXED, 0, 0, at)
    }

    /// Loads the length of what the filter is shown.
    pub(crate) fn length() -> SockFilter {
        SockFilter::new(LENGTH, 0, 0, 0)
    }

    /// Stores what was loaded.
    pub(crate) fn store() -> SockFilter {
        SockFilter::new(STORE, 0, 0, 0)
    }

    /// Loads what was stored.
    pub(crate) fn stored() -> SockFilter {
        SockFilter::new(STORED, 0, 0, 0)
    }

    /// Has in X what was stored.
    pub(crate) fn stored_in_x() -> SockFilter {
        SockFilter::new(STORED_IN_X, 0, 0, 0)
    }

    /// Has a number in X.
    pub(crate) fn set_x(value: u32) -> SockFilter {
        SockFilter::new(SET_X, 0, 0, value)
    }

    /// Has in X what was loaded.
    pub(crate) fn into_x() -> SockFilter {
        SockFilter::new(INTO_X, 0, 0, 0)
    }

    /// Adds X to what was loaded.
    pub(crate) fn add_x() -> SockFilter {
        SockFilter::new(ADD_X, 0, 0, 0)
    }

    /// Subtracts from what was loaded.
    pub(crate) fn subtract(value: u32) -> SockFilter {
        SockFilter::new(SUBTRACT, 0, 0, value)
    }

    /// Subtracts X from what was loaded.
    pub(crate) fn subtract_x() -> SockFilter {
        SockFilter::new(SUBTRACT_X, 0, 0, 0)
    }

    /// Shifts what was loaded to the left by so many bits.
    pub(crate) fn shift_left(bits: u32) -> SockFilter {
        SockFilter::new(SHIFT_LEFT, 0, 0, bits)
    }

    /// Skips so many instructions.
    pub(crate) fn skip(instructions: usize) -> SockFilter {
        // No filter has more than 4,096.
        SockFilter::new(SKIP, 0, 0, u32::try_from(instructions).unwrap_or(u32::MAX))
    }

    /// Skips so many instructions if equal to X, so many if not.
    pub(crate) fn equal_to_x(then: u8, or: u8) -> SockFilter {
        SockFilter::new(EQUAL_TO_X, then, or, 0)
    }

    /// Takes so many bytes; with 0 the packet is not for us.
    pub(crate) fn take(bytes: u32) -> SockFilter {
        SockFilter::new(RETURN, 0, 0, bytes)
    }
}
