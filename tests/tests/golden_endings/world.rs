//! The director of the rows, and how a row is written.

use std::time::Duration;

use lb_common::abi::{Method, Real, ServiceKey4, real};
use lb_common::counter::Counter;
use lb_common::model::{Path, World};
use lb_common::net::{Be16, Be32, Proto};
use lb_common::packet::build::Build;
use lb_common::packet::wire::{MacPair, mac_word};
use lb_common::sched::Scheduler;
use tests::plane::{Host, Verdict};

pub(super) const VIP: Be32 = Be32::from_bytes([203, 0, 113, 10]);

pub(super) const CLIENT: &str = "198.51.100.5:1025";

pub(super) const WEB: &str = "203.0.113.10:80";

pub(super) const DNS: &str = "203.0.113.10:53";

/// Towards this client packets of up to 1000 bytes fit.
pub(super) const NARROW_CLIENT: &str = "198.51.100.6:1025";

/// The neighbour of this client is not known.
pub(super) const SILENT_CLIENT: &str = "198.51.100.7:1025";

/// The egress slot of the real servers' side.
pub(super) const SLOT: u64 = 3;

/// The loopback: where frames of the tests come from.
pub(super) const INGRESS: u32 = 1;

pub(super) const SYN: u8 = 0x02;

pub(super) const RST: u8 = 0x04;

pub(super) const ACK: u8 = 0x10;

pub(super) const FIN_ACK: u8 = 0x11;

pub(super) const SYN_ACK: u8 = 0x12;

/// A director, what it is given, and how each packet ends.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) world: Box<dyn Fn() -> World>,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone)]
pub(super) enum Step {
    /// A packet comes.
    Packet(Packet),
    /// Time passes.
    Wait(Duration),
    /// The configuration changes.
    Change(fn(&mut World)),
}

#[derive(Clone)]
pub(super) struct Packet {
    pub(super) frame: Vec<u8>,
    /// Bytes of metadata in front, which take room.
    pub(super) metadata: usize,
    pub(super) counter: Counter,
    pub(super) verdict: Verdict,
    /// What the frame is in the end.
    pub(super) becomes: Vec<u8>,
}

/// A packet that is left to the stack as it came.
pub(super) fn passes(frame: Vec<u8>, counter: Counter) -> Step {
    becomes(frame.clone(), counter, Verdict::Pass, frame)
}

/// A packet that is dropped.
pub(super) fn dropped(frame: Vec<u8>, counter: Counter) -> Step {
    becomes(frame.clone(), counter, Verdict::Drop, frame)
}

/// A packet whose sender is told by ICMP of this type and code.
pub(super) fn refused(frame: Vec<u8>, counter: Counter, [kind, code]: [u8; 2], mtu: u16) -> Step {
    let error = icmp_error(&frame, kind, code, mtu);
    becomes(frame, counter, Verdict::Tx, error)
}

pub(super) fn becomes(
    frame: Vec<u8>,
    counter: Counter,
    verdict: Verdict,
    becomes: Vec<u8>,
) -> Step {
    Step::Packet(Packet {
        frame,
        metadata: 0,
        counter,
        verdict,
        becomes,
    })
}

pub(super) const TIME_EXCEEDED: [u8; 2] = [11, 0];

pub(super) const PORT_UNREACHABLE: [u8; 2] = [3, 3];

pub(super) const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];

/// The ICMP error of Linux for a frame, as RFC 792 and RFC 1812 have it, made here from scratch.
pub(super) fn icmp_error(frame: &[u8], kind: u8, code: u8, mtu: u16) -> Vec<u8> {
    let mut quote = frame[14..].to_vec();
    let length = usize::from(u16::from_be_bytes([quote[2], quote[3]]));
    quote.truncate(length.min(548));
    if code == FRAGMENTATION_NEEDED[1] {
        // IPVS finds the size wrong after the TTL was counted down.
        quote[8] -= 1;
        quote[10..12].fill(0);
        let sum = checksum(&quote[..usize::from(quote[0] & 15) * 4]);
        quote[10..12].copy_from_slice(&sum);
    }
    let mut icmp = vec![kind, code, 0, 0, 0, 0];
    icmp.extend(mtu.to_be_bytes());
    icmp.extend(&quote);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let mut ip = vec![0x45, 0xc0];
    ip.extend((20 + icmp.len() as u16).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 1, 0, 0]);
    ip.extend(&frame[30..34]);
    ip.extend(&frame[26..30]);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [&frame[6..12], &frame[..6], &[8, 0], &ip, &icmp].concat()
}

/// The Internet checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> [u8; 2] {
    let pairs = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

pub(super) fn key(proto: Proto, port: u16) -> ServiceKey4 {
    ServiceKey4 {
        vip: VIP,
        port: Be16::from_host(port),
        proto: proto as u8,
        host_bits: 0,
    }
}

/// Real server `10.0.0.number`; with NAT its port is the service's, and 8000 more.
pub(super) fn real_server(method: Method, number: u8, port: u16) -> Real {
    let [a, b, c, d, e, _] = Host::Real.mac();
    let nat = method == Method::Nat;
    Real {
        dst: mac_word([a, b, c, d, e, number]) | SLOT << 48,
        src: mac_word(Host::Real.director()) | 1500 << 48,
        addr: Be32::from_bytes([10, 0, 0, number]),
        port: Be16::from_host(if nat { 8000 + port } else { port }),
        method: method as u8,
        flags: real::USED,
        tun_src: Be32::from_bytes([10, 0, 0, 254]),
        ifindex: 99,
        ..Real::default()
    }
}

/// A director with the web (TCP 80) and DNS (UDP 53), whose real servers are made by `reals` from their port.
pub(super) fn director(buckets: u32, reals: impl Fn(u16) -> Vec<(Real, u16)>) -> World {
    let mut world = World::new(buckets);
    for (client, mtu) in [(5, 1500), (6, 1000)] {
        let macs = MacPair {
            dst: mac_word(Host::Client.mac()),
            src: mac_word(Host::Client.director()),
        };
        let path = Path {
            ifindex: FRONT,
            macs,
            mtu,
        };
        world
            .routes
            .insert(Be32::from_bytes([198, 51, 100, client]), path);
    }
    for (proto, port) in [(Proto::Tcp, 80), (Proto::Udp, 53)] {
        world.add_service(key(proto, port), Scheduler::Rr, &reals(port));
    }
    world
}

/// The interface to the clients: the third one of the namespace, behind `lo` and its peer.
pub(super) const FRONT: u32 = 3;

/// A director with one real server a service, as `change` makes it.
pub(super) fn one_real(method: Method, change: impl Fn(&mut Real)) -> World {
    director(64, |port| {
        let mut real = real_server(method, 1, port);
        change(&mut real);
        vec![(real, 1)]
    })
}

/// A director with two real servers a service.
pub(super) fn two() -> World {
    director(64, |port| {
        [1, 2]
            .map(|number| (real_server(Method::Dr, number, port), 1))
            .to_vec()
    })
}

pub(super) fn plain(method: Method) -> World {
    one_real(method, |_| {})
}

pub(super) fn syn() -> Build {
    Build::tcp(CLIENT, WEB).flags(SYN)
}

pub(super) fn segment(flags: u8) -> Build {
    Build::tcp(CLIENT, WEB).flags(flags)
}

pub(super) fn query() -> Build {
    Build::udp(CLIENT, DNS).payload(b"query")
}

/// What the real server gets, its Ethernet addresses exchanged for the hop's, its TTL counted down from 64.
pub(super) fn onward(build: Build, number: u8) -> Build {
    let [a, b, c, d, e, _] = Host::Real.mac();
    build
        .macs(Host::Real.director(), [a, b, c, d, e, number])
        .ttl(63)
}

/// A packet of the clients that DR forwards to a real server.
pub(super) fn to(build: Build, number: u8) -> Step {
    becomes(
        build.clone().bytes(),
        Counter::ForwardedDr,
        Verdict::Redirect,
        onward(build, number).bytes(),
    )
}

/// A frame with other bytes at a place.
pub(super) fn patched(build: &Build, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = build.bytes();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A frame of this length, its end cut off.
pub(super) fn cut(build: &Build, len: usize) -> Vec<u8> {
    let mut frame = build.bytes();
    frame.truncate(len);
    frame
}

/// The outer header of a tunnel in front of what the real server would get.
pub(super) fn tunnelled(inner: Build) -> Vec<u8> {
    in_tunnel(&onward(inner, 1).bytes())
}

/// The outer header of a tunnel in front of the packet in a frame to the real server.
pub(super) fn in_tunnel(inner: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, inner[15]];
    ip.extend((inner.len() as u16 - 14 + 20).to_be_bytes());
    ip.extend([
        0,
        0,
        inner[20] & 0x40,
        0,
        63,
        4,
        0,
        0,
        10,
        0,
        0,
        254,
        10,
        0,
        0,
        1,
    ]);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [&inner[..14], &ip, &inner[14..]].concat()
}

pub(super) fn row(
    rows: &mut Vec<Row>,
    name: &'static str,
    world: impl Fn() -> World + 'static,
    steps: Vec<Step>,
) {
    let world = Box::new(world);
    rows.push(Row { name, world, steps });
}
