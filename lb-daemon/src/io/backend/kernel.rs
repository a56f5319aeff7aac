//! How is a thing changed, and how is it looked up?

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::{Stream, TryStreamExt};
use ipnet::Ipv4Net;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use rtnetlink::{Error, Handle, LinkMessageBuilder, LinkUnspec};

use super::error::BackendError;
use super::observe;
use crate::core::backend::facts::{Address, Interface};
use crate::core::backend::setting::{DefaultRoute, LABEL, TUNNEL, TunnelState};
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

    /// All IPv4 addresses.
    pub(super) async fn addresses(&self) -> Result<Vec<Address>, BackendError> {
        let all = collect("addresses", self.0.address().get().execute()).await?;
        Ok(all.iter().filter_map(address).collect())
    }

    /// The default routes of the main table.
    pub(super) async fn default_routes(&self) -> Result<Vec<DefaultRoute>, BackendError> {
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet;
        let all = collect("routes", self.0.route().get(question).execute()).await?;
        Ok(all.iter().filter_map(default_route).collect())
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
            Setting::Tunnel { state } => self
                .set_tunnel(*state)
                .await
                .map_err(|err| kernel(&format!("have {TUNNEL} {}", change.new.state()), &err)),
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
        }
    }

    async fn add_vip(&self, address: Ipv4Addr) -> Result<(), Error> {
        let lo = index("lo")?;
        let mut request = self.0.address().add(lo, address.into(), 32).replace();
        let attributes = &mut request.message_mut().attributes;
        // On `lo` there is nobody to broadcast to.
        attributes.retain(|a| !matches!(a, AddressAttribute::Broadcast(_)));
        attributes.push(AddressAttribute::Label(LABEL.to_owned()));
        request.execute().await
    }

    async fn remove_vip(&self, address: Ipv4Addr) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.header.index = index("lo")?;
        message.attributes = vec![
            AddressAttribute::Local(address.into()),
            AddressAttribute::Address(address.into()),
        ];
        self.0.address().del(message).execute().await
    }

    async fn set_tunnel(&self, state: TunnelState) -> Result<(), Error> {
        match state {
            TunnelState::Up => {
                self.make_tunnel().await?;
                self.switch_tunnel(true).await
            }
            TunnelState::Down => self.switch_tunnel(false).await,
            TunnelState::Absent => {
                self.switch_tunnel(false).await?;
                let index = index(TUNNEL)?;
                // The kernel's own device stays, with a yes, until its module goes.
                self.0.link().del(index).execute().await?;
                if self::index(TUNNEL).is_ok() {
                    // Others may need the module; then the device stays, switched off.
                    modprobe(&["-r", "ipip"]);
                }
                Ok(())
            }
        }
    }

    /// Asking for such a device makes the kernel load its module, which comes with the device.
    async fn make_tunnel(&self) -> Result<(), Error> {
        if index(TUNNEL).is_ok() {
            return Ok(());
        }
        let message = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::IpIp)
            .name(TUNNEL.to_owned())
            .build();
        let made = self.0.link().add(message).execute().await;
        // Where the kernel may not load it by itself, and where the device came with it, there is an error.
        if made.is_ok() || index(TUNNEL).is_ok() {
            return Ok(());
        }
        modprobe(&["ipip"]);
        index(TUNNEL).map(drop).or(made)
    }

    async fn switch_tunnel(&self, up: bool) -> Result<(), Error> {
        let link = LinkUnspec::new_with_index(index(TUNNEL)?);
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

/// An IPv4 address. On a point-to-point link `Address` is the other end's.
fn address(message: &AddressMessage) -> Option<Address> {
    let mut local = None;
    let mut other = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(IpAddr::V4(addr)) => local = Some(*addr),
            AddressAttribute::Address(IpAddr::V4(addr)) => other = Some(*addr),
            _ => {}
        }
    }
    let name = nix::net::if_::if_indextoname(message.header.index).ok()?;
    Some(Address {
        interface: name.to_string_lossy().into_owned(),
        net: Ipv4Net::new(local.or(other)?, message.header.prefix_len).ok()?,
    })
}

fn default_route(message: &RouteMessage) -> Option<DefaultRoute> {
    let header = &message.header;
    let is_default = header.destination_prefix_length == 0
        && header.address_family == AddressFamily::Inet
        && header.kind == RouteType::Unicast
        && header.table == RouteHeader::RT_TABLE_MAIN;
    if !is_default {
        return None;
    }
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
            RouteAttribute::Oif(index) => {
                let name = nix::net::if_::if_indextoname(*index).ok()?;
                route.interface = name.to_string_lossy().into_owned();
            }
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
