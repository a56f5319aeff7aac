//! What is known of interfaces and addresses, kept by the kernel's events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::core::hop::{Link, Mac};
use crate::io::net::decode::Change;

/// Interfaces and addresses.
#[derive(Debug, Default)]
pub(super) struct View {
    links: BTreeMap<u32, Link>,
    /// In the order in which they came: the first of an interface is its own.
    addresses: Vec<(u32, IpNet)>,
}

impl View {
    /// What a listing says, in place of all that was known.
    pub(super) fn of(changes: impl IntoIterator<Item = Change>) -> Self {
        let mut view = Self::default();
        for change in changes {
            view.follow(&change);
        }
        view
    }

    /// Follows a change.
    pub(super) fn follow(&mut self, change: &Change) {
        match change {
            Change::Link(link) => {
                self.links.insert(link.ifindex, link.clone());
            }
            Change::LinkGone(ifindex) => {
                self.links.remove(ifindex);
                self.addresses.retain(|(index, _)| index != ifindex);
            }
            Change::Address(ifindex, net) => {
                let address = (*ifindex, *net);
                if !self.addresses.contains(&address) {
                    self.addresses.push(address);
                }
            }
            Change::AddressGone(ifindex, net) => {
                self.addresses.retain(|a| *a != (*ifindex, *net));
            }
            Change::Neighbour(..) | Change::Routes(_) | Change::AllRoutes | Change::Lost => {}
        }
    }

    /// An interface was removed, of which the event is on its way.
    pub(super) fn forget_link(&mut self, ifindex: u32) {
        self.follow(&Change::LinkGone(ifindex));
    }

    /// The interface of a name.
    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| &*link.name == name)
    }

    /// The interface of an index.
    pub(super) fn link_at(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    /// Whether one of our interfaces has this MAC.
    pub(super) fn has_mac(&self, mac: Mac) -> bool {
        self.links.values().any(|link| link.mac == Some(mac))
    }

    /// Whether an interface has an address of its own in a network.
    pub(super) fn is_on(&self, ifindex: u32, network: IpNet) -> bool {
        let on = |(index, net): &&(u32, IpNet)| *index == ifindex && net.trunc() == network;
        self.addresses.iter().any(|address| on(&address))
    }

    /// Whether an interface has an address.
    pub(super) fn has(&self, ifindex: u32, addr: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|(index, net)| *index == ifindex && net.addr() == addr)
    }

    /// An interface's own address of a family: the first that is not virtual, and for IPv6 the link-local one, as the RFC
    /// wants it.
    pub(super) fn own(
        &self,
        ifindex: u32,
        v6: bool,
        is_virtual: &BTreeSet<IpAddr>,
    ) -> Option<IpAddr> {
        let fits = |addr: &IpAddr| match addr {
            IpAddr::V4(_) => !v6,
            IpAddr::V6(addr) => v6 && addr.is_unicast_link_local(),
        };
        self.addresses
            .iter()
            .filter(|(index, _)| *index == ifindex)
            .map(|(_, net)| net.addr())
            .find(|addr| fits(addr) && !is_virtual.contains(addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn an_interfaces_own_address_is_the_first_that_is_not_virtual() {
        let vips: BTreeSet<IpAddr> = ["192.0.2.80", "fe80::80"]
            .map(|a| a.parse().unwrap())
            .into();
        let mut view = View::of(
            [
                (1, "192.0.2.80/24"),
                (2, "198.51.100.1/24"),
                (1, "192.0.2.1/24"),
                (1, "192.0.2.2/24"),
                (1, "2001:db8::1/64"),
                (1, "fe80::80/64"),
                (1, "fe80::1/64"),
            ]
            .map(|(index, text)| Change::Address(index, net(text))),
        );
        let own = |view: &View, v6| view.own(1, v6, &vips).map(|a| a.to_string());
        assert_eq!(own(&view, false).as_deref(), Some("192.0.2.1"));
        assert_eq!(own(&view, true).as_deref(), Some("fe80::1"));
        view.follow(&Change::AddressGone(1, net("192.0.2.1/24")));
        assert_eq!(own(&view, false).as_deref(), Some("192.0.2.2"));
        assert!(view.has(1, IpAddr::from([192, 0, 2, 2])));
        view.follow(&Change::LinkGone(1));
        assert_eq!(own(&view, false), None);
    }
}
