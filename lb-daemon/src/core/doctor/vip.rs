//! Virtual addresses: are they where they must be, and does nobody else say that he has them?

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::facts::{Answer, Duty, Facts, Vip};
use super::{Check, Finding};
use crate::core::desired::Method;
use crate::core::vrrp::State;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    for vip in &facts.vips {
        all.push(place(vip));
        all.extend(answers(vip, facts));
    }
    all
}

/// Whether this director must have it; `None` if that cannot be told.
const fn is_ours(duty: &Duty) -> Option<bool> {
    match duty {
        Duty::Always => Some(true),
        Duty::Router(_, state) => Some(matches!(state, State::Master)),
        Duty::Unknown(_) => None,
    }
}

fn prefix(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn place(vip: &Vip) -> Finding {
    let addr = vip.addr;
    let on = vip.on.join(", ");
    let length = prefix(addr);
    match (&vip.duty, is_ours(&vip.duty), vip.on.first()) {
        (Duty::Router(router, _), Some(true), Some(_)) => Finding::good(
            Check::Vip,
            format!("VIP {addr} is here"),
            format!("on {on}; virtual router {router} is master"),
        ),
        (_, Some(true), Some(_)) => Finding::good(
            Check::Vip,
            format!("VIP {addr} is here"),
            format!("on {on}"),
        ),
        (Duty::Router(router, _), Some(true), None) => Finding::bad(
            Check::Vip,
            format!("VIP {addr} is on no interface"),
            format!("virtual router {router} is master, and somebody has taken the address away"),
            "nobody answers for it: clients do not reach it",
            "lbctl vrrp; journalctl -u lbd -e",
        ),
        (_, Some(true), None) => match vip.near.first() {
            Some(near) => Finding::bad(
                Check::Vip,
                format!("VIP {addr} is on no interface"),
                format!("{near} is on its network"),
                "nobody answers for it: clients do not reach it",
                format!("ip address add {addr}/{length} dev {near}"),
            ),
            None => Finding::bad(
                Check::Vip,
                format!("VIP {addr} is on no interface"),
                "it is of no network of this director: routers may lead to it, as ARP does not",
                "without a route to this director clients do not reach it",
                format!("ip address add {addr}/{length} dev lo"),
            )
            .into_advice(),
        },
        (Duty::Router(router, state), _, Some(interface)) => Finding::bad(
            Check::Vip,
            format!("VIP {addr} is here, and must not be"),
            format!("on {on}; virtual router {router} is {}", word(*state)),
            "two directors answer for it, and clients go to either",
            format!("ip address del {addr}/{length} dev {interface}"),
        ),
        (Duty::Router(router, state), _, None) => Finding::good(
            Check::Vip,
            format!("VIP {addr} is left to another director"),
            format!("virtual router {router} is {}", word(*state)),
        ),
        (Duty::Unknown(router), _, _) => Finding::unknown(
            Check::Vip,
            format!("VIP {addr}"),
            format!(
                "it is of virtual router {router}, and lbd does not run that would say who is master"
            ),
        ),
        (Duty::Always, _, _) => Finding::unknown(Check::Vip, format!("VIP {addr}"), ""),
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Backup => "backup",
        State::Master => "master",
        State::Fault => "in fault",
    }
}

fn answers(vip: &Vip, facts: &Facts) -> Vec<Finding> {
    let addr = vip.addr;
    let answers = match &vip.answers {
        Ok(answers) => answers,
        Err(why) => {
            return vec![Finding::unknown(
                Check::Arp,
                format!("who answers for VIP {addr}"),
                why,
            )];
        }
    };
    let (reals, others): (Vec<&Answer>, Vec<&Answer>) = answers
        .iter()
        .partition(|answer| real_of(vip, answer, facts).is_some());
    let mut all: Vec<Finding> = reals
        .iter()
        .filter_map(|answer| {
            Some(taken_by_real(
                vip,
                answer,
                real_of(vip, answer, facts)?,
                facts,
            ))
        })
        .collect();
    let ours = is_ours(&vip.duty).unwrap_or(!vip.on.is_empty());
    let stations: BTreeSet<_> = others.iter().map(|answer| answer.mac).collect();
    match (ours, stations.len()) {
        (true, 0) if reals.is_empty() => all.push(Finding::good(
            Check::Arp,
            format!("nobody else answers for VIP {addr}"),
            "it was asked for who has it",
        )),
        (false, 1) => all.extend(others.first().map(|answer| {
            Finding::good(
                Check::Arp,
                format!("one other station answers for VIP {addr}"),
                station(answer),
            )
        })),
        (false, 0) if reals.is_empty() => all.push(Finding::bad(
            Check::Arp,
            format!("nobody answers for VIP {addr}"),
            "it was asked for who has it, and this director is not to have it",
            "clients do not reach it",
            "lbctl vrrp, here and on the other directors",
        )),
        (_, 0) => {}
        (true, _) => all.extend(others.iter().map(|answer| {
            Finding::bad(
                Check::Arp,
                format!("another station answers for VIP {addr}"),
                station(answer),
                "clients that believe it do not come to this director",
                format!("take {addr} off that station, or name it in another place"),
            )
        })),
        (false, _) => {
            let named: Vec<String> = others.iter().map(|answer| station(answer)).collect();
            all.push(Finding::bad(
                Check::Arp,
                format!("{} stations answer for VIP {addr}", stations.len()),
                named.join("; "),
                "clients go to either, and connections break when they change over",
                "lbctl vrrp, here and on the other directors: there must be one master",
            ));
        }
    }
    all
}

/// The real server at a MAC: one of the configuration that has another address there, of the same family if it can be.
fn real_of(vip: &Vip, answer: &Answer, facts: &Facts) -> Option<IpAddr> {
    let is_real = |addr: &&IpAddr| facts.hosts.contains_key(addr);
    let is_alike = |addr: &&IpAddr| addr.is_ipv4() == vip.addr.is_ipv4();
    answer
        .known_as
        .iter()
        .filter(is_real)
        .max_by_key(is_alike)
        .copied()
}

/// How an address is asked for.
const fn protocol(addr: IpAddr) -> &'static str {
    match addr {
        IpAddr::V4(_) => "ARP",
        IpAddr::V6(_) => "neighbour discovery",
    }
}

fn taken_by_real(vip: &Vip, answer: &Answer, real: IpAddr, facts: &Facts) -> Finding {
    let addr = vip.addr;
    let methods = facts
        .reals
        .iter()
        .filter(|r| r.id.ip() == real && r.vip.ip() == addr);
    let method = methods.map(|r| r.method).next();
    let command = match method {
        Some(Method::Tun) => format!("on {real}: lbctl backend prepare --vip {addr} --method tun"),
        Some(Method::Nat) => format!("on {real}: ip address del {addr}/{} dev lo", prefix(addr)),
        _ => format!("on {real}: lbctl backend prepare --vip {addr} --method dr"),
    };
    Finding::bad(
        Check::Arp,
        format!(
            "real server {real} answers {} for VIP {addr}",
            protocol(addr)
        ),
        station(answer),
        "clients that believe it go to that real server alone, past the director: no balancing, and no failover",
        command,
    )
}

fn station(answer: &Answer) -> String {
    let Answer {
        interface,
        mac,
        known_as,
    } = answer;
    let names: Vec<String> = known_as.iter().map(ToString::to_string).collect();
    match names.is_empty() {
        true => format!("{mac} on {interface}, of which no other address is known"),
        false => format!("{mac} on {interface}, which is {}", names.join(", ")),
    }
}
