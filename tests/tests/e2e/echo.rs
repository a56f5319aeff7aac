//! Do `ping` and `traceroute` find a VIP?

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};
use tests::lab::{Host, poll};
use tests::needs_lab;

use crate::configuration::Method;
use crate::sites::of_all_methods;

/// What a client hears of a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    EchoReply,
    TimeExceeded,
    PortUnreachable,
}

impl Word {
    /// What an ICMP message says, if it is one of these.
    fn of(v6: bool, message: &[u8]) -> Option<Self> {
        match (v6, message.get(..2)?) {
            (false, [0, 0]) | (true, [129, 0]) => Some(Self::EchoReply),
            (false, [11, 0]) | (true, [3, 0]) => Some(Self::TimeExceeded),
            (false, [3, 3]) | (true, [1, 4]) => Some(Self::PortUnreachable),
            _ => None,
        }
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// As `ping` does.
    Echo,
    /// As `traceroute` does: to a port of no service.
    Udp,
}

/// Sends a probe that may go so many hops, and waits for what is said of it, and by whom.
fn probe(to: IpAddr, what: Probe, hops: u32) -> Result<(IpAddr, Word)> {
    let v6 = to.is_ipv6();
    let (domain, icmp) = match v6 {
        false => (Domain::IPV4, Protocol::ICMPV4),
        true => (Domain::IPV6, Protocol::ICMPV6),
    };
    let ear = Socket::new(domain, Type::RAW, Some(icmp)).context("cannot hear ICMP")?;
    let limit = |socket: &Socket| match v6 {
        false => socket.set_ttl_v4(hops),
        true => socket.set_unicast_hops_v6(hops),
    };
    match what {
        Probe::Echo => {
            limit(&ear)?;
            // The kernel writes the checksum of ICMPv6. That of ICMP is what makes the sum of all words 0xffff.
            let message: [u8; 8] = match v6 {
                false => [8, 0, 0xe5, 0xcb, 0x12, 0x34, 0, 0],
                true => [128, 0, 0, 0, 0x12, 0x34, 0, 0],
            };
            ear.send_to(&message, &SocketAddr::new(to, 0).into())?;
        }
        Probe::Udp => {
            let socket = Socket::new(domain, Type::DGRAM, None)?;
            limit(&socket)?;
            socket.send_to(b"?", &SocketAddr::new(to, 33_434).into())?;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut room = [0; 2_048];
    loop {
        let wait = deadline.saturating_duration_since(Instant::now());
        ensure!(!wait.is_zero(), "nothing is said");
        ear.set_read_timeout(Some(wait))?;
        let (length, from) = recvfrom::<SockaddrStorage>(ear.as_raw_fd(), &mut room)?;
        let from = from.as_ref().and_then(|from| {
            let v4 = from.as_sockaddr_in().map(|a| a.ip().into());
            v4.or_else(|| from.as_sockaddr_in6().map(|a| a.ip().into()))
        });
        // IPv4 comes with its header, and IPv6 without.
        let header = if v6 { 0 } else { usize::from(room[0] & 15) * 4 };
        let message = room.get(header..length).unwrap_or_default();
        if let (Some(from), Some(word)) = (from, Word::of(v6, message)) {
            return Ok((from, word));
        }
    }
}

/// Waits until a probe from a host is answered like this. The first one may be lost while neighbours are looked for.
fn answered(host: &Host, to: IpAddr, what: Probe, hops: u32, by: (IpAddr, Word)) -> Result<()> {
    let question = format!("{what:?} to {to}, {hops} hops");
    poll(&question, Duration::from_secs(5), || {
        let heard = host.inside(|| probe(to, what, hops))?;
        ensure!(heard == by, "{heard:?}");
        Ok(())
    })
}

/// Behind a router: the first hop is the router, and the second the VIP, which answers itself, whatever services it has.
#[test]
fn ping_and_traceroute_find_the_router_and_then_the_vip() -> Result<()> {
    needs_lab!(beside others);
    let site = of_all_methods(1)?;
    site.add_ipv6()?;
    // Nobody is to find a shorter way, nor to count what it says.
    site.client.set(&[
        ("ipv4/conf/all/accept_redirects", "0"),
        ("ipv4/conf/eth0/accept_redirects", "0"),
        ("ipv6/conf/eth0/accept_redirects", "0"),
    ])?;
    for host in [&site.router, site.director.host()] {
        host.set(&[("ipv4/icmp_ratelimit", "0"), ("ipv6/icmp/ratelimit", "0")])?;
    }
    // Services of IPv6, too.
    for (method, flag) in Method::ALL.into_iter().zip(["-g", "-i", "-m"]) {
        let service = format!("[{}]:80", method.vip().address6());
        let real = format!("[{}]:80", site.reals[0].address6());
        let lbctl = |words: &[&str]| site.director.lbctl(words).map(drop);
        lbctl(&["add-service", "-t", &service, "-s", "rr"])?;
        lbctl(&["add-real", "-t", &service, "-r", &real, flag])?;
    }
    for vip in Method::ALL.map(Method::vip) {
        let routers: [(IpAddr, IpAddr); 2] = [
            (vip.address().into(), "10.0.1.254".parse()?),
            (vip.address6().into(), "fd00:1::254".parse()?),
        ];
        for (vip, router) in routers {
            site.client
                .ip(&[&format!("route replace {vip} via {router}")])?;
            for (what, in_the_end) in [
                (Probe::Echo, Word::EchoReply),
                (Probe::Udp, Word::PortUnreachable),
            ] {
                let first = (router, Word::TimeExceeded);
                answered(&site.client, vip, what, 1, first)?;
                answered(&site.client, vip, what, 2, (vip, in_the_end))?;
            }
        }
    }
    Ok(())
}
