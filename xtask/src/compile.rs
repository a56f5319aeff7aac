//! How are the XDP programs, the daemon and its command line built?

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::toolchain::Toolchain;
use crate::{setup, sh, ui};

/// What to build.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build lbd and lbctl optimised, as for real directors
    #[arg(long)]
    release: bool,
}

/// `cargo xtask build`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    everything(&setup::toolchain()?, args.release)?;
    Ok(ExitCode::SUCCESS)
}

/// Build the XDP programs, then everything that has them inside.
pub(crate) fn everything(toolchain: &Toolchain, release: bool) -> Result<()> {
    programs(toolchain)?;
    workspace(release)
}

/// Build the XDP programs. cargo does nothing when their sources are unchanged.
pub(crate) fn programs(toolchain: &Toolchain) -> Result<()> {
    ui::step("build the XDP programs", || {
        let mut cargo = bpf_cargo(toolchain, "build");
        ui::flush();
        sh::run(&mut cargo).with_context(|| {
            format!(
                "with {}\nhint: the linker's LLVM must be at least the compiler's; without a bpf-linker on the PATH, \
                 cargo xtask setup builds one that fits",
                toolchain.describe()
            )
        })
    })
}

/// Build the workspace for this machine.
pub(crate) fn workspace(release: bool) -> Result<()> {
    build(release, &[])
}

/// Build lbd and lbctl alone, and the XDP programs that are inside.
pub(crate) fn daemon(toolchain: &Toolchain, release: bool) -> Result<()> {
    programs(toolchain)?;
    build(release, &["--package", "lb-daemon"])
}

fn build(release: bool, what: &[&str]) -> Result<()> {
    ui::step("build lbd and lbctl", || {
        let mut cargo = sh::cargo();
        cargo
            .args(["build", "--quiet"])
            .args(what)
            .args(release.then_some("--release"));
        ui::flush();
        sh::run(&mut cargo)
    })
}

/// cargo on `lb-ebpf` for the BPF target.
pub(crate) fn bpf_cargo(toolchain: &Toolchain, verb: &str) -> Command {
    let mut cargo = toolchain.cargo();
    cargo.current_dir(sh::root().join("lb-ebpf"));
    cargo.args([
        verb,
        "--quiet",
        "--target",
        "bpfel-unknown-none",
        "-Z",
        "build-std=core",
    ]);
    cargo.args(["--profile", "bpf", "--target-dir"]);
    cargo
        .arg(object_dir())
        .env("CARGO_ENCODED_RUSTFLAGS", flags());
    cargo
}

/// The flags of the BPF target: which kernel structures the helpers see, BTF, and the third instruction set, which
/// has the atomic instructions.
fn flags() -> OsString {
    let arch = std::env::consts::ARCH;
    let flags = [
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
    ];
    flags.join("\x1f").into()
}

/// Where an object of the XDP programs ends.
pub(crate) fn object(name: &str) -> PathBuf {
    object_dir().join("bpfel-unknown-none/bpf").join(name)
}

/// The build folder of the BPF target.
fn object_dir() -> PathBuf {
    sh::target_dir().join("bpf")
}
