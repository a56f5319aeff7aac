//! Who says that he has a virtual address? All are asked at once, by ARP.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::core::doctor::facts::{Answer, Vip};
use crate::core::hop::{Link, Mac, NextHop};
use crate::core::neighbour::arp;
use crate::io::net::{self, Net};
use crate::io::packet_socket::PacketSocket;

/// How often each address is asked for, as on a busy network one question may be lost.
const TIMES: u32 = 3;
/// How long to wait after each time.
const WAIT: Duration = Duration::from_millis(250);
/// So many questions are sent at once, so that no queue is too short for them.
const BURST: usize = 64;
/// How long to wait between two bursts.
const PAUSE: Duration = Duration::from_millis(5);
/// The kernel's neighbours.
const NEIGHBOURS: &str = "/proc/thread-self/net/arp";

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The answers for each virtual IPv4 address, or why nobody could be asked for it.
    pub(super) vips: BTreeMap<IpAddr, Result<Vec<Answer>, String>>,
    /// Where each next hop says that it is, by its address and the index of the interface.
    pub(super) hops: BTreeMap<(u32, Ipv4Addr), BTreeSet<Mac>>,
}

/// A question on an interface.
struct Question<'a> {
    link: &'a Link,
    addr: Ipv4Addr,
    from: arp::Asker,
}

/// Asks for virtual addresses where each is, or is near, or else on the interfaces of the program; and for the next hops to
/// the real servers.
pub(super) async fn ask(
    net: &Net,
    vips: &[Vip],
    names: &[String],
    hops: &BTreeMap<IpAddr, Result<NextHop, String>>,
) -> Result<Heard, String> {
    let links = net.links();
    // A virtual router's MAC is on each of its directors, and switched on only where it is master.
    let own = |mac: Mac| links.iter().any(|link| link.up && link.mac == Some(mac));
    let mut heard = Heard::default();
    let mut questions = Vec::new();
    for vip in vips {
        let IpAddr::V4(addr) = vip.addr else { continue };
        let asked = questions_for(addr, vip, names, &links, net);
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
        let Some((IpAddr::V4(addr), hop)) = hop.and_then(|hop| Some((hop.neighbour(*real)?, hop)))
        else {
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
    let socket = net::arp_socket().map_err(|err| format!("no socket for ARP: {err}"))?;
    let said = converse(&socket, &questions, own).await;
    for (addr, ifindex, mac) in &said {
        if let Some(macs) = heard.hops.get_mut(&(*ifindex, *addr)) {
            macs.insert(*mac);
        }
    }
    let mut known = neighbours();
    known.extend(
        said.iter()
            .map(|(addr, _, mac)| (IpAddr::from(*addr), *mac)),
    );
    let is_vip = |addr: &IpAddr| vips.iter().any(|vip| vip.addr == *addr);
    known.retain(|(addr, _)| !is_vip(addr));
    for (addr, ifindex, mac) in said {
        let link = links.iter().find(|link| link.ifindex == ifindex);
        let answers = heard.vips.get_mut(&IpAddr::from(addr));
        let (Some(link), Some(Ok(answers))) = (link, answers) else {
            continue;
        };
        let at = known.iter().filter(|(_, at)| *at == mac);
        let known_as: BTreeSet<IpAddr> = at.map(|(addr, _)| *addr).collect();
        answers.push(Answer {
            interface: link.name.to_string(),
            mac,
            known_as: known_as.into_iter().collect(),
        });
    }
    Ok(heard)
}

/// Asks several times; who has said what, each once.
async fn converse(
    socket: &PacketSocket,
    questions: &[Question<'_>],
    own: impl Fn(Mac) -> bool,
) -> BTreeSet<(Ipv4Addr, u32, Mac)> {
    let mut said = BTreeSet::new();
    for _ in 0..TIMES {
        for some in questions.chunks(BURST) {
            for Question { link, addr, from } in some {
                // One that cannot be sent now is sent again.
                let _ = socket.send(link.ifindex, None, &arp::request(*from, *addr, None));
            }
            sleep(PAUSE).await;
        }
        listen(socket, Instant::now() + WAIT, |ifindex, heard| {
            let asked = |q: &Question<'_>| (q.link.ifindex, q.addr) == (ifindex, heard.addr);
            if questions.iter().any(asked) && !own(heard.mac) {
                said.insert((heard.addr, ifindex, heard.mac));
            }
        })
        .await;
    }
    said
}

fn questions_for<'a>(
    addr: Ipv4Addr,
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
        .filter_map(|link| question(link, addr, net))
        .collect()
}

/// The question for an address, in the name of another one of the interface.
fn question<'a>(link: &'a Link, addr: Ipv4Addr, net: &Net) -> Option<Question<'a>> {
    let its = net.addresses();
    let its = its.iter().filter_map(|(index, net)| match net.addr() {
        IpAddr::V4(own) if *index == link.ifindex && own != addr => {
            Some((!net.contains(&IpAddr::V4(addr)), own))
        }
        _ => None,
    });
    let from = arp::Asker {
        mac: link.mac?,
        // One of the same network, if there is any: some stations answer to no other.
        addr: its.min().map_or(Ipv4Addr::UNSPECIFIED, |(_, own)| own),
    };
    Some(Question { link, addr, from })
}

/// Hears what is said until a moment.
async fn listen(socket: &PacketSocket, until: Instant, mut hear: impl FnMut(u32, arp::Heard)) {
    while let Ok(frame) = timeout_at(until, socket.receive()).await {
        // An interface that goes down says so to every packet socket.
        let Ok(frame) = frame else { continue };
        if let Ok(said) = arp::parse(&frame.bytes) {
            hear(frame.ifindex, said);
        }
    }
}

/// Which address is at which MAC, by the kernel's table.
fn neighbours() -> Vec<(IpAddr, Mac)> {
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
