//! What do several tests begin with, and ask of a director?

use anyhow::{Context, Result};
use lb_daemon::api::types::{Connection, Service, Stats};
use tests::lab::{Arms, Layout, Site};

use crate::configuration::{Configuration, Method};

/// A site whose director has an interface to clients and one to so many real servers.
pub(crate) fn two_armed(reals: u8) -> Result<Site> {
    Site::new(Layout {
        arms: Arms::Two,
        reals,
        far: 0,
    })
}

/// Such a site, balanced by all methods.
pub(crate) fn of_all_methods(reals: u8) -> Result<Site> {
    let mut site = two_armed(reals)?;
    let configuration = Method::ALL
        .into_iter()
        .fold(Configuration::new(Arms::Two), |configuration, method| {
            configuration.with(method, &site.reals)
        });
    site.balance(configuration.text())?;
    Ok(site)
}

/// The connections that `lbctl conns` lists, with further words.
pub(crate) fn connections(site: &Site, words: &[&str]) -> Result<Vec<Connection>> {
    let text = site
        .director
        .lbctl(&[&["conns", "--json"], words].concat())?;
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// A service as `lbctl list` has it.
pub(crate) fn service(site: &Site, name: &str) -> Result<Service> {
    let services: Vec<Service> = site.director.ask(&["list"])?;
    let found = services.into_iter().find(|service| service.name == name);
    found.with_context(|| format!("{name} is not listed"))
}

/// How many packets ended in a way.
pub(crate) fn counted(site: &Site, label: &str) -> Result<u64> {
    let stats: Stats = site.director.ask(&["stats"])?;
    let ended = stats.counters.iter().find(|counter| counter.name == label);
    Ok(ended.map_or(0, |counter| counter.packets))
}
