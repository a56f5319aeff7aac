//! By which MACs is this host reached through an interface?
//!
//! By that of the interface; of the bridge or bond that it is a port of; and of what lies on top of these and gets frames from them:
//! VLANs, and macvlans that are switched on. Of a bond the program sees the frames at the ports.

use std::collections::BTreeSet;

use super::hop::{Link, Mac};

/// An interface at which the program sees frames.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Station {
    /// Its index.
    pub ifindex: u32,
    /// The MACs by which this host is reached there, virtual routers' aside.
    pub macs: BTreeSet<Mac>,
    /// The interfaces whose frames come in there, its own index among them: what a virtual router on any of them has for a MAC is
    /// reached there too.
    pub gets: BTreeSet<u32>,
}

/// Every interface at which the program sees frames when it is attached to those of these names. Those named `ours` have the MACs of virtual
/// routers, which come and go by themselves.
pub fn stations(links: &[Link], attached: &[String], ours: &[&str]) -> Vec<Station> {
    let is_attached = |link: &&Link| attached.iter().any(|name| **name == *link.name);
    let mut all = Vec::new();
    for link in links.iter().filter(is_attached) {
        let gets = gets(links, link.ifindex, ours);
        let of = |port: &Link| {
            let through = links.iter().filter(|l| gets.contains(&l.ifindex));
            Station {
                ifindex: port.ifindex,
                macs: through.chain([port]).filter_map(|l| l.mac).collect(),
                gets: gets.clone(),
            }
        };
        all.push(of(link));
        if link.kind.as_deref() == Some("bond") {
            let ports = links.iter().filter(|l| l.controller == Some(link.ifindex));
            all.extend(ports.map(of));
        }
    }
    all
}

/// The interfaces that get frames which come in by one, that one among them.
fn gets(links: &[Link], from: u32, ours: &[&str]) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([from]);
    loop {
        let known = found.len();
        for link in links.iter().filter(|link| !ours.contains(&&*link.name)) {
            let takes = match link.kind.as_deref() {
                Some("vlan") => true,
                Some("macvlan") => link.up,
                _ => false,
            };
            let is_above = takes && link.below.is_some_and(|below| found.contains(&below));
            if is_above || found.contains(&link.ifindex) {
                found.insert(link.ifindex);
                found.extend(link.controller);
            }
        }
        if found.len() == known {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interface whose MAC ends in its index.
    fn link(ifindex: u32, name: &str, kind: &str) -> Link {
        Link {
            ifindex,
            name: name.into(),
            mac: Mac::new([2, 0, 0, 0, 0, ifindex as u8]),
            mtu: 1500,
            up: true,
            noarp: false,
            kind: (!kind.is_empty()).then(|| kind.into()),
            below: None,
            controller: None,
            xdp: None,
        }
    }

    fn on(below: u32, link: Link) -> Link {
        Link {
            below: Some(below),
            ..link
        }
    }

    fn port_of(controller: u32, link: Link) -> Link {
        Link {
            controller: Some(controller),
            ..link
        }
    }

    /// Of each station its index and the last bytes of its MACs.
    fn found(links: &[Link], attached: &str, ours: &[&str]) -> Vec<(u32, Vec<u8>)> {
        let last = |s: &Station| s.macs.iter().map(|mac| mac.bytes()[5]).collect();
        let all = stations(links, &[attached.to_owned()], ours);
        all.iter().map(|s| (s.ifindex, last(s))).collect()
    }

    #[test]
    fn an_interface_is_reached_by_its_own_mac_and_by_those_on_top_of_it() {
        let mut links = vec![
            link(1, "lo", ""),
            link(2, "eth0", ""),
            link(3, "eth1", ""),
            on(2, link(4, "eth0.10", "vlan")),
            on(4, link(5, "upper", "macvlan")),
            on(2, link(6, "vrrp.51", "macvlan")),
            on(3, link(7, "elsewhere", "macvlan")),
            on(2, link(8, "veth", "veth")),
        ];
        assert_eq!(
            found(&links, "eth0", &["vrrp.51"]),
            [(2, vec![2, 4, 5])],
            "not what is a virtual router's"
        );
        links[4].up = false;
        assert_eq!(found(&links, "eth0", &["vrrp.51"]), [(2, vec![2, 4])]);
        assert_eq!(found(&links, "eth7", &[]), []);
    }

    #[test]
    fn a_port_is_reached_by_the_mac_of_its_bridge_and_a_bond_by_its_ports() {
        let bridge = [port_of(3, link(2, "eth0", "")), link(3, "br0", "bridge")];
        assert_eq!(found(&bridge, "eth0", &[]), [(2, vec![2, 3])]);
        let bond = [
            link(2, "bond0", "bond"),
            port_of(2, link(3, "eth0", "")),
            port_of(2, link(4, "eth1", "")),
            on(2, link(5, "bond0.7", "vlan")),
        ];
        assert_eq!(
            found(&bond, "bond0", &[]),
            [(2, vec![2, 5]), (3, vec![2, 3, 5]), (4, vec![2, 4, 5])]
        );
        let gets = &stations(&bond, &["bond0".to_owned()], &[])[1].gets;
        assert_eq!(*gets, BTreeSet::from([2, 5]));
    }
}
