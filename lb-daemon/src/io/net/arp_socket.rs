//! A raw socket that sends and receives ARP frames on all interfaces.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest frame that is looked at: an ARP frame padded to Ethernet's minimum, and some more.
const FRAME: usize = 128;

/// `ETH_P_ARP` as the kernel wants it: in network order.
const ETH_P_ARP: u16 = (libc::ETH_P_ARP as u16).to_be();

/// Receives ARP for IPv4 that was sent to us or to all, and sends frames on any interface.
#[derive(Debug)]
pub(super) struct ArpSocket {
    socket: AsyncFd<OwnedFd>,
}

/// A frame as it was received.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) ifindex: u32,
    bytes: [u8; FRAME],
    len: usize,
}

impl Frame {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl ArpSocket {
    /// Opens the socket in the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        // With protocol 0 nothing is received until the socket is bound, so no frame slips past the filter.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter())?;
        let address = address(0);
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
        Ok(Self { socket })
    }

    /// Waits for a frame.
    pub(super) async fn receive(&self) -> io::Result<Frame> {
        self.socket.async_io(Interest::READABLE, receive).await
    }

    /// A frame that is there already.
    pub(super) fn try_receive(&self) -> Option<Frame> {
        receive(self.socket.get_ref()).ok()
    }

    /// Sends a frame, or gives up at once if the interface cannot take it now.
    pub(super) fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let address = address(ifindex);
        let fd = self.socket.get_ref().as_raw_fd();
        // SAFETY: `frame` and `address` are initialised and outlive the call; the lengths are theirs.
        let sent = unsafe {
            libc::sendto(
                fd,
                frame.as_ptr().cast(),
                frame.len(),
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

fn receive(fd: &OwnedFd) -> io::Result<Frame> {
    let mut frame = Frame {
        ifindex: 0,
        bytes: [0; FRAME],
        len: 0,
    };
    let mut from = MaybeUninit::<libc::sockaddr_ll>::zeroed();
    let mut from_len = address_len();
    // SAFETY: the buffer and the address are writable for the lengths given, and outlive the call.
    let received = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            frame.bytes.as_mut_ptr().cast(),
            FRAME,
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
    frame.ifindex = u32::try_from(from.sll_ifindex).unwrap_or(0);
    frame.len = usize::try_from(received).unwrap_or(0).min(FRAME);
    Ok(frame)
}

/// ARP on an interface; 0 stands for all of them.
fn address(ifindex: u32) -> libc::sockaddr_ll {
    // SAFETY: `sockaddr_ll` is plain data for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ETH_P_ARP;
    address.sll_ifindex = i32::try_from(ifindex).unwrap_or(0);
    address.sll_halen = 6;
    address
}

const fn address_len() -> libc::socklen_t {
    size_of::<libc::sockaddr_ll>() as libc::socklen_t
}

/// Lets through questions and answers of ARP for IPv4 over Ethernet that were sent to us or to all, outside
/// of any VLAN that has no interface of its own.
fn filter() -> [SockFilter; 13] {
    const LD_H: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LD_W: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JEQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RET: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const PKTTYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
    const VLAN: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG_PRESENT) as u32;
    const OTHERHOST: u32 = libc::PACKET_OTHERHOST as u32;
    let op = SockFilter::new;
    [
        op(LD_W, 0, 0, PKTTYPE),
        op(JEQ, 9, 0, OTHERHOST),
        op(LD_W, 0, 0, VLAN),
        op(JEQ, 0, 7, 0),
        op(LD_H, 0, 0, 12), // EtherType
        op(JEQ, 0, 5, libc::ETH_P_ARP as u32),
        op(LD_W, 0, 0, 14), // hardware and protocol type
        op(JEQ, 0, 3, 0x0001_0800),
        op(LD_W, 0, 0, 18), // their lengths, operation
        op(JEQ, 2, 0, 0x0604_0001),
        op(JEQ, 1, 0, 0x0604_0002),
        op(RET, 0, 0, 0),
        op(RET, 0, 0, FRAME as u32),
    ]
}
