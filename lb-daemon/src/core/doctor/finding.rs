//! One thing that was looked at.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that was looked at, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which of the checks it is of.
    pub check: Check,
    /// How it stands.
    pub standing: Standing,
    /// What was found.
    pub what: String,
    /// What shows it.
    pub evidence: String,
    /// What follows from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consequence: Option<String>,
    /// What to type to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As it must be.
    Good,
    /// Not as it must be.
    Bad,
    /// Worth knowing; neither good nor bad by itself.
    Advice,
    /// It could not be looked at.
    Unknown,
}

/// The checks, each with a name that the documentation has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Does lbd run, and has it nothing to complain of?
    Daemon,
    /// Has the kernel all that the XDP program needs?
    Kernel,
    /// Are BPF programs compiled?
    Jit,
    /// May lbd do its work?
    Capabilities,
    /// Is there a BPF file system for what stays when lbd ends?
    Bpffs,
    /// Is the time of day right?
    Clock,
    /// Has the connection table room?
    Connections,
    /// Are the interfaces there and up?
    Interface,
    /// Does the program run there, in the driver?
    Xdp,
    /// Do the interfaces join packets that they shall pass on?
    Offloads,
    /// Does a reverse path filter drop what the program leaves to the kernel?
    RpFilter,
    /// Does the kernel forward what the program leaves to it?
    Forwarding,
    /// Are the virtual addresses where they must be?
    Vip,
    /// Who answers for the virtual addresses, by ARP or neighbour discovery?
    Arp,
    /// Is the way to each real server known?
    Neighbour,
    /// Is each real server of method dr on a network of the director?
    OnLink,
    /// Do full packets fit into the tunnels?
    TunnelMtu,
    /// Does each real server answer by the way of its packets?
    Probe,
    /// Do the replies of real servers of method nat come back by way of the director?
    NatReturn,
    /// Does somebody else use the virtual routers' numbers?
    Vrid,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Daemon,
        Self::Kernel,
        Self::Jit,
        Self::Capabilities,
        Self::Bpffs,
        Self::Clock,
        Self::Connections,
        Self::Interface,
        Self::Xdp,
        Self::Offloads,
        Self::RpFilter,
        Self::Forwarding,
        Self::Vip,
        Self::Arp,
        Self::Neighbour,
        Self::OnLink,
        Self::TunnelMtu,
        Self::Probe,
        Self::NatReturn,
        Self::Vrid,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Kernel => "kernel",
            Self::Jit => "jit",
            Self::Capabilities => "capabilities",
            Self::Bpffs => "bpffs",
            Self::Clock => "clock",
            Self::Connections => "connections",
            Self::Interface => "interface",
            Self::Xdp => "xdp",
            Self::Offloads => "offloads",
            Self::RpFilter => "rp-filter",
            Self::Forwarding => "forwarding",
            Self::Vip => "vip",
            Self::Arp => "arp",
            Self::Neighbour => "neighbour",
            Self::OnLink => "on-link",
            Self::TunnelMtu => "tunnel-mtu",
            Self::Probe => "probe",
            Self::NatReturn => "nat-return",
            Self::Vrid => "vrid",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Finding {
    /// All is well with it.
    pub fn good(check: Check, what: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self {
            check,
            standing: Standing::Good,
            what: what.into(),
            evidence: evidence.into(),
            consequence: None,
            command: None,
        }
    }

    /// It is not as it must be.
    pub(super) fn bad(
        check: Check,
        what: impl Into<String>,
        evidence: impl Into<String>,
        consequence: impl Into<String>,
        command: impl Into<String>,
    ) -> Self {
        Self {
            standing: Standing::Bad,
            consequence: Some(consequence.into()),
            command: Some(command.into()),
            ..Self::good(check, what, evidence)
        }
    }

    /// It could not be looked at, for this reason.
    pub(super) fn unknown(check: Check, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            standing: Standing::Unknown,
            ..Self::good(check, what, why)
        }
    }

    /// The same as something worth knowing only.
    pub(super) fn into_advice(self) -> Self {
        Self {
            standing: Standing::Advice,
            ..self
        }
    }
}
