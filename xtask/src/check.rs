//! Is a change fit to land: format, lints, host tests, documentation?

use std::process::ExitCode;

use anyhow::Result;

use crate::test::{self, Level};
use crate::{compile, setup, sh, ui};

/// `cargo xtask check`.
pub(crate) fn run() -> Result<ExitCode> {
    ui::step("format", || {
        sh::run(sh::cargo().args(["fmt", "--all", "--check"]))
    })?;
    ui::step("lints", || {
        ui::flush();
        sh::run(sh::cargo().args(["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]))
    })?;
    let toolchain = setup::toolchain()?;
    setup::lints(&toolchain)?;
    ui::step("lints of the XDP programs", || {
        ui::flush();
        sh::run(compile::bpf_cargo(&toolchain, "clippy").args(["--", "-D", "warnings"]))
    })?;
    ui::step("documentation", || {
        ui::flush();
        let mut cargo = sh::cargo();
        sh::run(
            cargo
                .args(["doc", "--quiet", "--no-deps", "--document-private-items"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    })?;
    test::run(&test::Args::only(Level::Host))
}
