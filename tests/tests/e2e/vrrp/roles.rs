//! Who serves what, while all is well?

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{Stats, Vrrp as Answer};
use lb_daemon::core::desired::Proto;
use tests::lab::{Director, Pair, Tap, Vip, poll};
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

/// How many frames for other hosts' MACs a director has left alone.
fn left_to_others(director: &Director) -> Result<u64> {
    let stats: Stats = director.ask(&["stats"])?;
    let counter = stats.counters.iter().find(|c| c.name == "pass_other_host");
    Ok(counter.context("there is no such counter")?.packets)
}

#[test]
fn what_a_switch_floods_is_forwarded_by_no_director() -> Result<()> {
    needs_lab!();
    let pair = started(TENTH)?;
    let [first, second] = &pair.directors;
    let vip = Vip::Dr.web();
    let mut connection = pair
        .client
        .inside(|| TcpStream::connect(vip).with_context(|| format!("cannot connect to {vip}")))?;
    // The first has recorded the connection, and is a backup then.
    first.lbctl(&["vrrp", "failover", "outside"])?;
    poll("the second to be master", SOON, || {
        is(first, "outside", "backup")?;
        is(second, "outside", "master")
    })?;
    let taps: Vec<Tap> = pair
        .reals
        .iter()
        .map(|real| Tap::start(&real.host, "eth0"))
        .collect::<Result<_>>()?;
    // The MAC that the client goes to is nobody's, so the bridge does not know the way to it.
    let address = vip.ip();
    pair.client.ip(&[&format!(
        "neigh replace {address} lladdr 02:00:00:00:00:d9 dev eth0 nud permanent"
    )])?;
    let before = (left_to_others(first)?, left_to_others(second)?);
    connection.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
    // The client sends it again and again.
    poll("both to be sent it three times", SOON, || {
        let after = (left_to_others(first)?, left_to_others(second)?);
        ensure!(
            after.0 >= before.0 + 3 && after.1 >= before.1 + 3,
            "{before:?}, {after:?}"
        );
        Ok(())
    })?;
    for tap in &taps {
        let reached = tap.to(Proto::Tcp, vip).packets;
        ensure!(reached == 0, "{reached} packets have reached a real server");
    }
    pair.client
        .ip(&[&format!("neigh del {address} dev eth0")])?;
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
