//! Which of our XDP programs do the hosts of a lab have, other than those that lbd and lbctl load?
//!
//! `pass` is for the far ends of a director's veth pairs: a frame that a program sends back
//! out of its own interface (`XDP_TX`) lies in the far end's ring until something else wakes the receiver there, unless the far end has
//! a program itself. GRO, which makes the far end take frames that are redirected to it, does not have it woken by these.

use anyhow::{Context, Result};
use aya::EbpfLoader;
use aya::programs::Xdp;

use super::host::Host;
use super::run::Lab;

/// The name of the program that leaves every frame to the stack.
const PASS: &str = "pass";

/// Attach it to an interface of a host, in the driver.
pub(super) fn pass(lab: &Lab, host: &Host, interface: &str) -> Result<()> {
    let path = lab.bpffs().join(PASS);
    host.ip(&[&format!(
        "link set dev {interface} xdpdrv pinned {}",
        path.display()
    )])
}

/// Load the program and pin it.
pub(super) fn pin(lab: &Lab) -> Result<()> {
    let mut object = EbpfLoader::new();
    let path = super::director::object()?;
    let mut object = object
        .load_file(&path)
        .with_context(|| format!("cannot load {}", path.display()))?;
    let program: &mut Xdp = object
        .program_mut(PASS)
        .context("the object has no program `pass`")?
        .try_into()
        .context("`pass` is no XDP program")?;
    program.load().context("cannot load `pass`")?;
    let path = lab.bpffs().join(PASS);
    program
        .pin(&path)
        .with_context(|| format!("cannot pin {}", path.display()))
}
