//! Who says that he has a virtual address? All are asked at once, by ARP and, for IPv6, by neighbour discovery.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use socket2::SockFilter;
use tokio::time::{Instant, sleep, timeout_at};

use crate::core::doctor::facts::{Answer, Vip};
use crate::core::hop::{Link, Mac, NextHop};
use crate::core::neighbour::{arp, ndp};
use crate::io::net::{self, Net};
use crate::io::packet_socket::{Layer, PacketSocket, filter};

/// How often each address is asked for, as on a busy network one question may be lost.
const TIMES: u32 = 3;
/// How long to wait after each time.
const WAIT: Duration = Duration::from_millis(250);
/// So many questions are sent at once, so that no queue is too short for them.
const BURST: usize = 64;
/// How long to wait between two bursts.
const PAUSE: Duration = Duration::from_millis(5);
/// The kernel's neighbours of IPv4.
const NEIGHBOURS: &str = "/proc/thread-self/net/arp";

/// As much of a neighbour advertisement as is looked at.
const LONGEST: usize = 128;

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The answers for each virtual address, or why nobody could be asked for it.
    pub(super) vips: BTreeMap<IpAddr, Result<Vec<Answer>, String>>,
    /// Where each next hop says that it is, by its address and the index of the interface.
    pub(super) hops: BTreeMap<(u32, IpAddr), BTreeSet<Mac>>,
}

/// A question on an interface.
struct Question<'a> {
    link: &'a Link,
    addr: IpAddr,
    frame: Vec<u8>,
}

/// Who has said on which interface that he has an address.
type Said = BTreeSet<(IpAddr, u32, Mac)>;

/// Asks for virtual addresses where each is, or is near, or else on the interfaces of the program; and for the next hops to
/// the real servers.
pub(super) async fn ask(
    net: &Net,
    vips: &[Vip],
    names: &[String],
    hops: &BTreeMap<IpAddr, Result<NextHop, String>>,
) -> Heard {
    let links = net.links();
    let mut heard = Heard::default();
    let mut questions = Vec::new();
    for vip in vips {
        let asked = questions_for(vip, names, &links, net);
        let nowhere = "there is no interface to ask on".to_owned();
        let answers = match asked.is_empty() {
            true => Err(nowhere),
            false => Ok(Vec::new()),
        };
        heard.vips.insert(vip.addr, answers);
        questions.extend(asked);
    }
    for (real, hop) in hops {
        let hop = hop.as_ref().ok();
        let Some((addr, hop)) = hop.and_then(|hop| Some((hop.neighbour(*real)?, hop))) else {
            continue;
        };
        let link = links.iter().find(|l| l.ifindex == hop.ifindex && !l.noarp);
        let Some(question) = link.and_then(|link| question(link, addr, net)) else {
            continue;
        };
        if heard
            .hops
            .insert((hop.ifindex, addr), BTreeSet::new())
            .is_none()
        {
            questions.push(question);
        }
    }
    let (of6, of4): (Vec<_>, Vec<_>) = questions.into_iter().partition(|q| q.addr.is_ipv6());
    let (said4, said6) = tokio::join!(
        converse(net::arp_socket, &of4, &links, of_arp),
        converse(ndp_socket, &of6, &links, of_ndp)
    );
    let mut known = neighbours();
    for (v6, said) in [(false, said4), (true, said6)] {
        match said {
            Ok(said) => note(said, &links, &mut known, &mut heard),
            Err(why) => give_up(v6, &why, &mut heard),
        }
    }
    heard
}

/// Sorts what was said.
fn note(said: Said, links: &[Link], known: &mut BTreeSet<(IpAddr, Mac)>, heard: &mut Heard) {
    known.extend(said.iter().map(|(addr, _, mac)| (*addr, *mac)));
    known.retain(|(addr, _)| !heard.vips.contains_key(addr));
    for (addr, ifindex, mac) in said {
        if let Some(macs) = heard.hops.get_mut(&(ifindex, addr)) {
            macs.insert(mac);
        }
        let link = links.iter().find(|link| link.ifindex == ifindex);
        let (Some(link), Some(Ok(answers))) = (link, heard.vips.get_mut(&addr)) else {
            continue;
        };
        let at = known.iter().filter(|(_, at)| *at == mac);
        answers.push(Answer {
            interface: link.name.to_string(),
            mac,
            known_as: at.map(|(addr, _)| *addr).collect(),
        });
    }
}

/// Nobody of a family could be asked.
fn give_up(v6: bool, why: &str, heard: &mut Heard) {
    heard.hops.retain(|(_, addr), _| addr.is_ipv6() != v6);
    for (addr, answers) in &mut heard.vips {
        if addr.is_ipv6() == v6 {
            *answers = Err(why.to_owned());
        }
    }
}

/// Asks several times; who has said what, each once.
async fn converse(
    open: impl Fn() -> io::Result<PacketSocket>,
    questions: &[Question<'_>],
    links: &[Link],
    parse: fn(&[u8]) -> Option<(IpAddr, Mac)>,
) -> Result<Said, String> {
    let mut said = Said::new();
    if questions.is_empty() {
        return Ok(said);
    }
    let socket = open().map_err(|err| format!("no packet socket: {err}"))?;
    // A virtual router's MAC is on each of its directors, and switched on only where it is master.
    let own = |mac: Mac| links.iter().any(|link| link.up && link.mac == Some(mac));
    for _ in 0..TIMES {
        for some in questions.chunks(BURST) {
            for Question { link, frame, .. } in some {
                // One that cannot be sent now is sent again.
                let _ = socket.send(link.ifindex, None, frame);
            }
            sleep(PAUSE).await;
        }
        let until = Instant::now() + WAIT;
        while let Ok(frame) = timeout_at(until, socket.receive()).await {
            // An interface that goes down says so to every packet socket.
            let Ok(frame) = frame else { continue };
            let Some((addr, mac)) = parse(&frame.bytes) else {
                continue;
            };
            let asked = |q: &Question<'_>| (q.link.ifindex, q.addr) == (frame.ifindex, addr);
            if questions.iter().any(asked) && !own(mac) {
                said.insert((addr, frame.ifindex, mac));
            }
        }
    }
    Ok(said)
}

fn of_arp(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let heard = arp::parse(frame).ok()?;
    Some((heard.addr.into(), heard.mac))
}

fn of_ndp(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let heard = ndp::parse(frame)?;
    Some((heard.addr.into(), heard.mac))
}

/// Hears neighbour advertisements that were sent to us or to all.
fn ndp_socket() -> io::Result<PacketSocket> {
    PacketSocket::open(
        Layer::Frame,
        libc::ETH_P_IPV6 as u16,
        &advertisements(),
        LONGEST,
    )
}

/// Lets through neighbour advertisements from this link, outside of any VLAN that has no interface of its own.
fn advertisements() -> [SockFilter; 10] {
    [
        filter::word(filter::PACKET_TYPE),
        filter::equal(libc::PACKET_OTHERHOST.into(), 6, 0),
        filter::word(filter::VLAN),
        filter::equal(0, 0, 4),
        filter::half(20), // next header and hop limit
        filter::equal(0x3AFF, 0, 2),
        filter::byte(54), // type
        filter::equal(ndp::ADVERTISEMENT.into(), 1, 0),
        filter::take(0),
        filter::take(LONGEST as u32),
    ]
}

fn questions_for<'a>(
    vip: &Vip,
    names: &[String],
    links: &'a [Link],
    net: &Net,
) -> Vec<Question<'a>> {
    let usable = |name: &String| links.iter().find(|l| *l.name == **name && l.up && !l.noarp);
    let mut on: Vec<&Link> = vip.on.iter().filter_map(usable).collect();
    if on.is_empty() {
        on = vip.near.iter().filter_map(usable).collect();
    }
    if on.is_empty() {
        on = names.iter().filter_map(usable).collect();
    }
    on.into_iter()
        .filter_map(|link| question(link, vip.addr, net))
        .collect()
}

/// The question for an address, in the name of another one of the interface.
fn question<'a>(link: &'a Link, addr: IpAddr, net: &Net) -> Option<Question<'a>> {
    let its = net.addresses();
    let its = its.iter().filter(|(index, own)| {
        *index == link.ifindex && own.addr() != addr && own.addr().is_ipv4() == addr.is_ipv4()
    });
    // One of the same network, if there is any: some stations answer to no other.
    let is_near = |own: IpAddr| matches!(own, IpAddr::V6(own) if own.is_unicast_link_local());
    let from = its
        .map(|(_, own)| (!own.contains(&addr), !is_near(own.addr()), own.addr()))
        .min()
        .map(|(.., own)| own);
    let mac = link.mac?;
    let frame = match addr {
        IpAddr::V4(addr) => {
            let from = match from {
                Some(IpAddr::V4(from)) => from,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            let from = arp::Asker { mac, addr: from };
            arp::request(from, addr, None).to_vec()
        }
        IpAddr::V6(addr) => {
            let from = match from {
                Some(IpAddr::V6(from)) => from,
                _ => Ipv6Addr::UNSPECIFIED,
            };
            ndp::solicitation(mac, from, addr)
        }
    };
    Some(Question { link, addr, frame })
}

/// Which address is at which MAC, by the kernel's table.
fn neighbours() -> BTreeSet<(IpAddr, Mac)> {
    let text = fs::read_to_string(NEIGHBOURS).unwrap_or_default();
    text.lines().skip(1).filter_map(neighbour).collect()
}

/// A line of the kernel's table: address, type, flags, MAC, mask, interface.
fn neighbour(line: &str) -> Option<(IpAddr, Mac)> {
    let mut words = line.split_whitespace();
    let addr = words.next()?.parse().ok()?;
    Some((addr, words.nth(2)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_read_from_the_kernels_table() {
        let line = "10.0.0.11        0x1         0x2         02:00:00:00:00:0b     *        eth0";
        let mac = Mac::new([2, 0, 0, 0, 0, 11]).unwrap();
        assert_eq!(neighbour(line), Some(("10.0.0.11".parse().unwrap(), mac)));
        let incomplete =
            "10.0.0.12        0x1         0x0         00:00:00:00:00:00     *        eth0";
        assert_eq!(neighbour(incomplete), None);
        assert_eq!(neighbour(""), None);
    }
}
