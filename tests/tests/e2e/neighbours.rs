//! Do packets follow a real server whose MAC address changes?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::lab::{Arms, Layout, Site};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};

/// Within this time, a new MAC must be in use.
const LIMIT: Duration = Duration::from_secs(1);

#[test]
fn a_silent_change_of_mac_is_followed_within_a_second() -> Result<()> {
    needs_lab!();
    for arms in [Arms::One, Arms::Two] {
        let mut site = Site::new(Layout {
            arms,
            reals: 1,
            far: 0,
        })?;
        let configuration = Method::ALL
            .into_iter()
            .fold(Configuration::new(arms), |configuration, method| {
                configuration.with(method, &site.reals)
            });
        site.balance(configuration.text())?;
        for (number, method) in Method::ALL.into_iter().enumerate() {
            let before = site.client.dns(method.vip().dns(), 3)?;
            ensure!(before.total() == 3, "{method:?}: {before:?}");
            // Nobody is told: no gratuitous ARP, no event on the director's links.
            let mac = format!("02:00:00:00:0{number}:99");
            site.reals[0]
                .host
                .ip(&[&format!("link set dev eth0 address {mac}")])?;
            let time = answered(&site, method).with_context(|| format!("{arms:?} {method:?}"))?;
            ensure!(
                time <= LIMIT,
                "{arms:?} {method:?}: the new MAC was in use after {time:?}"
            );
            let neighbour = site.director.host().run(&[
                "ip",
                "neigh",
                "show",
                &site.reals[0].address.to_string(),
            ])?;
            println!(
                "{arms:?} {method:?}: {time:?}; the kernel knows: {}",
                neighbour.trim()
            );
        }
    }
    Ok(())
}

/// How long until a question is answered again.
fn answered(site: &Site, method: Method) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let answers = site
            .client
            .dns_within(method.vip().dns(), 1, Duration::from_millis(50))?;
        if answers.total() == 1 {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < 10 * LIMIT, "never: {answers:?}");
    }
}

#[test]
fn the_first_request_after_a_start_is_answered() -> Result<()> {
    needs_lab!();
    for arms in [Arms::One, Arms::Two] {
        for method in Method::ALL {
            let mut site = Site::new(Layout {
                arms,
                reals: 1,
                far: 0,
            })?;
            site.balance(Configuration::new(arms).with(method, &site.reals).text())?;
            let answers = site.client.curl(&method.vip().url("/"), 1)?;
            ensure!(answers.total() == 1, "{arms:?} {method:?}: {answers:?}");
        }
    }
    Ok(())
}
