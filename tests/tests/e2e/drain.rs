//! Does a real server lose no connection when it is taken out, and do new ones go elsewhere?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{Drained, RealState, Service};
use tests::lab::{Arms, Layout, Site, Visit, poll};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};

/// By NAT, the director sees both ends close.
const METHOD: Method = Method::Nat;

/// A site with two real servers.
fn site() -> Result<Site> {
    let mut site = Site::new(Layout {
        arms: Arms::Two,
        reals: 2,
        far: 0,
    })?;
    let configuration = Configuration::new(Arms::Two).with(METHOD, &site.reals);
    site.balance(configuration.text())?;
    Ok(site)
}

/// Connections with the names of who answers them.
fn visits(site: &Site, count: usize) -> Result<Vec<(Visit, String)>> {
    let visit = |_| {
        let mut visit = site.client.visit(METHOD.vip().web(), None)?;
        let name = visit.ask()?;
        Ok((visit, name))
    };
    (0..count).map(visit).collect()
}

fn go_on(visits: &mut [(Visit, String)]) -> Result<()> {
    for (visit, name) in visits {
        let answer = visit.ask().with_context(|| format!("with {name}"))?;
        ensure!(answer == *name, "a connection to {name} moved to {answer}");
    }
    Ok(())
}

/// New requests all go to the second real server.
fn elsewhere(site: &Site) -> Result<()> {
    let answers = site.client.curl(&METHOD.vip().url("/"), 20)?;
    ensure!(answers.from("r2") == 20, "{answers:?}");
    let answers = site.client.dns(METHOD.vip().dns(), 20)?;
    ensure!(answers.from("r2") == 20, "{answers:?}");
    Ok(())
}

/// What the list says of the first real server's web service.
fn listed(site: &Site) -> Result<Option<(RealState, u32)>> {
    let services: Vec<Service> = site.director.ask(&["list"])?;
    let web = services.iter().find(|service| service.name == "nat-web");
    let address = format!("{}:8080", site.reals[0].address);
    let real = web.and_then(|web| web.reals.iter().find(|real| real.address == address));
    Ok(real.map(|real| (real.state, real.active)))
}

#[test]
fn a_drain_holds_over_restart_and_reload_and_says_when_the_server_can_stop() -> Result<()> {
    needs_lab!(beside others);
    let mut site = site()?;
    let mut visits = visits(&site, 6)?;
    let r1 = site.reals[0].address.to_string();
    let left: Vec<Drained> = site.director.ask(&["drain", &r1])?;
    let counts: Vec<_> = left
        .iter()
        .map(|l| (l.service.as_str(), l.active))
        .collect();
    ensure!(counts == [("nat-web", 3), ("nat-dns", 0)], "{left:?}");
    go_on(&mut visits)?;
    elsewhere(&site)?;

    site.director.kill()?;
    site.director.start()?;
    ensure!(
        listed(&site)? == Some((RealState::Draining, 3)),
        "{:?}",
        listed(&site)?
    );
    site.director.lbctl(&["reload"])?;
    go_on(&mut visits)?;
    elsewhere(&site)?;

    let refused = site
        .director
        .lbctl(&["drain", &r1, "--wait", "--deadline", "1s"]);
    let said = refused.map_or_else(|error| format!("{error:#}"), |said| format!("done: {said}"));
    ensure!(
        said.contains("3 open connections") && said.contains("hint:"),
        "{said}"
    );

    // It returns by itself when the last connection is closed, though what is closed is remembered for a while.
    let program = tests::lab::program("lbctl")?;
    let socket = site.director.paths().socket.display().to_string();
    let wait = [&program, "--socket", &socket, "drain", &r1, "--wait"];
    let mut waiting = site.director.host().start("drain", &wait)?;
    poll("progress", Duration::from_secs(10), || {
        ensure!(
            waiting.output().contains("3 active"),
            "{}",
            waiting.output()
        );
        Ok(())
    })?;
    ensure!(waiting.ended()?.is_none(), "{}", waiting.output());
    visits.retain(|(_, name)| name != "r1");
    let status = poll("the drain's end", Duration::from_secs(15), || {
        waiting.ended()?.context("it waits")
    })?;
    ensure!(status.success(), "{status}: {}", waiting.output());
    ensure!(
        waiting.output().contains("can be stopped"),
        "{}",
        waiting.output()
    );

    site.director.lbctl(&["undrain", &r1])?;
    let answers = site.client.curl(&METHOD.vip().url("/"), 20)?;
    ensure!(answers.from("r1") == 10, "{answers:?}");
    go_on(&mut visits)
}

#[test]
fn a_removed_real_server_keeps_its_connections_until_they_are_cut() -> Result<()> {
    needs_lab!(beside others);
    let mut site = site()?;
    let mut visits = visits(&site, 6)?;
    let (web, real) = (
        METHOD.vip().web().to_string(),
        site.reals[0].address.to_string(),
    );
    let real = format!("{real}:8080");
    let dns = METHOD.vip().dns().to_string();
    let dns_real = format!("{}:5353", site.reals[0].address);
    site.director
        .lbctl(&["del-real", "-t", &web, "-r", &real])?;
    site.director
        .lbctl(&["del-real", "-u", &dns, "-r", &dns_real])?;
    go_on(&mut visits)?;
    elsewhere(&site)?;
    ensure!(
        listed(&site)? == Some((RealState::Removed, 3)),
        "{:?}",
        listed(&site)?
    );
    let text = site.director.lbctl(&["list"])?;
    ensure!(text.contains("removed"), "{text}");

    site.director.kill()?;
    site.director.start()?;
    go_on(&mut visits)?;
    elsewhere(&site)?;
    ensure!(
        listed(&site)? == Some((RealState::Removed, 3)),
        "{:?}",
        listed(&site)?
    );

    // It comes back with its connections.
    site.director
        .lbctl(&["add-real", "-t", &web, "-r", &real, "-m"])?;
    ensure!(
        listed(&site)? == Some((RealState::Up, 3)),
        "{:?}",
        listed(&site)?
    );
    go_on(&mut visits)?;

    let other = format!("{}:8080", site.reals[1].address);
    site.director
        .lbctl(&["del-real", "-t", &web, "-r", &other, "--force"])?;
    for (visit, name) in &mut visits {
        ensure!(
            visit.ask().is_ok() == (name == "r1"),
            "a cut connection goes on, or one that was not cut does not: {name}"
        );
    }
    Ok(())
}

#[test]
fn udp_flows_stay_with_a_removed_real_server_and_leave_one_that_is_cut() -> Result<()> {
    needs_lab!(beside others);
    let site = site()?;
    let dns = METHOD.vip().dns().to_string();
    let ask = || site.client.dns(METHOD.vip().dns(), 10);
    ensure!(ask()?.from("r1") == 5, "flows are shared");
    let real = format!("{}:5353", site.reals[0].address);
    site.director
        .lbctl(&["del-real", "-u", &dns, "-r", &real])?;
    ensure!(ask()?.from("r1") == 5, "flows from the same ports stay");
    site.director
        .lbctl(&["add-real", "-u", &dns, "-r", &real, "-m"])?;
    site.director
        .lbctl(&["del-real", "-u", &dns, "-r", &real, "--force"])?;
    let answers = ask()?;
    ensure!(answers.from("r2") == 10, "{answers:?}");
    Ok(())
}
