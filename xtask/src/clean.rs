//! How are labs taken down that were kept or left behind?

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{compile, demo, sh};

/// `cargo xtask clean`.
pub(crate) fn run() -> Result<ExitCode> {
    if !sh::is_root() {
        bail!(
            "labs are network namespaces, which only root can remove\nhint: run cargo xtask clean as root"
        );
    }
    compile::workspace(false)?;
    demo::lab(&["down", "--all"])
}
