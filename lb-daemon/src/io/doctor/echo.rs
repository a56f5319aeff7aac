//! What real servers send back, when asked by packets that are made here byte by byte.
//!
//! To those of method tun go echo requests of several sizes that nobody may take apart: the greatest that is answered is what
//! the tunnel's way carries. Those of method nat are asked in the name of a client far away: their answer has to come back to
//! this director, as with any client's connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket,
    TcpRepr, TcpSeqNumber,
};
use tokio::time::{Instant, timeout_at};

use super::pairs;
use crate::config::Model;
use crate::core::desired::{Method, Proto};
use crate::core::doctor::facts::Path;
use crate::core::hop::{Mac, NextHop};
use crate::io::packet_socket::{Layer, PacketSocket, filter};

/// How often each is asked, as a packet may be lost.
const TIMES: u32 = 3;
/// How long to wait after each time.
const WAIT: Duration = Duration::from_millis(300);
/// The network of tests and measurements (RFC 2544): no client is there, and no route leads to it but the default one.
const FAR: [u8; 2] = [198, 18];
/// The longest packet that there is.
const LONGEST: usize = 65_535;
/// The port that the far client has.
const PORT: u16 = 60_999;
/// Bytes of the headers of IPv4 and ICMP.
const HEADERS: u32 = 28;
/// Sizes that packets are cut down to in practice: PPPoE, tunnels in tunnels, and what IPv6 and old IPv4 ask for.
const SIZES: [u32; 8] = [8_000, 4_000, 1_500, 1_492, 1_476, 1_400, 1_280, 576];

/// What came back of a host; nothing of what it was not asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Echo {
    pub(super) path: Option<Result<Path, String>>,
    pub(super) returns: Option<Result<bool, String>>,
}

/// A host that is asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    real: Ipv4Addr,
    ifindex: u32,
    mac: Mac,
    source: Ipv4Addr,
    mtu: u32,
    /// It has to answer with packets of full size.
    tun: bool,
    /// It has to answer to clients far away, where it listens to TCP at this port.
    nat: Option<u16>,
}

/// Asks all that are reached by tun or nat.
pub(super) async fn ask(
    model: &Model,
    hops: &BTreeMap<IpAddr, Result<NextHop, String>>,
) -> BTreeMap<IpAddr, Echo> {
    let mut all: BTreeMap<IpAddr, Echo> = BTreeMap::new();
    let mut asked: BTreeMap<IpAddr, Asked> = BTreeMap::new();
    for (service, real, method) in pairs(model) {
        if !matches!(method, Method::Tun | Method::Nat) {
            continue;
        }
        let echo = all.entry(real.addr).or_default();
        let host = match hops.get(&real.addr).map(|hop| host(real.addr, hop)) {
            Some(Ok(Some(host))) => host,
            Some(Ok(None)) => continue,
            Some(Err(why)) => {
                match method {
                    Method::Tun => echo.path = Some(Err(why)),
                    _ => echo.returns = Some(Err(why)),
                }
                continue;
            }
            None => continue,
        };
        let host = asked.entry(real.addr).or_insert(host);
        match (method, service.id.proto) {
            (Method::Tun, _) => host.tun = true,
            (_, Proto::Tcp) => host.nat = Some(real.port),
            (_, Proto::Udp) => host.nat = host.nat.or(Some(0)),
        }
    }
    if asked.is_empty() {
        return all;
    }
    let hosts: Vec<Asked> = asked.into_values().collect();
    let answers = converse(&hosts).await;
    for host in hosts {
        let echo = all.entry(host.real.into()).or_default();
        let failed = |err: &io::Error| format!("no packet socket: {err}");
        if host.tun {
            echo.path = Some(match &answers {
                Ok(heard) => path(&host, &heard.sizes),
                Err(err) => Err(failed(err)),
            });
        }
        if host.nat.is_some() {
            let came = answers
                .as_ref()
                .map(|heard| heard.returned.contains(&host.real));
            echo.returns = Some(came.map_err(failed));
        }
    }
    all
}

/// How a host is asked; `None` if it is this machine.
fn host(real: IpAddr, hop: &Result<NextHop, String>) -> Result<Option<Asked>, String> {
    let hop = hop.as_ref().map_err(Clone::clone)?;
    if hop.is_local() {
        return Ok(None);
    }
    let (IpAddr::V4(real), Some(IpAddr::V4(source))) = (real, hop.source) else {
        return Err("only IPv4 is asked so".to_owned());
    };
    let mac = hop.mac.ok_or("its next hop does not answer")?;
    Ok(Some(Asked {
        real,
        ifindex: hop.ifindex,
        mac,
        source,
        mtu: hop.mtu.min(LONGEST as u32),
        tun: false,
        nat: None,
    }))
}

/// What was heard.
#[derive(Debug, Default)]
struct Heard {
    /// Sizes of packets that were answered.
    sizes: BTreeSet<(Ipv4Addr, u32)>,
    /// Hosts whose answers to a far client came here.
    returned: BTreeSet<Ipv4Addr>,
}

/// Asks all hosts, and hears what comes back.
async fn converse(hosts: &[Asked]) -> io::Result<Heard> {
    let far = Ipv4Addr::new(FAR[0], FAR[1], fastrand::u8(..), fastrand::u8(1..255));
    let ident = fastrand::u16(..);
    let socket = PacketSocket::open(Layer::Payload, libc::ETH_P_IP as u16, &take(far), LONGEST)?;
    let mut heard = Heard::default();
    for _ in 0..TIMES {
        for host in hosts {
            for packet in questions(host, far, ident, &heard) {
                // One that cannot be sent now is sent again.
                let _ = socket.send(host.ifindex, Some(host.mac), &packet);
            }
        }
        let until = Instant::now() + WAIT;
        while let Ok(packet) = timeout_at(until, socket.receive()).await {
            let Ok(packet) = packet else { continue };
            hear(&packet.bytes, far, ident, &mut heard);
        }
    }
    // The far client that never was takes its connections back.
    for host in hosts {
        if let Some(port @ 1..) = host.nat {
            let _ = socket.send(
                host.ifindex,
                Some(host.mac),
                &segment(far, host.real, port, TcpControl::Rst),
            );
        }
    }
    Ok(heard)
}

/// Echo replies, and everything for the far client.
fn take(far: Ipv4Addr) -> [socket2::SockFilter; 9] {
    [
        filter::word(16), // destination
        filter::equal(far.to_bits(), 6, 0),
        filter::byte(9), // protocol
        filter::equal(libc::IPPROTO_ICMP as u32, 0, 3),
        filter::header_len(0),
        filter::half_behind(0), // type and code
        filter::equal(0, 1, 0), // an echo reply
        filter::take(0),
        filter::take(LONGEST as u32),
    ]
}

/// What a host is asked that it has not answered yet.
fn questions(host: &Asked, far: Ipv4Addr, ident: u16, heard: &Heard) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if host.tun {
        let open = |size: &u32| !heard.sizes.contains(&(host.real, *size));
        all.extend(sizes(host.mtu).filter(open).filter_map(|size| {
            // The size says which of the answers it is.
            let sequence = u16::try_from(size).ok()?;
            Some(echo(host.source, host.real, ident, sequence, size))
        }));
    }
    if let Some(port) = host.nat
        && !heard.returned.contains(&host.real)
    {
        all.push(echo(far, host.real, ident, 0, HEADERS));
        if port != 0 {
            all.push(segment(far, host.real, port, TcpControl::Syn));
        }
    }
    all
}

/// The sizes that are tried on a way of this MTU, the MTU itself first.
fn sizes(mtu: u32) -> impl Iterator<Item = u32> {
    std::iter::once(mtu).chain(SIZES.into_iter().filter(move |size| *size < mtu))
}

fn path(host: &Asked, heard: &BTreeSet<(Ipv4Addr, u32)>) -> Result<Path, String> {
    let came = sizes(host.mtu).find(|size| heard.contains(&(host.real, *size)));
    match came {
        Some(size) if size == host.mtu => Ok(Path::Full),
        Some(size) => Ok(Path::UpTo(size)),
        None => Err("it answers no echo request (ping)".to_owned()),
    }
}

fn hear(packet: &[u8], far: Ipv4Addr, ident: u16, heard: &mut Heard) {
    let Ok(ip) = Ipv4Packet::new_checked(packet) else {
        return;
    };
    let from = ip.src_addr();
    if ip.dst_addr() == far {
        heard.returned.insert(from);
        return;
    }
    let Ok(icmp) = Icmpv4Packet::new_checked(ip.payload()) else {
        return;
    };
    if icmp.echo_ident() == ident {
        heard.sizes.insert((from, icmp.echo_seq_no().into()));
    }
}

/// An echo request of so many bytes in all, that nobody may take apart.
fn echo(from: Ipv4Addr, to: Ipv4Addr, ident: u16, sequence: u16, size: u32) -> Vec<u8> {
    let length = usize::try_from(size.saturating_sub(HEADERS)).unwrap_or_default();
    let data = vec![0; length];
    let icmp = Icmpv4Repr::EchoRequest {
        ident,
        seq_no: sequence,
        data: &data,
    };
    packet(from, to, IpProtocol::Icmp, icmp.buffer_len(), |payload| {
        let mut packet = Icmpv4Packet::new_unchecked(payload);
        icmp.emit(&mut packet, &ChecksumCapabilities::default());
    })
}

/// A segment that opens a connection, or takes it back.
fn segment(from: Ipv4Addr, to: Ipv4Addr, port: u16, control: TcpControl) -> Vec<u8> {
    let begun = i32::from(control == TcpControl::Rst);
    let tcp = TcpRepr {
        src_port: PORT,
        dst_port: port,
        control,
        seq_number: TcpSeqNumber(begun),
        ack_number: None,
        window_len: 1_024,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    packet(from, to, IpProtocol::Tcp, tcp.buffer_len(), |payload| {
        let mut packet = TcpPacket::new_unchecked(payload);
        let (from, to) = (IpAddress::Ipv4(from), IpAddress::Ipv4(to));
        tcp.emit(&mut packet, &from, &to, &ChecksumCapabilities::default());
    })
}

fn packet(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: IpProtocol,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: protocol,
        payload_len: length,
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + length];
    let mut packet = Ipv4Packet::new_unchecked(bytes.as_mut_slice());
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    fill(packet.payload_mut());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const FAR_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 7);

    fn asked(mtu: u32) -> Asked {
        Asked {
            real: REAL,
            ifindex: 2,
            mac: Mac::new([2, 0, 0, 0, 0, 1]).unwrap(),
            source: OWN,
            mtu,
            tun: true,
            nat: None,
        }
    }

    #[test]
    fn a_request_has_the_size_that_it_asks_for_and_may_not_be_taken_apart() {
        for size in sizes(1_500) {
            let bytes = echo(OWN, REAL, 7, 9, size);
            assert_eq!(bytes.len(), size as usize);
            assert!(
                Ipv4Packet::new_checked(bytes.as_slice())
                    .unwrap()
                    .dont_frag()
            );
        }
        assert_eq!(sizes(1_500).next(), Some(1_500));
        assert!(sizes(1_500).skip(1).all(|size| size < 1_500));
    }

    #[test]
    fn the_greatest_that_is_answered_is_what_the_way_carries() {
        let host = asked(1_500);
        let heard = |all: &[u32]| all.iter().map(|size| (REAL, *size)).collect();
        assert_eq!(path(&host, &heard(&[1_500, 576])), Ok(Path::Full));
        assert_eq!(path(&host, &heard(&[576, 1_400])), Ok(Path::UpTo(1_400)));
        assert!(path(&host, &heard(&[])).is_err());
    }

    #[test]
    fn an_answer_is_told_from_others() {
        let mut heard = Heard::default();
        let mut reply = echo(REAL, OWN, 7, 1_500, 1_500);
        reply[20] = 0;
        hear(&reply, FAR_CLIENT, 8, &mut heard);
        assert!(heard.sizes.is_empty(), "another's echo");
        hear(&reply, FAR_CLIENT, 7, &mut heard);
        assert!(heard.sizes.contains(&(REAL, 1_500)));
        assert!(heard.returned.is_empty());
        hear(
            &segment(REAL, FAR_CLIENT, PORT, TcpControl::Syn),
            FAR_CLIENT,
            7,
            &mut heard,
        );
        assert!(heard.returned.contains(&REAL));
    }

    proptest! {
        #[test]
        fn any_bytes_are_heard_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            hear(&bytes, FAR_CLIENT, 7, &mut Heard::default());
        }
    }
}
