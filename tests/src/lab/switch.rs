//! How are the hosts of a lab connected?
//!
//! Each network is a bridge in a namespace of its own, and each interface of a host a veth pair to it. No checksum or segment is
//! left for hardware to finish, as there is none.

use anyhow::{Result, bail};

use super::host::Host;

/// Make a network on a switch.
pub(super) fn network(switch: &Host, name: &str) -> Result<()> {
    switch.ip(&[
        &format!("link add {name} type bridge stp_state 0 mcast_snooping 0"),
        &format!("link set {name} up"),
    ])
}

/// Connect a new interface of a host to a network of the switch.
pub(super) fn connect(
    switch: &Host,
    host: &Host,
    interface: &str,
    network: &str,
    address: &str,
) -> Result<()> {
    let port = port(host, interface);
    if port.len() > 15 {
        bail!("interface name `{port}` is longer than 15 characters");
    }
    switch.ip(&[
        &format!(
            "link add {port} type veth peer name {interface} netns {}",
            host.namespace()
        ),
        &format!("link set {port} master {network}"),
    ])?;
    host.ip(&[&format!("address add {address} dev {interface}")])?;
    host.run(&[
        "ethtool", "-K", interface, "tx", "off", "gso", "off", "tso", "off",
    ])?;
    switch.run(&[
        "ethtool", "-K", &port, "tx", "off", "gso", "off", "tso", "off",
    ])?;
    switch.ip(&[&format!("link set {port} up")])?;
    host.ip(&[&format!("link set {interface} up")])
}

/// Have a host's interface reach, and be reached by, no other one of which this was said, or end that.
pub(super) fn isolate(switch: &Host, host: &Host, interface: &str, yes: bool) -> Result<()> {
    let (port, yes) = (port(host, interface), if yes { "on" } else { "off" });
    switch.ip(&[&format!("link set {port} type bridge_slave isolated {yes}")])
}

/// The switch's end of an interface.
pub(super) fn port(host: &Host, interface: &str) -> String {
    format!("{}.{interface}", host.name())
}
