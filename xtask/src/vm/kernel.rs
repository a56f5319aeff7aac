//! Which stock kernels are there, and how do they get here?
//!
//! Each is taken from a suite of Debian with an apt of its own below `target/vm`: the machine's sources, lists and
//! packages stay as they are. Once a kernel is there, no network is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::modules;
use crate::{sh, ui};

/// The key with which Debian signs its suites, from the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The package that depends on a suite's current kernel.
const META: &str = "linux-image-amd64";

/// A stock kernel of Debian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kernel {
    /// Debian 12.
    V6_1,
    /// Debian 13.
    V6_12,
    /// What backports to Debian 13 have.
    V7_3,
}

/// The kernels that `--kernel` names.
#[derive(Clone, Debug)]
pub(crate) struct Choice(pub(crate) Vec<Kernel>);

impl Default for Choice {
    /// The oldest that we support.
    fn default() -> Self {
        Self(vec![Kernel::V6_1])
    }
}

/// Read the value of `--kernel`.
pub(crate) fn parse(text: &str) -> Result<Choice, String> {
    let known = || Kernel::ALL.map(Kernel::version).join(", ");
    match text {
        "all" => Ok(Choice(Kernel::ALL.to_vec())),
        _ => Kernel::ALL
            .into_iter()
            .find(|kernel| kernel.version() == text)
            .map(|kernel| Choice(vec![kernel]))
            .ok_or_else(|| format!("the kernels are {} and all", known())),
    }
}

/// A kernel on this machine's disk.
pub(crate) struct Installed {
    /// What the boot loader starts.
    pub(super) image: PathBuf,
    /// A folder that holds `lib/modules`.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    /// From the oldest on which lbd runs to the newest.
    pub(crate) const ALL: [Self; 3] = [Self::V6_1, Self::V6_12, Self::V7_3];

    /// Its version, as people say it.
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7_3 => "7.3",
        }
    }

    const fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::V7_3 => "trixie-backports",
        }
    }

    /// The kernel, fetched when it is not there yet.
    pub(crate) fn install(self) -> Result<Installed> {
        let folder = super::guest::folder().join(self.version());
        let installed = Installed {
            image: folder.join("vmlinuz"),
            modules: folder.clone(),
        };
        // One that was fetched for another list of modules may lack some.
        let list = folder.join("needed");
        let is_list = |text: String| text == modules::needed();
        if installed.image.is_file() && fs::read_to_string(&list).is_ok_and(is_list) {
            return Ok(installed);
        }
        let what = format!("fetch Debian's kernel {}", self.version());
        ui::step(&what, || {
            // What another run left unfinished is no kernel: the image comes last.
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            self.fetch(&folder)
        })
        .with_context(|| {
            format!(
                "Debian's kernel {} cannot be had\nhint: it comes from the suite `{}` of Debian's mirror, and stays in {}",
                self.version(),
                self.suite(),
                folder.display()
            )
        })?;
        Ok(installed)
    }

    fn fetch(self, folder: &Path) -> Result<()> {
        let apt = Apt::new(self.suite(), &folder.join("apt"))?;
        let unpacked = folder.join("unpacked");
        fs::create_dir_all(&unpacked)
            .with_context(|| format!("cannot make {}", unpacked.display()))?;
        for package in apt.download()? {
            unpack(&package, &unpacked)?;
        }
        modules::keep_needed(&unpacked, folder)?;
        let image = image(&unpacked)?;
        fs::rename(image, folder.join("vmlinuz")).context("cannot keep the kernel's image")?;
        for rest in ["unpacked", "apt"] {
            fs::remove_dir_all(folder.join(rest))
                .with_context(|| format!("cannot remove {rest}"))?;
        }
        fs::write(folder.join("needed"), modules::needed()).context("cannot note the modules")
    }
}

/// An apt with one suite, and everything it writes in one folder.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(suite: &str, folder: &Path) -> Result<Self> {
        for below in ["lists/partial", "cache/archives/partial", "none"] {
            let path = folder.join(below);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let mirror = mirror()?;
        let base = suite.trim_end_matches("-backports");
        let suites = if base == suite {
            vec![base]
        } else {
            vec![base, suite]
        };
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n"))
            .collect();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("sources.list", &sources)?;
        write("status", "")?;
        let at = |name: &str| folder.join(name).display().to_string();
        let options = [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            format!("Dir::Etc::sourceparts={}", at("none")),
            format!("Dir::Etc::preferencesparts={}", at("none")),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            format!("APT::Default-Release={suite}"),
            "APT::Architecture=amd64".into(),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
        ];
        Ok(Self {
            folder: folder.to_owned(),
            options: options
                .into_iter()
                .flat_map(|option| ["-o".into(), option])
                .collect(),
        })
    }

    /// Download the suite's kernel and, where those are packages of their own, its modules.
    fn download(&self) -> Result<Vec<PathBuf>> {
        self.run("apt-get", &["-q", "update"])?;
        let meta = self.run("apt-cache", &["depends", META])?;
        let image = depends(&meta, &["linux-image-"]);
        let image = *image.first().context("the suite has no kernel")?;
        let parts = self.run("apt-cache", &["depends", image])?;
        let mut packages = depends(&parts, &["linux-modules-", "linux-binary-"]);
        packages.push(image);
        self.run("apt-get", &[&["-q", "download"], &*packages].concat())?;
        files(&self.folder, ".deb")
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let mut command = sh::command(program);
        command
            .args(&self.options)
            .args(words)
            .current_dir(&self.folder);
        sh::output(&mut command)
    }
}

/// The packages on which one depends whose names begin as one of `prefixes`, read from `apt-cache depends`.
fn depends<'a>(text: &'a str, prefixes: &[&str]) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

/// The mirror from which this machine's apt has Debian's packages.
pub(crate) fn mirror() -> Result<String> {
    let all = sh::output(sh::command("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    all.lines()
        .find(|line| line.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
        .context("apt knows no mirror of Debian\nhint: the machine's own sources name it, as in sources.list(5)")
}

/// Unpack the image and the modules that a network may need: the whole package is half a gigabyte.
fn unpack(package: &Path, to: &Path) -> Result<()> {
    let mut stream = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let tar = stream.stdout.take().context("dpkg-deb has no output")?;
    let mut command = sh::command("tar");
    command.args(["--extract", "--wildcards"]);
    command.args(modules::NOT_UNPACKED.map(|pattern| format!("--exclude={pattern}")));
    sh::output(command.arg("--directory").arg(to).stdin(tar))?;
    let status = stream.wait().context("cannot wait for dpkg-deb")?;
    if !status.success() {
        bail!("dpkg-deb {}: {status}", package.display());
    }
    Ok(())
}

/// The kernel itself: newer packages have it beside its modules.
fn image(unpacked: &Path) -> Result<PathBuf> {
    let boot = unpacked.join("boot");
    if boot.is_dir() {
        find(&boot, "vmlinuz-")
    } else {
        find(&modules::folder(unpacked)?, "vmlinuz")
    }
}

/// The files of a folder whose names end so.
fn files(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect())
}

/// The file of a folder whose name begins so.
fn find(folder: &Path, begin: &str) -> Result<PathBuf> {
    files(folder, "")?
        .into_iter()
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(begin))
        })
        .with_context(|| format!("the package has no {begin}… in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_named_by_its_version_and_all_are_all() {
        assert_eq!(parse("6.1").unwrap().0, [Kernel::V6_1]);
        assert_eq!(parse("all").unwrap().0, Kernel::ALL);
        assert!(parse("5.10").unwrap_err().contains("6.1, 6.12"));
    }

    #[test]
    fn only_packages_of_the_kernel_are_taken() {
        let text = "linux-image-6.1.0-9-amd64\n  Depends: kmod\n |Depends: linux-initramfs-tool\n  Depends: linux-modules-6.1\n";
        assert_eq!(depends(text, &["linux-modules-"]), ["linux-modules-6.1"]);
    }
}
