//! Packets that nobody should heed, and how many of each sort.

use std::net::{Ipv4Addr, SocketAddrV4};

use lb_daemon::core::vrrp::{
    Auth, Claim, Interval, Packet, Password, Priority, Signing, Version, multicast_group,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::netns::Host;

/// A sort of garbage: what is wrong, by the name of its counter, the TTL, and the bytes.
type Sort = (&'static str, u32, Vec<u8>);

/// From this address, which is no director's.
const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 9);

/// A message of version 3 with nothing wrong about it, as somebody would send it.
pub(crate) fn right(source: Ipv4Addr) -> Vec<u8> {
    version_3().encode(source.into(), multicast_group(source.into()))
}

/// The same with a trailer.
pub(crate) fn signed(source: Ipv4Addr, signing: &Signing, number: u64) -> Vec<u8> {
    let to = multicast_group(source.into());
    version_3().encode_signed(source.into(), to, Some((signing, number)))
}

fn version_3() -> Packet {
    Packet {
        version: Version::V3,
        auth: Auth::None,
        interval: Interval::centis(10).unwrap(),
        ..director()
    }
}

fn packet(change: impl FnOnce(&mut Packet)) -> Vec<u8> {
    let mut packet = director();
    change(&mut packet);
    packet.encode(SOURCE.into(), multicast_group(SOURCE.into()))
}

/// What a director of version 2 would say.
fn director() -> Packet {
    Packet {
        version: Version::V2,
        vrid: 51,
        // It would win if it were heeded.
        claim: Claim::Priority(Priority::OWNER),
        interval: Interval::seconds(1).unwrap(),
        auth: Auth::Pass(Password::new("1111").unwrap()),
        addresses: vec![[10, 5, 0, 80].into(), [10, 5, 0, 81].into()],
    }
}

/// One of each sort.
fn sorts() -> Vec<Sort> {
    let right = packet(|_| ());
    let with = |at: usize, byte: u8| {
        let mut bytes = right.clone();
        bytes[at] = byte;
        bytes
    };
    let cut = |length: usize| right[..length].to_vec();
    vec![
        ("ttl", 254, right.clone()),
        ("version", 255, with(0, 0x11)),
        ("version", 255, packet(|p| p.version = Version::V3)),
        ("type", 255, with(0, 0x22)),
        ("count", 255, with(3, 0)),
        ("length", 255, cut(right.len() - 1)),
        ("length", 255, with(3, 200)),
        ("checksum", 255, with(2, 254)),
        ("auth_type", 255, packet(|p| p.auth = Auth::None)),
        (
            "auth_pass",
            255,
            packet(|p| p.auth = Auth::Pass(Password::new("1112").unwrap())),
        ),
        (
            "interval",
            255,
            packet(|p| p.interval = Interval::seconds(2).unwrap()),
        ),
        (
            "addresses",
            255,
            packet(|p| p.addresses[0] = [10, 5, 0, 82].into()),
        ),
        // The kernel keeps this one from us.
        ("", 255, packet(|p| p.vrid = 52)),
    ]
}

/// Sends every sort so many times from a host, and says how many of each reason there must be.
pub(crate) fn send(host: &Host, times: u64) -> Vec<(&'static str, u64)> {
    host.call(move || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        let to = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0).into();
        let sorts = sorts();
        for _ in 0..times {
            for (_, ttl, bytes) in &sorts {
                socket.set_multicast_ttl_v4(*ttl).unwrap();
                socket.send_to(bytes, &to).unwrap();
            }
        }
        let mut expected: Vec<(&'static str, u64)> = Vec::new();
        for (name, _, _) in sorts.into_iter().filter(|(name, _, _)| !name.is_empty()) {
            match expected.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += times,
                None => expected.push((name, times)),
            }
        }
        expected.sort_unstable();
        expected
    })
}
