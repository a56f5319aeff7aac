//! What is in a guest, and how does it run a command?

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::archive::{self, Archive};
use super::boot::{self, Outcome};
use super::files;
use super::kernel::Installed;
use crate::{compile, setup, sh};

/// Where kernels and what is made of them stay.
pub(super) fn folder() -> PathBuf {
    sh::target_dir().join("vm")
}

/// The program of a lab that no guest has: its libraries are five times all the rest.
const TOO_LARGE: &str = "tshark";

/// A guest that does not run yet.
pub(crate) struct Guest {
    kernel: Installed,
    /// Files and programs, each at the path that it has outside.
    files: BTreeSet<PathBuf>,
    /// With a system that takes over once the kernel has found it.
    disk: Option<PathBuf>,
}

impl Guest {
    /// A guest with all that a lab needs: lbd, lbctl, the XDP programs, and the programs of hosts.
    pub(crate) fn with_lab(kernel: Installed) -> Result<Self> {
        let mut guest = Self::bare(kernel)?;
        let lab = setup::lab_programs().filter(|program| *program != TOO_LARGE);
        for program in iter::once("nice").chain(lab) {
            guest.add_found(program)?;
        }
        for program in ["lbd", "lbctl", "lab"] {
            guest.add(&own_programs().join(program))?;
        }
        let object = compile::object("lb");
        if object.is_file() {
            guest.add(&object)?;
        }
        Ok(guest)
    }

    /// A guest whose own files only find a disk, on which a system is installed as on any machine: `/dev/ttyS1` is where
    /// what it prints is heard, and a number that it writes to `/dev/ttyS2` is its exit status.
    pub(crate) fn with_disk(kernel: Installed, disk: &Path) -> Result<Self> {
        Ok(Self {
            disk: Some(disk.to_owned()),
            ..Self::bare(kernel)?
        })
    }

    /// A guest with a shell, and what loads modules.
    fn bare(kernel: Installed) -> Result<Self> {
        let mut guest = Self {
            kernel,
            files: BTreeSet::new(),
            disk: None,
        };
        for program in ["busybox", "modprobe"] {
            guest.add_found(program)?;
        }
        Ok(guest)
    }

    /// Have a file, a program with its libraries, or all that is in a folder.
    pub(crate) fn add(&mut self, path: &Path) -> Result<()> {
        let path =
            std::path::absolute(path).with_context(|| format!("no path: {}", path.display()))?;
        if path.is_dir() {
            self.files.extend(files::below(&path)?);
            return Ok(());
        }
        self.files.extend(files::libraries(&path)?);
        self.files.insert(path);
        Ok(())
    }

    /// Have the program that a command begins with, unless busybox or our own folder has it.
    pub(super) fn add_program(&mut self, command: &[String]) -> Result<()> {
        let name = command.first().context("no command")?;
        if name.contains('/') {
            return self.add(Path::new(name));
        }
        let own = own_programs().join(name);
        match sh::find(name) {
            _ if own.is_file() => self.add(&own),
            Some(path) => self.add(&path),
            None => Ok(()),
        }
    }

    /// Boot, run a command in a folder as root, hand each line that it prints to `line`, and power off.
    pub(crate) fn run(
        &self,
        command: &[String],
        folder: &Path,
        limit: Duration,
        line: impl FnMut(String),
    ) -> Result<Outcome> {
        self.boot("init", &script(command, folder), limit, line)
    }

    /// Boot the system on the disk, hand each line that it prints to `line`, and wait until it switches the power off.
    pub(crate) fn run_disk(&self, limit: Duration, line: impl FnMut(String)) -> Result<Outcome> {
        self.boot("init-disk", "", limit, line)
    }

    fn boot(
        &self,
        init: &str,
        script: &str,
        limit: Duration,
        line: impl FnMut(String),
    ) -> Result<Outcome> {
        let image = self::folder().join(format!("initrd-{}", std::process::id()));
        let packed = self
            .pack(&image, init, script)
            .with_context(|| format!("cannot write {}", image.display()));
        let disk = self.disk.as_deref();
        let outcome =
            packed.and_then(|()| boot::boot(&self.kernel.image, &image, disk, limit, line));
        // It is not there when it could not be written.
        let _ = fs::remove_file(&image);
        outcome
    }

    fn pack(&self, image: &Path, init: &str, script: &str) -> Result<()> {
        let mut archive = archive::to_file(image)?;
        for folder in ["/dev", "/proc", "/run", "/sys", "/tmp", "/root"] {
            archive.folder(Path::new(folder))?;
        }
        archive.folder(sh::root())?;
        let init = sh::root().join("tests/vm").join(init);
        let init = fs::read(&init).with_context(|| format!("cannot read {}", init.display()))?;
        archive.file(Path::new("/init"), &init)?;
        archive.file(Path::new("/command"), script.as_bytes())?;
        archive.file(Path::new("/etc/passwd"), b"root:x:0:0::/root:/bin/sh\n")?;
        archive.file(Path::new("/etc/group"), b"root:x:0:\n")?;
        archive.link(Path::new("/bin/sh"), &found("busybox")?)?;
        // What the kernel calls to load a module.
        archive.link(Path::new("/sbin/modprobe"), &found("modprobe")?)?;
        let modules = self.kernel.modules.join("lib/modules");
        for file in files::below(&modules)? {
            let inside = file.strip_prefix(&self.kernel.modules)?;
            archive.file(&Path::new("/").join(inside), &fs::read(&file)?)?;
        }
        self.files
            .iter()
            .try_for_each(|file| pack_file(&mut archive, file))?;
        archive.finish()?;
        Ok(())
    }
}

/// One file, at its own path; our own programs without symbols.
fn pack_file<W: std::io::Write>(archive: &mut Archive<W>, file: &Path) -> Result<()> {
    let read = || fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    let content = if file.starts_with(own_programs()) {
        files::stripped(file)?
    } else {
        read()?
    };
    Ok(archive.file(file, &content)?)
}

impl Guest {
    fn add_found(&mut self, program: &str) -> Result<()> {
        self.add(Path::new(&found(program)?))
    }
}

/// Where this machine has a program.
fn found(program: &str) -> Result<String> {
    let path = sh::find(program).with_context(|| format!("there is no program `{program}`"))?;
    Ok(path.display().to_string())
}

/// Where lbd and lbctl are built, and tests below.
fn own_programs() -> PathBuf {
    sh::target_dir().join("debug")
}

/// What the guest's shell runs.
fn script(command: &[String], folder: &Path) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    format!(
        "PATH=$PATH:{}\ncd {}\nexec {}\n",
        quoted(&own_programs().display().to_string()),
        quoted(&folder.display().to_string()),
        words.join(" ")
    )
}

/// A word as a shell takes it, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_each_word_as_it_was() {
        let words = ["it's", "a b", "$HOME", ""];
        let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let told =
            sh::output(sh::command("sh").args(["-c", &format!("printf '%s|' {}", line.join(" "))]));
        assert_eq!(told.unwrap(), "it's|a b|$HOME||");
    }
}
