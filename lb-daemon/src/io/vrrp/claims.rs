//! Hearing of others who say that they have an address: ARP and unsolicited neighbour advertisements.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::filter::{near, words};
use crate::core::hop::Mac;
use crate::core::vrrp::{ADVERTISED_ADDRESS, ARP_ADDRESS, announced};
use crate::io::packet_socket::filter as bpf;

/// As much of a frame as is looked at.
const LONGEST: usize = 128;
/// Among more addresses the kernel does not look for one of ours.
const MOST: usize = 500;
/// So many claims are read before others have their turn.
const TURN: usize = 64;

/// ARP as an EtherType.
const ARP: u16 = 0x0806;
/// IPv6 as an EtherType.
const IPV6: u16 = 0x86DD;
/// Where a neighbour advertisement right behind an IPv6 header has its parts.
const NEXT_HEADER: u32 = 20;
const HOP_LIMIT: u32 = 21;
const ICMP_TYPE: u32 = 54;

/// Somebody says that an address is at a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub ifindex: u32,
    pub addr: IpAddr,
    pub mac: Mac,
}

/// Hears claims of one family on all interfaces.
#[derive(Debug)]
pub(super) struct ClaimSocket {
    socket: Socket,
    v6: bool,
    addresses: Vec<IpAddr>,
}

impl ClaimSocket {
    /// Opens one that hears nothing yet.
    pub(super) fn open(v6: bool) -> io::Result<Self> {
        // With protocol 0 nothing comes until there is a filter.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.attach_filter(&filter(v6, &[]))?;
        socket.set_nonblocking(true)?;
        let ether_type = if v6 { IPV6 } else { ARP };
        super::packet_socket::bind(&socket, ether_type)?;
        Ok(Self {
            socket,
            v6,
            addresses: Vec::new(),
        })
    }

    /// Hears claims to these addresses from now on.
    pub(super) fn listen_to(&mut self, addresses: Vec<IpAddr>) -> io::Result<()> {
        if self.addresses != addresses {
            self.socket.attach_filter(&filter(self.v6, &addresses))?;
            self.addresses = addresses;
        }
        Ok(())
    }

    /// The claims that were made since it was asked last, or some of them.
    pub(super) fn read(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        let mut frame = [0; LONGEST];
        for _ in 0..TURN {
            let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame)
            else {
                break;
            };
            let frame = frame.get(..length).unwrap_or_default();
            let ifindex = from.and_then(|from| u32::try_from(from.ifindex()).ok());
            let claim = announced(self.v6, frame);
            claims.extend(ifindex.zip(claim).map(|(ifindex, (addr, mac))| Claim {
                ifindex,
                addr,
                mac,
            }));
        }
        claims
    }
}

impl AsFd for ClaimSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Lets through claims to these addresses.
fn filter(v6: bool, addresses: &[IpAddr]) -> Vec<SockFilter> {
    let (mut program, at) = if v6 {
        let advertisement = [(NEXT_HEADER, 58), (HOP_LIMIT, 255), (ICMP_TYPE, 136)];
        let must = |(at, value)| [bpf::byte(at), bpf::equal(value, 1, 0), bpf::take(0)];
        (
            advertisement.into_iter().flat_map(must).collect(),
            ADVERTISED_ADDRESS,
        )
    } else {
        (Vec::new(), ARP_ADDRESS)
    };
    if addresses.len() > MOST {
        program.push(bpf::take(LONGEST as u32));
        return program;
    }
    for addr in addresses.iter().filter(|a| a.is_ipv6() == v6) {
        let words = words(*addr);
        let behind = (0..words.len()).rev().map(|left| left * 2 + 1);
        for ((at, word), behind) in (at as u32..).step_by(4).zip(&words).zip(behind) {
            program.extend([bpf::word(at), bpf::equal(*word, 0, near(behind))]);
        }
        program.push(bpf::take(LONGEST as u32));
    }
    program.push(bpf::take(0));
    program
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::core::vrrp::{gratuitous_arp, neighbour_advertisement};

    const MAC: Mac = match Mac::new([2, 0, 0, 0, 0, 0xA1]) {
        Some(mac) => mac,
        None => panic!(),
    };

    #[test]
    fn the_kernel_lets_through_claims_to_our_addresses_only() {
        let ours: [IpAddr; 3] =
            ["192.0.2.80", "2001:db8::80", "2001:db8::81"].map(|a| a.parse().unwrap());
        let passes = |v6: bool, frame: &[u8]| {
            let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
            near.attach_filter(&filter(v6, &ours)).unwrap();
            near.set_nonblocking(true).unwrap();
            far.send(frame).unwrap();
            near.recv(&mut [std::mem::MaybeUninit::uninit(); 256])
                .is_ok()
        };
        let arp = |last| gratuitous_arp(MAC, Ipv4Addr::new(192, 0, 2, last));
        assert!(passes(false, &arp(80)));
        assert!(!passes(false, &arp(81)));
        let advertisement = |text: &str| neighbour_advertisement(MAC, text.parse().unwrap(), false);
        assert!(passes(true, &advertisement("2001:db8::80")));
        assert!(passes(true, &advertisement("2001:db8::81")));
        assert!(!passes(true, &advertisement("2001:db8::82")));
        let mut far = advertisement("2001:db8::80");
        far[HOP_LIMIT as usize] = 254;
        assert!(!passes(true, &far), "from beyond a router");
    }
}
