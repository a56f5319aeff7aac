//! How is a thing changed, and how is it looked up?

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::{Stream, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use rtnetlink::{Error, Handle, LinkMessageBuilder, LinkUnspec};

use super::error::BackendError;
use super::observe;
use crate::core::backend::facts::{Address, DefaultRoute6, Interface};
use crate::core::backend::setting::{DefaultRoute, Gateway6, LABEL, Tunnel, TunnelState};
use crate::core::backend::{Change, Setting};
use crate::core::desired::XdpMode;
use crate::io::bpf::{self, DecapOptions, Decapsulator};

/// rtnetlink, sysctl and BPF.
#[derive(Clone, Debug)]
pub(super) struct Kernel(Handle);

impl Kernel {
    pub(super) fn open() -> Result<Self, BackendError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|err| BackendError::Kernel {
                what: "open a netlink socket".to_owned(),
                why: err.to_string(),
            })?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// All interfaces.
    pub(super) async fn interfaces(&self) -> Result<BTreeMap<String, Interface>, BackendError> {
        let links = collect("interfaces", self.0.link().get().execute()).await?;
        let one = |link: &netlink_packet_route::link::LinkMessage| {
            let mut name = None;
            let mut mtu = 0;
            for attribute in &link.attributes {
                match attribute {
                    LinkAttribute::IfName(text) => name = Some(text.clone()),
                    LinkAttribute::Mtu(bytes) => mtu = *bytes,
                    _ => {}
                }
            }
            let up = link.header.flags.contains(LinkFlags::Up);
            Some((name?, Interface { up, mtu }))
        };
        Ok(links.iter().filter_map(one).collect())
    }

    /// All addresses.
    pub(super) async fn addresses(&self) -> Result<Vec<Address>, BackendError> {
        let all = collect("addresses", self.0.address().get().execute()).await?;
        Ok(all.iter().filter_map(address).collect())
    }

    /// The default routes of IPv4 in the main table.
    pub(super) async fn default_routes(&self) -> Result<Vec<DefaultRoute>, BackendError> {
        let all = self.routes(AddressFamily::Inet).await?;
        Ok(all.iter().filter_map(default_route).collect())
    }

    /// The default routes of IPv6 in the main table.
    pub(super) async fn default_routes6(&self) -> Result<Vec<DefaultRoute6>, BackendError> {
        let all = self.routes(AddressFamily::Inet6).await?;
        Ok(all.iter().filter_map(default_route6).collect())
    }

    async fn routes(&self, family: AddressFamily) -> Result<Vec<RouteMessage>, BackendError> {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        collect("routes", self.0.route().get(question).execute()).await
    }

    /// Addresses of IPv6 for which neighbour solicitations are answered in the name of others, with the interface.
    pub(super) async fn proxies(&self) -> Result<Vec<(IpAddr, String)>, BackendError> {
        let question = self.0.neighbours().get().proxies();
        let question = question.set_address_family(AddressFamily::Inet6);
        let all = collect("neighbours", question.execute()).await?;
        Ok(all.iter().filter_map(proxy).collect())
    }

    /// Makes a change.
    pub(super) async fn carry_out(
        &self,
        change: &Change,
        pin_dir: &Path,
    ) -> Result<(), BackendError> {
        match &change.new {
            Setting::Sysctl {
                name,
                value: Some(value),
            } => {
                let path = observe::path(name);
                fs::write(&path, value).map_err(BackendError::file("write", &path))
            }
            // It has gone with its interface.
            Setting::Sysctl { value: None, .. } => Ok(()),
            Setting::Vip { address, present } => {
                let done = match present {
                    true => self.add_vip(*address).await,
                    false => self.remove_vip(*address).await,
                };
                done.map_err(|err| kernel(&format!("change {address} on lo"), &err))
            }
            Setting::Tunnel { device, state } => {
                let done = self.set_tunnel(*device, *state).await;
                let what = || format!("have {} {}", device.device(), change.new.state());
                done.map_err(|err| kernel(&what(), &err))
            }
            Setting::Decap { decap: None } => Ok(bpf::detach(pin_dir).map(drop)?),
            Setting::Decap { decap: Some(decap) } => {
                let mut program = Decapsulator::start(&DecapOptions {
                    pin_dir: pin_dir.to_owned(),
                    interfaces: vec![decap.interface.clone()],
                    mode: XdpMode::Auto,
                    replace: false,
                })?;
                program.set_addresses(&decap.addresses)?;
                Ok(())
            }
            Setting::DefaultRoute { route } => {
                let Setting::DefaultRoute { route: old } = &change.old else {
                    return Ok(());
                };
                let done = self.set_default_route(old.as_ref(), route.as_ref()).await;
                done.map_err(|err| kernel("change the default route", &err))
            }
            Setting::Gateway6 { route, present } => {
                let done = self.set_gateway6(route, *present).await;
                done.map_err(|err| kernel("change the IPv6 default route", &err))
            }
        }
    }

    async fn add_vip(&self, address: IpAddr) -> Result<(), Error> {
        let lo = index("lo")?;
        let prefix = IpNet::from(address).prefix_len();
        let mut request = self.0.address().add(lo, address, prefix).replace();
        let attributes = &mut request.message_mut().attributes;
        match address {
            IpAddr::V4(_) => {
                // On `lo` there is nobody to broadcast to.
                attributes.retain(|a| !matches!(a, AddressAttribute::Broadcast(_)));
                attributes.push(AddressAttribute::Label(LABEL.to_owned()));
            }
            IpAddr::V6(_) => {
                // Whoever has it, too, is the director, which shall not be asked. And no connection of this
                // machine's own shall come from it: it is valid for ever, but preferred for no time.
                attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
                let mut lifetime = CacheInfo::default();
                lifetime.ifa_valid = u32::MAX;
                attributes.push(AddressAttribute::CacheInfo(lifetime));
            }
        }
        request.execute().await
    }

    async fn remove_vip(&self, address: IpAddr) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.prefix_len = IpNet::from(address).prefix_len();
        message.header.index = index("lo")?;
        message.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
        ];
        self.0.address().del(message).execute().await
    }

    async fn set_gateway6(&self, route: &Gateway6, present: bool) -> Result<(), Error> {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = AddressFamily::Inet6;
        header.table = RouteHeader::RT_TABLE_MAIN;
        header.protocol = RouteProtocol::Static;
        header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Oif(index(&route.interface)?),
            RouteAttribute::Gateway(RouteAddress::Inet6(route.gateway)),
            RouteAttribute::Priority(Gateway6::METRIC),
        ];
        match present {
            true => self.0.route().add(message).execute().await,
            false => self.0.route().del(message).execute().await,
        }
    }

    async fn set_tunnel(&self, device: Tunnel, state: TunnelState) -> Result<(), Error> {
        match state {
            TunnelState::Up => {
                self.make_tunnel(device).await?;
                self.switch_tunnel(device, true).await
            }
            TunnelState::Down => self.switch_tunnel(device, false).await,
            TunnelState::Absent => {
                self.switch_tunnel(device, false).await?;
                let number = index(device.device())?;
                // The kernel's own device stays, with a yes, until its module goes.
                self.0.link().del(number).execute().await?;
                if index(device.device()).is_ok() {
                    // Others may need the module; then the device stays, switched off.
                    modprobe(&["-r", device.module()]);
                }
                Ok(())
            }
        }
    }

    /// Asking for such a device makes the kernel load its module, which comes with the device.
    async fn make_tunnel(&self, device: Tunnel) -> Result<(), Error> {
        let name = device.device();
        if index(name).is_ok() {
            return Ok(());
        }
        let kind = match device {
            Tunnel::Ip4 => InfoKind::IpIp,
            Tunnel::Ip6 => InfoKind::Other("ip6tnl".to_owned()),
        };
        let message = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind)
            .name(name.to_owned())
            .build();
        let made = self.0.link().add(message).execute().await;
        // Where the kernel may not load it by itself, and where the device came with it, there is an error.
        if made.is_ok() || index(name).is_ok() {
            return Ok(());
        }
        modprobe(&[device.module()]);
        index(name).map(drop).or(made)
    }

    async fn switch_tunnel(&self, device: Tunnel, up: bool) -> Result<(), Error> {
        let link = LinkUnspec::new_with_index(index(device.device())?);
        let link = if up { link.up() } else { link.down() };
        self.0.link().change(link.build()).execute().await
    }

    async fn set_default_route(
        &self,
        old: Option<&DefaultRoute>,
        new: Option<&DefaultRoute>,
    ) -> Result<(), Error> {
        if let Some(new) = new {
            let request = self.0.route().add(message(new)?).replace();
            request.execute().await?;
        }
        // One with the same metric was replaced in one step.
        match old {
            Some(old) if new.is_none_or(|new| new.metric != old.metric) => {
                self.0.route().del(message(old)?).execute().await
            }
            _ => Ok(()),
        }
    }
}

async fn collect<M>(
    what: &str,
    messages: impl Stream<Item = Result<M, Error>>,
) -> Result<Vec<M>, BackendError> {
    let all = messages.try_collect::<Vec<M>>().await;
    all.map_err(|err| kernel(&format!("read the kernel's {what}"), &err))
}

fn kernel(what: &str, why: &Error) -> BackendError {
    let why = match why {
        Error::NetlinkError(refusal) => refusal.to_io().to_string(),
        other => other.to_string(),
    };
    BackendError::Kernel {
        what: what.to_owned(),
        why,
    }
}

fn index(interface: &str) -> Result<u32, Error> {
    nix::net::if_::if_nametoindex(interface)
        .map_err(|_| Error::InvalidNla(format!("there is no interface {interface}")))
}

fn modprobe(words: &[&str]) -> bool {
    let mut command = Command::new("modprobe");
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// An address. On a point-to-point link `Address` is the other end's.
fn address(message: &AddressMessage) -> Option<Address> {
    let mut local = None;
    let mut other = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => other = Some(*addr),
            _ => {}
        }
    }
    Some(Address {
        interface: name(message.header.index)?,
        net: IpNet::new(local.or(other)?, message.header.prefix_len).ok()?,
    })
}

/// An address for which an interface answers in the name of others.
fn proxy(message: &NeighbourMessage) -> Option<(IpAddr, String)> {
    let interface = name(message.header.ifindex)?;
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => {
                Some((IpAddr::V6(*addr), interface.clone()))
            }
            _ => None,
        })
}

fn name(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    Some(name.to_string_lossy().into_owned())
}

fn is_default(message: &RouteMessage) -> bool {
    let header = &message.header;
    header.destination_prefix_length == 0
        && header.kind == RouteType::Unicast
        && header.table == RouteHeader::RT_TABLE_MAIN
}

/// Of one with several routers no router is told.
fn default_route6(message: &RouteMessage) -> Option<DefaultRoute6> {
    if !is_default(message) {
        return None;
    }
    let mut route = DefaultRoute6 {
        gateway: None,
        interface: String::new(),
        metric: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet6(addr)) => route.gateway = Some(*addr),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Oif(index) => route.interface = name(*index)?,
            _ => {}
        }
    }
    Some(route)
}

fn default_route(message: &RouteMessage) -> Option<DefaultRoute> {
    if !is_default(message) {
        return None;
    }
    let header = &message.header;
    let mut route = DefaultRoute {
        gateway: None,
        interface: String::new(),
        metric: 0,
        protocol: header.protocol.into(),
        scope: header.scope.into(),
        source: None,
        onlink: header.flags.contains(RouteFlags::Onlink),
        simple: header.tos == 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(addr)) => route.gateway = Some(*addr),
            RouteAttribute::PrefSource(RouteAddress::Inet(addr)) => route.source = Some(*addr),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Oif(index) => route.interface = name(*index)?,
            RouteAttribute::Table(_) => {}
            _ => route.simple = false,
        }
    }
    Some(route)
}

fn message(route: &DefaultRoute) -> Result<RouteMessage, Error> {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = AddressFamily::Inet;
    header.table = RouteHeader::RT_TABLE_MAIN;
    header.protocol = RouteProtocol::from(route.protocol);
    header.scope = RouteScope::from(route.scope);
    header.kind = RouteType::Unicast;
    if route.onlink {
        header.flags = RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Oif(index(&route.interface)?));
    if let Some(gateway) = route.gateway {
        attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
    }
    if let Some(source) = route.source {
        attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(source)));
    }
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    Ok(message)
}
