//! How are the hosts of a lab connected?
//!
//! Each network is a bridge in a namespace of its own, and each interface of a host a veth pair to it. Two things must
//! be so for frames that an XDP program sends to arrive: the far end of the sending veth receives through NAPI, for which
//! GRO is switched on there; and no checksum or segment is left for hardware to finish, as there is none.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::host::Host;

/// The networks of a lab.
#[derive(Default)]
pub(super) struct Switch {
    host: Option<Host>,
}

impl Switch {
    /// A switch without networks, in a host of its own.
    pub(super) fn new(host: Host) -> Result<Self> {
        Ok(Self { host: Some(host) })
    }

    /// Make a network.
    pub(super) fn network(&self, name: &str) -> Result<()> {
        self.host()?.ip(&[
            &format!("link add {name} type bridge stp_state 0 mcast_snooping 0"),
            &format!("link set {name} up"),
        ])
    }

    /// Connect a new interface of a host to a network.
    pub(super) fn connect(
        &self,
        host: &Host,
        interface: &str,
        network: &str,
        address: &str,
    ) -> Result<()> {
        let switch = self.host()?;
        let port = format!("{}.{interface}", host.name());
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
            "ethtool", "-K", &port, "tx", "off", "gso", "off", "tso", "off", "gro", "on",
        ])?;
        switch.ip(&[&format!("link set {port} up")])?;
        host.ip(&[&format!("link set {interface} up")])
    }

    fn host(&self) -> Result<&Host> {
        self.host.as_ref().context("the lab has no switch")
    }
}

/// Run a command to its end; the error says which command failed and what it printed.
pub(super) fn check(command: &mut Command) -> Result<String> {
    let text = format!("{command:?}").replace('"', "");
    let output = command
        .output()
        .with_context(|| format!("cannot run {text}"))?;
    if !output.status.success() {
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!("{text}: {}\n{}{}", output.status, stdout, stderr.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
