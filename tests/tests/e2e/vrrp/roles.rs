//! Who serves what, while all is well?

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{Stats, Vrrp as Answer};
use tests::lab::{Pair, Vip, poll};
use tests::needs_lab;

use super::{SOON, TENTH, answers, configuration, is, router, started};

#[test]
fn a_backup_serves_no_new_connection() -> Result<()> {
    needs_lab!();
    let pair = started(TENTH)?;
    let [_, second] = &pair.directors;
    let passed = || -> Result<u64> {
        let stats: Stats = second.ask(&["stats"])?;
        let counter = stats.counters.iter().find(|c| c.name == "pass_standby");
        Ok(counter.context("there is no such counter")?.packets)
    };
    let before = passed()?;
    // A client that believes the backup to be the master, as long as the backup does not route.
    second.host().set(&[("ipv4/ip_forward", "0")])?;
    let mac = second.host().mac("eth0")?;
    let vip = Vip::Dr.address();
    pair.client.ip(&[&format!(
        "neigh replace {vip} lladdr {mac} dev eth0 nud permanent"
    )])?;
    let said = pair.client.curl(&Vip::Dr.url("/"), 1)?;
    ensure!(said.total() == 0, "the backup served {said:?}");
    ensure!(passed()? > before, "the backup counted nothing");
    pair.client.ip(&[&format!("neigh del {vip} dev eth0")])?;
    answers(&pair, Vip::Dr)
}

/// Each director is master of one address, and takes the other's when that one fails.
#[test]
fn two_directors_work_at_the_same_time() -> Result<()> {
    needs_lab!();
    let mut pair = Pair::new(2)?;
    for (n, priorities) in [(0, [150, 100]), (1, [100, 150])] {
        let reals: Vec<String> = pair.reals.iter().map(|r| r.address.to_string()).collect();
        let mut yaml = "interfaces: [eth0, eth1]\nvrrp:\n".to_owned();
        for ((name, vip), priority) in [("one", Vip::Dr), ("two", Vip::Tun)]
            .into_iter()
            .zip(priorities)
        {
            yaml.push_str(&format!(
                "  - {{name: {name}, interface: eth0, virtual_router_id: {}, version: 3, advert_interval: 100ms, \
                 priority: {priority}, addresses: [{}/24]}}\n",
                vip.address().octets()[3],
                vip.address()
            ));
        }
        yaml.push_str("services:\n");
        for vip in [Vip::Dr, Vip::Tun] {
            yaml.push_str(&format!(
                "  - {{address: \"{}\", method: dr, scheduler: rr, reals: [{}]}}\n",
                vip.web(),
                reals.join(", ")
            ));
        }
        pair.directors[n].configure(&yaml)?;
        pair.directors[n].start()?;
    }
    let both = |pair: &Pair| [Vip::Dr, Vip::Tun].map(|vip| answers(pair, vip));
    poll("each to be master of one", SOON, || {
        let [first, second] = &pair.directors;
        is(first, "one", "master")?;
        is(first, "two", "backup")?;
        is(second, "one", "backup")?;
        is(second, "two", "master")
    })?;
    both(&pair).into_iter().collect::<Result<()>>()?;
    pair.directors[1].stop()?;
    poll("the first to be master of both", SOON, || {
        is(&pair.directors[0], "one", "master")?;
        is(&pair.directors[0], "two", "master")
    })?;
    both(&pair).into_iter().collect()
}

/// A thousand services are read, checked and written while the second director listens for each advertisement of the first.
#[test]
fn a_huge_reload_delays_no_advertisement() -> Result<()> {
    needs_lab!();
    let pair = started(TENTH)?;
    let [first, second] = &pair.directors;
    let report = || -> Result<Answer> { first.ask(&["vrrp"]) };
    let before = (report()?, router(second, "outside")?);
    let reals: Vec<String> = (20..36).map(|n| format!("10.0.2.{n}")).collect();
    let reals = reals.join(", ");
    let mut yaml = configuration(&pair, 150, TENTH, "");
    for n in 0..1_000 {
        let (a, b) = (n / 250, n % 250 + 1);
        yaml.push_str(&format!(
            "  - {{name: s{n}, address: \"10.66.{a}.{b}:80\", method: dr, scheduler: rr, reals: [{reals}]}}\n"
        ));
    }
    let began = Instant::now();
    for yaml in [yaml, configuration(&pair, 150, TENTH, "")] {
        first.configure(&yaml)?;
        first.lbctl(&["reload"])?;
    }
    let took = began.elapsed();
    let after = (report()?, router(second, "outside")?);
    println!(
        "1,000 services with 16,000 real servers came and went in {took:.1?}; {} timers of VRRP late, the worst ever by {} ms; \
         the second heard {} advertisements",
        after.0.late_timers - before.0.late_timers,
        after.0.latest_timer,
        after.1.heard - before.1.heard,
    );
    ensure!(after.1.state == "backup" && after.1.masterships == before.1.masterships);
    // One more or less by when it was asked.
    let intervals = took.as_millis() / TENTH.as_millis();
    ensure!(
        u128::from(after.1.heard - before.1.heard) + 2 >= intervals,
        "some were not heard"
    );
    Ok(())
}
