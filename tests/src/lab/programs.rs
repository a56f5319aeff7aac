//! Which of our XDP programs do the hosts of a lab have, other than the director's, which lbd loads?
//!
//! `decap` ends tunnels on real servers. `pass` is for the far ends of a director's veth pairs: a frame that a program sends back
//! out of its own interface (`XDP_TX`) lies in the far end's ring until something else wakes the receiver there, unless the far end has
//! a program itself. GRO, which makes the far end take frames that are redirected to it, does not have it woken by these.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use aya::EbpfLoader;
use aya::maps::{HashMap, Map, MapData};
use aya::programs::Xdp;
use lb_common::abi::map;

use super::host::Host;
use super::run::Lab;

/// A program that is pinned for the hosts of a lab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Program {
    /// Takes the tunnel's header off.
    Decap,
    /// Leaves every frame to the stack.
    Pass,
}

impl Program {
    const ALL: [Self; 2] = [Self::Decap, Self::Pass];

    const fn name(self) -> &'static str {
        match self {
            Self::Decap => "decap",
            Self::Pass => "pass",
        }
    }

    /// Attach it to an interface of a host, in the driver.
    pub(super) fn attach(self, lab: &Lab, host: &Host, interface: &str) -> Result<()> {
        let path = lab.bpffs().join(self.name());
        host.ip(&[&format!(
            "link set dev {interface} xdpdrv pinned {}",
            path.display()
        )])
    }
}

/// Load the programs and pin them, with the map of tunnels.
pub(super) fn pin(lab: &Lab) -> Result<()> {
    let mut object = EbpfLoader::new();
    let path = super::director::object()?;
    let mut object = object
        .load_file(&path)
        .with_context(|| format!("cannot load {}", path.display()))?;
    let tunnels = object
        .map(map::TUNNELS)
        .context("the object has no map of tunnels")?;
    tunnels
        .pin(lab.bpffs().join(map::TUNNELS))
        .context("cannot pin the map of tunnels")?;
    for name in Program::ALL.map(Program::name) {
        let program = object
            .program_mut(name)
            .with_context(|| format!("the object has no program `{name}`"))?;
        let program: &mut Xdp = program
            .try_into()
            .with_context(|| format!("`{name}` is no XDP program"))?;
        program
            .load()
            .with_context(|| format!("cannot load `{name}`"))?;
        let path = lab.bpffs().join(name);
        program
            .pin(&path)
            .with_context(|| format!("cannot pin {}", path.display()))?;
    }
    Ok(())
}

/// Have `decap` take the tunnel's header off of what goes to this address.
pub(super) fn end_tunnels_at(lab: &Lab, address: Ipv4Addr) -> Result<()> {
    let path = lab.bpffs().join(map::TUNNELS);
    let tunnels =
        MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut tunnels: HashMap<_, u32, u32> = HashMap::try_from(Map::HashMap(tunnels))?;
    tunnels
        .insert(u32::from_ne_bytes(address.octets()), 1, 0)
        .with_context(|| format!("cannot end tunnels at {address}"))
}
