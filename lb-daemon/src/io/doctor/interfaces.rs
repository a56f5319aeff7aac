//! Interfaces, as they concern a program in the driver.

use std::fs;

use crate::core::desired::XdpMode;
use crate::core::doctor::facts::{Interface, Joins, Link, Program};
use crate::core::hop;
use crate::io::{bpf, net};

/// Looks at one.
pub(super) fn look(
    name: &str,
    links: &[hop::Link],
    wanted: XdpMode,
    refused: Option<&String>,
) -> Interface {
    let link = links.iter().find(|link| *link.name == *name);
    let programs = link.map_or_else(
        || Ok(Vec::new()),
        |link| bpf::programs_on(link.ifindex).map_err(|err| err.to_string()),
    );
    let joins = net::offloads(name).map(|on| Joins {
        lro: on.lro,
        gro: on.gro,
    });
    Interface {
        name: name.to_owned(),
        link: link.map(|link| Link {
            up: link.up,
            mtu: link.mtu,
            driver: driver(name).or_else(|| link.kind.as_deref().map(str::to_owned)),
        }),
        wanted,
        programs: programs.map(|all| {
            let one = |(id, name, native)| Program { id, name, native };
            all.into_iter().map(one).collect()
        }),
        refused: refused.cloned(),
        offloads: joins.map_err(|err| err.to_string()),
        rp_filter: rp_filter("all").max(rp_filter(name)),
    }
}

/// One of which nothing can be seen, for this reason.
pub(super) fn unseen(name: &str, wanted: XdpMode, why: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        link: Some(Link {
            up: true,
            mtu: 0,
            driver: None,
        }),
        wanted,
        programs: Err(why.to_owned()),
        refused: None,
        offloads: Err(why.to_owned()),
        rp_filter: None,
    }
}

/// The driver of a device that has one.
fn driver(name: &str) -> Option<String> {
    let link = fs::read_link(format!("/sys/class/net/{name}/device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// The kernel goes by the greater of an interface's own value and that of all.
fn rp_filter(name: &str) -> Option<u8> {
    let path = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
