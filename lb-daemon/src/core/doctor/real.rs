//! Real servers: is the way to each known, does it fit the method, and does each answer?

use std::net::IpAddr;

use super::facts::{Facts, Host, Path, Probe, Real, Way};
use super::{Check, Finding};
use crate::core::desired::Method;
use crate::core::hop::{Reach, Via};

/// The header of a tunnel between IPv4 addresses, in bytes; between IPv6 addresses twice that.
const TUNNEL_HEADER: u32 = 20;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    for (addr, host) in &facts.hosts {
        let way = match &host.way {
            Ok(way) => way,
            Err(why) => {
                all.push(Finding::bad(
                    Check::Neighbour,
                    format!("there is no way to real server {addr}"),
                    why,
                    "it gets no packet from this director",
                    format!("ip route get {addr}"),
                ));
                continue;
            }
        };
        all.push(neighbour(*addr, way));
        let methods = |method| {
            let its = facts.reals.iter().filter(|real| real.id.ip() == *addr);
            its.map(|real| real.method).any(|m| m == method)
        };
        all.extend(methods(Method::Dr).then(|| on_link(*addr, way)).flatten());
        all.extend(path(*addr, way, host, facts));
    }
    for real in &facts.reals {
        all.push(probe(real));
    }
    for (addr, host) in &facts.hosts {
        all.extend(returns(*addr, host, facts));
    }
    all
}

fn neighbour(addr: IpAddr, way: &Way) -> Finding {
    let on = &way.interface;
    let next = match way.via {
        Via::Local => {
            return Finding::good(
                Check::Neighbour,
                format!("real server {addr} is this machine"),
                "its address is on an interface here",
            );
        }
        Via::OnLink => "it".to_owned(),
        Via::Gateway(gateway) => format!("the router {gateway} before it"),
    };
    if let Some(other) = way.others.first() {
        return Finding::bad(
            Check::Neighbour,
            format!("two stations say that they are the next hop to real server {addr}"),
            format!(
                "{next} is at {} on {on}, and at {other} too",
                way.mac.map_or(String::new(), |m| m.to_string())
            ),
            "packets for it go to either",
            format!("ip neigh show dev {on}; take the address off one of them"),
        );
    }
    match (way.mac, way.reach) {
        (Some(mac), Reach::Reachable) => Finding::good(
            Check::Neighbour,
            format!("the next hop to real server {addr} is known"),
            format!("{next} is at {mac} on {on}"),
        ),
        (mac, _) => {
            let before = mac.map(|mac| format!("; it was at {mac} before"));
            Finding::bad(
                Check::Neighbour,
                format!("the next hop to real server {addr} does not answer"),
                format!("{next} is silent on {on}{}", before.unwrap_or_default()),
                "packets for it are lost, or go to where it was",
                match way.via {
                    Via::Gateway(gateway) => format!("ip neigh show {gateway}; ping {gateway}"),
                    _ => format!("ip neigh show {addr}; ping {addr}"),
                },
            )
        }
    }
}

fn on_link(addr: IpAddr, way: &Way) -> Option<Finding> {
    match way.via {
        Via::Local => None,
        Via::OnLink => Some(Finding::good(
            Check::OnLink,
            format!("real server {addr} is on a network of this director"),
            format!("by {}", way.interface),
        )),
        Via::Gateway(gateway) => Some(Finding::bad(
            Check::OnLink,
            format!("real server {addr} is behind a router, and its method is dr"),
            format!("the way to it leads by {gateway} on {}", way.interface),
            "the frame reaches the router, which sends a packet for the VIP back to the director",
            format!(
                "use `method: tun` for it, or: ip address add ADDRESS-ON-ITS-NETWORK dev {}",
                way.interface
            ),
        )),
    }
}

fn path(addr: IpAddr, way: &Way, host: &Host, facts: &Facts) -> Option<Finding> {
    let path = match host.path.as_ref()? {
        Ok(path) => *path,
        Err(why) => {
            return Some(Finding::unknown(
                Check::TunnelMtu,
                format!("how great packets to real server {addr} may be"),
                why,
            ));
        }
    };
    let header = if addr.is_ipv4() {
        TUNNEL_HEADER
    } else {
        2 * TUNNEL_HEADER
    };
    let (room, mtu) = (way.mtu.saturating_sub(header), way.mtu);
    if let Path::UpTo(size) = path {
        return Some(Finding::bad(
            Check::TunnelMtu,
            format!("the network to real server {addr} takes less than its MTU"),
            format!("of packets that nobody may take apart, {size} bytes arrive and {mtu} do not"),
            "large packets in the tunnel vanish: connections open, and stall with the first large request",
            match way.via {
                Via::Gateway(gateway) => {
                    format!(
                        "ip route add {addr} via {gateway} dev {} mtu {size}",
                        way.interface
                    )
                }
                _ => format!("ip route add {addr} dev {} mtu {size}", way.interface),
            },
        ));
    }
    let clients = facts.interfaces.iter().filter_map(|i| i.link.as_ref());
    let widest = clients.map(|link| link.mtu).max().unwrap_or(0);
    if room >= widest {
        return Some(Finding::good(
            Check::TunnelMtu,
            format!("full packets fit into the tunnel to {addr}"),
            format!("{mtu} bytes arrive whole, and clients send at most {widest}"),
        ));
    }
    Some(
        Finding::bad(
            Check::TunnelMtu,
            format!("a full packet does not fit into the tunnel to {addr}"),
            format!("{mtu} bytes arrive whole, which leaves {room}; clients may send {widest}"),
            "clients are told to send smaller ones; those behind a firewall that drops ICMP stall",
            format!(
                "ip link set {} mtu {}, where the network takes it; else on {addr}: lbctl backend check",
                way.interface,
                widest + header
            ),
        )
        .into_advice(),
    )
}

fn probe(real: &Real) -> Finding {
    let Real {
        id,
        service,
        vip,
        method,
        ..
    } = real;
    let by = match method {
        Method::Dr => "dr",
        Method::Tun => "tun",
        Method::Nat => "nat",
        Method::Local => "local",
    };
    let sent = match method {
        Method::Dr | Method::Tun => format!("a packet to {vip} by {by}"),
        Method::Nat | Method::Local => format!("a packet to {id}"),
    };
    let who = format!("real server {id} of {service}");
    match &real.probe {
        Probe::Answered(after) => Finding::good(
            Check::Probe,
            format!("{who} answers"),
            format!("{sent}, answered after {:.1} ms", after.as_secs_f64() * 1e3),
        ),
        Probe::Silent => Finding::good(
            Check::Probe,
            format!("nothing says that {who} does not listen"),
            format!("{sent}, and no ICMP error came back, which is all that UDP tells"),
        ),
        Probe::NotSent(why) => {
            Finding::unknown(Check::Probe, format!("whether {who} answers"), why)
        }
        Probe::Failed(why) => {
            let host = id.ip();
            let refused = why.contains("refused") || why.contains("unreachable");
            let command = match method {
                _ if refused => format!("on {host}: ss -lntu 'sport = :{}'", port(real)),
                Method::Dr | Method::Tun => {
                    format!(
                        "on {host}: lbctl backend check --vip {} --method {by}",
                        vip.ip()
                    )
                }
                Method::Nat | Method::Local => {
                    format!("ping {host}; on {host}: ss -lntu 'sport = :{}'", id.port())
                }
            };
            Finding::bad(
                Check::Probe,
                format!("{who} does not answer"),
                format!("{sent}: {why}"),
                "clients that are given this real server get no answer",
                command,
            )
        }
    }
}

/// The port at which it has to listen.
fn port(real: &Real) -> u16 {
    match real.method {
        Method::Nat => real.id.port(),
        _ => real.vip.port(),
    }
}

fn returns(addr: IpAddr, host: &Host, facts: &Facts) -> Option<Finding> {
    let what = "whether replies of";
    match host.returns.as_ref()? {
        Err(why) => Some(Finding::unknown(
            Check::NatReturn,
            format!("{what} {addr} come back by way of this director"),
            why,
        )),
        Ok(true) => Some(Finding::good(
            Check::NatReturn,
            format!("replies of real server {addr} come back by way of this director"),
            "it was asked in the name of a client far away, and its answer came here",
        )),
        Ok(false) => {
            let its = |real: &&Real| real.id.ip() == addr && real.method == Method::Nat;
            let well = |real: &Real| matches!(real.probe, Probe::Answered(_));
            if !facts.reals.iter().filter(its).any(well) {
                return Some(Finding::unknown(
                    Check::NatReturn,
                    format!("{what} {addr} come back by way of this director"),
                    "it does not answer this director either",
                ));
            }
            let source = host.way.as_ref().ok().and_then(|way| way.source);
            let director = source.map_or("DIRECTOR".to_owned(), |source| source.to_string());
            Some(Finding::bad(
                Check::NatReturn,
                format!("replies of real server {addr} do not come back by way of this director"),
                "it answers this director, but not when asked in the name of a client far away",
                "clients get answers from an address that they never asked, and drop them",
                format!("on {addr}: lbctl backend prepare --method nat --gateway {director}"),
            ))
        }
    }
}
