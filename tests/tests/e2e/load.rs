//! What goes on while something happens to the director?

use anyhow::{Result, ensure};
use tests::lab::{Load, Site, Work};

use crate::configuration::Method;

/// Start connections that stay, new ones, and questions, by each method.
pub(crate) fn start(site: &Site, methods: &[Method]) -> Load {
    let mut work = Vec::new();
    for vip in methods.iter().map(|method| method.vip()) {
        work.extend([
            Work::Stay(vip.web()),
            Work::Stay(vip.web()),
            Work::Connect(vip.web()),
            Work::Ask(vip.dns()),
        ]);
    }
    Load::start(&site.client, &work)
}

/// Stop the load: not one request may have failed, and there must have been some.
pub(crate) fn stop_without_a_failure(load: Load) -> Result<()> {
    let outcome = load.stop();
    let (requests, failures) = (outcome.answers.total(), &outcome.answers.failures);
    ensure!(
        failures.is_empty(),
        "{} of {requests} requests failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
    ensure!(requests > 1000, "only {requests} requests");
    Ok(())
}
