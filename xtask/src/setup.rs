//! What must be installed before building, the demo and the tests?

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::toolchain::{self, LINKED, Missing, Toolchain};
use crate::{sh, ui};

/// The programs on the hosts of the demo and of the namespace tests, and the Debian packages that bring them.
const LAB_PROGRAMS: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("nginx", "nginx-light"),
];

/// What the tests run beside ours, or have ours check.
const PEER_PROGRAMS: &[(&str, &str)] = &[
    ("etcd", "etcd-server"),
    ("exim4", "exim4-daemon-light"),
    ("keepalived", "keepalived"),
    ("redis-server", "redis-server"),
    ("tshark", "tshark"),
    ("unbound", "unbound"),
];

/// The same of what no guest has: libraries, which are known by a file, and what is nothing without them.
const PEER_FILES: &[(&str, &str)] = &[
    (
        "/usr/lib/python3/dist-packages/grpc/__init__.py",
        "python3-grpcio",
    ),
    ("/usr/share/java/zookeeper.jar", "libzookeeper-java"),
    ("java", "default-jre-headless"),
];

/// Services that Debian starts when it installs them. The lab runs its own in its own namespaces.
const STARTED: &[(&str, &str)] = &[
    ("etcd-server", "etcd"),
    ("exim4-daemon-light", "exim4"),
    ("keepalived", "keepalived"),
    ("nginx-light", "nginx"),
    ("redis-server", "redis-server"),
    ("unbound", "unbound"),
];

/// The programs that fetch, pack and boot guests with stock kernels, and the Debian packages that bring them.
const VM_PROGRAMS: &[(&str, &str)] = &[
    ("busybox", "busybox-static"),
    ("mke2fs", "e2fsprogs"),
    ("modprobe", "kmod"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("strip", "binutils"),
];

/// `cargo xtask setup`.
pub(crate) fn run() -> Result<ExitCode> {
    let start = Instant::now();
    let toolchain = toolchain()?;
    ui::present(&format!("eBPF tool chain: {}", toolchain.describe()));
    peers()?;
    let packages = LAB_PROGRAMS.iter().chain(PEER_PROGRAMS).chain(PEER_FILES);
    let packages: Vec<&str> = packages.map(|(_, package)| *package).collect();
    ui::present(&format!("demo and tests: {}", packages.join(", ")));
    println!("ready in {}", ui::seconds(start.elapsed()));
    Ok(ExitCode::SUCCESS)
}

/// A tool chain that builds the XDP programs; installed when there is none.
pub(crate) fn toolchain() -> Result<Toolchain> {
    let missing = match Toolchain::find()? {
        Ok(toolchain) => return Ok(toolchain),
        Err(missing) => missing,
    };
    install_toolchain(&missing)?;
    Toolchain::find()?
        .ok()
        .context("the tool chain was installed and still is not found")
}

/// The lints of the tool chain that builds the XDP programs; installed when they are missing and can be.
pub(crate) fn lints(toolchain: &Toolchain) -> Result<()> {
    if toolchain.is_linked() && !Path::new("/usr/bin/clippy-driver").is_file() {
        apt_install(&["rust-web-clippy"])?;
    }
    Ok(())
}

/// The programs of the lab; installed when they are missing.
pub(crate) fn lab() -> Result<()> {
    install_silenced(LAB_PROGRAMS)
}

/// The programs of the lab and all that the tests run beside ours; installed when they are missing.
pub(crate) fn peers() -> Result<()> {
    install_silenced(&[LAB_PROGRAMS, PEER_PROGRAMS, PEER_FILES].concat())
}

/// Programs and files, without the services that Debian starts with them.
fn install_silenced(wanted: &[(&'static str, &'static str)]) -> Result<()> {
    let packages = missing_packages(wanted);
    install(wanted)?;
    let started = STARTED
        .iter()
        .filter(|(package, _)| packages.contains(package));
    if Path::new("/run/systemd/system").is_dir() {
        for (_, service) in started {
            ui::step(&format!("stop the {service} that Debian started"), || {
                sh::output(sh::command("systemctl").args(["disable", "--now", service]))
            })?;
        }
    }
    Ok(())
}

/// The names of the lab's programs, and of those that run beside ours.
pub(crate) fn lab_programs() -> impl Iterator<Item = &'static str> {
    let all = LAB_PROGRAMS.iter().chain(PEER_PROGRAMS);
    all.map(|(program, _)| *program)
}

/// The programs of guests with stock kernels; installed when they are missing.
pub(crate) fn vm() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("a guest has an x86-64 processor, and so runs none of this machine's programs");
    }
    install(VM_PROGRAMS)
}

/// Programs; their packages are installed when one is missing.
fn install(programs: &[(&'static str, &'static str)]) -> Result<()> {
    let packages = missing_packages(programs);
    if packages.is_empty() {
        return Ok(());
    }
    apt_install(&packages)?;
    let missing = missing_packages(programs);
    if !missing.is_empty() {
        bail!(
            "{} installed, and still what it brings is not found",
            missing.join(", ")
        );
    }
    Ok(())
}

/// What packs a package; installed when it is missing.
pub(crate) fn packaging() -> Result<()> {
    if sh::find("dpkg-shlibdeps").is_none() || sh::find("strip").is_none() {
        apt_install(&["binutils", "dpkg-dev"])?;
    }
    Ok(())
}

/// What unpacks a fresh Debian; installed when it is missing.
pub(crate) fn fresh_debian() -> Result<()> {
    if sh::find("debootstrap").is_none() {
        apt_install(&["debootstrap"])?;
    }
    Ok(())
}

/// Debian's compiler, its sources, and a linker for its LLVM.
fn install_toolchain(missing: &Missing) -> Result<()> {
    if missing.compiler {
        apt_install(&["rustc-web", "rust-web-src"])?;
        ui::step(
            &format!("let rustup know Debian's compiler as `{LINKED}`"),
            || sh::output(sh::command("rustup").args(["toolchain", "link", LINKED, "/usr"])),
        )?;
    }
    if missing.linker {
        let version = sh::output(sh::command("/usr/bin/rustc").arg("-vV"))?;
        let llvm = toolchain::llvm_major(&version)?;
        let packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
        let mut packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        packages.extend(["g++", "libzstd-dev", "libxml2-dev", "zlib1g-dev"]);
        apt_install(&packages)?;
        ui::step(
            &format!("build bpf-linker for LLVM {llvm} (about a minute)"),
            || {
                ui::flush();
                let mut cargo = sh::cargo();
                cargo.args(["install", "bpf-linker", "--locked", "--no-default-features"]);
                cargo.arg("--features").arg(format!("llvm-{llvm}"));
                cargo.arg("--root").arg(toolchain::our_linker_root()?);
                cargo.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
                sh::run(&mut cargo)
            },
        )?;
    }
    Ok(())
}

/// Install Debian packages, as root.
fn apt_install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let apt = sh::find("apt-get").with_context(|| {
        format!("not a Debian machine\nhint: install what these Debian packages bring: {list}")
    })?;
    if !sh::is_root() {
        bail!(
            "these Debian packages are missing: {list}\nhint: as root, run cargo xtask setup, or apt-get install {list}"
        );
    }
    let apt = |words: &[&str]| {
        let mut command = sh::command(&apt);
        command
            .args(["-q", "-y"])
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive");
        sh::output(&mut command)
    };
    ui::step("apt-get update", || apt(&["update"]))?;
    ui::step(&format!("apt-get install {list}"), || {
        apt(&[&["install", "--no-install-recommends"], packages].concat())
    })?;
    Ok(())
}

/// The packages of the programs and files that are not found.
fn missing_packages(programs: &[(&'static str, &'static str)]) -> Vec<&'static str> {
    programs
        .iter()
        .filter(|(program, _)| sh::find(program).is_none())
        .map(|(_, package)| *package)
        .collect()
}
