//! rtnetlink as the VRRP thread needs it: requests that are answered before they return, and events.
//!
//! The thread has sockets of its own, so that no advertisement waits for what the rest of the daemon asks the kernel.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{
    AddressFamily as Family, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
    send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};

use crate::config::model::{Scope, VirtualRoute};
use crate::core::hop::Mac;
use crate::io::net::decode::{Change, change, changes, messages};

/// Room for what the kernel says at once.
const ROOM: usize = 1 << 16;
/// The kernel answers before a request returns; a lost answer must not stop us for long.
const PATIENCE: TimeVal = TimeVal::new(1, 0);
/// The groups that tell about interfaces and addresses: `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Asks the kernel.
#[derive(Debug)]
pub(super) struct Requests {
    socket: OwnedFd,
    sequence: u32,
}

/// Hears from the kernel.
#[derive(Debug)]
pub(super) struct Events {
    socket: OwnedFd,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub ifindex: u32,
    pub addr: IpAddr,
    pub prefix: u8,
    pub label: Option<String>,
    pub scope: Scope,
    /// Its network is reached by another interface.
    pub without_route: bool,
}

/// A route that leads over an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub ifindex: Option<u32>,
    pub route: VirtualRoute,
}

impl Requests {
    /// Opens a socket.
    pub(super) fn open() -> io::Result<Self> {
        let socket = open(SockFlag::SOCK_CLOEXEC)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &PATIENCE)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Gives an interface an address. That it has it already is no error.
    pub(super) fn add_address(&mut self, place: &Place) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewAddress(address(place));
        self.ask(message, NLM_F_CREATE | NLM_F_REPLACE)
            .or_else(|err| forgive(err, &[libc::EEXIST]))
    }

    /// Takes an address from an interface. That it does not have it is no error.
    pub(super) fn remove_address(&mut self, place: &Place) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelAddress(address(place));
        let gone = [libc::EADDRNOTAVAIL, libc::ENODEV, libc::ENOENT];
        self.ask(message, 0).or_else(|err| forgive(err, &gone))
    }

    /// Adds a route, or makes the one that is there like it.
    pub(super) fn add_route(&mut self, path: &Path) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewRoute(route(path));
        self.ask(message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes a route. That it is not there is no error: the kernel removes those of an address with it.
    pub(super) fn remove_route(&mut self, path: &Path) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelRoute(route(path));
        let gone = [libc::ESRCH, libc::ENODEV, libc::ENETUNREACH];
        self.ask(message, 0).or_else(|err| forgive(err, &gone))
    }

    /// Makes an interface with a MAC of its own on top of another, not switched on. Frames from the same MAC elsewhere reach both, as
    /// only a bridge has it.
    pub(super) fn add_macvlan(&mut self, on: u32, name: &str, mac: Mac) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(on),
            LinkAttribute::Address(mac.bytes().to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(
                    MacVlanMode::Bridge,
                )])),
            ]),
        ];
        let message = RouteNetlinkMessage::NewLink(message);
        self.ask(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes an interface. That it is not there is no error.
    pub(super) fn remove_link(&mut self, ifindex: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        self.ask(RouteNetlinkMessage::DelLink(message), 0)
            .or_else(|err| forgive(err, &[libc::ENODEV]))
    }

    /// Switches an interface on or off.
    pub(super) fn switch(&mut self, ifindex: u32, on: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.header.change_mask = LinkFlags::Up;
        if on {
            message.header.flags = LinkFlags::Up;
        }
        self.ask(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// All interfaces.
    pub(super) fn links(&mut self) -> io::Result<Vec<Change>> {
        self.list(RouteNetlinkMessage::GetLink(LinkMessage::default()))
    }

    /// All interfaces and addresses.
    pub(super) fn dump(&mut self) -> io::Result<Vec<Change>> {
        let mut all = self.links()?;
        all.extend(self.list(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?);
        Ok(all)
    }

    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        loop {
            for answer in messages(&self.read()?) {
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                if let NetlinkPayload::Error(answer) = answer.payload {
                    return match answer.code {
                        None => Ok(()),
                        Some(_) => Err(answer.to_io()),
                    };
                }
            }
        }
    }

    fn list(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<Change>> {
        self.send(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut all = Vec::new();
        loop {
            for answer in messages(&self.read()?) {
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(all),
                    NetlinkPayload::Error(answer) => return Err(answer.to_io()),
                    payload => all.extend(change(&payload)),
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        Ok(())
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; ROOM];
        let length = recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl Events {
    /// Hears of all that changes from now on.
    pub(super) fn open() -> io::Result<Self> {
        let socket = open(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self { socket })
    }

    /// What has changed since it was asked last; [`Change::Lost`] in it when that was more than was kept.
    pub(super) fn read(&self) -> io::Result<Vec<Change>> {
        let mut all = Vec::new();
        let mut bytes = vec![0; ROOM];
        loop {
            match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    all.extend(changes(bytes.get(..length).unwrap_or_default()));
                }
                Err(nix::Error::EAGAIN) => return Ok(all),
                Err(nix::Error::ENOBUFS) => all.push(Change::Lost),
                Err(nix::Error::EINTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(flags: SockFlag) -> io::Result<OwnedFd> {
    let socket = socket(
        Family::Netlink,
        SockType::Raw,
        flags,
        SockProtocol::NetlinkRoute,
    )?;
    Ok(socket)
}

fn forgive(err: io::Error, codes: &[i32]) -> io::Result<()> {
    match err.raw_os_error() {
        Some(code) if codes.contains(&code) => Ok(()),
        _ => Err(err),
    }
}

const fn family(addr: IpAddr) -> AddressFamily {
    match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn address(place: &Place) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(place.addr);
    message.header.prefix_len = place.prefix;
    message.header.index = place.ifindex;
    message.header.scope = match place.scope {
        Scope::Global => AddressScope::Universe,
        Scope::Site => AddressScope::Site,
        Scope::Link => AddressScope::Link,
        Scope::Host => AddressScope::Host,
    };
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Local(place.addr));
    attributes.push(AddressAttribute::Address(place.addr));
    if let Some(label) = &place.label {
        attributes.push(AddressAttribute::Label(label.clone()));
    }
    let mut flags = AddressFlags::empty();
    // It is ours as soon as we are master: nobody is asked whether he has it.
    flags.set(AddressFlags::Nodad, place.addr.is_ipv6());
    flags.set(AddressFlags::Noprefixroute, place.without_route);
    if !flags.is_empty() {
        attributes.push(AddressAttribute::Flags(flags));
    }
    // Of several addresses of IPv6 the kernel takes that with the longest common prefix, which would be this one beside
    // the director's own. Real servers that have it, too, would answer themselves.
    if place.addr.is_ipv6() && place.prefix == 128 {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = u32::MAX;
        attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message
}

fn route(path: &Path) -> RouteMessage {
    let VirtualRoute {
        to,
        via,
        source,
        metric,
        table,
        interface: _,
    } = &path.route;
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.addr());
    message.header.destination_prefix_length = to.prefix_len();
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match via {
        None if to.addr().is_ipv4() => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    let attributes = &mut message.attributes;
    if to.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(of(to.addr())));
    }
    attributes.extend(via.map(|via| RouteAttribute::Gateway(of(via))));
    attributes.extend(path.ifindex.map(RouteAttribute::Oif));
    attributes.extend(source.map(|source| RouteAttribute::PrefSource(of(source))));
    attributes.extend(metric.map(RouteAttribute::Priority));
    if let Some(table) = *table {
        // The header has a byte for it; the attribute goes before.
        message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        attributes.push(RouteAttribute::Table(table));
    }
    message
}

fn of(addr: IpAddr) -> RouteAddress {
    match addr {
        IpAddr::V4(addr) => RouteAddress::Inet(addr),
        IpAddr::V6(addr) => RouteAddress::Inet6(addr),
    }
}
