//! Which Rust tool chain and linker build the XDP programs here?
//!
//! Building for the BPF target needs the sources of `core` and a linker of BPF bitcode whose LLVM is at least the
//! compiler's. Where rustup has a nightly with `rust-src` and a `bpf-linker` is on the `PATH`, they are used. Otherwise
//! Debian's own compiler is, which comes with its sources, linked into rustup as [`LINKED`], with a `bpf-linker` built for
//! its LLVM and kept apart from the user's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh;

/// The name under which Debian's compiler is known to rustup.
pub(crate) const LINKED: &str = "lb-bpf";

/// Names a rustup tool chain to use instead of looking for one.
const OVERRIDE: &str = "LB_BPF_TOOLCHAIN";

/// A tool chain that builds for the BPF target.
pub(crate) struct Toolchain {
    compiler: Compiler,
    /// `bpf-linker`.
    linker: PathBuf,
}

/// A compiler with the sources of `core`.
struct Compiler {
    /// rustup's name for its tool chain.
    name: String,
    /// What it calls itself.
    version: String,
}

/// What is missing of a tool chain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// No rustup tool chain has a compiler with the sources of `core`.
    pub(crate) compiler: bool,
    /// No `bpf-linker` is found.
    pub(crate) linker: bool,
}

impl Toolchain {
    /// Find a complete tool chain, or say what is missing for the one that we can install.
    pub(crate) fn find() -> Result<Result<Self, Missing>> {
        let on_path = sh::find("bpf-linker");
        if let Ok(name) = std::env::var(OVERRIDE) {
            let Some(compiler) = compiler(&name)? else {
                bail!("{OVERRIDE}={name}: no such tool chain, or it lacks the sources of `core`");
            };
            let linker =
                on_path.context("no bpf-linker is found\nhint: cargo install bpf-linker")?;
            return Ok(Ok(Self { compiler, linker }));
        }
        let list = sh::output(sh::command("rustup").args(["toolchain", "list"]))
            .context("the XDP programs are built with rustup's help\nhint: install rustup")?;
        if let Some(linker) = &on_path {
            for name in nightlies(&list) {
                if let Some(compiler) = compiler(name)? {
                    return Ok(Ok(Self {
                        compiler,
                        linker: linker.clone(),
                    }));
                }
            }
        }
        let compiler = if is_linked(&list) {
            compiler(LINKED)?
        } else {
            None
        };
        let linker = Some(our_linker_root()?.join("bin/bpf-linker"))
            .filter(|path| path.is_file())
            .or(on_path);
        Ok(match (compiler, linker) {
            (Some(compiler), Some(linker)) => Ok(Self { compiler, linker }),
            (compiler, linker) => Err(Missing {
                compiler: compiler.is_none(),
                linker: linker.is_none(),
            }),
        })
    }

    /// cargo of this tool chain, set to use its linker and the compiler's unstable parts.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = sh::command("rustup");
        command.args(["run", &self.compiler.name, "cargo"]);
        // Neither the name of the chain that runs us nor flags meant for the host may reach the other chain's cargo.
        command
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTFLAGS");
        // A stable compiler with its sources is as good as a nightly one.
        command.env("RUSTC_BOOTSTRAP", "1");
        let first = self.linker.parent().map(Path::to_owned);
        let path = std::env::join_paths(first.into_iter().chain(sh::search_path()));
        command.env("PATH", path.unwrap_or_default());
        command
    }

    /// Whether it is Debian's.
    pub(crate) fn is_linked(&self) -> bool {
        self.compiler.name == LINKED
    }

    /// How it is shown.
    pub(crate) fn describe(&self) -> String {
        let Compiler { name, version } = &self.compiler;
        format!("{version} as rustup's `{name}`, {}", self.linker.display())
    }
}

/// Where the linker that we install goes: not where the user's own is.
pub(crate) fn our_linker_root() -> Result<PathBuf> {
    Ok(sh::cargo_home()
        .context("neither CARGO_HOME nor HOME is set")?
        .join(LINKED))
}

/// The nightly tool chains of `rustup toolchain list`.
fn nightlies(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
}

fn is_linked(list: &str) -> bool {
    list.lines()
        .any(|line| line.split_whitespace().next() == Some(LINKED))
}

/// The compiler of a rustup tool chain, when it runs and has the sources of `core`.
fn compiler(name: &str) -> Result<Option<Compiler>> {
    let rustc = |argument: &[&str]| {
        let mut command = sh::command("rustup");
        command
            .env_remove("RUSTUP_TOOLCHAIN")
            .args(["run", name, "rustc"])
            .args(argument)
            .output()
    };
    let sysroot = rustc(&["--print", "sysroot"]).context("cannot run rustup")?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout);
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if sysroot.trim().is_empty() || !source.is_file() {
        return Ok(None);
    }
    let version = rustc(&["--version"]).context("cannot run rustup")?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version
        .split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");
    Ok(Some(Compiler {
        name: name.to_owned(),
        version,
    }))
}

/// The major version of the LLVM that a compiler (`rustc -vV`) was built with.
pub(crate) fn llvm_major(verbose_version: &str) -> Result<u32> {
    let line = verbose_version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "));
    let major = line
        .and_then(|version| version.split('.').next())
        .and_then(|major| major.trim().parse().ok());
    major.context("`rustc -vV` names no LLVM version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nightlies_and_the_linked_chain_are_told_from_the_others() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nlb-bpf\nnightly-x86_64-unknown-linux-gnu\n";
        assert!(nightlies(list).eq(["nightly-x86_64-unknown-linux-gnu"]));
        assert!(is_linked(list));
        assert!(!is_linked("lb-bpf-other\n"));
        assert_eq!(nightlies("no installed toolchains\n").count(), 0);
    }

    #[test]
    fn the_llvm_version_is_read_from_the_compiler() {
        assert_eq!(
            llvm_major("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n").unwrap(),
            22
        );
        assert!(llvm_major("rustc 1.96.0\n").is_err());
    }
}
