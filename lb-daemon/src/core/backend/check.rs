//! Is a machine the real server that it is to be?

use std::net::IpAddr;

use serde::Serialize;

use super::facts::Facts;
use super::role::{Method, Role};
use super::wanted::{obstacles, wanted};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub item: String,
    /// How it stands.
    pub standing: Standing,
    /// How it is, or what is wrong.
    pub found: String,
    /// How it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// Why that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to type to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As it must be.
    Good,
    /// Not as it must be.
    Bad,
    /// Worth knowing; neither good nor bad by itself.
    Advice,
}

/// Looks at everything that the role asks for.
pub fn check(role: &Role, facts: &Facts) -> Vec<Finding> {
    let mut all: Vec<Finding> = obstacles(role, facts)
        .iter()
        .map(|obstacle| {
            let (found, command) = obstacle.parts();
            Finding {
                item: "in the way".to_owned(),
                standing: Standing::Bad,
                found,
                wanted: None,
                why: None,
                command,
            }
        })
        .collect();
    all.extend(wanted(role, facts).into_iter().map(|wanted| {
        let good = wanted.is_met(facts);
        let trouble = |text: String| (!good).then_some(text);
        Finding {
            item: wanted.setting.item(),
            standing: if good { Standing::Good } else { Standing::Bad },
            found: facts.now(&wanted.setting).state(),
            wanted: trouble(wanted.setting.state()),
            why: trouble(wanted.why.to_owned()),
            command: trouble(
                wanted
                    .setting
                    .command()
                    .unwrap_or_else(|| prepare_command(role)),
            ),
        }
    }));
    all.extend(room(role, facts));
    all.extend(replies(role, facts));
    all
}

/// Whether nothing is wrong.
pub fn is_ready(findings: &[Finding]) -> bool {
    findings.iter().all(|f| f.standing != Standing::Bad)
}

/// The command that prepares a machine for a role.
pub fn prepare_command(role: &Role) -> String {
    let mut command = "lbctl backend prepare".to_owned();
    for vip in &role.vips {
        command.push_str(&format!(" --vip {vip}"));
    }
    command.push_str(&format!(
        " --method {} --interface {}",
        role.method, role.interface
    ));
    for gateway in &role.gateways {
        command.push_str(&format!(" --gateway {gateway}"));
    }
    command
}

/// The header of IPv4, in bytes; that of IPv6 is twice as long.
const HEADER: u32 = 20;
/// The header of TCP, in bytes.
const TCP_HEADER: u32 = 20;

/// A tunnel leaves less room in a packet.
fn room(role: &Role, facts: &Facts) -> Vec<Finding> {
    let Some(interface) = facts.interfaces.get(&role.interface) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    if role.method == Method::Tun && role.has_vips4() {
        let mss = interface.mtu.saturating_sub(2 * HEADER + TCP_HEADER);
        let route = facts.default_route();
        let command = route.map(|route| format!("ip route change {route} advmss {mss}"));
        all.push(less_room("MTU", role, interface.mtu, HEADER, command));
    }
    if role.method == Method::Tun && role.has_vips6() {
        let mss = interface.mtu.saturating_sub(4 * HEADER + TCP_HEADER);
        // One that a router advertises would be advertised again.
        let command = Some(format!(
            "ip -6 route add DESTINATION via ROUTER advmss {mss}"
        ));
        all.push(less_room(
            "IPv6 MTU",
            role,
            interface.mtu,
            2 * HEADER,
            command,
        ));
    }
    all
}

fn less_room(what: &str, role: &Role, mtu: u32, header: u32, command: Option<String>) -> Finding {
    let room = mtu.saturating_sub(header);
    Finding {
        item: format!("{what} of {}", role.interface),
        standing: Standing::Advice,
        found: format!("{mtu}: a packet in a tunnel has room for {room} bytes"),
        wanted: None,
        why: Some(
            "clients send smaller packets when the director tells them to; those behind a firewall that drops ICMP \
             need a smaller MSS"
                .to_owned(),
        ),
        command,
    }
}

/// Where replies go, in each family that is served. Who serves by nat need not name what.
fn replies(role: &Role, facts: &Facts) -> Vec<Finding> {
    let serves = |is_family: fn(&IpAddr) -> bool| role.vips.iter().any(is_family);
    let gateway = |is_family: fn(&IpAddr) -> bool| role.gateways.iter().any(is_family);
    let mut all = Vec::new();
    let unnamed = role.vips.is_empty() && role.gateways.is_empty();
    if (serves(IpAddr::is_ipv4) || unnamed) && !gateway(IpAddr::is_ipv4) {
        let route = facts.default_route().map(ToString::to_string);
        all.extend(replies_by("replies", "ip route", role.method, route));
    }
    if serves(IpAddr::is_ipv6) && !gateway(IpAddr::is_ipv6) {
        let route = facts.default_route6().map(ToString::to_string);
        all.extend(replies_by(
            "IPv6 replies",
            "ip -6 route",
            role.method,
            route,
        ));
    }
    all
}

fn replies_by(item: &str, ip: &str, method: Method, route: Option<String>) -> Option<Finding> {
    let advice = |found: String, why: &str, command: String| {
        Some(Finding {
            item: item.to_owned(),
            standing: Standing::Advice,
            found,
            wanted: None,
            why: Some(why.to_owned()),
            command: Some(command),
        })
    };
    let none = || "no default route".to_owned();
    match (method, route) {
        (Method::Nat, route) => advice(
            route.unwrap_or_else(none),
            "with nat replies must go by way of the director",
            "lbctl backend prepare --method nat --gateway DIRECTOR".to_owned(),
        ),
        (_, None) => advice(
            none(),
            "clients beyond the networks of this machine get no replies",
            format!("{ip} add default via ROUTER"),
        ),
        (_, Some(_)) => None,
    }
}
