//! The socket for ARP.

use std::io;

use socket2::SockFilter;

use crate::io::packet_socket::filter::{PACKET_TYPE, VLAN, equal, half, take, word};
use crate::io::packet_socket::{Layer, PacketSocket};

/// An ARP frame padded to Ethernet's minimum, and some more.
const LONGEST: usize = 128;

/// Opens it, in the network namespace of the calling thread.
pub(in crate::io) fn open() -> io::Result<PacketSocket> {
    PacketSocket::open(Layer::Frame, libc::ETH_P_ARP as u16, &filter(), LONGEST)
}

/// Lets through questions and answers of ARP for IPv4 over Ethernet that were sent to us or to all, outside
/// of any VLAN that has no interface of its own.
fn filter() -> [SockFilter; 13] {
    [
        word(PACKET_TYPE),
        equal(libc::PACKET_OTHERHOST.into(), 9, 0),
        word(VLAN),
        equal(0, 0, 7),
        half(12), // EtherType
        equal(libc::ETH_P_ARP as u32, 0, 5),
        word(14), // hardware and protocol type
        equal(0x0001_0800, 0, 3),
        word(18), // their lengths, operation
        equal(0x0604_0001, 2, 0),
        equal(0x0604_0002, 1, 0),
        take(0),
        take(LONGEST as u32),
    ]
}
