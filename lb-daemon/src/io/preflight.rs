//! May and can this process do what a director does? Each refusal comes before anything is changed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::bpf::sys::{self, MapKind, MapShape};

/// Where systems mount the BPF file system.
const BPF_FS: &str = "/sys/fs/bpf";

/// Why this process cannot be a director here.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// A Linux capability is missing.
    #[error(
        "capability {0} is missing, which {use_of} needs\n\
         hint: run lbd as root, or give it the capability (`AmbientCapabilities={0}` in its unit)", use_of = use_of(*.0)
    )]
    Capability(Capability),
    /// The kernel lacks something.
    #[error(
        "this kernel ({running}) has no {feature}: {source}\n\
         hint: Linux has it from {since} on; boot a newer kernel"
    )]
    Kernel {
        /// What it lacks.
        feature: &'static str,
        /// The version that runs.
        running: String,
        /// The first version that has it.
        since: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel does not let this process use BPF, whatever its capabilities.
    #[error(
        "the kernel does not let lbd use {feature}: {source}\n\
         hint: a container's system-call filter or the lockdown of the kernel forbids bpf(2); allow it there"
    )]
    Denied {
        /// What was tried.
        feature: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The pin directory is not on a BPF file system.
    #[error(
        "{dir} is not on a BPF file system, and mounting one failed: {source}\n\
         hint: mount -t bpf bpf {at}"
    )]
    NoBpfFs {
        /// The pin directory.
        dir: PathBuf,
        /// Where one belongs.
        at: PathBuf,
        /// Why mounting failed.
        source: io::Error,
    },
    /// There is no such interface.
    #[error(
        "interface {0} does not exist\nhint: `ip -br link` lists the interfaces; mend `interfaces:`"
    )]
    NoInterface(String),
    /// The kernel did not tell this process's own capabilities.
    #[error("cannot read this process's capabilities: {0}\nhint: is /proc mounted?")]
    Unknown(#[from] caps::errors::CapsError),
}

/// Whether this process has every capability that it needs.
pub fn capabilities() -> Result<(), PreflightError> {
    match missing(&caps::read(None, CapSet::Effective)?) {
        Some(capability) => Err(PreflightError::Capability(capability)),
        None => Ok(()),
    }
}

/// The first capability that is missing. `CAP_SYS_ADMIN` stands for those that were split off it in Linux 5.8.
fn missing(have: &HashSet<Capability>) -> Option<Capability> {
    let admin = have.contains(&Capability::CAP_SYS_ADMIN);
    [
        (Capability::CAP_BPF, admin),
        (Capability::CAP_PERFMON, admin),
        (Capability::CAP_NET_ADMIN, false),
        (Capability::CAP_NET_RAW, false),
    ]
    .into_iter()
    .find(|(needed, otherwise)| !have.contains(needed) && !otherwise)
    .map(|(needed, _)| needed)
}

fn use_of(capability: Capability) -> &'static str {
    match capability {
        Capability::CAP_BPF => "loading the XDP program",
        Capability::CAP_PERFMON => "an XDP program that works with pointers",
        Capability::CAP_NET_ADMIN => "attaching the XDP program",
        _ => "asking for neighbours",
    }
}

/// Whether the kernel has all that the XDP program and its maps need.
pub fn kernel() -> Result<(), PreflightError> {
    FEATURES.iter().try_for_each(Feature::check)
}

/// Something that not every kernel has, and how to find out.
struct Feature {
    name: &'static str,
    since: &'static str,
    probe: fn() -> io::Result<()>,
}

impl Feature {
    fn check(&self) -> Result<(), PreflightError> {
        match (self.probe)() {
            Ok(()) => Ok(()),
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(PreflightError::Denied {
                    feature: self.name,
                    source,
                })
            }
            Err(source) => Err(PreflightError::Kernel {
                feature: self.name,
                running: release(),
                since: self.since,
                source,
            }),
        }
    }
}

/// In the order of their coming. XDP links (5.9) cannot be tried without an interface; a kernel that has all of these
/// has them too.
const FEATURES: &[Feature] = &[
    Feature {
        name: "XDP redirect maps (devmap)",
        since: "4.14",
        probe: || probe_map(MapKind::DevMap, 4, 0),
    },
    Feature {
        name: "memory-mappable BPF arrays",
        since: "5.5",
        probe: || probe_map(MapKind::Array, 8, sys::MMAPABLE),
    },
    Feature {
        name: "BPF helper bpf_ktime_get_coarse_ns",
        since: "5.11",
        probe: || probe_helper(160),
    },
    Feature {
        name: "atomic compare-and-swap in BPF programs",
        since: "5.12",
        probe: || {
            probe_program(&[
                STORE_ZERO,
                set(0, 0),
                set(1, 1),
                COMPARE_AND_SWAP,
                set(0, 2),
                EXIT,
            ])
        },
    },
    Feature {
        name: "BPF helper bpf_loop",
        since: "5.17",
        probe: || probe_helper(181),
    },
];

fn probe_map(kind: MapKind, value_size: u32, flags: u32) -> io::Result<()> {
    let shape = MapShape {
        kind,
        key_size: 4,
        value_size,
        entries: 1,
        flags,
    };
    sys::map_create("lb_probe", shape, None).map(drop)
}

/// The verifier looks at a helper's number before its arguments. Whether those are wrong (`EACCES`) does not matter.
fn probe_helper(number: u64) -> io::Result<()> {
    match probe_program(&[call(number), set(0, 2), EXIT]) {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => Ok(()),
        other => other,
    }
}

fn probe_program(instructions: &[u64]) -> io::Result<()> {
    sys::load_xdp("lb_probe", instructions).map(drop)
}

/// `exit`.
const EXIT: u64 = 0x95;
/// `*(u64 *)(r10 - 8) = 0`.
const STORE_ZERO: u64 = 0x7a | 10 << 8 | 0xfff8 << 16;
/// `r0 = cmpxchg_64(r10 - 8, r0, r1)`.
const COMPARE_AND_SWAP: u64 = 0xdb | 10 << 8 | 1 << 12 | 0xfff8 << 16 | 0xf1 << 32;

/// `r = value`.
const fn set(register: u64, value: u64) -> u64 {
    0xb7 | register << 8 | value << 32
}

/// `call helper`.
const fn call(helper: u64) -> u64 {
    0x85 | helper << 32
}

fn release() -> String {
    nix::sys::utsname::uname().map_or_else(
        |e| e.to_string(),
        |u| u.release().to_string_lossy().into_owned(),
    )
}

/// Sees to it that the pin directory lies on a BPF file system, mounting one when there is none. The directory itself
/// is made too.
pub fn bpf_fs(pin_dir: &Path) -> Result<(), PreflightError> {
    if !on_bpf_fs(pin_dir) {
        let at = mount_point(pin_dir);
        mount_bpf_fs(at).map_err(|source| PreflightError::NoBpfFs {
            dir: pin_dir.to_owned(),
            at: at.to_owned(),
            source,
        })?;
    }
    fs::create_dir_all(pin_dir).map_err(|source| PreflightError::NoBpfFs {
        dir: pin_dir.to_owned(),
        at: mount_point(pin_dir).to_owned(),
        source,
    })
}

fn mount_bpf_fs(at: &Path) -> io::Result<()> {
    fs::create_dir_all(at)?;
    mount(
        Some("bpf"),
        at,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )?;
    tracing::info!("mounted a BPF file system on {}", at.display());
    Ok(())
}

/// Whether a path is on a BPF file system, or will be once it is made.
pub fn on_bpf_fs(path: &Path) -> bool {
    path.ancestors()
        .find(|p| p.exists())
        .and_then(|p| statfs(p).ok())
        .is_some_and(|s| s.filesystem_type() == BPF_FS_MAGIC)
}

fn mount_point(pin_dir: &Path) -> &Path {
    if pin_dir.starts_with(BPF_FS) {
        Path::new(BPF_FS)
    } else {
        pin_dir
    }
}

/// The index of an interface.
pub fn interface(name: &str) -> Result<u32, PreflightError> {
    nix::net::if_::if_nametoindex(name).map_err(|_| PreflightError::NoInterface(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_missing_capability_is_named() {
        use Capability::*;
        let all = [CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_NET_RAW];
        assert_eq!(missing(&all.into()), None);
        for gone in all {
            let have = all.into_iter().filter(|c| *c != gone).collect();
            assert_eq!(missing(&have), Some(gone));
            let text = PreflightError::Capability(gone).to_string();
            assert!(
                text.contains(&gone.to_string()) && text.contains("hint: "),
                "{text}"
            );
        }
    }

    #[test]
    fn sys_admin_stands_for_what_was_split_off_it() {
        use Capability::*;
        assert_eq!(
            missing(&[CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW].into()),
            None
        );
        assert_eq!(
            missing(&[CAP_SYS_ADMIN, CAP_NET_RAW].into()),
            Some(CAP_NET_ADMIN)
        );
    }

    #[test]
    fn every_probe_passes_on_a_kernel_that_has_all() {
        if capabilities().is_err() {
            println!("SKIP: needs CAP_BPF");
            return;
        }
        kernel().unwrap();
    }

    #[test]
    fn a_helper_that_no_kernel_has_is_not_found() {
        if capabilities().is_err() {
            println!("SKIP: needs CAP_BPF");
            return;
        }
        assert_eq!(
            probe_helper(60_000).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
    }

    #[test]
    fn a_missing_feature_is_named_with_the_kernel_that_has_it() {
        let none = Feature {
            name: "time travel",
            since: "9.9",
            probe: || Err(io::ErrorKind::InvalidInput.into()),
        };
        let text = none.check().unwrap_err().to_string();
        assert!(
            text.contains("time travel") && text.contains("9.9") && text.contains(&release()),
            "{text}"
        );
        let denied = Feature {
            probe: || Err(io::ErrorKind::PermissionDenied.into()),
            ..none
        };
        assert!(matches!(denied.check(), Err(PreflightError::Denied { .. })));
    }

    #[test]
    fn an_unknown_interface_is_named() {
        let error = interface("no-such-if0").unwrap_err().to_string();
        assert!(error.contains("no-such-if0"), "{error}");
        assert!(interface("lo").is_ok());
    }

    #[test]
    fn a_file_system_belongs_where_systems_have_it_or_at_the_pin_directory() {
        assert_eq!(
            mount_point(Path::new("/sys/fs/bpf/lbd")),
            Path::new("/sys/fs/bpf")
        );
        assert_eq!(
            mount_point(Path::new("/run/lbd/pins")),
            Path::new("/run/lbd/pins")
        );
        assert!(!on_bpf_fs(Path::new("/proc/no/such/place")));
    }
}
