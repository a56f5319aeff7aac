//! What real servers send back, when asked by packets that are made here.
//!
//! To those of method tun go echo requests of several sizes that nobody may take apart: the greatest that is answered is what
//! the tunnel's way carries. Those of method nat are asked in the name of a client far away: their answer has to come back to
//! this director, as with any client's connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use smoltcp::wire::TcpControl;
use socket2::SockFilter;
use tokio::time::{Instant, timeout_at};

use super::packets::{echo, headers, read, segment};
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
/// The networks of tests and measurements (RFC 2544, RFC 5180): no client is there, and no route leads to them but the
/// default one.
const FAR4: [u8; 2] = [198, 18];
const FAR6: [u16; 3] = [0x2001, 2, 0];
/// The longest packet that there is.
const LONGEST: usize = 65_535;
/// Sizes that packets are cut down to in practice: PPPoE, tunnels in tunnels, and what IPv6 and old IPv4 ask for.
const SIZES: [u32; 8] = [8_000, 4_000, 1_500, 1_492, 1_476, 1_400, LEAST6, 576];
/// The least that each way of IPv6 has to carry (RFC 8200, section 5).
const LEAST6: u32 = 1_280;

/// What came back of a host; nothing of what it was not asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Echo {
    pub(super) path: Option<Result<Path, String>>,
    pub(super) returns: Option<Result<bool, String>>,
}

/// A host that is asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    real: IpAddr,
    ifindex: u32,
    mac: Mac,
    source: IpAddr,
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
    let (of6, of4): (Vec<Asked>, Vec<Asked>) =
        asked.into_values().partition(|host| host.real.is_ipv6());
    let (answers4, answers6) = tokio::join!(converse(&of4, false), converse(&of6, true));
    let of4 = of4.iter().map(|host| (host, &answers4));
    for (host, answers) in of4.chain(of6.iter().map(|host| (host, &answers6))) {
        let echo = all.entry(host.real).or_default();
        let failed = |err: &io::Error| format!("no packet socket: {err}");
        if host.tun {
            echo.path = Some(match answers {
                Ok(heard) => path(host, &heard.sizes),
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
    let source = hop
        .source
        .filter(|source| source.is_ipv4() == real.is_ipv4());
    let source = source.ok_or("this director has no address to ask from")?;
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
    sizes: BTreeSet<(IpAddr, u32)>,
    /// Hosts whose answers to a far client came here.
    returned: BTreeSet<IpAddr>,
}

/// Asks all hosts of a family, and hears what comes back.
async fn converse(hosts: &[Asked], v6: bool) -> io::Result<Heard> {
    let mut heard = Heard::default();
    if hosts.is_empty() {
        return Ok(heard);
    }
    let far = far(v6);
    let ident = fastrand::u16(..);
    let ether_type = if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
    let socket = PacketSocket::open(Layer::Payload, ether_type as u16, &take(far), LONGEST)?;
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
        if let Some(port @ 1..) = host.nat
            && let Some(packet) = segment(far, host.real, port, TcpControl::Rst)
        {
            let _ = socket.send(host.ifindex, Some(host.mac), &packet);
        }
    }
    Ok(heard)
}

/// A client that nobody has.
fn far(v6: bool) -> IpAddr {
    if v6 {
        let [a, b, c] = FAR6;
        let [d, e, f, g] = [(); 4].map(|()| fastrand::u16(..));
        Ipv6Addr::new(a, b, c, d, e, f, g, fastrand::u16(1..)).into()
    } else {
        Ipv4Addr::new(FAR4[0], FAR4[1], fastrand::u8(..), fastrand::u8(1..255)).into()
    }
}

/// Echo replies, and everything for the far client.
fn take(far: IpAddr) -> Vec<SockFilter> {
    let ends = [filter::take(0), filter::take(LONGEST as u32)];
    match far {
        IpAddr::V4(far) => [
            filter::word(16), // destination
            filter::equal(far.to_bits(), 6, 0),
            filter::byte(9), // protocol
            filter::equal(libc::IPPROTO_ICMP as u32, 0, 3),
            filter::header_len(0),
            filter::half_behind(0), // type and code
            filter::equal(0, 1, 0), // an echo reply
        ]
        .into_iter()
        .chain(ends)
        .collect(),
        IpAddr::V6(far) => {
            let bits = far.to_bits();
            let [a, b, c, d] = [96, 64, 32, 0].map(|low| (bits >> low) as u32);
            [
                filter::word(24), // destination
                filter::equal(a, 0, 6),
                filter::word(28),
                filter::equal(b, 0, 4),
                filter::word(32),
                filter::equal(c, 0, 2),
                filter::word(36),
                filter::equal(d, 5, 0),
                filter::byte(6), // next header
                filter::equal(libc::IPPROTO_ICMPV6 as u32, 0, 2),
                filter::byte(40),         // type
                filter::equal(129, 1, 0), // an echo reply
            ]
            .into_iter()
            .chain(ends)
            .collect()
        }
    }
}

/// What a host is asked that it has not answered yet.
fn questions(host: &Asked, far: IpAddr, ident: u16, heard: &Heard) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if host.tun {
        let open = |size: &u32| !heard.sizes.contains(&(host.real, *size));
        all.extend(sizes(host).filter(open).filter_map(|size| {
            // The size says which of the answers it is.
            let sequence = u16::try_from(size).ok()?;
            echo(host.source, host.real, ident, sequence, size)
        }));
    }
    if let Some(port) = host.nat
        && !heard.returned.contains(&host.real)
    {
        let least = headers(host.real.is_ipv6());
        all.extend(echo(far, host.real, ident, 0, least));
        if port != 0 {
            all.extend(segment(far, host.real, port, TcpControl::Syn));
        }
    }
    all
}

/// The sizes that are tried on the way to a host, its MTU first.
fn sizes(host: &Asked) -> impl Iterator<Item = u32> + use<> {
    let mtu = host.mtu;
    let least = if host.real.is_ipv6() { LEAST6 } else { 0 };
    std::iter::once(mtu).chain(
        SIZES
            .into_iter()
            .filter(move |size| (least..mtu).contains(size)),
    )
}

fn path(host: &Asked, heard: &BTreeSet<(IpAddr, u32)>) -> Result<Path, String> {
    let came = sizes(host).find(|size| heard.contains(&(host.real, *size)));
    match came {
        Some(size) if size == host.mtu => Ok(Path::Full),
        Some(size) => Ok(Path::UpTo(size)),
        None => Err("it answers no echo request (ping)".to_owned()),
    }
}

fn hear(packet: &[u8], far: IpAddr, ident: u16, heard: &mut Heard) {
    let Some(came) = read(packet) else { return };
    if came.to == far {
        heard.returned.insert(came.from);
    } else if let Some((its, sequence)) = came.echo
        && its == ident
    {
        heard.sizes.insert((came.from, sequence.into()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use socket2::{Domain, Socket, Type};

    use super::*;

    const REALS: [&str; 2] = ["10.0.0.11", "fd00::11"];

    fn asked(real: IpAddr, mtu: u32) -> Asked {
        Asked {
            real,
            ifindex: 2,
            mac: Mac::new([2, 0, 0, 0, 0, 1]).unwrap(),
            source: own(real),
            mtu,
            tun: true,
            nat: None,
        }
    }

    fn own(real: IpAddr) -> IpAddr {
        let text = if real.is_ipv4() {
            "10.0.0.1"
        } else {
            "fd00::1"
        };
        text.parse().unwrap()
    }

    /// The reply to an echo request: another type.
    fn reply(from: IpAddr, to: IpAddr, ident: u16, size: u32) -> Vec<u8> {
        let mut bytes = echo(from, to, ident, size as u16, size).unwrap();
        if from.is_ipv4() {
            bytes[20] = 0;
        } else {
            bytes[40] = 129;
        }
        bytes
    }

    #[test]
    fn the_mtu_is_tried_first_and_then_less_as_far_as_the_family_goes() {
        let [v4, v6] = REALS.map(|text| sizes(&asked(text.parse().unwrap(), 1_500)));
        assert_eq!(
            v4.collect::<Vec<_>>(),
            [1_500, 1_492, 1_476, 1_400, 1_280, 576]
        );
        assert_eq!(v6.collect::<Vec<_>>(), [1_500, 1_492, 1_476, 1_400, 1_280]);
    }

    #[test]
    fn the_greatest_that_is_answered_is_what_the_way_carries() {
        for real in REALS.map(|text| text.parse::<IpAddr>().unwrap()) {
            let host = asked(real, 1_500);
            let heard = |all: &[u32]| all.iter().map(|size| (real, *size)).collect();
            assert_eq!(path(&host, &heard(&[1_500, 1_280])), Ok(Path::Full));
            assert_eq!(path(&host, &heard(&[1_280, 1_400])), Ok(Path::UpTo(1_400)));
            assert!(path(&host, &heard(&[])).is_err());
        }
    }

    #[test]
    fn an_answer_is_told_from_others() {
        for real in REALS.map(|text| text.parse::<IpAddr>().unwrap()) {
            let mut heard = Heard::default();
            let far = far(real.is_ipv6());
            let answer = reply(real, own(real), 7, 1_500);
            hear(&answer, far, 8, &mut heard);
            assert!(heard.sizes.is_empty(), "another's echo");
            hear(&answer, far, 7, &mut heard);
            assert!(heard.sizes.contains(&(real, 1_500)));
            assert!(heard.returned.is_empty());
            let segment = segment(real, far, 80, TcpControl::Syn).unwrap();
            hear(&segment, far, 7, &mut heard);
            assert!(heard.returned.contains(&real));
        }
    }

    #[test]
    fn the_kernel_lets_through_echo_replies_and_what_is_for_the_far_client() {
        for real in REALS.map(|text| text.parse::<IpAddr>().unwrap()) {
            let far = far(real.is_ipv6());
            let passes = |packet: &[u8]| {
                let (near, other) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
                near.attach_filter(&take(far)).unwrap();
                near.set_nonblocking(true).unwrap();
                other.send(packet).unwrap();
                near.recv(&mut [std::mem::MaybeUninit::uninit(); 2_048])
                    .is_ok()
            };
            assert!(passes(&reply(real, own(real), 7, 1_500)));
            assert!(passes(&segment(real, far, 80, TcpControl::Syn).unwrap()));
            assert!(!passes(&echo(real, own(real), 7, 0, 1_500).unwrap()));
            assert!(!passes(
                &segment(real, own(real), 80, TcpControl::Syn).unwrap()
            ));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_heard_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            hear(&bytes, far(false), 7, &mut Heard::default());
        }
    }
}
