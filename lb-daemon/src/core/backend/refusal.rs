//! Why can a machine not be made a real server as it was asked for?

use std::net::IpAddr;

use super::role::Method;
use super::setting::{DefaultRoute, Tunnel};

/// Something is in the way. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such interface.
    #[error("interface {0} does not exist; hint: `ip -br link` lists the interfaces")]
    NoInterface(String),
    /// The interface is switched off.
    #[error("interface {0} is down; hint: ip link set {0} up")]
    InterfaceDown(String),
    /// A method that needs virtual addresses has none.
    #[error(
        "with method {0} the real server has the virtual addresses; hint: name them with --vip"
    )]
    NoVips(Method),
    /// No host can have this address.
    #[error(
        "{0} cannot be a virtual address: it is {1}; hint: name the address of the service, as the director has it"
    )]
    NotAnAddress(IpAddr, &'static str),
    /// A virtual address is somewhere else, too.
    #[error(
        "{vip} is an address of {interface}, which tells the network of it; \
         hint: ip address del {vip}/{prefix} dev {interface}"
    )]
    VipElsewhere {
        /// The virtual address.
        vip: IpAddr,
        /// Where it is.
        interface: String,
        /// The length of its network's prefix.
        prefix: u8,
    },
    /// A virtual address has a network around it on `lo`.
    #[error(
        "{vip} is on lo as {vip}/{prefix}, which makes all of that network this machine's; \
         hint: ip address del {vip}/{prefix} dev lo"
    )]
    VipWithNetwork {
        /// The virtual address.
        vip: IpAddr,
        /// The length of its network's prefix.
        prefix: u8,
    },
    /// With NAT the real server must not have the virtual address.
    #[error(
        "{vip} is on {interface}: with nat it is the director's alone; hint: ip address del {vip}/{prefix} dev {interface}"
    )]
    VipWithNat {
        /// The virtual address.
        vip: IpAddr,
        /// Where it is.
        interface: String,
        /// The length of its network's prefix.
        prefix: u8,
    },
    /// The machine answers neighbour solicitations for a virtual address in the name of others.
    #[error(
        "{interface} is a proxy for {vip}, and tells the network of it; hint: ip -6 neigh del proxy {vip} dev {interface}"
    )]
    VipProxied {
        /// The virtual address.
        vip: IpAddr,
        /// Which interface answers.
        interface: String,
    },
    /// The kernel has no IPv6.
    #[error(
        "this kernel has no IPv6; hint: load its module `ipv6`, or boot without `ipv6.disable=1`"
    )]
    NoIpv6,
    /// An interface has no IPv6.
    #[error("IPv6 is switched off on {0}; hint: sysctl -w net.ipv6.conf.{0}.disable_ipv6=0")]
    Ipv6Off(String),
    /// Nothing takes packets out of tunnels.
    #[error(
        "this kernel has no {} device and no module for one, and this lbctl has no XDP program inside; \
         hint: install the kernel's module {}, or an lbctl that was built with `cargo xtask build`",
        .0.device(),
        .0.module()
    )]
    NoTunnel(Tunnel),
    /// A tunnel has to end at an address.
    #[error(
        "{0} has no {family} address at which tunnels could end; hint: ip address add ADDRESS/LENGTH dev {0}",
        family = .1.family()
    )]
    NoTunnelEnd(String, Tunnel),
    /// A gateway is for NAT only.
    #[error(
        "with method {0} replies do not go by way of the director; \
         hint: leave --gateway out, or use --method nat"
    )]
    GatewayNotNeeded(Method),
    /// The gateway is not on a network of the interface.
    #[error(
        "the gateway {gateway} is on no network of {interface}; \
         hint: name the director's address on the real servers' network, or another --interface"
    )]
    GatewayFarAway {
        /// The gateway.
        gateway: IpAddr,
        /// The interface.
        interface: String,
    },
    /// The gateway is this machine.
    #[error("the gateway {0} is an address of this machine; hint: name the director's")]
    GatewayIsSelf(IpAddr),
    /// Another default route has the first place.
    #[error(
        "another IPv6 default route has metric 1, and ours could not come before it; \
         hint: `ip -6 route show default` shows it; give it a greater metric"
    )]
    MetricTaken,
    /// The default route could not be put back.
    #[error(
        "the default route `{0}` has several hops or metrics of its own, and could not be put back as it was; \
         hint: replace it yourself with a simple one, and prepare then"
    )]
    RouteNotSimple(DefaultRoute),
}

impl Refusal {
    /// What is wrong, and what to type or do about it.
    pub fn parts(&self) -> (String, Option<String>) {
        let text = self.to_string();
        match text.split_once("; hint: ") {
            Some((what, hint)) => (what.to_owned(), Some(hint.to_owned())),
            None => (text, None),
        }
    }
}
