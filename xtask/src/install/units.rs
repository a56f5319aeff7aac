//! Does systemd run lbd.service as it says, on a stock kernel, over an upgrade?
//!
//! A copy of the fresh Debian goes to a disk, from which a virtual machine boots.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{copy, remove};
use crate::vm::{Guest, Kernel, Outcome};
use crate::{setup, sh, ui};

/// The kernel of the suite that the fresh Debian is of.
const KERNEL: Kernel = Kernel::V6_1;

/// What is on the disk besides Debian, and where.
const FILES: [(&str, &str); 7] = [
    ("try/words.sh", include_str!("words.sh")),
    ("try/units.sh", include_str!("units.sh")),
    ("try/network.sh", include_str!("network.sh")),
    (
        "etc/systemd/system/network.service",
        include_str!("network.service"),
    ),
    (
        "etc/systemd/system/try.service",
        include_str!("try.service"),
    ),
    ("etc/systemd/system/try.target", include_str!("try.target")),
    // With an emulated processor the kernel takes minutes to verify a program.
    (
        "etc/systemd/system.conf.d/slow.conf",
        "[Manager]\nDefaultTimeoutStartSec=10min\n",
    ),
];

/// Where links lead: what is done, what is booted, and what there is nobody for.
const LINKS: [(&str, &str); 3] = [
    ("try/next.sh", "units.sh"),
    ("etc/systemd/system/default.target", "try.target"),
    ("etc/systemd/system/getty.target", "/dev/null"),
];

/// More than is written there.
const DISK: &str = "1G";

/// How long the machine may run. Its processor is emulated.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// Tries the units.
pub(super) fn run(package: &Path, fresh: &Path, tried: &Path) -> Result<()> {
    setup::vm()?;
    let kernel = KERNEL.install()?;
    let disk = tried.with_extension("disk");
    ui::step("put it on a disk", || {
        copy(fresh, tried)?;
        let lib = tried.join("usr/lib");
        let modules = kernel.modules.join("lib/modules");
        sh::output(sh::command("cp").arg("-a").arg(modules).arg(lib))?;
        furnish(package, tried)?;
        format(tried, &disk)
    })?;
    remove(tried)?;
    let guest = Guest::with_disk(kernel, &disk)?;
    let what = format!(
        "have systemd run the units there, on Linux {}",
        KERNEL.version()
    );
    let outcome = ui::step(&what, || boot(&guest));
    fs::remove_file(&disk).with_context(|| format!("cannot remove {}", disk.display()))?;
    outcome
}

fn boot(guest: &Guest) -> Result<()> {
    match guest.run_disk(LIMIT, |line| println!("{line}"))? {
        Outcome::Exit(0) => Ok(()),
        Outcome::Exit(status) => bail!("it ended with status {status}"),
        Outcome::Late => bail!("it did not end within {}", ui::seconds(LIMIT)),
        Outcome::Broken(console) => bail!("it broke off; its last words:\n{console}"),
    }
}

/// Adds what is to be tried, and how.
fn furnish(package: &Path, tree: &Path) -> Result<()> {
    let at = |path: &str| tree.join(path);
    for (path, text) in FILES {
        let to = at(path);
        let folder = to.parent().unwrap_or(tree);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&to, text))
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    let to = at("try/package.deb");
    fs::copy(package, &to).with_context(|| format!("cannot make {}", to.display()))?;
    next(package, &tree.with_extension("next"), &at("try/next.deb"))?;
    for (path, to) in LINKS {
        symlink(to, at(path)).with_context(|| format!("cannot link {path}"))?;
    }
    // A machine that has an identity is not asked for one, and starts nothing that nobody has enabled.
    fs::write(at("etc/machine-id"), format!("{:032x}\n", 1)).context("cannot write etc/machine-id")
}

/// Packs the same again as another version.
fn next(package: &Path, tree: &Path, to: &Path) -> Result<()> {
    remove(tree)?;
    let mut unpack = sh::command("dpkg-deb");
    sh::output(unpack.arg("--raw-extract").arg(package).arg(tree))?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).context("the package has no control file")?;
    let line = format!("Version: {}", env!("CARGO_PKG_VERSION"));
    fs::write(&control, text.replace(&line, &format!("{line}+next")))
        .with_context(|| format!("cannot write {}", control.display()))?;
    let mut pack = sh::command("dpkg-deb");
    sh::output(
        pack.args(["-Znone", "--root-owner-group", "--build"])
            .arg(tree)
            .arg(to),
    )?;
    remove(tree)
}

/// Makes a disk of a tree.
fn format(tree: &Path, disk: &Path) -> Result<()> {
    if disk.exists() {
        fs::remove_file(disk).with_context(|| format!("cannot remove {}", disk.display()))?;
    }
    let mut format = sh::command(sh::find("mke2fs").context("e2fsprogs is not installed")?);
    format.args(["-q", "-t", "ext4", "-d"]).arg(tree);
    sh::output(format.arg(disk).arg(DISK)).map(drop)
}
