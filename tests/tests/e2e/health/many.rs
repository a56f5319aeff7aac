//! Many checks at once, and what else the director has to do in time.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_daemon::api::types::Vrrp;
use tests::lab::{Vip, poll};
use tests::needs_lab;

use super::{PATIENCE, Watch, site};

/// So many real servers are asked each second; a thread of the checks has enough to do with it.
const REALS: u32 = 1000;
const INTERVAL: Duration = Duration::from_secs(1);
const ADVERTS: Duration = Duration::from_millis(100);

#[test]
fn advertisements_do_not_wait_for_a_thousand_checks() -> Result<()> {
    needs_lab!();
    let mut site = site(1)?;
    let asked = site.reals[0].address;
    let reals: Vec<String> = (0..REALS)
        .map(|n| format!("10.77.{}.{}", n / 250, n % 250 + 1))
        .collect();
    let (half, other) = reals.split_at(reals.len() / 2);
    let service = |name: &str, vip: Vip, reals: &[String]| {
        format!(
            "  - {{name: {name}, address: \"{}\", method: tun, health: {{http: /healthz, address: {asked}, interval: 1s}}, \
             reals: [{}]}}\n",
            vip.web(),
            reals.join(", ")
        )
    };
    let configuration = format!(
        "interfaces: [eth0, eth1]\nconnections: {{max: 20000}}\nvrrp:\n  - {{name: outside, interface: eth0, \
         virtual_router_id: 51, version: 3, advert_interval: 100ms, priority: 150, addresses: [10.0.1.200/24]}}\n\
         services:\n{}{}",
        service("one", Vip::Dr, half),
        service("two", Vip::Tun, other),
    );
    site.balance(&configuration)?;
    let watch = Watch::new(&site)?;
    let state = || -> Result<Vrrp> { watch.get("/v1/vrrp") };
    poll("the director to be master", PATIENCE, || {
        ensure!(state()?.routers[0].state == "master");
        Ok(())
    })?;
    let before = state()?;
    let started = watch.report()?.probes.started;
    std::thread::sleep(10 * INTERVAL);
    let after = state()?;
    let probes = watch.report()?.probes;
    let began = probes.started - started;
    println!(
        "{began} probes in {:?}, p99 {:.1} ms late; {} timers of VRRP late, the worst ever by {} ms; realtime: {}",
        10 * INTERVAL,
        probes.lateness_ms.p99,
        after.late_timers - before.late_timers,
        after.latest_timer,
        after.realtime,
    );
    ensure!(began > u64::from(REALS), "{began} probes only");
    let (was, router) = (&before.routers[0], &after.routers[0]);
    ensure!(
        router.state == "master" && router.masterships == was.masterships,
        "it has not stayed master: {router:?}"
    );
    let (sent, due) = (
        router.sent - was.sent,
        (10 * INTERVAL).as_millis() / ADVERTS.as_millis(),
    );
    ensure!(u128::from(sent) + 3 > due, "{sent} of {due} were sent");
    // A backup waits for three of them, and a little more.
    let latest = Duration::from_millis(after.latest_timer);
    ensure!(latest < ADVERTS, "an advertisement was {latest:?} late");
    Ok(())
}
