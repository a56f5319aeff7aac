//! Does the next connection do what `lbctl explain` said, and a change what `lbctl simulate` said?

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{DecidedBy, Explanation, Live, Simulation};
use tests::lab::{Arms, Layout, Site, Vip, Visit};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};

/// Each of them is asked for so many connections.
const CONNECTIONS: u16 = 6;

/// A site with three real servers of weights 1, 2 and 3.
fn site() -> Result<Site> {
    let mut site = Site::new(Layout {
        arms: Arms::Two,
        reals: 3,
        far: 0,
    })?;
    let mut configuration = Configuration::new(Arms::Two);
    configuration.service("web", "tcp", &Vip::Dr.web().to_string(), Method::Dr);
    for (real, weight) in site.reals.iter().zip(1..) {
        configuration.real(&real.address.to_string(), weight);
    }
    site.balance(configuration.text())?;
    Ok(site)
}

/// The address and port of a real server by its name.
fn address(site: &Site, name: &str) -> Result<String> {
    let real = site.reals.iter().find(|real| real.host.name() == name);
    let real = real.with_context(|| format!("there is no {name}"))?;
    Ok(format!("{}:80", real.address))
}

fn explain(site: &Site, port: u16) -> Result<Explanation> {
    let client = format!("10.0.1.10:{port}");
    let vip = Vip::Dr.web().to_string();
    site.director.ask(&["explain", "tcp", &client, &vip])
}

/// Changes the scheduler again and again; no connection that was opened before may notice.
#[test]
fn the_next_connection_goes_where_explain_said_whatever_the_scheduler() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let schedulers = [
        "rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "lblc", "lblcr", "mh", "fo", "ovf",
        "twos",
    ];
    let mut visits: Vec<(Visit, String)> = Vec::new();
    for (scheduler, base) in schedulers.into_iter().zip((21_000..).step_by(100)) {
        let vip = Vip::Dr.web().to_string();
        site.director
            .lbctl(&["edit-service", "-t", &vip, "-s", scheduler])?;
        for port in base..base + CONNECTIONS {
            let said = explain(&site, port)?;
            let visit = site.client.visit(Vip::Dr.web(), Some(port));
            if scheduler == "ovf" {
                // All have more connections than their weight by now.
                ensure!(said.decided_by == DecidedBy::Nobody && visit.is_err());
                continue;
            }
            ensure!(said.decided_by == DecidedBy::Scheduler, "{said:#?}");
            let mut visit = visit?;
            let name = visit.ask()?;
            let real = address(&site, &name)?;
            if scheduler == "twos" {
                // It draws lots: the chances are told, and the one who came had one.
                let chance = |c: &lb_daemon::api::types::Candidate| c.chance.unwrap_or(0);
                let sum: u16 = said.candidates.iter().map(|c| u16::from(chance(c))).sum();
                let had = said
                    .candidates
                    .iter()
                    .any(|c| c.address == real && chance(c) > 0);
                ensure!((97..=100).contains(&sum) && had, "{real}: {said:#?}");
            } else {
                ensure!(said.real.as_ref() == Some(&real), "{real}: {said:#?}");
                let shown = said.candidates.iter().find(|c| c.chosen);
                ensure!(shown.is_some_and(|c| c.address == real), "{said:#?}");
            }
            let known = explain(&site, port)?;
            ensure!(
                known.decided_by == DecidedBy::Connection && known.real.as_ref() == Some(&real),
                "{known:#?}"
            );
            visits.push((visit, name));
        }
        for (visit, name) in &mut visits {
            let now = visit.ask().with_context(|| format!("with {scheduler}"))?;
            ensure!(now == *name, "with {scheduler} a connection moved");
        }
    }
    Ok(())
}

#[test]
fn a_persistent_client_is_explained_by_its_template() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let vip = Vip::Dr.web().to_string();
    site.director
        .lbctl(&["edit-service", "-t", &vip, "-p", "300"])?;
    let first = site.client.visit(Vip::Dr.web(), Some(24_000))?.ask()?;
    let real = address(&site, &first)?;
    for port in 24_001..24_004 {
        let said = explain(&site, port)?;
        ensure!(
            said.decided_by == DecidedBy::Template && said.real.as_ref() == Some(&real),
            "{said:#?}"
        );
        ensure!(site.client.visit(Vip::Dr.web(), Some(port))?.ask()? == first);
    }
    // A drain is not held up by those who come back again and again.
    site.director.lbctl(&["drain", &real])?;
    let said = explain(&site, 24_004)?;
    ensure!(said.decided_by == DecidedBy::Scheduler, "{said:#?}");
    let next = site.client.visit(Vip::Dr.web(), Some(24_004))?.ask()?;
    ensure!(
        next != first && said.real == Some(address(&site, &next)?),
        "{next}: {said:#?}"
    );
    let said = explain(&site, 24_005)?;
    ensure!(
        said.decided_by == DecidedBy::Template && said.real == Some(address(&site, &next)?),
        "{said:#?}"
    );
    Ok(())
}

#[test]
fn a_change_does_what_simulate_said() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let vip = Vip::Dr.web().to_string();
    let r3 = site.reals[2].address.to_string();
    let mut visits = Vec::new();
    for _ in 0..6 {
        let mut visit = site.client.visit(Vip::Dr.web(), None)?;
        let name = visit.ask()?;
        visits.push((visit, name));
    }
    let at_r3 = visits.iter().filter(|(_, name)| name == "r3").count() as u64;
    ensure!(at_r3 == 3, "wrr gives the heaviest half: {at_r3}");

    let simulate = |change: &[&str]| -> Result<Simulation> {
        let line = ["simulate", "-t", &vip, "--connections", "60"];
        site.director.ask(&[&line, change].concat())
    };
    let drained = simulate(&["--drain", &r3])?;
    ensure!(
        drained.live
            == Live {
                stay: 3,
                finish: 3,
                moved: 0,
                elsewhere: None
            },
        "{drained:#?}"
    );
    let cut = simulate(&["--remove", &r3, "--force"])?;
    ensure!((cut.live.stay, cut.live.moved) == (3, 3), "{cut:#?}");
    // Nothing has changed yet: each real server gets what it would have got before the change.
    shares(&site, &drained, |share| share.before)?;

    site.director.lbctl(&["drain", &r3])?;
    shares(&site, &drained, |share| share.after)?;
    for (visit, name) in &mut visits {
        ensure!(visit.ask()? == *name, "a connection moved");
    }
    let heavier = simulate(&["-w", &format!("{}=5", site.reals[0].address), "-s", "rr"])?;
    site.director
        .lbctl(&["edit-service", "-t", &vip, "-s", "rr"])?;
    shares(&site, &heavier, |share| share.after)
}

/// Sixty requests are shared as a simulation said.
fn shares(
    site: &Site,
    said: &Simulation,
    when: impl Fn(lb_daemon::api::types::Both<u64>) -> u64,
) -> Result<()> {
    let answers = site.client.curl(&Vip::Dr.url("/"), 60)?;
    ensure!(answers.failures.is_empty(), "{answers:?}");
    let mut got = BTreeMap::new();
    for (name, count) in &answers.by_name {
        got.insert(address(site, name)?, *count);
    }
    for real in &said.reals {
        let count = got.get(&real.address).copied().unwrap_or(0);
        ensure!(
            count == when(real.share),
            "{}: {count}: {said:#?}",
            real.address
        );
    }
    Ok(())
}
