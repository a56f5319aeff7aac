//! Do clients get answers while one director takes over from another?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{Stats, Vrrp as Answer};
use tests::lab::{Director, Pair, Silence, Vip, poll};
use tests::needs_lab;

/// What a virtual router's state is on a director.
fn state(director: &Director, name: &str) -> Result<String> {
    let answer: Answer = director.ask(&["vrrp"])?;
    let router = answer.routers.into_iter().find(|r| r.name == name);
    Ok(router.context("there is no such virtual router")?.state)
}

fn is(director: &Director, name: &str, wanted: &str) -> Result<()> {
    let state = state(director, name)?;
    ensure!(state == wanted, "{name} is {state}, not {wanted}");
    Ok(())
}

const SOON: Duration = Duration::from_secs(10);

/// A director of a pair that serves by DR and by NAT, at most one of whom is master.
fn configuration(pair: &Pair, priority: u8) -> String {
    let reals: Vec<String> = pair.reals.iter().map(|r| r.address.to_string()).collect();
    let reals = reals.join(", ");
    let router = |name: &str, interface: &str, id: u8, addresses: &str| {
        format!(
            "  - {{name: {name}, interface: {interface}, virtual_router_id: {id}, version: 3, advert_interval: 100ms, \
             priority: {priority}, group: pair, addresses: [{addresses}]}}\n"
        )
    };
    let (dr, nat) = (Vip::Dr, Vip::Nat);
    let outside = format!("{}/24, {}/24", dr.address(), nat.address());
    format!(
        "interfaces: [eth0, eth1]\nvrrp:\n{}{}services:\n  \
         - {{name: dr, address: \"{}\", method: dr, scheduler: rr, reals: [{reals}]}}\n  \
         - {{name: nat, address: \"{}\", method: nat, scheduler: rr, reals: [{reals}]}}\n",
        router("outside", "eth0", 51, &outside),
        router("inside", "eth1", 52, &format!("{}/24", Pair::GATEWAY)),
        dr.web(),
        nat.web(),
    )
}

/// Both run, and the first is master.
fn started() -> Result<Pair> {
    let mut pair = Pair::new(2)?;
    for (n, priority) in [(0, 150), (1, 100)] {
        let yaml = configuration(&pair, priority);
        pair.directors[n].configure(&yaml)?;
        pair.directors[n].start()?;
    }
    settled(&pair)?;
    Ok(pair)
}

/// Waits until the first is master, the second backup, and the VIPs answer.
fn settled(pair: &Pair) -> Result<()> {
    let [first, second] = &pair.directors;
    poll("the first to be master", SOON, || {
        is(first, "outside", "master")?;
        is(first, "inside", "master")?;
        is(second, "outside", "backup")?;
        is(second, "inside", "backup")
    })?;
    for vip in [Vip::Dr, Vip::Nat] {
        poll("the VIP to answer", SOON, || {
            let answers = pair.client.curl(&vip.url("/"), 1)?;
            ensure!(answers.total() == 1, "{answers:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Something happens to the first director while clients connect; for how long there is no answer, by DR and by NAT.
fn silence(pair: &mut Pair, happen: impl FnOnce(&mut Pair) -> Result<()>) -> Result<[Duration; 2]> {
    let watch = [Vip::Dr, Vip::Nat].map(|vip| Silence::start(&pair.client, vip.web(), 250));
    std::thread::sleep(Duration::from_millis(300));
    let moment = Instant::now();
    happen(pair)?;
    poll("the second to be master", SOON, || {
        is(&pair.directors[1], "outside", "master")?;
        is(&pair.directors[1], "inside", "master")
    })?;
    // What the new master answers counts too.
    std::thread::sleep(Duration::from_millis(500));
    let mut longest = [Duration::ZERO; 2];
    for (longest, watch) in longest.iter_mut().zip(watch) {
        let heard = watch.stop()?;
        ensure!(
            heard.answers.len() > 20,
            "only {} answers",
            heard.answers.len()
        );
        let last = heard.answers.last().context("there was no answer")?;
        ensure!(
            last.elapsed() < Duration::from_millis(200),
            "there are no answers any more"
        );
        *longest = heard.longest_after(moment);
    }
    Ok(longest)
}

/// How often each is tried; `LB_RUNS` says more.
fn runs() -> usize {
    let said = std::env::var("LB_RUNS").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(2)
}

#[test]
fn clients_are_answered_soon_after_their_director_has_lost_its_power() -> Result<()> {
    needs_lab!();
    let mut pair = started()?;
    for run in 0..runs() {
        let longest = silence(&mut pair, |pair| {
            let first = &mut pair.directors[0];
            // Nothing of it is heard any more, not even a farewell.
            first
                .host()
                .ip(&["link set eth0 down", "link set eth1 down"])?;
            first.kill()
        })?;
        println!("run {run}: 500 connections/s, power lost: no answer for {longest:?} (DR, NAT)");
        for gap in longest {
            ensure!(gap <= Duration::from_millis(600), "no answer for {gap:?}");
        }
        let first = &mut pair.directors[0];
        first.host().ip(&[
            "link set eth0 up",
            "link set eth1 up",
            "route replace default via 10.0.2.254",
        ])?;
        first.start()?;
        settled(&pair)?;
    }
    Ok(())
}

#[test]
fn clients_hardly_notice_a_planned_hand_over() -> Result<()> {
    needs_lab!();
    let mut pair = started()?;
    for run in 0..runs() {
        let longest = silence(&mut pair, |pair| {
            pair.directors[0]
                .lbctl(&["vrrp", "failover", "outside"])
                .map(drop)
        })?;
        println!("run {run}: 500 connections/s, handed over: no answer for {longest:?} (DR, NAT)");
        // The skew of priority 100 is 61 ms; the rest is for a machine that is busy with other tests.
        for gap in longest {
            ensure!(
                gap <= Duration::from_millis(61 + 300),
                "no answer for {gap:?}"
            );
        }
        // Whom an operator made give way comes back when it is started anew.
        pair.directors[0].stop()?;
        pair.directors[0].start()?;
        settled(&pair)?;
    }
    Ok(())
}

#[test]
fn a_backup_serves_no_new_connection() -> Result<()> {
    needs_lab!();
    let pair = started()?;
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
    let answers = pair.client.curl(&Vip::Dr.url("/"), 1)?;
    ensure!(answers.total() == 0, "the backup served {answers:?}");
    ensure!(passed()? > before, "the backup counted nothing");
    pair.client.ip(&[&format!("neigh del {vip} dev eth0")])?;
    poll("the master to answer", SOON, || {
        let answers = pair.client.curl(&Vip::Dr.url("/"), 1)?;
        ensure!(answers.total() == 1, "{answers:?}");
        Ok(())
    })
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
    let answers = |pair: &Pair| {
        poll("both addresses to answer", SOON, || {
            for vip in [Vip::Dr, Vip::Tun] {
                let answers = pair.client.curl(&vip.url("/"), 1)?;
                ensure!(answers.total() == 1, "{vip:?}: {answers:?}");
            }
            Ok(())
        })
    };
    poll("each to be master of one", SOON, || {
        let [first, second] = &pair.directors;
        is(first, "one", "master")?;
        is(first, "two", "backup")?;
        is(second, "one", "backup")?;
        is(second, "two", "master")
    })?;
    answers(&pair)?;
    pair.directors[1].stop()?;
    poll("the first to be master of both", SOON, || {
        is(&pair.directors[0], "one", "master")?;
        is(&pair.directors[0], "two", "master")
    })?;
    answers(&pair)
}
