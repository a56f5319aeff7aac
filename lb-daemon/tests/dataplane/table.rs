//! The connection table of a running data plane, through a mapping of the test's own.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use lb_common::abi::{LOADS_LEN, Load, Real, Settings, map};
use lb_common::atomic::Host;
use lb_common::conn::{Loads, Meta, Spare, State, Tick};
use lb_common::net::{Be16, Be32, Flow4, Proto};
use lb_common::table::{Bucket, Insert, Table};
use memmap2::{MmapOptions, MmapRaw};

/// How many real servers are mapped: as many as fit in a page.
const REALS: usize = 4096 / size_of::<Real>();

/// Pinned maps, as the program sees them.
pub(crate) struct Pinned {
    settings: MmapRaw,
    conns: MmapRaw,
    loads: MmapRaw,
    reals: MmapRaw,
}

impl Pinned {
    pub(crate) fn open(pin_dir: &Path) -> Self {
        let settings = map(pin_dir, map::SETTINGS, size_of::<Settings>());
        let this = Self {
            loads: map(pin_dir, map::LOADS, LOADS_LEN as usize * 8),
            reals: map(pin_dir, map::REALS, REALS * size_of::<Real>()),
            conns: map(pin_dir, map::CONNS4, 0),
            settings,
        };
        let buckets = this.settings().bucket_mask as usize + 1;
        Self {
            conns: map(pin_dir, map::CONNS4, buckets * size_of::<Bucket<Host>>()),
            ..this
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        // SAFETY: the mapping is as large as the settings, whose every pattern of bits is valid.
        unsafe { self.settings.as_ptr().cast::<Settings>().read_volatile() }
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        // SAFETY: as above.
        unsafe {
            self.settings
                .as_mut_ptr()
                .cast::<Settings>()
                .write_volatile(settings);
        }
    }

    fn buckets(&self) -> &[Bucket<Host>] {
        let len = self.settings().bucket_mask as usize + 1;
        // SAFETY: the mapping has so many buckets, begins at a page, and a bucket is atomics only.
        unsafe { std::slice::from_raw_parts(self.conns.as_ptr().cast(), len) }
    }

    fn load_words(&self) -> &[AtomicU64] {
        // SAFETY: as above, with words.
        unsafe { std::slice::from_raw_parts(self.loads.as_ptr().cast(), LOADS_LEN as usize) }
    }

    pub(crate) fn load(&self, slot: u32) -> Load {
        Load {
            conns: self.load_words()[slot as usize].load(Ordering::SeqCst),
        }
    }

    /// The flags of a real server, as the program reads them.
    pub(crate) fn flags(&self, slot: u32) -> u8 {
        assert!((slot as usize) < REALS);
        let record = self
            .reals
            .as_ptr()
            .cast::<Real>()
            .wrapping_add(slot as usize);
        // SAFETY: the mapping has more records than that, and every pattern of bits is one.
        unsafe { record.read_volatile() }.flags
    }

    /// Changes a load behind everybody's back.
    pub(crate) fn spoil_load(&self, slot: u32, by: u64) {
        self.load_words()[slot as usize].fetch_add(by, Ordering::SeqCst);
    }

    /// Now, by the clock of the data plane.
    pub(crate) fn now(&self) -> Tick {
        let coarse = lb_daemon::io::clock::coarse().as_nanos() as u64;
        Tick::at(coarse.wrapping_add(self.settings().clock_shift))
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, seconds: u64) {
        let mut settings = self.settings();
        settings.clock_shift += seconds * 1_000_000_000;
        self.set_settings(settings);
    }

    /// Records a connection of a client port to 192.0.2.1:80, as the program would. Whether there was a place for it.
    pub(crate) fn connect(
        &self,
        client: u32,
        port: u16,
        slot: u32,
        state: State,
        ticks: u32,
    ) -> bool {
        let settings = self.settings();
        let table = Table::new(self.buckets(), settings.bucket_mask, settings.hash_key);
        let flow = Flow4 {
            client: Be32::from_host(client),
            vip: Be32::from_bytes([192, 0, 2, 1]),
            client_port: Be16::from_host(port),
            vip_port: Be16::from_host(80),
            proto: Proto::Tcp,
        };
        let now = self.now();
        let meta = Meta::new(Proto::Tcp, state, slot, now.plus(ticks));
        let inserted = table.insert(
            &flow,
            &table.place(&flow),
            meta,
            now,
            Spare::new(now, 0, 0),
            self,
        );
        matches!(inserted, Insert::Done(_))
    }
}

impl Loads for Pinned {
    fn add(&self, real: u32, change: u64) {
        self.load_words()[real as usize].fetch_add(change, Ordering::SeqCst);
    }
}

fn map(pin_dir: &Path, name: &str, len: usize) -> MmapRaw {
    let map = MapData::from_pin(pin_dir.join("maps").join(name)).unwrap();
    MmapOptions::new()
        .len(len.max(1))
        .map_raw(map.fd().as_fd().as_raw_fd())
        .unwrap()
}
