//! Where is the program attached, and how does a new one take its place?
//!
//! Each attachment is a BPF link that is pinned. The link outlives the daemon; a new daemon puts its program into it
//! in one step, so that each packet meets the old program or the new one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode as Flag};
use aya::programs::{ProgramError, Xdp};

use super::error::{DetachError, StartError};
use super::object::chain;
use super::pins::{Pins, file};
use super::report::{Detached, InterfaceStatus};
use super::sys::{self, XdpLinkInfo};
use super::xdp::{self, Attached, Mode};
use crate::core::desired::XdpMode;
use crate::io::clock;
use crate::io::preflight::{self, PreflightError};

/// An interface on which the program shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
}

/// Looks the interfaces up.
pub(super) fn interfaces(names: &[String]) -> Result<Vec<Interface>, PreflightError> {
    let one = |name: &String| {
        Ok(Interface {
            name: name.clone(),
            ifindex: preflight::interface(name)?,
        })
    };
    names.iter().map(one).collect()
}

/// Refuses interfaces that run a program which is not ours. Nothing is changed.
pub(super) fn check(pins: &Pins, interfaces: &[Interface]) -> Result<(), StartError> {
    for interface in interfaces {
        if let Some(other) = foreign(pins, interface)? {
            return Err(StartError::Foreign {
                interface: interface.name.clone(),
                id: other.program,
                program: xdp::program_name(other.program),
            });
        }
    }
    Ok(())
}

/// The program on an interface that is not in one of our links.
///
/// A daemon that is killed after it attached its program and before it pinned the link leaves a program that the kernel
/// takes off a moment later. So what is found is looked at again before it is believed.
fn foreign(pins: &Pins, interface: &Interface) -> Result<Option<Attached>, StartError> {
    let began = clock::now();
    loop {
        let found = not_ours(pins, interface)?;
        if found.is_none() || clock::now() - began > PARTING {
            return Ok(found);
        }
        std::thread::sleep(PARTING / 10);
    }
}

/// How long the kernel may take to take a program off that nobody holds any more.
const PARTING: Duration = Duration::from_millis(200);

fn not_ours(pins: &Pins, interface: &Interface) -> Result<Option<Attached>, StartError> {
    let ours = linked(pins, interface.ifindex).map(|info| info.program);
    let all = xdp::attached(interface.ifindex).map_err(refused(interface, "any"))?;
    Ok(all
        .into_iter()
        .find(|attached| Some(attached.program) != ours))
}

/// Takes our program off an interface, at once: removing the pin alone lets the kernel do it later.
fn detach(pins: &Pins, ifindex: u32) -> io::Result<()> {
    let pin = pins.link(ifindex);
    if let Ok(link) = sys::object_get(&pin) {
        // An interface that is gone has taken the program with it.
        drop(sys::link_detach(link.as_fd()));
    }
    match fs::remove_file(&pin) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Takes our program off all interfaces. Returns the names of those that are still there.
fn detach_all(pins: &Pins) -> io::Result<Vec<String>> {
    let names = status(pins)?.into_iter().map(|i| i.name).collect();
    for ifindex in pins.linked()? {
        detach(pins, ifindex)?;
    }
    Ok(names)
}

/// Takes the program off all interfaces, and everything else out of the kernel.
pub(super) fn remove_everything(pins: &Pins) -> Result<Detached, DetachError> {
    let failed = |path, source| DetachError::File {
        action: "remove",
        path,
        source,
    };
    let interfaces = detach_all(pins).map_err(|e| failed(pins.links(), e))?;
    let maps = pins.remove().map_err(|(path, e)| failed(path, e))?;
    Ok(Detached { interfaces, maps })
}

/// Our link on an interface. One whose interface is gone does not count.
fn linked(pins: &Pins, ifindex: u32) -> Option<XdpLinkInfo> {
    let link = sys::object_get(&pins.link(ifindex)).ok()?;
    let info = sys::xdp_link_info(link.as_fd()).ok().flatten()?;
    (info.ifindex == ifindex).then_some(info)
}

/// Those of these interfaces that are there, but on which the program does not run.
pub(super) fn without<'a>(
    pins: &'a Pins,
    program: &Xdp,
    interfaces: &'a [Interface],
) -> impl Iterator<Item = &'a Interface> {
    let ours = program.info().map(|info| info.id()).ok();
    interfaces.iter().filter(move |interface| {
        let runs = linked(pins, interface.ifindex).map(|link| link.program);
        (runs.is_none() || runs != ours) && xdp::attached(interface.ifindex).is_ok()
    })
}

/// Runs a program on exactly these interfaces: puts it into the links that there are, makes those that are missing, and
/// takes away those that are too many. Where that fails, links made here are taken away again.
///
/// Returns why drivers did not take the program, by the index of the interface where it runs in the kernel's stack instead.
pub(super) fn run_on(
    pins: &Pins,
    program: &mut Xdp,
    interfaces: &[Interface],
    mode: XdpMode,
    replace: bool,
) -> Result<Refusals, StartError> {
    let dir = pins.links();
    let mut refusals = Refusals::new();
    fs::create_dir_all(&dir).map_err(file("make", &dir))?;
    let mut made = Vec::new();
    for interface in interfaces {
        let result = match linked(pins, interface.ifindex) {
            Some(_) if fits(interface, mode)? => put_into(pins, program, interface).map(|()| None),
            _ => {
                made.push(interface.ifindex);
                attach(pins, program, interface, mode, replace)
            }
        };
        match result {
            Ok(refusal) => refusals.extend(refusal.map(|why| (interface.ifindex, why))),
            Err(e) => {
                for ifindex in made {
                    drop(detach(pins, ifindex));
                }
                return Err(e);
            }
        }
    }
    for ifindex in pins.linked().map_err(file("read", &dir))? {
        if interfaces.iter().all(|i| i.ifindex != ifindex) {
            detach(pins, ifindex).map_err(file("remove", &pins.link(ifindex)))?;
        }
    }
    Ok(refusals)
}

/// Why drivers did not take the program, by the index of the interface.
pub(super) type Refusals = BTreeMap<u32, String>;

/// Whether the way in which our program runs there is one that `mode` allows.
fn fits(interface: &Interface, mode: XdpMode) -> Result<bool, StartError> {
    Ok(match mode {
        XdpMode::Auto => true,
        XdpMode::Native => runs(interface)? == Some(Mode::Native),
        XdpMode::Generic => runs(interface)? == Some(Mode::Generic),
    })
}

fn runs(interface: &Interface) -> Result<Option<Mode>, StartError> {
    let all = xdp::attached(interface.ifindex).map_err(refused(interface, "any"))?;
    Ok(all.first().map(|attached| attached.mode))
}

fn put_into(pins: &Pins, program: &mut Xdp, interface: &Interface) -> Result<(), StartError> {
    let link = PinnedLink::from_pin(pins.link(interface.ifindex))
        .map_err(|e| attach_error(interface, "the same", chain(&e)))?;
    let link = XdpLink::try_from(FdLink::from(link))
        .map_err(|e| attach_error(interface, "the same", chain(&e)))?;
    let id = program
        .attach_to_link(link)
        .map_err(|e| attach_failed(interface, "the same", e))?;
    // The pin keeps the link; the handle is not needed any more.
    program
        .take_link(id)
        .map(drop)
        .map_err(|e| attach_failed(interface, "the same", e))
}

/// Attaches the program; why the driver did not take it, where it runs in the kernel's stack instead.
fn attach(
    pins: &Pins,
    program: &mut Xdp,
    interface: &Interface,
    mode: XdpMode,
    replace: bool,
) -> Result<Option<String>, StartError> {
    let pin = pins.link(interface.ifindex);
    // A link whose interface is gone, or that runs in another mode.
    detach(pins, interface.ifindex).map_err(file("remove", &pin))?;
    // There can be one in each mode.
    while replace && let Some(other) = foreign(pins, interface)? {
        let name = xdp::program_name(other.program);
        tracing::warn!(
            "taking XDP program `{name}` (id {}) off {}",
            other.program,
            interface.name
        );
        xdp::remove(interface.ifindex, other).map_err(refused(interface, "any"))?;
    }
    let modes: &[(Flag, &'static str)] = match mode {
        XdpMode::Auto => &[(Flag::Driver, "native"), (Flag::Skb, "generic")],
        XdpMode::Native => &[(Flag::Driver, "native")],
        XdpMode::Generic => &[(Flag::Skb, "generic")],
    };
    let mut last = None;
    let mut refusal = None;
    for (flag, name) in modes {
        match program.attach_to_if_index(interface.ifindex, *flag) {
            Ok(id) => {
                let link = program
                    .take_link(id)
                    .map_err(|e| attach_failed(interface, name, e))?;
                let link = FdLink::try_from(link)
                    .map_err(|_| attach_error(interface, name, NO_LINK.to_owned()))?;
                link.pin(&pin)
                    .map_err(|e| attach_error(interface, name, chain(&e)))?;
                tracing::info!("XDP runs on {} in {name} mode", interface.name);
                return Ok(refusal);
            }
            Err(e) => {
                tracing::debug!(
                    "XDP does not run on {} in {name} mode: {}",
                    interface.name,
                    chain(&e)
                );
                refusal = Some(chain(&e));
                last = Some(attach_failed(interface, name, e));
            }
        }
    }
    Err(last.unwrap_or_else(|| attach_error(interface, "any", String::new())))
}

const NO_LINK: &str = "the kernel made no link for it (Linux has them from 5.9 on)";

fn attach_failed(interface: &Interface, mode: &'static str, error: ProgramError) -> StartError {
    match error {
        ProgramError::SyscallError(e) => refused(interface, mode)(e.io_error),
        other => attach_error(interface, mode, chain(&other)),
    }
}

fn attach_error(interface: &Interface, mode: &'static str, reason: String) -> StartError {
    refused(interface, mode)(io::Error::other(reason))
}

fn refused(interface: &Interface, mode: &'static str) -> impl FnOnce(io::Error) -> StartError {
    let interface = interface.name.clone();
    move |source| StartError::Attach {
        interface,
        mode,
        hint: hint(&source),
        source,
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => {
            "another program holds it; see `bpftool net`, or start with --replace"
        }
        Some(libc::EOPNOTSUPP) => "the driver has no XDP; use `mode: generic` or `mode: auto`",
        Some(libc::EINVAL | libc::ERANGE | libc::E2BIG) => {
            "the driver may want a smaller MTU, or use `mode: generic`"
        }
        _ => "`dmesg` may say what the driver wants; `mode: generic` works on every interface",
    }
}

/// How the program runs on each of the interfaces that have a link.
pub(super) fn status(pins: &Pins) -> io::Result<Vec<InterfaceStatus>> {
    let mut all = Vec::new();
    for ifindex in pins.linked()? {
        let Some(info) = linked(pins, ifindex) else {
            continue;
        };
        // No interface of this index, if the link was made in another network namespace.
        let attached = xdp::attached(ifindex).unwrap_or_default();
        let Some(ours) = attached.iter().find(|a| a.program == info.program) else {
            continue;
        };
        all.push(InterfaceStatus {
            name: nix::net::if_::if_indextoname(ifindex)?
                .to_string_lossy()
                .into_owned(),
            ifindex,
            native: ours.mode == Mode::Native,
            refused: None,
        });
    }
    all.sort_by_key(|i| i.ifindex);
    Ok(all)
}
