//! What lies under the pin directory?
//!
//! ```text
//! PIN-DIR/maps/NAME       the maps
//! PIN-DIR/maps-new/NAME   the same while they are being made; left over by a kill
//! PIN-DIR/links/IFINDEX   the program's attachments
//! PIN-DIR/program-DIGEST-NAME  the programs, by the object that they were loaded from
//! PIN-DIR/program-log-NAME     or their edition that logs packets
//! ```
//!
//! Maps appear under their own name all at once, by the renaming of their directory.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Map, MapData, ProgramArray};
use aya::programs::Xdp;
use lb_common::abi::{ABI, Settings, map};

use super::error::{MapError, StartError};
use super::layout::{LEDGER, Layout};
use super::object::Names;
use super::region::Region;
use super::sys;
use super::tables::failed;

/// What the names of pinned programs begin with.
const PROGRAM: &str = "program-";

/// The pin directory.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// A pin directory, whether anything is in it or not.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where the maps are.
    pub(super) fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Where the maps are made.
    pub(super) fn new_maps(&self) -> PathBuf {
        self.root.join("maps-new")
    }

    /// Where programs are, of these names, of the object with this digest.
    pub(super) fn programs_of(
        &self,
        digest: u64,
        names: &[&'static str],
    ) -> Vec<(&'static str, PathBuf)> {
        self.programs_as(&format!("{digest:016x}"), names)
    }

    /// Where programs are, of these names, that log packets.
    pub(super) fn logging_programs(&self, names: &[&'static str]) -> Vec<(&'static str, PathBuf)> {
        self.programs_as("log", names)
    }

    fn programs_as(&self, object: &str, names: &[&'static str]) -> Vec<(&'static str, PathBuf)> {
        let path = |name: &str| self.root.join(format!("{PROGRAM}{object}-{name}"));
        names.iter().map(|name| (*name, path(name))).collect()
    }

    /// Lets packets be handed over to these programs from now on.
    pub(super) fn hand_over_to(&self, programs: &[Xdp]) -> Result<(), MapError> {
        let all = Map::ProgramArray(self.open(map::PROGRAMS)?);
        let mut all: ProgramArray<MapData> =
            all.try_into().map_err(failed("open", map::PROGRAMS))?;
        for (index, program) in (0..).zip(programs) {
            let program = program.fd().map_err(failed("write", map::PROGRAMS))?;
            all.set(index, program, 0)
                .map_err(failed("write", map::PROGRAMS))?;
        }
        Ok(())
    }

    /// Where programs are.
    fn programs(&self) -> io::Result<Vec<PathBuf>> {
        let is_one = |path: &PathBuf| {
            let name = path.file_name().and_then(|n| n.to_str());
            name.is_some_and(|n| n.starts_with(PROGRAM))
        };
        match fs::read_dir(&self.root) {
            Ok(entries) => Ok(entries.flatten().map(|e| e.path()).filter(is_one).collect()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// Where the attachments are.
    pub(super) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Where the attachment to an interface is.
    pub(super) fn link(&self, ifindex: u32) -> PathBuf {
        self.links().join(ifindex.to_string())
    }

    /// Interfaces that have an attachment here.
    pub(super) fn linked(&self) -> io::Result<Vec<u32>> {
        let entries = match fs::read_dir(self.links()) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()?.parse().ok());
        Ok(names.collect())
    }

    /// Whether an earlier daemon left maps.
    pub(super) fn has_maps(&self) -> bool {
        self.maps().exists()
    }

    /// Opens a map.
    pub(super) fn open(&self, name: &'static str) -> Result<MapData, MapError> {
        MapData::from_pin(self.maps().join(name)).map_err(failed("open", name))
    }

    /// Maps a map's values into memory.
    pub(super) fn region(&self, layout: &Layout) -> Result<Region, MapError> {
        let map = self.open(layout.name)?;
        Region::of_map(map.fd(), layout.shape.entries, layout.shape.value_size)
            .map_err(failed("map into memory", layout.name))
    }

    /// Whether the maps that an earlier daemon left are what is needed. Nothing is changed.
    pub(super) fn check(&self, layouts: &[Layout]) -> Result<(), StartError> {
        layouts
            .iter()
            .try_for_each(|layout| check_shape(&self.maps(), layout))
    }

    /// Whether they are of our ABI. Nothing is changed.
    pub(super) fn check_abi(&self) -> Result<(), StartError> {
        let path = self.maps().join(map::SETTINGS);
        let other = |found: String| StartError::OtherShape {
            map: path.clone(),
            found,
            needed: "the settings of an lbd".to_owned(),
        };
        let map = MapData::from_pin(&path)
            .map_err(|e| other(format!("nothing that can be opened ({e})")))?;
        let shape = sys::map_shape(map.fd().as_fd()).map_err(failed("examine", map::SETTINGS))?;
        // The ABI number is the first word of every layout that there ever was.
        let settings = Region::of_map(map.fd(), shape.entries, shape.value_size);
        let abi = settings
            .ok()
            .and_then(|s| s.word(0).map(abi_of))
            .ok_or_else(|| other(shape.to_string()))?;
        if abi == ABI {
            Ok(())
        } else {
            Err(StartError::OtherAbi {
                dir: self.root.clone(),
                found: abi,
                needed: ABI,
            })
        }
    }

    /// Begins to make maps: an empty directory, and in it the map that only user space uses.
    pub(super) fn begin_maps(&self, layouts: &[Layout]) -> Result<(), StartError> {
        let dir = self.new_maps();
        remove_tree(&dir).map_err(file("clear", &dir))?;
        fs::create_dir(&dir).map_err(file("make", &dir))?;
        for layout in layouts.iter().filter(|l| l.name == LEDGER) {
            let map = sys::map_create(layout.name, layout.shape, None)
                .map_err(failed("make", layout.name))?;
            let map = MapData::from_fd(map).map_err(failed("make", layout.name))?;
            map.pin(dir.join(layout.name))
                .map_err(failed("pin", layout.name))?;
        }
        Ok(())
    }

    /// Whether the maps that were made are what is needed.
    pub(super) fn check_new(&self, layouts: &[Layout]) -> Result<(), StartError> {
        let dir = self.new_maps();
        let check = |layout| check_shape(&dir, layout);
        layouts
            .iter()
            .try_for_each(check)
            .map_err(|e| StartError::Load {
                reason: e.to_string(),
                hint: "the XDP program in this lbd is of other sources than the rest; run `cargo xtask build` again",
            })
    }

    /// Writes the settings of maps that were made.
    pub(super) fn write_settings(&self, settings: &Settings) -> Result<(), StartError> {
        let map = MapData::from_pin(self.new_maps().join(map::SETTINGS))
            .map_err(failed("open", map::SETTINGS))?;
        let region = Region::of_map(map.fd(), 1, size_of::<Settings>() as u32)
            .map_err(failed("map into memory", map::SETTINGS))?;
        let words = region.entry(0).unwrap_or_default();
        for (to, from) in words.iter().zip(super::region::words(settings)) {
            to.store(from, Ordering::Release);
        }
        Ok(())
    }

    /// Lets the maps that were made appear.
    pub(super) fn finish_maps(&self) -> Result<(), StartError> {
        let dir = self.new_maps();
        fs::rename(&dir, self.maps()).map_err(file("rename", &dir))
    }

    /// Removes the pins of all programs but these.
    pub(super) fn keep_programs(&self, keep: &Names) -> Result<(), StartError> {
        let programs = self.programs().map_err(file("read", &self.root))?;
        programs
            .iter()
            .filter(|path| keep.iter().all(|(_, keep)| *path != keep))
            .try_for_each(|path| fs::remove_file(path).map_err(file("remove", path)))
    }

    /// The ids of the maps.
    pub(super) fn map_ids(&self, layouts: &[Layout]) -> Result<Vec<u32>, MapError> {
        layouts
            .iter()
            .filter(|l| l.name != LEDGER)
            .map(|l| {
                let map = self.open(l.name)?;
                sys::object_id(map.fd().as_fd()).map_err(failed("examine", l.name))
            })
            .collect()
    }

    /// Removes everything; how many maps there were. The directory itself too, unless it is a mount point.
    pub(super) fn remove(&self) -> Result<usize, (PathBuf, io::Error)> {
        let maps = fs::read_dir(self.maps()).map_or(0, Iterator::count);
        let programs = self.programs().map_err(|e| (self.root.clone(), e))?;
        let all = [self.links(), self.maps(), self.new_maps()];
        for path in programs.into_iter().chain(all) {
            remove_tree(&path).map_err(|e| (path, e))?;
        }
        match fs::remove_dir(&self.root) {
            Ok(()) => Ok(maps),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy
                ) =>
            {
                Ok(maps)
            }
            Err(e) => Err((self.root.clone(), e)),
        }
    }
}

fn abi_of(word: &AtomicU64) -> u32 {
    word.load(Ordering::Acquire) as u32
}

/// Whether a map has the shape that it must have.
fn check_shape(dir: &Path, layout: &Layout) -> Result<(), StartError> {
    let path = dir.join(layout.name);
    let other = |found: String| StartError::OtherShape {
        map: path.clone(),
        found,
        needed: layout.shape.to_string(),
    };
    let map =
        MapData::from_pin(&path).map_err(|e| other(format!("nothing that can be opened ({e})")))?;
    let found = sys::map_shape(map.fd().as_fd()).map_err(failed("examine", layout.name))?;
    if found == layout.shape {
        Ok(())
    } else {
        Err(other(found.to_string()))
    }
}

/// Removes a file, or a directory with all that is in it, if it is there.
fn remove_tree(path: &Path) -> io::Result<()> {
    let result = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Says what was tried on which path.
pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::File {
        action,
        path,
        source,
    }
}
