//! rtnetlink: reading the kernel's tables, its events, and route look-ups.

use std::io;
use std::net::IpAddr;

use futures_util::{Stream, StreamExt, TryStreamExt};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage};
use rtnetlink::{Handle, MulticastGroup};

use super::decode::{self, Change, Route};
use crate::core::neighbour::Key;

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
    let changes =
        messages.filter_map(|(message, _)| std::future::ready(decode::change(&message.payload)));
    Ok((Routes(handle), changes))
}

impl Routes {
    /// All interfaces, addresses and neighbours.
    pub(super) async fn dump(&self) -> Result<Vec<Change>, NetError> {
        let mut all = Vec::new();
        let links = self.0.link().get().execute();
        collect("interfaces", links, &mut all, |m| {
            decode::link(&m).map(Change::Link)
        })
        .await?;
        let addresses = self.0.address().get().execute();
        collect("addresses", addresses, &mut all, |m| {
            decode::address(&m).map(|(i, a)| Change::Address(i, a))
        })
        .await?;
        let neighbours = self.0.neighbours().get().execute();
        collect("neighbours", neighbours, &mut all, |m| {
            decode::neighbour(&m).map(|(k, e)| Change::Neighbour(k, e))
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
            Some(Ok(message)) => decode::route(&message),
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
