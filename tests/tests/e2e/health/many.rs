//! Many checks at once, and what else the director has to do in time.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_daemon::api::types::Vrrp;
use tests::lab::{Vip, poll};
use tests::needs_lab;

use super::{PATIENCE, Watch, site};

const INTERVAL: Duration = Duration::from_secs(2);
const ADVERTS: Duration = Duration::from_millis(100);
/// How long it is watched with each number of real servers.
const WATCHED: Duration = Duration::from_secs(10);

#[test]
fn advertisements_do_not_wait_for_checks_of_thousands_of_real_servers() -> Result<()> {
    needs_lab!();
    let mut site = site(1)?;
    let configuration = |reals| configuration(reals, site.reals[0].address);
    let small = configuration(2000);
    let large = configuration(5000);
    site.balance(&small)?;
    let watch = Watch::new(&site)?;
    poll("the director to be master", PATIENCE, || {
        let state: Vrrp = watch.get("/v1/vrrp")?;
        ensure!(state.routers[0].state == "master");
        Ok(())
    })?;
    on_time(&watch, 2000)?;
    site.director.configure(&large)?;
    site.director.lbctl(&["reload"])?;
    on_time(&watch, 5000)
}

/// A virtual router, and so many real servers, in services of a thousand; one host answers for all of them.
fn configuration(reals: u16, asked: Ipv4Addr) -> String {
    let mut text = "interfaces: [eth0, eth1]\nconnections: {max: 20000}\nvrrp:\n  - {name: outside, interface: eth0, \
                    virtual_router_id: 51, version: 3, advert_interval: 100ms, priority: 150, \
                    addresses: [10.0.1.200/24]}\nservices:\n"
        .to_owned();
    let reals: Vec<String> = (0..reals)
        .map(|n| format!("10.77.{}.{}", n / 250, n % 250 + 1))
        .collect();
    for (n, reals) in reals.chunks(1000).enumerate() {
        text += &format!(
            "  - {{name: s{n}, address: \"{}:{}\", method: tun, health: {{http: /healthz, address: {asked}, \
             interval: {}s}}, reals: [{}]}}\n",
            Vip::Tun.address(),
            8000 + n,
            INTERVAL.as_secs(),
            reals.join(", ")
        );
    }
    text
}

/// Whether the director stays master and advertises in time, while it checks this many real servers.
fn on_time(watch: &Watch, reals: u64) -> Result<()> {
    let before: Vrrp = watch.get("/v1/vrrp")?;
    let started = watch.report()?.probes.started;
    let began = Instant::now();
    std::thread::sleep(WATCHED);
    // On a machine that is slower or does much else, each is asked more seldom.
    let probes = poll("each to be asked", 6 * WATCHED, || {
        let probes = watch.report()?.probes;
        ensure!(probes.started > started + reals, "{probes:?}");
        Ok(probes)
    })?;
    let took = began.elapsed();
    let after: Vrrp = watch.get("/v1/vrrp")?;
    println!(
        "{reals} real servers: {} probes in {took:.1?}, p99 {:.1} ms late, {} in flight; {} timers of VRRP late, the \
         worst ever by {} ms; realtime: {}",
        probes.started - started,
        probes.lateness_ms.p99,
        probes.in_flight,
        after.late_timers - before.late_timers,
        after.latest_timer,
        after.realtime,
    );
    let (was, router) = (&before.routers[0], &after.routers[0]);
    ensure!(
        router.state == "master" && router.masterships == was.masterships,
        "it has not stayed master: {router:?}"
    );
    let (sent, due) = (
        router.sent - was.sent,
        took.as_millis() / ADVERTS.as_millis(),
    );
    ensure!(u128::from(sent) + 3 > due, "{sent} of {due} were sent");
    // A backup waits for three of them, and a little more.
    let latest = Duration::from_millis(after.latest_timer);
    ensure!(latest < ADVERTS, "an advertisement was {latest:?} late");
    Ok(())
}
