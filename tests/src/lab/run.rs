//! Whose is a lab, and how is it removed, whatever became of its owner?
//!
//! A lab has an identifier, a folder of that name, and namespaces whose names begin with it. The folder tells which
//! process owns the lab, so that a later run can tell a lab in use from one left behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host::Host;
use super::process::check_at_once;
use super::{interrupt, poll, programs, switch};

/// Where the folders of all labs are.
const FOLDER: &str = "/run/lb-lab";

/// Where `ip netns` keeps its names.
const NAMESPACES: &str = "/run/netns";

/// The labs of this process that are to be removed when it ends.
static LIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How many labs this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Namespaces, the networks between them, and a folder; removed when dropped.
pub struct Lab {
    switch: Host,
    ground: Ground,
}

impl Lab {
    /// Make an empty lab, after removing those of dead runs.
    ///
    /// # Errors
    ///
    /// We are not root, or a step of the set-up failed.
    pub fn new() -> Result<Self> {
        if let Some(reason) = super::unavailable() {
            bail!("{reason}");
        }
        interrupt::watch()?;
        remove_dead();
        let ground = {
            let _held = interrupt::hold();
            let ground = Ground::new()?;
            mount_bpffs(&ground.folder().join("bpf"))?;
            ground
        };
        let switch = ground.host("switch")?;
        Ok(Self { switch, ground })
    }

    /// The lab's name, with which those of its namespaces begin.
    pub fn id(&self) -> &str {
        &self.ground.id
    }

    /// The lab's folder: configurations, sockets and what its processes print.
    pub fn folder(&self) -> PathBuf {
        self.ground.folder()
    }

    /// The lab's own BPF file system, where programs and maps are pinned.
    pub fn bpffs(&self) -> PathBuf {
        self.folder().join("bpf")
    }

    /// Make a host without interfaces.
    ///
    /// # Errors
    ///
    /// A step failed.
    pub fn host(&self, name: &str) -> Result<Host> {
        self.ground.host(name)
    }

    /// Make a network: a bridge of its own.
    ///
    /// # Errors
    ///
    /// A step failed.
    pub fn network(&self, name: &str) -> Result<()> {
        switch::network(&self.switch, name)
    }

    /// Put an interface with an address, as `10.0.0.1/24`, into a host, and connect it to a network.
    ///
    /// # Errors
    ///
    /// A step failed.
    pub fn connect(
        &self,
        host: &Host,
        interface: &str,
        network: &str,
        address: &str,
    ) -> Result<()> {
        switch::connect(&self.switch, host, interface, network, address)
    }

    /// Have what an XDP program sends by this interface of a host arrive on the other side, too.
    pub(super) fn receive_from_program(&self, host: &Host, interface: &str) -> Result<()> {
        programs::pass(self, &self.switch, &switch::port(host, interface))
    }

    /// Keep those interfaces of which this was said apart from each other, or join them again. Others reach them all the same.
    pub(super) fn isolate(&self, host: &Host, interface: &str, yes: bool) -> Result<()> {
        switch::isolate(&self.switch, host, interface, yes)
    }

    /// Set the MTU of every interface of hosts and of all networks.
    ///
    /// # Errors
    ///
    /// An interface cannot have it.
    pub(super) fn set_mtu(&self, hosts: &[&Host], mtu: u32) -> Result<()> {
        let mut all = hosts.iter().copied().chain([&self.switch]);
        all.try_for_each(|host| host.set_mtu(mtu))
    }

    /// Leave the lab up when we end.
    ///
    /// # Errors
    ///
    /// The lab cannot be marked as kept.
    pub fn keep(mut self) -> Result<()> {
        fs::write(self.folder().join("kept"), "").context("cannot mark the lab as kept")?;
        lock_live().retain(|id| id != self.id());
        self.ground.keep = true;
        Ok(())
    }
}

/// What a lab stands on, and what removes it however far it was built.
struct Ground {
    id: String,
    keep: bool,
}

impl Ground {
    fn new() -> Result<Self> {
        let id = format!(
            "lb-{}-{}",
            std::process::id(),
            MADE.fetch_add(1, Ordering::Relaxed)
        );
        make_folder(&id)?;
        lock_live().push(id.clone());
        Ok(Self { id, keep: false })
    }

    fn folder(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.id)
    }

    fn host(&self, name: &str) -> Result<Host> {
        Host::new(name, format!("{}-{name}", self.id), &self.folder())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = remove(&self.id) {
            eprintln!("cannot remove the lab {}: {error:#}", self.id);
        }
    }
}

/// The labs that were kept.
pub fn kept() -> Vec<String> {
    ids()
        .into_iter()
        .filter(|id| Path::new(FOLDER).join(id).join("kept").exists())
        .collect()
}

/// Remove a lab: its processes, namespaces, pinned programs and folder. Nothing that is gone already is missed.
///
/// # Errors
///
/// There is no such lab, or something of it cannot be removed.
pub fn remove(id: &str) -> Result<()> {
    let folder = Path::new(FOLDER).join(id);
    // One at a time: an interrupt may come while a lab is being dropped.
    let mut live = lock_live();
    if !folder.is_dir() {
        if live.contains(&id.to_owned()) {
            live.retain(|other| other != id);
            return Ok(());
        }
        bail!("there is no lab `{id}`");
    }
    for namespace in namespaces(id) {
        end_processes(&namespace)?;
        check_at_once(Command::new("ip").args(["netns", "del", &namespace]))?;
    }
    let bpffs = folder.join("bpf");
    match nix::mount::umount2(&bpffs, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => bail!("cannot unmount {}: {error}", bpffs.display()),
    }
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    live.retain(|other| other != id);
    Ok(())
}

/// Remove all labs that no running process owns, the kept ones too; returns their names.
///
/// # Errors
///
/// Something cannot be removed.
pub fn remove_all() -> Result<Vec<String>> {
    let free: Vec<String> = ids()
        .into_iter()
        .filter(|id| owner(id) != Owner::Alive)
        .collect();
    free.iter().try_for_each(|id| remove(id))?;
    Ok(free)
}

/// Remove the labs of this process.
pub(super) fn remove_live() {
    let ids: Vec<String> = lock_live().clone();
    for id in ids {
        if let Err(error) = remove(&id) {
            eprintln!("cannot remove the lab {id}: {error:#}");
        }
    }
}

/// Remove what runs left behind that were killed. Another run may be doing the same, so failures are left to it.
fn remove_dead() {
    for id in ids().iter().filter(|id| owner(id) == Owner::Dead) {
        // A failure here fails the set-up only where it matters, and there it says why.
        let _ = remove(id);
    }
}

#[derive(PartialEq, Eq)]
enum Owner {
    Alive,
    Dead,
    /// The owner ended and meant the lab to stay.
    Kept,
}

fn owner(id: &str) -> Owner {
    let folder = Path::new(FOLDER).join(id);
    let alive = fs::read_to_string(folder.join("owner")).is_ok_and(|owner| {
        let pid = owner
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| identity(pid).is_some_and(|now| now == owner))
    });
    if folder.join("kept").exists() {
        Owner::Kept
    } else if alive {
        Owner::Alive
    } else {
        Owner::Dead
    }
}

/// A process number and when the process started, which together never come again.
fn identity(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, and may contain anything.
    let start = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    Some(format!("{pid} {start}"))
}

/// Make a lab's folder; it is never seen without its owner's name.
fn make_folder(id: &str) -> Result<()> {
    let folder = Path::new(FOLDER).join(id);
    let unfinished = Path::new(FOLDER).join(format!(".{id}"));
    let make = || -> io::Result<()> {
        fs::create_dir_all(unfinished.join("bpf"))?;
        fs::write(
            unfinished.join("owner"),
            identity(std::process::id()).unwrap_or_default(),
        )?;
        fs::rename(&unfinished, &folder)
    };
    make().with_context(|| format!("cannot make {}", folder.display()))
}

fn mount_bpffs(at: &Path) -> Result<()> {
    nix::mount::mount(Some("bpf"), at, Some("bpf"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount a BPF file system at {}", at.display()))
}

/// The names of all labs.
fn ids() -> Vec<String> {
    names(FOLDER)
        .into_iter()
        .filter(|name| name.starts_with("lb-"))
        .collect()
}

/// The namespaces of a lab.
fn namespaces(id: &str) -> Vec<String> {
    let prefix = format!("{id}-");
    names(NAMESPACES)
        .into_iter()
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Kill the processes in a namespace and wait until they are gone.
fn end_processes(namespace: &str) -> Result<()> {
    poll(
        &format!("processes in {namespace}"),
        Duration::from_secs(10),
        || {
            let pids = check_at_once(Command::new("ip").args(["netns", "pids", namespace]))?;
            let pids: Vec<i32> = pids
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect();
            for &pid in &pids {
                // It may have ended by itself meanwhile.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if pids.is_empty() {
                Ok(())
            } else {
                bail!("{pids:?} still run")
            }
        },
    )
}

fn lock_live() -> std::sync::MutexGuard<'static, Vec<String>> {
    LIVE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
