//! What somebody on the network can do who hears advertisements and has no key.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lb_daemon::core::vrrp::packet::PROTOCOL;
use lb_daemon::core::vrrp::{Freshness, Key, Mode, Signing};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::garbage;
use super::netns::Host;

pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Sends an unsigned advertisement, one that is signed with another key, and a thousand times one that was heard from
/// `director`.
pub(crate) fn try_all(host: &Host, director: Ipv4Addr) {
    host.call(move || {
        let heard = hear(director);
        let stranger = Ipv4Addr::new(10, 5, 0, 9);
        let unsigned = garbage::right(stranger);
        let other = Signing {
            keys: vec![Key::new(1, &"another key, and of no director!".repeat(2)).unwrap()],
            active: 1,
            mode: Mode::Enforce,
            freshness: Freshness::Growing,
        };
        let now = std::time::SystemTime::now();
        let seconds = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let signed = garbage::signed(stranger, &other, seconds << 32);
        send(&with_header(stranger, 255, &unsigned));
        send(&with_header(stranger, 255, &signed));
        for _ in 0..1_000 {
            send(&heard);
        }
    });
}

/// The next packet of a director, with its IP header.
fn hear(director: Ipv4Addr) -> Vec<u8> {
    let raw = Protocol::from(i32::from(PROTOCOL));
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let index = nix::net::if_::if_nametoindex("eth0").unwrap();
    socket
        .join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))
        .unwrap();
    let mut room = [0; 2_048];
    loop {
        let length = socket.read(&mut room).unwrap();
        if room[12..16] == director.octets() {
            return room[..length].to_vec();
        }
    }
}

/// The packet of a message, as a raw socket with `IPPROTO_RAW` sends it.
pub(crate) fn with_header(source: Ipv4Addr, ttl: u8, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + message.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0xC0, length[0], length[1], 0, 0, 0, 0];
    packet.extend([ttl, PROTOCOL, 0, 0]);
    packet.extend(source.octets());
    packet.extend(GROUP.octets());
    packet.extend(message);
    packet
}

fn send(packet: &[u8]) {
    let raw = Protocol::from(libc::IPPROTO_RAW);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw)).unwrap();
    socket.bind_device(Some(b"eth0")).unwrap();
    let to = SocketAddrV4::new(GROUP, 0).into();
    socket.send_to(packet, &to).unwrap();
}
