//! Namespaces for one test, and a data plane in them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use lb_common::net::Proto;
use lb_common::sched::Scheduler;
use lb_daemon::core::desired::{Desired, DesiredReal, DesiredService, ServiceId, XdpMode};
use lb_daemon::io::bpf::{Capacity, Dataplane, Hop, NextHop, Options, StartError};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Where a sandbox has its BPF file system.
pub(crate) const BPF_FS: &str = "/sys/fs/bpf";

/// A network with two interfaces, `lb0` and `lb1`, and a BPF file system. All of it ends with the thread.
pub(crate) struct Sandbox {
    pub(crate) pin_dir: PathBuf,
}

impl Sandbox {
    /// Puts this thread into namespaces of its own. `None`, and a line that says why, where that cannot be.
    pub(crate) fn new() -> Option<Self> {
        let sandbox = Self::without_bpf_fs()?;
        mount(
            Some("bpf"),
            BPF_FS,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        Some(sandbox)
    }

    /// The same, but nobody mounted a BPF file system yet.
    pub(crate) fn without_bpf_fs() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("SKIP: needs root");
            return None;
        }
        if !lb_daemon::io::bpf::is_built_in() {
            println!("SKIP: built without the XDP program");
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        // An empty directory of our own in the place of the machine's.
        mount(
            Some("none"),
            "/sys/fs",
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        std::fs::create_dir(BPF_FS).unwrap();
        for (name, peer) in [("lb0", "far0"), ("lb1", "far1")] {
            ip(&["link", "add", name, "type", "veth", "peer", "name", peer]);
            ip(&["link", "set", name, "up"]);
            ip(&["link", "set", peer, "up"]);
        }
        ip(&["link", "set", "lo", "up"]);
        Some(Self {
            pin_dir: Path::new(BPF_FS).join("lbd"),
        })
    }

    /// A small data plane on both interfaces.
    pub(crate) fn options(&self) -> Options {
        Options {
            pin_dir: self.pin_dir.clone(),
            interfaces: vec!["lb0".into(), "lb1".into()],
            mode: XdpMode::Auto,
            replace: false,
            capacity: Capacity {
                connections: 1000,
                reals: 64,
                services: 16,
            },
            log_packets: false,
        }
    }

    pub(crate) fn start(&self) -> Dataplane {
        self.try_start().unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) fn try_start(&self) -> Result<Dataplane, StartError> {
        Dataplane::start(&self.options())
    }
}

pub(crate) fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().unwrap();
    assert!(status.success(), "ip {args:?}");
}

/// A service at 192.0.2.`vip` with real servers given by the last byte of their address, and weight.
pub(crate) fn service(vip: u8, scheduler: Scheduler, reals: &[(u8, u16)]) -> DesiredService {
    let real = |&(last, weight): &(u8, u16)| DesiredReal {
        weight,
        ..DesiredReal::new(Ipv4Addr::new(10, 0, 0, last).into(), 80)
    };
    DesiredService {
        name: format!("s{vip}"),
        scheduler,
        reals: reals.iter().map(real).collect(),
        ..DesiredService::new(id(vip))
    }
}

pub(crate) fn id(vip: u8) -> ServiceId {
    ServiceId::new(Proto::Tcp, Ipv4Addr::new(192, 0, 2, vip), 80)
}

pub(crate) fn desired(services: &[DesiredService]) -> Desired {
    Desired {
        services: services.to_vec(),
        ..Desired::default()
    }
}

/// Everything is one hop away, on `lb0`.
pub(crate) fn hop(addr: IpAddr) -> Hop {
    let (last, src) = match addr {
        IpAddr::V4(addr) => (addr.to_bits() as u8, IpAddr::from([10, 0, 0, 254])),
        IpAddr::V6(addr) => (addr.to_bits() as u8, "fd00:10::fe".parse().unwrap()),
    };
    Hop::Via(NextHop {
        ifindex: nix::net::if_::if_nametoindex("lb0").unwrap(),
        mac: [2, 0, 0, 0, 0, last],
        src_mac: [2, 0, 0, 0, 1, 1],
        mtu: 1500,
        src,
    })
}
