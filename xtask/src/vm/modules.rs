//! Which modules does a guest have?

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh;

/// What the kernel loads when a test asks for it: virtual networks, tunnels, and what we take the place of.
const NEEDED: &[&str] = &[
    "8021q",
    "bridge",
    "dummy",
    "ip6_tunnel",
    "ip_vs",
    "ip_vs_lc",
    "ip_vs_mh",
    "ip_vs_rr",
    "ip_vs_sh",
    "ip_vs_wlc",
    "ip_vs_wrr",
    "ipip",
    "sch_netem",
    "veth",
];

/// What finds a disk. Newer kernels have some of it built in.
const DISK: &[&str] = &["ext4", "virtio_blk", "virtio_pci"];

/// What none of these needs, as patterns of tar.
pub(super) const NOT_UNPACKED: [&str; 8] = [
    "*/kernel/drivers/[!bnv]*",
    "*/kernel/drivers/b[!l]*",
    "*/kernel/drivers/n[!e]*",
    "*/kernel/drivers/v[!i]*",
    "*/kernel/drivers/net/*/*",
    "*/kernel/fs/[!ejm]*",
    "*/kernel/sound/*",
    "./usr/share/*",
];

/// Their names, one a line.
pub(super) fn needed() -> String {
    let all = NEEDED.iter().chain(DISK);
    all.map(|name| format!("{name}\n")).collect()
}

/// The folder of a tree's only kernel.
pub(super) fn folder(tree: &Path) -> Result<PathBuf> {
    let all = with_lib(tree).join("lib/modules");
    release(&all).map(|release| all.join(release))
}

/// Copy the needed modules, and those that they need, from a tree that holds `lib/modules` to another.
pub(super) fn keep_needed(from: &Path, to: &Path) -> Result<()> {
    let from = &with_lib(from);
    let release = release(&from.join("lib/modules"))?;
    depmod(from, &release)?;
    let mut files = BTreeSet::new();
    let program = sh::find("modprobe").context("kmod is not installed")?;
    let show = |module: &str| {
        let mut modprobe = sh::command(&program);
        modprobe.arg("--dirname").arg(from);
        sh::output(modprobe.args(["--set-version", &release, "--show-depends", module]))
    };
    for module in NEEDED {
        files.extend(insmods(&show(module)?));
    }
    for module in DISK {
        files.extend(show(module).iter().flat_map(|text| insmods(text)));
    }
    let below = Path::new("lib/modules").join(&release);
    let lists = [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ];
    let lists = lists.map(|name| from.join(&below).join(name));
    for file in files
        .iter()
        .chain(lists.iter().filter(|path| path.is_file()))
    {
        let inside = file
            .strip_prefix(from)
            .with_context(|| format!("{} is elsewhere", file.display()))?;
        let copy = to.join(inside);
        let folder = copy.parent().context("a module is in a folder")?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::copy(file, &copy))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    depmod(to, &release)
}

/// Where `lib/modules` is: newer packages have it below `usr`.
fn with_lib(tree: &Path) -> PathBuf {
    let merged = tree.join("usr");
    if merged.join("lib/modules").is_dir() {
        merged
    } else {
        tree.to_owned()
    }
}

/// The kernel's own name for itself, which is that of the only folder.
fn release(modules: &Path) -> Result<String> {
    let entries =
        fs::read_dir(modules).with_context(|| format!("cannot read {}", modules.display()))?;
    let entry = entries
        .flatten()
        .next()
        .context("the package has no modules")?;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

fn depmod(tree: &Path, release: &str) -> Result<()> {
    let mut depmod = sh::command(sh::find("depmod").context("kmod is not installed")?);
    sh::output(depmod.arg("--basedir").arg(tree).arg(release)).map(drop)
}

/// The files that `modprobe --show-depends` would load. A module that is built in has none.
fn insmods(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines()
        .filter_map(|line| line.strip_prefix("insmod "))
        .map(|line| PathBuf::from(line.split(' ').next().unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_is_built_in_needs_no_file() {
        let text = "builtin ipv6\ninsmod /m/kernel/net/bridge.ko \ninsmod /m/ip_vs.ko.xz conn_tab_bits=12\n";
        let files: Vec<PathBuf> = insmods(text).collect();
        assert_eq!(
            files,
            ["/m/kernel/net/bridge.ko", "/m/ip_vs.ko.xz"].map(PathBuf::from)
        );
    }
}
