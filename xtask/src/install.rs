//! Does the package install in a fresh Debian, upgrade without a gap, and leave nothing behind?
//!
//! ```text
//! target/dist/debian     a fresh Debian, unpacked once by debootstrap
//! target/dist/tried      a copy of it, in which the package is tried: in namespaces of its own, then in a virtual machine
//! ```

mod units;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{setup, sh, ui, vm};

/// The suite that the fresh Debian is of.
const SUITE: &str = "bookworm";
/// What the package needs there, or the trial does.
const PACKAGES: &str = "ethtool,init-system-helpers,iproute2,kmod,libgcc-s1,systemd";
/// What is done there.
const TRIAL: &str = include_str!("install.sh");

/// Tries a package.
pub(crate) fn run(package: &Path) -> Result<()> {
    if !sh::is_root() {
        bail!("only root may unpack a fresh Debian and try the package in it");
    }
    setup::fresh_debian()?;
    let folder = package.parent().context("the package is in a folder")?;
    let (fresh, tried) = (folder.join("debian"), folder.join("tried"));
    if !fresh.is_dir() {
        ui::step("unpack a fresh Debian", || unpack(&fresh))?;
    }
    try_installing(package, &fresh, &tried)?;
    units::run(package, &fresh, &tried)
}

/// Makes a copy of a fresh Debian, in place of what is there.
fn copy(fresh: &Path, tried: &Path) -> Result<()> {
    remove(tried)?;
    sh::output(sh::command("cp").arg("-a").arg(fresh).arg(tried)).map(drop)
}

/// Installs, upgrades, removes and purges it, without systemd.
fn try_installing(package: &Path, fresh: &Path, tried: &Path) -> Result<()> {
    copy(fresh, tried)?;
    let place = |from: &Path, to: &str| {
        let to = tried.join(to);
        fs::copy(from, &to).with_context(|| format!("cannot make {}", to.display()))
    };
    place(package, "package.deb")?;
    fs::write(tried.join("try.sh"), TRIAL).context("cannot write try.sh")?;
    let outcome = ui::step("try the package there", || {
        ui::flush();
        // Interfaces, mounts and processes end with it, whatever becomes of it.
        let mut trial = sh::command("unshare");
        trial.args([
            "--mount",
            "--net",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
        ]);
        trial.args(["sh", "-eu", "-c", ENTER, "sh"]).arg(tried);
        sh::run(&mut trial)
    });
    remove(tried)?;
    outcome
}

/// Mounts what a Debian has mounted, and goes there.
const ENTER: &str = "
mount -t proc proc \"$1/proc\"
mount -t sysfs sysfs \"$1/sys\"
mount -t bpf bpf \"$1/sys/fs/bpf\"
mount -t tmpfs tmpfs \"$1/run\"
mount --bind /dev \"$1/dev\"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \\
    chroot \"$1\" sh -eu /try.sh
";

fn unpack(to: &Path) -> Result<()> {
    // What another run left unfinished is no Debian.
    let unfinished = to.with_extension("unfinished");
    remove(&unfinished)?;
    let mut debootstrap = sh::command("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]);
    sh::output(debootstrap.arg(&unfinished).arg(vm::mirror()?))?;
    fs::rename(&unfinished, to).with_context(|| format!("cannot make {}", to.display()))
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
