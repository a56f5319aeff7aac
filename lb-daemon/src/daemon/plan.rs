//! What lbd can be started for besides serving: checking a file, saying what a start would change, taking everything
//! down.

use std::future::Future;
use std::path::Path;

use super::options::Options;
use crate::api::types::Problem;
use crate::cli::render::number::plural;
use crate::config::Model;
use crate::core::diff::changes;
use crate::engine::{Network, begin, problem, read_file};
use crate::io::bpf;
use crate::io::net::{Net, Settings};
use crate::io::store::{Found, Store};

/// Checks a configuration file against its rules, and against this machine as far as it may be looked at.
pub(super) fn check(file: &Path) -> Result<(), Problem> {
    wait(async {
        let network = network().await;
        let (model, _) = read_file(as_dyn(network.as_ref()), file).await?;
        let reals = model
            .services
            .iter()
            .map(|service| service.reals.len())
            .sum();
        println!(
            "{} is valid: {} with {}",
            file.display(),
            plural(model.services.len(), "service"),
            plural(reals, "real server"),
        );
        if network.is_none() {
            println!("whether it fits this machine was not looked at: that takes root");
        }
        Ok(())
    })
}

/// Says what a start would change of what ran before, and changes nothing.
pub(super) fn dry_run(options: &Options) -> Result<(), Problem> {
    wait(async {
        let network = network().await;
        // Opening makes the directory; here nothing is made.
        let store = match options.state_dir.is_dir() {
            true => Some(
                Store::open(&options.state_dir)
                    .map_err(|err| problem("cannot read what ran before", &err))?,
            ),
            false => None,
        };
        let before = match store.as_ref().map(Store::read_running) {
            Some(Ok(Found::Remembered(running))) => running.model,
            _ => Model::default(),
        };
        let beginning = begin(store.as_ref(), &options.config, as_dyn(network.as_ref())).await?;
        for warning in &beginning.warnings {
            println!("warning: {warning}");
        }
        let changes = changes(&before, &beginning.model);
        println!("a start would make {}", plural(changes.len(), "change"));
        for change in changes {
            println!("{change}");
        }
        Ok(())
    })
}

/// Takes out of the kernel what a daemon has left there.
pub(super) fn detach(pin_dir: &Path) -> Result<(), Problem> {
    let gone = bpf::detach(pin_dir)
        .map_err(|err| problem("cannot take everything out of the kernel", &err))?;
    if gone.maps == 0 && gone.interfaces.is_empty() {
        println!("nothing was pinned in {}", pin_dir.display());
    } else {
        println!(
            "detached from {}; removed {}",
            named(&gone.interfaces),
            plural(gone.maps, "map")
        );
    }
    Ok(())
}

fn named(interfaces: &[String]) -> String {
    if interfaces.is_empty() {
        "no interface".to_owned()
    } else {
        interfaces.join(", ")
    }
}

/// The network, if this user may look at it.
async fn network() -> Option<Net> {
    Net::start(Settings::default())
        .await
        .ok()
        .map(|(net, _)| net)
}

fn as_dyn(network: Option<&Net>) -> Option<&dyn Network> {
    network.map(|net| net as &dyn Network)
}

fn wait<T>(task: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime
        .map_err(|err| Problem::failed("cannot start").why(err.to_string()))?
        .block_on(task)
}
