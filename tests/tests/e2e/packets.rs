//! Does the log say what becomes of packets, when it is told to, and only then?

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::{Arms, Layout, Site, poll};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};

#[test]
fn the_log_says_what_becomes_of_each_packet_only_when_it_is_told_to() -> Result<()> {
    needs_lab!(beside others);
    let mut site = Site::new(Layout {
        arms: Arms::Two,
        reals: 1,
        far: 0,
    })?;
    let configuration = Method::ALL
        .into_iter()
        .fold(Configuration::new(Arms::Two), |configuration, method| {
            configuration.with(method, &site.reals)
        });
    site.balance(configuration.text())?;
    each_method_delivers(&site)?;
    ensure!(lines(&site) == 0, "{}", site.director.log());

    // Another program takes the place of the one that runs, over the same maps.
    site.director.kill()?;
    site.director.set_options(&["--log-packets"]);
    site.director.start()?;
    each_method_delivers(&site)?;
    let real = &site.reals[0];
    let (address, mac) = (real.address, real.host.mac("eth0")?);
    for (method, sent_to) in [
        (Method::Dr, Method::Dr.vip().address()),
        (Method::Tun, address),
        (Method::Nat, address),
    ] {
        let (forwarded, web) = (method.counter(), method.vip().web());
        let ways = [
            format!("DEBUG {forwarded:<20}tcp 10.0.1.10:"),
            format!(" > {web} leaves for {sent_to} at {mac}"),
        ];
        poll("the packet to be logged", Duration::from_secs(2), || {
            let log = site.director.log();
            let said = log
                .lines()
                .any(|line| ways.iter().all(|part| line.contains(part)));
            ensure!(said, "no line has {ways:?}:\n{log}");
            Ok(())
        })?;
    }

    // What the next one adopts is rid of it.
    site.director.kill()?;
    site.director.set_options(&[]);
    site.director.start()?;
    let before = lines(&site);
    each_method_delivers(&site)?;
    ensure!(
        before > 0 && lines(&site) == before,
        "{}",
        site.director.log()
    );
    Ok(())
}

fn each_method_delivers(site: &Site) -> Result<()> {
    for method in Method::ALL {
        let answers = site.client.curl(&method.vip().url("/"), 2)?;
        ensure!(answers.total() == 2, "{method:?}: {answers:?}");
    }
    Ok(())
}

/// How many packets were logged.
fn lines(site: &Site) -> usize {
    site.director.log().matches(" > 10.0.1.10").count()
}
