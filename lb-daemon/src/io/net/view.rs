//! What is known of the network at one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::decode::Route;
use super::netlink::NoRoute;
use crate::core::hop::{Link, Mac, NextHop, Reach, Via};

/// Interfaces and addresses of the director, and the next hops of the watched real servers.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Interfaces by index.
    pub(super) links: BTreeMap<u32, Link>,
    /// Addresses with the index of their interface.
    pub(super) addresses: BTreeSet<(u32, IpNet)>,
    /// Next hops of the watched addresses; `None` where there is no route.
    pub(super) hops: HashMap<IpAddr, Option<NextHop>>,
}

impl View {
    /// The next hop that a route leads to. `known` is what is known of the neighbour.
    pub(super) fn next_hop(
        &self,
        route: &Route,
        known: Option<(Option<Mac>, Reach)>,
    ) -> Result<NextHop, NoRoute> {
        // The interface may have gone since the route was looked up.
        let link = self
            .links
            .get(&route.ifindex)
            .ok_or(NoRoute::NoInterface(route.ifindex))?;
        let needs_no_mac = link.noarp || route.via == Via::Local;
        let (mac, reach) = match known {
            _ if needs_no_mac => (None, Reach::Reachable),
            Some(known) => known,
            None => (None, Reach::Unknown),
        };
        Ok(NextHop {
            ifindex: link.ifindex,
            interface: link.name.clone(),
            via: route.via,
            source: route.source,
            src_mac: link.mac,
            mtu: route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
            mac,
            reach,
        })
    }

    /// The address with which to ask for a neighbour: one on the same network if there is one.
    ///
    /// A host address is taken last: it may be a VIP, which the real servers have on their `lo` and which a
    /// question must not seem to come from.
    pub(super) fn asking_address(&self, ifindex: u32, neighbour: Ipv4Addr) -> Ipv4Addr {
        let own = self.addresses.iter().filter_map(|&(index, net)| match net {
            IpNet::V4(net) if index == ifindex => Some(net),
            _ => None,
        });
        own.max_by_key(|net| {
            (
                net.contains(&neighbour) && net.prefix_len() < 32,
                net.prefix_len() < 32,
            )
        })
        .map_or(Ipv4Addr::UNSPECIFIED, |net| net.addr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(addresses: &[(u32, &str)]) -> View {
        let addresses = addresses
            .iter()
            .map(|&(index, net)| (index, net.parse().unwrap()))
            .collect();
        View {
            addresses,
            ..View::default()
        }
    }

    #[test]
    fn a_question_comes_from_the_neighbours_network_and_never_from_a_vip_beside_another_address() {
        let neighbour = Ipv4Addr::new(10, 1, 0, 9);
        for (name, addresses, from) in [
            ("no address", vec![], Ipv4Addr::UNSPECIFIED),
            (
                "another interface's",
                vec![(2, "10.1.0.1/24")],
                Ipv4Addr::UNSPECIFIED,
            ),
            (
                "on the network",
                vec![(1, "10.0.0.1/24"), (1, "10.1.0.1/24"), (1, "10.2.0.1/24")],
                [10, 1, 0, 1].into(),
            ),
            (
                "a VIP",
                vec![(1, "10.1.0.100/32"), (1, "10.9.0.1/24")],
                [10, 9, 0, 1].into(),
            ),
            ("only IPv6", vec![(1, "fd00::1/64")], Ipv4Addr::UNSPECIFIED),
            (
                "nothing but a VIP",
                vec![(1, "10.1.0.100/32")],
                [10, 1, 0, 100].into(),
            ),
        ] {
            assert_eq!(
                view(&addresses).asking_address(1, neighbour),
                from,
                "{name}"
            );
        }
    }

    #[test]
    fn the_smaller_mtu_counts() {
        let mut view = View::default();
        let link = Link {
            ifindex: 3,
            name: "eth0".into(),
            mac: None,
            mtu: 1500,
            up: true,
            noarp: false,
            kind: None,
            below: None,
            controller: None,
            xdp: None,
        };
        view.links.insert(3, link);
        for (of_route, mtu) in [(None, 1500), (Some(1400), 1400), (Some(9000), 1500)] {
            let route = Route {
                ifindex: 3,
                via: Via::OnLink,
                source: None,
                mtu: of_route,
            };
            assert_eq!(view.next_hop(&route, None).unwrap().mtu, mtu);
        }
        let gone = Route {
            ifindex: 4,
            via: Via::OnLink,
            source: None,
            mtu: None,
        };
        assert!(matches!(
            view.next_hop(&gone, None),
            Err(NoRoute::NoInterface(4))
        ));
    }
}
