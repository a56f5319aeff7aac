//! The balancer under test: its program and maps, brought up and filled by the daemon's own code, in namespaces of
//! this thread.

use std::iter;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use aya::maps::MapData;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{LOADS_LEN, Load, Method, Settings, map};
use lb_common::atomic::Host;
use lb_common::conn::{Loads, Tick};
use lb_common::counter::Counter;
use lb_common::net::{Be16, Be32, Flow4, Proto};
use lb_common::sched::Scheduler;
use lb_common::table::{Bucket, Lookup, Table};
use lb_daemon::core::desired::{Desired, DesiredReal, DesiredService, ServiceId, XdpMode};
use lb_daemon::core::hop::Mac;
use lb_daemon::core::station::Station;
use lb_daemon::io::bpf::{Capacity, Dataplane, Hop, NextHop, Options};
use memmap2::{MmapOptions, MmapRaw};
use nix::mount::{MsFlags, mount};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};

use crate::frame::{DIRECTOR, DIRECTOR_MAC, NAT_PORT, PORT, REALS, real, real_mac};
use crate::kernel::memory;
use crate::run::client;
use crate::schedulers::Pool;

const INTERFACE: &str = "lb0";
/// The far end of the interface.
pub(crate) const FAR_END: &str = "far0";
const PROGRAM: &str = "lb";

/// The connections that the table is made for, as in the daemon's default configuration.
pub(crate) const CONNECTIONS: u32 = 1_000_000;

/// The balancer, running.
pub(crate) struct Product {
    dataplane: Dataplane,
    pin_dir: PathBuf,
    ingress: u32,
    settings: Settings,
    conns: MmapRaw,
    loads: MmapRaw,
    ours: Build,
    other: Option<Build>,
}

/// A build of the balancer's object, whose program runs over the maps that the daemon has filled.
struct Build {
    object: PathBuf,
    ebpf: Ebpf,
}

/// Which build of the balancer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// The one that is measured.
    Ours,
    /// The one that it is compared with.
    Other,
}

/// The virtual address of the service with a method.
pub(crate) const fn vip(method: Method) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, method as u8)
}

/// An address of no service.
pub(crate) const NO_VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);

/// Puts this thread into namespaces of its own, with one interface and a BPF file system; they end with it. The interface's
/// index.
pub(crate) fn isolate() -> Result<u32> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "needs root\nhint: run cargo xtask bench as root"
    );
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(
        Some("none"),
        "/sys/fs",
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )?;
    std::fs::create_dir("/sys/fs/bpf")?;
    mount(
        Some("bpf"),
        "/sys/fs/bpf",
        Some("bpf"),
        MsFlags::empty(),
        none,
    )?;
    for words in [
        ["link", "add", INTERFACE, "type", "veth", "peer", FAR_END].as_slice(),
        &["link", "set", INTERFACE, "up"],
    ] {
        let done = Command::new("ip").args(words).status()?;
        ensure!(done.success(), "ip {} failed", words.join(" "));
    }
    Ok(if_nametoindex(INTERFACE)?)
}

impl Product {
    /// Makes the maps for [`CONNECTIONS`], and loads the program of an object, and of another beside it, over them.
    pub(crate) fn start(ingress: u32, object: &Path, other: Option<&Path>) -> Result<Self> {
        let pin_dir = PathBuf::from("/sys/fs/bpf/lbd");
        let mut dataplane = Dataplane::start(&Options {
            pin_dir: pin_dir.clone(),
            interfaces: vec![INTERFACE.into()],
            mode: XdpMode::Auto,
            replace: false,
            capacity: Capacity {
                connections: CONNECTIONS,
                reals: 20_000,
                ..Capacity::default()
            },
            log_packets: false,
        })?;
        // The frames are for the first MAC that is compared, as they usually are.
        let own = Mac::new(DIRECTOR_MAC).context("the director's MAC is none")?;
        dataplane.gate().own_macs().set_stations(vec![Station {
            ifindex: ingress,
            macs: [own].into(),
            gets: [ingress].into(),
        }]);
        let services = [Method::Dr, Method::Tun, Method::Nat].map(service);
        serve(&mut dataplane, ingress, services.to_vec())?;
        let settings = region(&pin_dir, map::SETTINGS, size_of::<Settings>())?;
        // SAFETY: the mapping is as large as the settings, and any bits of them are valid.
        let settings = unsafe { settings.as_ptr().cast::<Settings>().read_volatile() };
        let buckets = settings.bucket_mask as usize + 1;
        let maps = pin_dir.join("maps");
        Ok(Self {
            dataplane,
            ours: Build::load(&maps, object)?,
            other: other.map(|object| Build::load(&maps, object)).transpose()?,
            settings,
            conns: region(&pin_dir, map::CONNS4, buckets * size_of::<Bucket<Host>>())?,
            loads: region(&pin_dir, map::LOADS, LOADS_LEN as usize * 8)?,
            pin_dir,
            ingress,
        })
    }

    /// Has a service for each pool of schedulers' benchmark, and no others.
    pub(crate) fn serve_pools(&mut self) -> Result<()> {
        let services = Pool::all().map(|pool| DesiredService {
            name: format!("{}-{}", pool.scheduler.name(), pool.reals),
            scheduler: pool.scheduler,
            reals: (1..=pool.reals)
                .map(|n| {
                    // Not where the clients are.
                    let addr = Ipv4Addr::from_bits(u32::from(real(0)) + (1 << 20) + n);
                    DesiredReal {
                        weight: pool.weight(n),
                        ..DesiredReal::new(addr.into(), PORT)
                    }
                })
                .collect(),
            ..DesiredService::new(ServiceId::new(Proto::Tcp, pool.vip(), PORT))
        });
        serve(&mut self.dataplane, self.ingress, services.collect())
    }

    /// The program of a build.
    pub(crate) fn program(&mut self, whose: Whose) -> Result<&mut Xdp> {
        let build = match whose {
            Whose::Ours => &mut self.ours,
            Whose::Other => self.other.as_mut().context("there is no other build")?,
        };
        build.program()
    }

    /// Whether another build is measured too.
    pub(crate) const fn is_compared(&self) -> bool {
        self.other.is_some()
    }

    /// Loads what is compared anew: where in memory the kernel puts a program changes what it takes.
    pub(crate) fn reload(&mut self) -> Result<()> {
        let maps = self.pin_dir.join("maps");
        for build in iter::once(&mut self.ours).chain(&mut self.other) {
            *build = Build::load(&maps, &build.object)?;
        }
        Ok(())
    }

    fn buckets(&self) -> &[Bucket<Host>] {
        // SAFETY: the mapping has so many buckets, which are atomic words, and begins at a page.
        unsafe {
            std::slice::from_raw_parts(
                self.conns.as_ptr().cast(),
                self.settings.bucket_mask as usize + 1,
            )
        }
    }

    fn load_words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has so many words.
        unsafe { std::slice::from_raw_parts(self.loads.as_ptr().cast(), LOADS_LEN as usize) }
    }

    fn table(&self) -> Table<'_, [Bucket<Host>]> {
        Table::new(
            self.buckets(),
            self.settings.bucket_mask,
            self.settings.hash_key,
        )
    }

    /// Takes connections to a service out of the table.
    pub(crate) fn forget(&self, vip: Ipv4Addr, flows: std::ops::Range<u32>) {
        let now = Tick::at(lb_daemon::io::clock::coarse().as_nanos() as u64);
        for flow in flows {
            let (addr, port) = client(flow);
            let flow = Flow4 {
                client: Be32::from_host(addr),
                vip: Be32::from_bytes(vip.octets()),
                client_port: Be16::from_host(port),
                vip_port: Be16::from_host(PORT),
                proto: Proto::Tcp,
            };
            if let Lookup::Hit(hit) = self.table().lookup(&flow, &self.table().place(&flow), now) {
                self.table().remove(&hit, self);
            }
        }
    }

    /// All connections and active ones, of all real servers together.
    pub(crate) fn load(&self) -> (u64, u64) {
        self.load_words()
            .iter()
            .fold((0, 0), |(all, active), word| {
                let load = Load {
                    conns: word.load(Ordering::Relaxed),
                };
                (
                    all + u64::from(load.total()),
                    active + u64::from(load.active()),
                )
            })
    }

    /// How packets have ended so far, by [`Counter`].
    pub(crate) fn counters(&self) -> Result<Vec<(Counter, u64)>> {
        Ok(self.dataplane.counters()?)
    }

    /// Slots of the table.
    pub(crate) fn slots(&self) -> u64 {
        (u64::from(self.settings.bucket_mask) + 1) * lb_common::table::SLOTS_PER_BUCKET as u64
    }

    /// Memory of the table, in bytes, as the kernel counts it.
    pub(crate) fn table_memory(&self) -> Result<u64> {
        memory(&MapData::from_pin(
            self.pin_dir.join("maps").join(map::CONNS4),
        )?)
    }
}

impl Loads for Product {
    fn add(&self, real: u32, change: u64) {
        self.load_words()[real as usize].fetch_add(change, Ordering::SeqCst);
    }
}

impl Build {
    /// Loads the balancer's program of an object over maps that are there.
    fn load(maps: &Path, object: &Path) -> Result<Self> {
        let names: Vec<String> = std::fs::read_dir(maps)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?;
        let mut loader = EbpfLoader::new();
        for name in &names {
            loader.map_pin_path(name, maps.join(name));
        }
        let ebpf = loader.load_file(object).with_context(|| {
            format!(
                "cannot load {}\nhint: only builds that share their maps' layout can be compared",
                object.display()
            )
        })?;
        let mut build = Self {
            object: object.to_owned(),
            ebpf,
        };
        build.program()?.load()?;
        Ok(build)
    }

    fn program(&mut self) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut(PROGRAM);
        let program =
            program.with_context(|| format!("{} has no program lb", self.object.display()))?;
        Ok(program.try_into()?)
    }
}

fn service(method: Method) -> DesiredService {
    let port = if method == Method::Nat {
        NAT_PORT
    } else {
        PORT
    };
    DesiredService {
        scheduler: Scheduler::Rr,
        method,
        reals: (1..=REALS)
            .map(|n| DesiredReal {
                method,
                ..DesiredReal::new(real(n).into(), port)
            })
            .collect(),
        ..DesiredService::new(ServiceId::new(Proto::Tcp, vip(method), PORT))
    }
}

/// Has these services, whose real servers are all one hop away.
fn serve(dataplane: &mut Dataplane, ingress: u32, services: Vec<DesiredService>) -> Result<()> {
    let desired = Desired {
        services,
        ..Desired::default()
    };
    dataplane.apply(&desired, &|addr: IpAddr| {
        let n = match addr {
            IpAddr::V4(addr) => addr.to_bits() as u8,
            IpAddr::V6(addr) => addr.to_bits() as u8,
        };
        Hop::Via(NextHop {
            ifindex: ingress,
            mac: real_mac(n),
            src_mac: DIRECTOR_MAC,
            mtu: 1500,
            src: DIRECTOR.into(),
        })
    })?;
    Ok(())
}

fn region(pin_dir: &Path, name: &str, len: usize) -> Result<MmapRaw> {
    let map = MapData::from_pin(pin_dir.join("maps").join(name))?;
    MmapOptions::new()
        .len(len)
        .map_raw(map.fd().as_fd().as_raw_fd())
        .with_context(|| format!("cannot map {name}"))
}
