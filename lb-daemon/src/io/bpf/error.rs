//! What can go wrong with the data plane, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::core::desired::ServiceId;
use crate::io::lock::LockError;
use crate::io::preflight::PreflightError;

/// Why the data plane did not start. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This process or this kernel cannot do it.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// Another daemon drives this data plane.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Another XDP program has the interface.
    #[error(
        "interface {interface} already runs XDP program `{program}` (id {id}), which is not ours\n\
         hint: see `bpftool net show dev {interface}`; remove it, or start with --replace to take its place"
    )]
    Foreign {
        /// The interface.
        interface: String,
        /// The program's id.
        id: u32,
        /// The program's name.
        program: String,
    },
    /// The program does not run on the interface in the wanted mode.
    #[error("XDP does not run on {interface} in {mode} mode: {source}\nhint: {hint}")]
    Attach {
        /// The interface.
        interface: String,
        /// The mode tried last.
        mode: &'static str,
        /// What the kernel answered.
        source: io::Error,
        /// What to change.
        hint: &'static str,
    },
    /// The pinned maps are of another layout.
    #[error(
        "the pinned maps in {dir} have ABI {found}, this lbd needs {needed}; they were left as they are\n\
         hint: run the lbd that made them, or take them down with `lbd --detach` (connections are lost)"
    )]
    OtherAbi {
        /// Where they are.
        dir: PathBuf,
        /// Their ABI number.
        found: u32,
        /// Ours.
        needed: u32,
    },
    /// A pinned map is not of the shape that is needed.
    #[error(
        "pinned map {map} has {found}, this lbd needs {needed}; it was left as it is\n\
         hint: configure the old size, or take the maps down with `lbd --detach` (connections are lost)"
    )]
    OtherShape {
        /// The map's pin.
        map: PathBuf,
        /// Its shape.
        found: String,
        /// What it should be.
        needed: String,
    },
    /// The program was not built into this binary.
    #[error("this lbd was built without the XDP program\nhint: build it with `cargo xtask build`")]
    NoProgram,
    /// The kernel refused the program or a map.
    #[error("the kernel refused the XDP program: {reason}\nhint: {hint}")]
    Load {
        /// What it said.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file or directory could not be used.
    #[error(
        "cannot {action} {path}: {source}\nhint: check that the path exists and that lbd may write there"
    )]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A map could not be used.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// A map could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} map {map}: {source}\nhint: has somebody removed the pins? `lbctl status` compares"
)]
pub struct MapError {
    /// What was tried.
    pub action: &'static str,
    /// The map.
    pub map: &'static str,
    /// Why not.
    pub source: io::Error,
}

/// Why the data plane could not be made as desired. What was applied before stays; each service is either
/// as it was or as desired.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// More services than the maps hold.
    #[error(
        "service {service}: no place for it: all {max} are taken, those counted that still have connections\n\
         hint: put services with the same real servers together"
    )]
    TooManyServices {
        /// The one that found no place.
        service: ServiceId,
        /// How many there can be.
        max: u32,
    },
    /// More different timeouts than the maps hold.
    #[error(
        "service {service}: no place for its timeouts: there are {max} different ones already\nhint: let services share timeouts"
    )]
    TooManyProfiles {
        /// The service.
        service: ServiceId,
        /// How many there can be.
        max: usize,
    },
    /// More real servers than the maps hold.
    #[error(
        "service {service}: no place for real server {real}: all {max} are taken, {draining} of them by removed real \
         servers that still have connections\nhint: remove such with --force, or raise `limits: reals`"
    )]
    TooManyReals {
        /// The service.
        service: ServiceId,
        /// The real server.
        real: SocketAddr,
        /// How many there can be.
        max: u32,
        /// How many are being drained.
        draining: u32,
    },
    /// No place for a service's members or schedule.
    #[error(
        "service {service}: no place for {needed} entries in map {map}\nhint: use weights with a common divisor, or fewer real servers"
    )]
    NoRoom {
        /// The service.
        service: ServiceId,
        /// The map.
        map: &'static str,
        /// How many entries were needed.
        needed: usize,
    },
    /// Something that this version does not balance.
    #[error("service {service}: {what} is not supported\nhint: {hint}")]
    Unsupported {
        /// The service.
        service: ServiceId,
        /// What it is.
        what: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// A map could not be used.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel did not tell what interfaces run.
    #[error(
        "cannot ask the kernel for the interfaces' XDP programs: {0}\nhint: may lbd still use netlink?"
    )]
    Interfaces(#[source] io::Error),
    /// A map could not be used.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// Why the data plane could not be taken down entirely.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// A daemon still drives it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A pin could not be removed.
    #[error(
        "cannot {action} {path}: {source}\nhint: `rm -r` the pin directory as root; that also takes the program down"
    )]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
