//! Do requests and files come through by each method, with one interface and with two?

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_daemon::api::types::{Service, Status};
use tests::lab::{Arms, Layout, Real, Site, Vip, poll};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};
use crate::sites::two_armed;

const MIB: usize = 1 << 20;

#[test]
fn direct_routing_delivers_with_one_interface() -> Result<()> {
    delivers(Arms::One, Method::Dr)
}

#[test]
fn direct_routing_delivers_with_two_interfaces() -> Result<()> {
    delivers(Arms::Two, Method::Dr)
}

#[test]
fn a_tunnel_delivers_with_one_interface_also_behind_a_router() -> Result<()> {
    delivers(Arms::One, Method::Tun)
}

#[test]
fn a_tunnel_delivers_with_two_interfaces_also_behind_a_router() -> Result<()> {
    delivers(Arms::Two, Method::Tun)
}

#[test]
fn nat_delivers_with_one_interface() -> Result<()> {
    delivers(Arms::One, Method::Nat)
}

#[test]
fn nat_delivers_with_two_interfaces() -> Result<()> {
    delivers(Arms::Two, Method::Nat)
}

/// Requests, questions, downloads of 1 MB and 100 MB and uploads of 1 MB, all through one method.
fn delivers(arms: Arms, method: Method) -> Result<()> {
    needs_lab!(beside others);
    let far = u8::from(method == Method::Tun);
    let mut site = Site::new(Layout {
        arms,
        reals: 3 - far,
        far,
    })?;
    let configuration = Configuration::new(arms).with(method, reals(&site));
    site.balance(configuration.text())?;
    runs_in_the_driver(&site)?;
    let vip = method.vip();

    let web = site.client.curl(&vip.url("/"), 90)?;
    ensure!(web.failures.is_empty(), "{web:?}");
    let dns = site.client.dns(vip.dns(), 90)?;
    ensure!(dns.failures.is_empty(), "{dns:?}");
    for real in reals(&site) {
        let name = real.host.name();
        ensure!(
            web.from(name) == 30 && dns.from(name) == 30,
            "{name}: {web:?} {dns:?}"
        );
    }

    let (small, large) = (site.file("1m", MIB)?, site.file("100m", 100 * MIB)?);
    for _ in 0..3 {
        ensure!(
            site.client.download(&vip.url("/files/1m"))? == small,
            "1 MB differs"
        );
        ensure!(
            site.upload("1m", vip)? == small,
            "the uploaded 1 MB differs"
        );
    }
    ensure!(
        site.client.download(&vip.url("/files/100m"))? == large,
        "100 MB differ"
    );
    counts_connections(&site)
}

/// What `lbctl list` counts is what was sent; all of it has ended.
fn counts_connections(site: &Site) -> Result<()> {
    poll(
        "closed connections to be inactive",
        Duration::from_secs(3),
        || {
            let services: Vec<Service> = site.director.ask(&["list"])?;
            let reals = || services.iter().flat_map(|service| &service.reals);
            let active: u32 = reals().map(|real| real.active).sum();
            let inactive: u32 = reals().map(|real| real.inactive).sum();
            // 90 pages, 90 questions, and 7 files.
            ensure!(
                active == 0 && inactive == 187,
                "{active} active and {inactive} inactive connections"
            );
            Ok(())
        },
    )
}

/// XDP runs in the driver on each interface, so that what comes through does not come through the kernel's stack.
fn runs_in_the_driver(site: &Site) -> Result<()> {
    let status: Status = site.director.ask(&["status"])?;
    ensure!(!status.interfaces.is_empty(), "{status:?}");
    ensure!(
        status
            .interfaces
            .iter()
            .all(|interface| interface.mode == "native"),
        "{status:?}"
    );
    Ok(())
}

fn reals(site: &Site) -> impl Iterator<Item = &Real> + Clone {
    site.reals.iter().chain(&site.far)
}

#[test]
fn a_real_server_that_is_the_director_itself_serves_too() -> Result<()> {
    needs_lab!(beside others);
    let mut site = two_armed(1)?;
    site.serve_locally()?;
    let mut configuration = Configuration::new(Arms::Two);
    configuration.service("local", "tcp", &Vip::Local.web().to_string(), Method::Nat);
    configuration.real(&format!("{}:80", site.reals[0].address), 1);
    configuration.real("10.0.1.1:80", 1);
    site.balance(configuration.text())?;

    let answers = site.client.curl(&Vip::Local.url("/"), 20)?;
    ensure!(
        answers.from("r1") == 10 && answers.from("director") == 10,
        "{answers:?}"
    );
    let sum = site.file("1m", MIB)?;
    for _ in 0..2 {
        ensure!(
            site.client.download(&Vip::Local.url("/files/1m"))? == sum,
            "1 MB differs"
        );
    }
    Ok(())
}
