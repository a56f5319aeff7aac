//! What do the kernel's messages say?

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};

use super::NoRoute;
use crate::core::hop::{Link, Mac, Via};
use crate::core::neighbour::{KernelEntry, Key};

/// The length of a message's header, below which none is.
const HEADER: usize = 16;

/// What the kernel's route look-up says about an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Route {
    pub(super) ifindex: u32,
    pub(super) via: Via,
    pub(super) source: Option<IpAddr>,
    pub(super) mtu: Option<u32>,
}

/// A change of the kernel's tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// An interface is new, or is another way than before.
    Link(Link),
    /// The interface with this index is gone.
    LinkGone(u32),
    /// The interface with this index has an address.
    Address(u32, IpNet),
    /// The interface with this index has lost an address.
    AddressGone(u32, IpNet),
    /// The kernel knows this of a neighbour.
    Neighbour(Key, KernelEntry),
    /// Routes to these addresses may be others now.
    Routes(IpNet),
    /// Any route may be another one now.
    AllRoutes,
    /// Events were lost: everything must be read again.
    Lost,
}

/// What has changed, by all that the kernel has said at once. What cannot be read is passed over.
pub fn changes(bytes: &[u8]) -> Vec<Change> {
    let said = messages(bytes);
    said.filter_map(|message| change(&message.payload))
        .collect()
}

/// The messages in what the kernel has said at once. One that cannot be read is passed over, as by all who read the kernel's
/// messages: a newer kernel may say more than is known here, and the others are true all the same.
pub(in crate::io) fn messages(
    mut bytes: &[u8],
) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let message = bytes.get(..length).filter(|_| length >= HEADER)?;
        // Each begins at a multiple of four bytes.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(message))
    })
    .filter_map(|read| {
        read.inspect_err(|why| tracing::debug!(%why, "a message of the kernel cannot be read"))
            .ok()
    })
}

/// What an unsolicited message means, if it concerns us.
pub(in crate::io) fn change(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    let message = match payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(Change::Lost),
        _ => return None,
    };
    match message {
        RouteNetlinkMessage::NewLink(m) => link(m).map(Change::Link),
        RouteNetlinkMessage::DelLink(m) => link(m).map(|l| Change::LinkGone(l.ifindex)),
        RouteNetlinkMessage::NewAddress(m) => address(m).map(|(i, a)| Change::Address(i, a)),
        RouteNetlinkMessage::DelAddress(m) => address(m).map(|(i, a)| Change::AddressGone(i, a)),
        RouteNetlinkMessage::NewNeighbour(m) => neighbour(m).map(|(k, e)| Change::Neighbour(k, e)),
        RouteNetlinkMessage::DelNeighbour(m) => {
            neighbour(m).map(|(k, _)| Change::Neighbour(k, KernelEntry::None))
        }
        RouteNetlinkMessage::NewRoute(m) | RouteNetlinkMessage::DelRoute(m) => Some(routes(m)),
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => {
            Some(Change::AllRoutes)
        }
        _ => None,
    }
}

/// An interface. Messages of a bridge about its ports have the same type and another family.
pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let mut link = Link {
        ifindex: message.header.index,
        name: "".into(),
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        noarp: flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback),
        kind: None,
        below: None,
        controller: None,
        xdp: None,
    };
    let mut is_elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name.as_str().into(),
            LinkAttribute::Address(bytes) => link.mac = Mac::from_slice(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(InfoKind::Other(kind)) => Some(kind.as_str().into()),
                    LinkInfo::Kind(kind) => Some(kind.to_string().into()),
                    _ => None,
                });
            }
            LinkAttribute::Link(below) => link.below = Some(*below),
            LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
            LinkAttribute::Controller(controller) => link.controller = Some(*controller),
            LinkAttribute::Xdp(xdp) => {
                link.xdp = xdp.iter().find_map(|x| match x {
                    LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if is_elsewhere {
        link.below = None;
    }
    Some(link)
}

/// An address, with the index of its interface.
pub(super) fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let find =
        |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    // On a point-to-point link `Address` is the other end's.
    let own = find(|a| {
        if let AddressAttribute::Local(addr) = a {
            Some(*addr)
        } else {
            None
        }
    });
    let any = find(|a| {
        if let AddressAttribute::Address(addr) = a {
            Some(*addr)
        } else {
            None
        }
    });
    let net = IpNet::new(own.or(any)?, message.header.prefix_len).ok()?;
    Some((message.header.index, net))
}

/// An entry of the neighbour table. Entries of bridges have the same type and another family.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(Key, KernelEntry)> {
    let mut addr = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                addr = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                addr = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::from_slice(bytes),
            _ => {}
        }
    }
    let entry = match (message.header.state, mac) {
        (NeighbourState::Permanent | NeighbourState::Noarp, Some(mac)) => KernelEntry::Fixed(mac),
        (
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe,
            Some(mac),
        ) => KernelEntry::Learned(mac),
        _ => KernelEntry::None,
    };
    Some((
        Key {
            ifindex: message.header.ifindex,
            addr: addr?,
        },
        entry,
    ))
}

/// Which look-ups a changed route may change.
fn routes(message: &RouteMessage) -> Change {
    let destination = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(addr) => ip(addr),
        _ => None,
    });
    destination
        .and_then(|addr| IpNet::new(addr, message.header.destination_prefix_length).ok())
        .map_or(Change::AllRoutes, Change::Routes)
}

/// The answer to a route look-up.
pub(super) fn route(message: &RouteMessage) -> Result<Route, NoRoute> {
    let mut found = Route {
        ifindex: 0,
        via: Via::OnLink,
        source: None,
        mtu: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => found.ifindex = *index,
            RouteAttribute::Gateway(addr) => found.via = ip(addr).map_or(found.via, Via::Gateway),
            RouteAttribute::Via(RouteVia::Inet(addr)) => found.via = Via::Gateway((*addr).into()),
            RouteAttribute::Via(RouteVia::Inet6(addr)) => found.via = Via::Gateway((*addr).into()),
            RouteAttribute::PrefSource(addr) => found.source = ip(addr),
            RouteAttribute::Metrics(metrics) => {
                found.mtu = metrics.iter().find_map(|m| match m {
                    RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    match message.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => found.via = Via::Local,
        other => return Err(NoRoute::NotUnicast(other)),
    }
    if found.ifindex == 0 {
        Err(NoRoute::Incomplete)
    } else {
        Ok(found)
    }
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}
