//! The other end of a tunnel: the program that takes packets out of it, on a real server.
//!
//! Where the kernel has an `ipip` device, that does the same. The program is loaded, pinned and adopted as the director's
//! is, in a pin directory of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use aya::programs::Xdp;
use lb_common::abi::map;
use lb_common::decap::{DECAPS, Decap};
use lb_common::net::Be128;

use super::error::{DetachError, MapError, StartError};
use super::ground::Ground;
use super::layout::{Layout, keyed, per_cpu};
use super::links;
use super::object;
use super::pins::Pins;
use super::report::{Detached, InterfaceStatus};
use super::tables::failed;
use crate::core::desired::XdpMode;
use crate::io::hold::Hold;
use crate::io::lock::InstanceLock;

/// The program in the object.
const PROGRAM: &str = "decap";

/// How many addresses tunnels may end at.
const TUNNELS: u32 = 256;

/// Where the program lives, and where it runs.
#[derive(Clone, Debug)]
pub struct DecapOptions {
    /// The directory on a BPF file system that holds its maps and links.
    pub pin_dir: PathBuf,
    /// Interfaces on which tunnel packets come in.
    pub interfaces: Vec<String>,
    /// How it is attached to them.
    pub mode: XdpMode,
    /// Take the place of another XDP program on an interface.
    pub replace: bool,
}

/// What an earlier start left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecapState {
    /// Where the program runs.
    pub interfaces: Vec<String>,
    /// The addresses at which tunnels end.
    pub addresses: Vec<IpAddr>,
}

/// The program that takes packets out of tunnels.
///
/// Dropping it leaves everything in the kernel as it is.
pub struct Decapsulator {
    pins: Pins,
    program: Xdp,
    tunnels: HashMap<MapData, [u8; 16], u32>,
    ends: PerCpuArray<MapData, u64>,
    _lock: InstanceLock,
}

impl Decapsulator {
    /// Loads the program, or goes on with what an earlier daemon left, and attaches it to the interfaces.
    ///
    /// Everything that can be refused is looked at before anything is changed.
    pub fn start(options: &DecapOptions) -> Result<Self, StartError> {
        let fits = |pins: &Pins| pins.check(&layouts());
        let _undisturbed = Hold::new();
        let ground = Ground::look(&options.pin_dir, &options.interfaces, options.replace, fits)?;
        ground.build(|ground| Self::bring_up(options, ground))
    }

    fn bring_up(options: &DecapOptions, ground: Ground) -> Result<Self, StartError> {
        let names = Pins::new(&options.pin_dir).programs_of(object::DIGEST, &[PROGRAM]);
        let Ground {
            pins,
            interfaces,
            adopted,
            lock,
        } = ground;
        let layouts = layouts();
        let mut program = if adopted {
            object::load_once(&names, &pins, &layouts)?.first
        } else {
            pins.begin_maps(&layouts)?;
            let program = object::load(&names, &pins.new_maps(), &layouts)?.first;
            pins.check_new(&layouts)?;
            pins.finish_maps()?;
            program
        };
        let tunnels = Map::HashMap(pins.open(map::TUNNELS)?);
        let ends = Map::PerCpuArray(pins.open(map::DECAPS)?);
        links::run_on(
            &pins,
            &mut program,
            &interfaces,
            options.mode,
            options.replace,
        )?;
        pins.keep_programs(&names)?;
        Ok(Self {
            pins,
            program,
            tunnels: tunnels.try_into().map_err(failed("open", map::TUNNELS))?,
            ends: ends.try_into().map_err(failed("open", map::DECAPS))?,
            _lock: lock,
        })
    }

    /// Lets tunnels end at these addresses and no others. Returns how many were added or removed.
    pub fn set_addresses(&mut self, wanted: &[IpAddr]) -> Result<usize, MapError> {
        let now: BTreeSet<IpAddr> = self.addresses()?.into_iter().collect();
        let wanted: BTreeSet<IpAddr> = wanted.iter().copied().collect();
        for addr in wanted.difference(&now) {
            self.tunnels
                .insert(key(*addr), 1, 0)
                .map_err(failed("write", map::TUNNELS))?;
        }
        for addr in now.difference(&wanted) {
            self.tunnels
                .remove(&key(*addr))
                .map_err(failed("delete from", map::TUNNELS))?;
        }
        Ok(now.symmetric_difference(&wanted).count())
    }

    /// The addresses at which tunnels end.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, MapError> {
        addresses(&self.tunnels)
    }

    /// How many frames ended in a way.
    pub fn count(&self, end: Decap) -> Result<u64, MapError> {
        let values = self
            .ends
            .get(&(end as u32), 0)
            .map_err(failed("read", map::DECAPS))?;
        Ok(values.iter().fold(0, |sum, value| sum.wrapping_add(*value)))
    }

    /// Runs the program on these interfaces and no others.
    pub fn set_interfaces(
        &mut self,
        names: &[String],
        mode: XdpMode,
        replace: bool,
    ) -> Result<(), StartError> {
        let interfaces = links::interfaces(names)?;
        if !replace {
            links::check(&self.pins, &interfaces)?;
        }
        links::run_on(&self.pins, &mut self.program, &interfaces, mode, replace).map(drop)
    }

    /// What an earlier start left, without bringing anything up. `None`: nothing.
    pub fn look(pin_dir: &Path) -> Result<Option<DecapState>, MapError> {
        let pins = Pins::new(pin_dir);
        if !pins.has_maps() {
            return Ok(None);
        }
        let interfaces = links::status(&pins).unwrap_or_default();
        let tunnels = Map::HashMap(pins.open(map::TUNNELS)?);
        let tunnels = tunnels.try_into().map_err(failed("open", map::TUNNELS))?;
        Ok(Some(DecapState {
            interfaces: interfaces.into_iter().map(|i| i.name).collect(),
            addresses: addresses(&tunnels)?,
        }))
    }

    /// Where the program runs.
    pub fn interfaces(&self) -> std::io::Result<Vec<InterfaceStatus>> {
        links::status(&self.pins)
    }

    /// Takes everything out of the kernel.
    pub fn detach(self) -> Result<Detached, DetachError> {
        links::remove_everything(&self.pins)
    }
}

impl std::fmt::Debug for Decapsulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decapsulator")
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

/// Takes out of the kernel what a daemon that no longer runs left under `pin_dir`, be it a director's or a real server's.
pub fn detach(pin_dir: &Path) -> Result<Detached, DetachError> {
    if !pin_dir.exists() {
        return Ok(Detached::default());
    }
    let _lock = InstanceLock::directory(pin_dir)?;
    links::remove_everything(&Pins::new(pin_dir))
}

/// The bytes of an address, of one of IPv4 as it is mapped to IPv6.
fn key(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    }
}

fn addresses(tunnels: &HashMap<MapData, [u8; 16], u32>) -> Result<Vec<IpAddr>, MapError> {
    let read = |key: Result<[u8; 16], _>| {
        key.map(|key| Ipv6Addr::from(key).to_canonical())
            .map_err(failed("read", map::TUNNELS))
    };
    tunnels.keys().map(read).collect()
}

fn layouts() -> Vec<Layout> {
    vec![
        keyed::<Be128, u32>(map::TUNNELS, TUNNELS),
        per_cpu::<u64>(map::DECAPS, DECAPS),
    ]
}
