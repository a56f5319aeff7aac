//! Interfaces: is the program there, in the driver, and does nothing join packets before it?

use super::facts::{Facts, Interface, Link, Program};
use super::{Check, Finding};
use crate::core::desired::XdpMode;

/// The kernel's name of the program.
const OURS: &str = "lb";
/// `rp_filter` in its strict form.
const STRICT: u8 = 1;
/// Many drivers take no XDP program with a greater MTU: one packet has to fit into a page.
const ONE_PAGE: u32 = 3_498;

pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    for interface in &facts.interfaces {
        let name = &interface.name;
        let Some(link) = &interface.link else {
            all.push(Finding::bad(
                Check::Interface,
                format!("interface {name} does not exist"),
                "the configuration names it",
                "no packet from there is balanced",
                "ip -br link; then mend `interfaces:`",
            ));
            continue;
        };
        all.push(state(name, link));
        all.extend(program(interface, link));
        all.push(offloads(interface));
        all.extend(filter(interface, facts.default_route.as_deref()));
    }
    if facts.interfaces.is_empty() {
        all.push(Finding::bad(
            Check::Interface,
            "the program has no interface to run on",
            "no interface leads to a real server, and the configuration names none",
            "no packet is balanced",
            "ip -br address; then set `interfaces: [eth0]` in the configuration",
        ));
    }
    all
}

fn state(name: &str, link: &Link) -> Finding {
    if link.up {
        return Finding::good(
            Check::Interface,
            format!("interface {name} is up"),
            format!("MTU {}", link.mtu),
        );
    }
    Finding::bad(
        Check::Interface,
        format!("interface {name} is down"),
        "it is switched off, or has no carrier",
        "no packet comes in or goes out there",
        format!("ip link set {name} up; ethtool {name}"),
    )
}

fn program(interface: &Interface, link: &Link) -> Vec<Finding> {
    let name = &interface.name;
    let programs = match &interface.programs {
        Ok(programs) => programs,
        Err(why) => return vec![Finding::unknown(Check::Xdp, format!("XDP on {name}"), why)],
    };
    let (ours, others): (Vec<&Program>, Vec<&Program>) =
        programs.iter().partition(|program| program.name == OURS);
    let mut all: Vec<Finding> = others.iter().map(|other| foreign(name, other)).collect();
    match ours.first() {
        Some(Program {
            native: true, id, ..
        }) => all.push(Finding::good(
            Check::Xdp,
            format!("XDP runs in the driver of {name}"),
            format!("program {id}"),
        )),
        Some(_) => all.push(generic(interface, link)),
        None if others.is_empty() => all.push(Finding::bad(
            Check::Xdp,
            format!("XDP does not run on {name}"),
            "no program is attached there",
            "packets that come in there are not balanced",
            "lbctl status; systemctl restart lbd",
        )),
        None => {}
    }
    all
}

fn foreign(interface: &str, other: &Program) -> Finding {
    Finding::bad(
        Check::Xdp,
        format!("another XDP program runs on {interface}"),
        format!("`{}`, id {}", other.name, other.id),
        "an interface runs one program: packets that come in there are not balanced",
        format!(
            "bpftool prog show id {}; start lbd with --replace to take its place",
            other.id
        ),
    )
}

/// In the kernel's stack, and as far as it is known why.
fn generic(interface: &Interface, link: &Link) -> Finding {
    const COST: &str = "each packet costs several times as much as in the driver";
    let name = &interface.name;
    let what = format!("XDP runs in the kernel's stack on {name}, not in the driver");
    let found = |why: String, command: String| Finding::bad(Check::Xdp, &what, why, COST, command);
    let again = "lbctl detach; systemctl start lbd";
    if interface.wanted == XdpMode::Generic {
        let chosen = "the configuration says `mode: generic`".to_owned();
        return found(chosen, "set `mode: auto`, and reload".to_owned()).into_advice();
    }
    let driver = link.driver.as_deref().unwrap_or("without a name");
    let told = interface.refused.as_deref();
    let reason = told.map(|why| format!("; the driver said: {why}"));
    let reason = reason.unwrap_or_default();
    match &interface.offloads {
        Ok(joins) if joins.lro => found(
            format!(
                "large receive offload is on, and the driver ({driver}) takes no program then{reason}"
            ),
            format!("ethtool -K {name} lro off; {again}"),
        ),
        _ if link.mtu > ONE_PAGE => found(
            format!(
                "its MTU is {}, and a packet may have to fit into a page for the driver ({driver}){reason}",
                link.mtu
            ),
            format!("ip link set {name} mtu 1500; {again}"),
        ),
        _ if told.is_some() => found(
            format!("its driver is {driver}{reason}"),
            format!("ethtool -i {name}; dmesg | tail; a newer kernel or another card may do"),
        )
        .into_advice(),
        _ => found(
            format!("its driver is {driver}; an earlier lbd has attached it, whose log says why"),
            again.to_owned(),
        )
        .into_advice(),
    }
}

fn offloads(interface: &Interface) -> Finding {
    let name = &interface.name;
    let what = format!("offloads of {name}");
    let joins = match &interface.offloads {
        Ok(joins) => joins,
        Err(why) => return Finding::unknown(Check::Offloads, what, why),
    };
    let is_generic = interface
        .programs
        .as_ref()
        .is_ok_and(|all| all.iter().any(|p| p.name == OURS && !p.native));
    if joins.lro {
        return Finding::bad(
            Check::Offloads,
            format!("{name} joins received packets (LRO)"),
            format!("ethtool -k {name}: large-receive-offload: on"),
            "a joined packet is larger than any that can be sent on, and is lost",
            format!("ethtool -K {name} lro off"),
        );
    }
    if joins.gro && is_generic {
        return Finding::bad(
            Check::Offloads,
            format!("{name} joins packets before XDP sees them (GRO)"),
            format!(
                "ethtool -k {name}: generic-receive-offload: on, and XDP runs in the kernel's stack"
            ),
            "joined packets do not fit into a tunnel, and cost time to take apart",
            format!("ethtool -K {name} gro off"),
        )
        .into_advice();
    }
    Finding::good(
        Check::Offloads,
        format!("{name} joins no packets before XDP sees them"),
        "large-receive-offload: off",
    )
}

fn filter(interface: &Interface, default: Option<&str>) -> Option<Finding> {
    let name = &interface.name;
    let value = interface.rp_filter?;
    let elsewhere = default.filter(|default| default != name);
    let found =
        format!("net.ipv4.conf.{name}.rp_filter = {value} (the greater of it and of `all`)");
    Some(match elsewhere {
        Some(default) if value == STRICT => Finding::bad(
            Check::RpFilter,
            format!("a strict reverse path filter is on {name}"),
            format!("{found}, and the default route leaves by {default}"),
            "clients' packets that the program leaves to the kernel, as the first to a new real server, are dropped",
            format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2"),
        ),
        _ => Finding::good(
            Check::RpFilter,
            format!("no reverse path filter of {name} is in the way"),
            found,
        ),
    })
}
