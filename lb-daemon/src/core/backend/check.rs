//! Is a machine the real server that it is to be?

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
    if let Some(gateway) = role.gateway {
        command.push_str(&format!(" --gateway {gateway}"));
    }
    command
}

/// The header of a tunnel, in bytes.
const TUNNEL_HEADER: u32 = 20;
/// The headers of IPv4 and TCP, in bytes.
const HEADERS: u32 = 40;

/// A tunnel leaves less room in a packet.
fn room(role: &Role, facts: &Facts) -> Option<Finding> {
    let mtu = facts.interfaces.get(&role.interface)?.mtu;
    if role.method != Method::Tun {
        return None;
    }
    let room = mtu.saturating_sub(TUNNEL_HEADER);
    let mss = room.saturating_sub(HEADERS);
    let route = facts
        .default_route()
        .map(|route| format!("ip route change {route} advmss {mss}"));
    Some(Finding {
        item: format!("MTU of {}", role.interface),
        standing: Standing::Advice,
        found: format!("{mtu}: a packet in a tunnel has room for {room} bytes"),
        wanted: None,
        why: Some(
            "clients send smaller packets when the director tells them to; those behind a firewall that drops ICMP \
             need a smaller MSS"
                .to_owned(),
        ),
        command: route,
    })
}

/// Where replies go.
fn replies(role: &Role, facts: &Facts) -> Option<Finding> {
    if role.gateway.is_some() {
        return None;
    }
    let advice = |found: String, why: &str, command: &str| {
        Some(Finding {
            item: "replies".to_owned(),
            standing: Standing::Advice,
            found,
            wanted: None,
            why: Some(why.to_owned()),
            command: Some(command.to_owned()),
        })
    };
    match (role.method, facts.default_route()) {
        (Method::Nat, route) => advice(
            route.map_or("no default route".to_owned(), ToString::to_string),
            "with nat replies must go by way of the director",
            "lbctl backend prepare --method nat --gateway DIRECTOR",
        ),
        (_, None) => advice(
            "no default route".to_owned(),
            "clients beyond the networks of this machine get no replies",
            "ip route add default via ROUTER",
        ),
        (_, Some(_)) => None,
    }
}
