//! Who else speaks VRRP on the networks of the virtual routers? Nothing is said, only heard.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::time::{Instant, timeout_at};

use crate::config::Model;
use crate::core::doctor::facts::{Advert, Router, Says};
use crate::core::vrrp::{Claim, Datagram, Packet, multicast_group};
use crate::io::net::Net;
use crate::io::packet_socket::{Layer, PacketSocket, filter};

/// The number of VRRP in an IP header.
const VRRP: u32 = 112;
/// The longest packet that is taken.
const LONGEST: usize = 2_048;
/// So many senders are remembered: more would be a flood of made-up ones.
const SENDERS: usize = 256;
/// An advertisement comes once in each interval; a little more is waited for.
const MARGIN: f64 = 1.3;
/// No master is waited for longer than this.
const MOST: Duration = Duration::from_secs(5);
/// Others than those that are expected may be slower.
const LEAST: Duration = Duration::from_millis(1_300);

/// For how long to listen.
pub(super) fn how_long(model: &Model) -> Duration {
    let slowest = model
        .vrrp
        .iter()
        .map(|router| router.interval.duration())
        .max();
    slowest.map_or(Duration::ZERO, |interval| {
        interval.mul_f64(MARGIN).clamp(LEAST, MOST)
    })
}

/// Hears what is said where there are virtual routers, each sender once for each number.
pub(super) async fn listen(
    net: &Net,
    routers: &[Router],
    long: Duration,
) -> Result<Vec<Advert>, String> {
    if routers.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |err: io::Error| format!("no socket to listen with: {err}");
    let until = Instant::now() + long;
    let v4 = open(libc::ETH_P_IP, 9).map_err(failed)?;
    let v6 = open(libc::ETH_P_IPV6, 6).map_err(failed)?;
    let links = net.links();
    let named = |ifindex: u32| links.iter().find(|link| link.ifindex == ifindex);
    // The card lets the group's frames through as long as somebody is a member.
    let mut members = Vec::new();
    for router in routers {
        if let Some(link) = links.iter().find(|link| *link.name == *router.interface) {
            members.extend(join(link.ifindex, router.addresses.first()));
        }
    }
    let own: Vec<IpAddr> = net.addresses().iter().map(|(_, net)| net.addr()).collect();
    let mut heard = BTreeMap::new();
    loop {
        let packet = tokio::select! {
            packet = v4.receive() => packet,
            packet = v6.receive() => packet,
            _ = timeout_at(until, std::future::pending::<()>()) => break,
        };
        let Ok(packet) = packet else { continue };
        let Some(datagram) = datagram(&packet.bytes) else {
            continue;
        };
        let (Some(vrid), Some(link)) = (datagram.payload.get(1), named(packet.ifindex)) else {
            continue;
        };
        let key = (packet.ifindex, datagram.source, *vrid);
        let has_room = heard.len() < SENDERS || heard.contains_key(&key);
        if has_room && !own.contains(&datagram.source) {
            let advert = Advert {
                interface: link.name.to_string(),
                source: datagram.source,
                vrid: *vrid,
                says: says(&datagram),
            };
            heard.insert(key, advert);
        }
    }
    drop(members);
    Ok(heard.into_values().collect())
}

/// Takes VRRP alone; the protocol's number is at this place of the header.
fn open(ether_type: i32, protocol: u32) -> io::Result<PacketSocket> {
    let program = [
        filter::byte(protocol),
        filter::equal(VRRP, 0, 1),
        filter::take(LONGEST as u32),
        filter::take(0),
    ];
    PacketSocket::open(Layer::Payload, ether_type as u16, &program, LONGEST)
}

fn join(ifindex: u32, family: Option<&IpAddr>) -> io::Result<Socket> {
    let family = family.copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    match multicast_group(family) {
        IpAddr::V4(group) => {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(ifindex))?;
            Ok(socket)
        }
        IpAddr::V6(group) => {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
            socket.join_multicast_v6(&group, ifindex)?;
            Ok(socket)
        }
    }
}

fn datagram(packet: &[u8]) -> Option<Datagram<'_>> {
    match packet.first()? >> 4 {
        4 => Datagram::from_ipv4(packet).ok(),
        6 => {
            let header: &[u8; 40] = packet.first_chunk()?;
            let address = |at: usize| {
                let bytes: &[u8; 16] = header.get(at..)?.first_chunk()?;
                Some(IpAddr::from(Ipv6Addr::from(*bytes)))
            };
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            Some(Datagram {
                source: address(8)?,
                destination: address(24)?,
                ttl: header[7],
                payload: packet.get(40..40 + length)?,
            })
        }
        _ => None,
    }
}

fn says(datagram: &Datagram<'_>) -> Result<Says, String> {
    let (packet, _) = Packet::decode_signed(datagram).map_err(|reject| reject.to_string())?;
    Ok(Says {
        version: packet.version,
        priority: match packet.claim {
            Claim::Priority(priority) => priority.get(),
            Claim::Resigns => 0,
        },
        auth: packet.auth,
        addresses: packet.addresses,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            if let Some(datagram) = datagram(&bytes) {
                let _ = says(&datagram);
            }
        }
    }
}
