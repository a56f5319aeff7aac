//! rtnetlink: reading the kernel's tables, its events, and route look-ups.

use std::io;
use std::net::IpAddr;

use futures_util::{Stream, StreamExt, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::{Handle, MulticastGroup};

use crate::core::hop::{Link, Mac, Via};
use crate::core::neighbour::{KernelEntry, Key};

/// The network cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The netlink socket cannot be opened.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// A table cannot be read.
    #[error("cannot read the kernel's {what}: {why}")]
    Read {
        /// Which table.
        what: &'static str,
        /// What the kernel said.
        #[source]
        why: rtnetlink::Error,
    },
    /// The socket for ARP cannot be opened.
    #[error("cannot open a packet socket for ARP: {0}; hint: lbd needs the capability CAP_NET_RAW")]
    Arp(#[source] io::Error),
    /// The task that owns the sockets has ended.
    #[error("the network watcher has ended")]
    Stopped,
}

/// Why there is no next hop towards an address.
#[derive(Debug, thiserror::Error)]
pub enum NoRoute {
    /// The kernel knows no route, or one that forbids.
    #[error("no route: {0}")]
    Refused(#[source] io::Error),
    /// The kernel's route is not to a single station.
    #[error("the route to it is of type {0:?}")]
    NotUnicast(RouteType),
    /// The answer names no interface.
    #[error("the route to it has no interface")]
    Incomplete,
    /// The route's interface is not known (any more).
    #[error("the route's interface, index {0}, does not exist")]
    NoInterface(u32),
    /// The look-up itself failed.
    #[error("the route cannot be looked up: {0}")]
    Failed(#[source] rtnetlink::Error),
}

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
pub(in crate::io) enum Change {
    Link(Link),
    LinkGone(u32),
    Address(u32, IpNet),
    AddressGone(u32, IpNet),
    Neighbour(Key, KernelEntry),
    /// Routes to these addresses may be others now.
    Routes(IpNet),
    /// Any route may be another one now.
    AllRoutes,
    /// Events were lost: everything must be read again.
    Lost,
}

/// Asks the kernel.
#[derive(Clone, Debug)]
pub(super) struct Routes(Handle);

/// Opens the socket and subscribes to events. What changes from now on is in the stream.
pub(super) fn open() -> Result<(Routes, impl Stream<Item = Change> + Unpin + Send), NetError> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Neigh,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Rule,
    ];
    let (connection, handle, messages) =
        rtnetlink::new_multicast_connection(&groups).map_err(NetError::Open)?;
    tokio::spawn(connection);
    let changes = messages.filter_map(|(message, _)| std::future::ready(change(&message.payload)));
    Ok((Routes(handle), changes))
}

impl Routes {
    /// All interfaces, addresses and neighbours.
    pub(super) async fn dump(&self) -> Result<Vec<Change>, NetError> {
        let mut all = Vec::new();
        let links = self.0.link().get().execute();
        collect("interfaces", links, &mut all, |m| {
            link(&m).map(Change::Link)
        })
        .await?;
        let addresses = self.0.address().get().execute();
        collect("addresses", addresses, &mut all, |m| {
            address(&m).map(|(i, a)| Change::Address(i, a))
        })
        .await?;
        let neighbours = self.0.neighbours().get().execute();
        collect("neighbours", neighbours, &mut all, |m| {
            neighbour(&m).map(|(k, e)| Change::Neighbour(k, e))
        })
        .await?;
        Ok(all)
    }

    /// Where the kernel itself would send a packet for `addr`.
    pub(super) async fn get(&self, addr: IpAddr) -> Result<Route, NoRoute> {
        let mut message = RouteMessage::default();
        (
            message.header.address_family,
            message.header.destination_prefix_length,
        ) = match addr {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message
            .attributes
            .push(RouteAttribute::Destination(addr.into()));
        let mut answers = std::pin::pin!(self.0.route().get(message).execute());
        match answers.next().await {
            Some(Ok(message)) => route(&message),
            Some(Err(rtnetlink::Error::NetlinkError(refusal))) => {
                Err(NoRoute::Refused(refusal.to_io()))
            }
            Some(Err(why)) => Err(NoRoute::Failed(why)),
            None => Err(NoRoute::Incomplete),
        }
    }

    /// Makes the kernel resolve a neighbour as if a packet were to be sent there. Its answer is an event.
    pub(super) fn solicit(&self, key: Key) {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = key.ifindex;
        message.header.flags = NeighbourFlags::Use;
        let destination = match key.addr {
            IpAddr::V4(addr) => (AddressFamily::Inet, NeighbourAddress::Inet(addr)),
            IpAddr::V6(addr) => (AddressFamily::Inet6, NeighbourAddress::Inet6(addr)),
        };
        message.header.family = destination.0;
        message
            .attributes
            .push(NeighbourAttribute::Destination(destination.1));
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_CREATE;
        if let Err(why) = self.0.clone().notify(request) {
            tracing::debug!(neighbour = %key.addr, %why, "the kernel could not be asked for a neighbour");
        }
    }
}

async fn collect<M>(
    what: &'static str,
    messages: impl Stream<Item = Result<M, rtnetlink::Error>>,
    into: &mut Vec<Change>,
    read: impl Fn(M) -> Option<Change>,
) -> Result<(), NetError> {
    let mut messages = std::pin::pin!(messages);
    while let Some(message) = messages
        .try_next()
        .await
        .map_err(|why| NetError::Read { what, why })?
    {
        into.extend(read(message));
    }
    Ok(())
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
fn link(message: &LinkMessage) -> Option<Link> {
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
fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
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
fn neighbour(message: &NeighbourMessage) -> Option<(Key, KernelEntry)> {
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
fn route(message: &RouteMessage) -> Result<Route, NoRoute> {
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
