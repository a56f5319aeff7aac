//! Is each configuration that we ship a valid one?

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lb_daemon::config::Anywhere;

#[test]
fn every_configuration_is_read_without_a_complaint() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut read = 0;
    for entry in std::fs::read_dir(&folder).context("configs")? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let model = lb_daemon::config::load(&path, &Anywhere);
            let model =
                model.map_err(|refusal| anyhow::anyhow!("{}: {refusal}", path.display()))?;
            ensure!(!model.services.is_empty(), "{}: no service", path.display());
            read += 1;
        }
    }
    ensure!(read >= 2, "only {read} configurations");
    Ok(())
}
