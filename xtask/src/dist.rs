//! How is a package made of what was built?
//!
//! ```text
//! target/dist/lbd_VERSION_ARCH/       the package's tree
//! target/dist/lbd_VERSION_ARCH.deb    the package
//! ```

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{compile, install, setup, sh, ui};

/// How to make it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pack what was built without optimisation, to try the package out
    #[arg(long)]
    debug: bool,
    /// Then install it in a fresh Debian, upgrade and purge it there, as root
    #[arg(long = "try")]
    tried: bool,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const MAINTAINER: &str = "The lbd authors <lbd@example.org>";

/// Files as they are in the source tree, where they go, and with which mode.
const FILES: &[(&str, &str, u32)] = &[
    ("configs/debian/default", "etc/default/lbd", 0o644),
    (
        "configs/debian/copyright",
        "usr/share/doc/lbd/copyright",
        0o644,
    ),
    ("README.md", "usr/share/doc/lbd/README.md", 0o644),
    (
        "configs/backend-prep.sh",
        "usr/share/doc/lbd/examples/backend-prep.sh",
        0o755,
    ),
    ("configs/debian/postinst", "DEBIAN/postinst", 0o755),
    ("configs/debian/prerm", "DEBIAN/prerm", 0o755),
    ("configs/debian/postrm", "DEBIAN/postrm", 0o755),
];

/// Files of the administrator, which an upgrade does not overwrite.
const CONFFILES: &str = "/etc/default/lbd\n";

/// The shells, and where each looks for completions.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/lbctl"),
    ("zsh", "usr/share/zsh/vendor-completions/_lbctl"),
    ("fish", "usr/share/fish/vendor_completions.d/lbctl.fish"),
];

/// `cargo xtask dist`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    compile::daemon(&setup::toolchain()?, !args.debug)?;
    setup::packaging()?;
    let built = sh::target_dir().join(if args.debug { "debug" } else { "release" });
    let arch = sh::output(sh::command("dpkg").arg("--print-architecture"))?;
    let arch = arch.trim();
    let tree = sh::target_dir().join(format!("dist/lbd_{VERSION}_{arch}"));
    let package = tree.with_file_name(format!("lbd_{VERSION}_{arch}.deb"));
    ui::step("put the package's tree together", || {
        stage(&built, &tree, arch)
    })?;
    ui::step(&format!("pack {}", package.display()), || {
        let mut pack = sh::command("dpkg-deb");
        if args.debug {
            // Nobody keeps it, and what is not optimised is large.
            pack.arg("-Znone");
        }
        pack.args(["--root-owner-group", "--build"]);
        sh::output(pack.arg(&tree).arg(&package))
    })?;
    if !args.debug && sh::find("lintian").is_some() {
        ui::step("lintian", || {
            ui::flush();
            let mut lintian = sh::command("lintian");
            lintian.args(["--fail-on", "error", "--allow-root"]);
            sh::run(lintian.arg(&package))
        })?;
    }
    if args.tried {
        install::run(&package)?;
    }
    println!("{}", package.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes the tree anew.
fn stage(built: &Path, tree: &Path, arch: &str) -> Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    for program in ["lbd", "lbctl"] {
        let to = place(tree, &format!("usr/sbin/{program}"))?;
        let mut strip = sh::command("strip");
        sh::output(strip.arg("-o").arg(&to).arg(built.join(program)))?;
        set_mode(&to, 0o755)?;
    }
    for (from, to, mode) in FILES {
        put(tree, to, &read(from)?, *mode)?;
    }
    for unit in ["lbd.service", "lbd-backend.service"] {
        let text = read(&format!("configs/{unit}"))?.replace("/usr/local/sbin/", "/usr/sbin/");
        put(
            tree,
            &format!("usr/lib/systemd/system/{unit}"),
            &text,
            0o644,
        )?;
    }
    examples(tree)?;
    manual(built, tree)?;
    for (shell, to) in COMPLETIONS {
        let script = sh::output(sh::command(built.join("lbctl")).args(["completions", shell]))?;
        put(tree, to, &script, 0o644)?;
    }
    for (name, text) in [
        ("CHANGELOG.md", read("CHANGELOG.md")?),
        ("changelog", changelog()?),
    ] {
        let to = format!("usr/share/doc/lbd/{name}");
        put(tree, &to, &text, 0o644)?;
        compress(&tree.join(to))?;
    }
    fs::create_dir_all(tree.join("etc/lbd")).context("etc/lbd")?;
    put(tree, "DEBIAN/conffiles", CONFFILES, 0o644)?;
    put(tree, "DEBIAN/control", &control(tree, arch)?, 0o644)
}

/// Every configuration that we ship.
fn examples(tree: &Path) -> Result<()> {
    let folder = sh::root().join("configs");
    for entry in fs::read_dir(&folder).context("configs")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") {
            let text = read(&format!("configs/{name}"))?;
            put(
                tree,
                &format!("usr/share/doc/lbd/examples/{name}"),
                &text,
                0o644,
            )?;
        }
    }
    Ok(())
}

/// The manual pages, by the section at the end of their names.
fn manual(built: &Path, tree: &Path) -> Result<()> {
    let pages = tree.with_file_name("manual");
    fs::create_dir_all(&pages).with_context(|| format!("cannot make {}", pages.display()))?;
    sh::output(sh::command(built.join("lbctl")).arg("manual").arg(&pages))?;
    for entry in fs::read_dir(&pages)? {
        let page = entry?.path();
        let name = page
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let section = name.rsplit('.').next().unwrap_or_default();
        let to = place(tree, &format!("usr/share/man/man{section}/{name}"))?;
        fs::rename(&page, &to).with_context(|| format!("cannot make {}", to.display()))?;
        set_mode(&to, 0o644)?;
        compress(&to)?;
    }
    fs::remove_dir(&pages).with_context(|| format!("cannot remove {}", pages.display()))
}

/// What Debian's tools read; operators read the other one.
fn changelog() -> Result<String> {
    let date = sh::output(sh::command("git").args(["log", "-1", "--format=%aD"]))?;
    Ok(format!(
        "lbd ({VERSION}) unstable; urgency=medium\n\n  * What is new is in CHANGELOG.md.\n\n -- {MAINTAINER}  {}\n",
        date.trim()
    ))
}

fn control(tree: &Path, arch: &str) -> Result<String> {
    Ok(format!(
        "Package: lbd
Version: {VERSION}
Architecture: {arch}
Maintainer: {MAINTAINER}
Section: net
Priority: optional
Depends: {libraries}, passwd
Installed-Size: {size}
Description: layer-4 load balancer with an XDP data plane
 lbd takes the place of LVS and keepalived: it forwards packets to real
 servers in the network driver, by direct routing, IP-in-IP tunnels or NAT,
 checks the real servers' health, and shares virtual addresses with other
 directors by VRRP. lbctl has the flags of ipvsadm.
 .
 The same package prepares real servers: lbctl backend prepare.
",
        libraries = libraries(tree)?,
        size = kilobytes(tree)?,
    ))
}

/// The packages that have the libraries which the programs are linked to.
fn libraries(tree: &Path) -> Result<String> {
    // It wants to be where sources are, and reads nothing of them.
    let folder = tree.with_file_name("shlibdeps");
    put(
        &folder,
        "debian/control",
        "Source: lbd\n\nPackage: lbd\nArchitecture: any\n",
        0o644,
    )?;
    let mut command = sh::command("dpkg-shlibdeps");
    command.current_dir(&folder).arg("-O");
    for program in ["lbd", "lbctl"] {
        command.arg("-e").arg(tree.join("usr/sbin").join(program));
    }
    let said = sh::output(&mut command)?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    let depends = said
        .lines()
        .find_map(|line| line.strip_prefix("shlibs:Depends="));
    Ok(depends
        .context("dpkg-shlibdeps names no library")?
        .to_owned())
}

fn kilobytes(tree: &Path) -> Result<String> {
    let said = sh::output(
        sh::command("du")
            .args(["-sk", "--exclude=DEBIAN"])
            .arg(tree),
    )?;
    Ok(said.split_whitespace().next().unwrap_or("0").to_owned())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(sh::root().join(path)).with_context(|| format!("cannot read {path}"))
}

fn put(tree: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    let to = place(tree, path)?;
    let mut file =
        fs::File::create(&to).with_context(|| format!("cannot make {}", to.display()))?;
    file.write_all(text.as_bytes())?;
    set_mode(&to, mode)
}

/// A path of the tree, whose folder is there.
fn place(tree: &Path, path: &str) -> Result<PathBuf> {
    let to = tree.join(path);
    let folder = to.parent().unwrap_or(tree);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(to)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

fn compress(path: &Path) -> Result<()> {
    sh::output(
        sh::command("gzip")
            .args(["-9", "--no-name", "--force"])
            .arg(path),
    )
    .map(drop)
}
