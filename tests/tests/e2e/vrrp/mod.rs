//! Who is master, and do clients get answers while one director takes over from another?

mod belongings;
mod boots;
mod connections;
mod figures;
mod keepalived;
mod partition;
mod roles;
mod starved;
mod tracking;
mod virtual_mac;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::{VirtualRouter, Vrrp as Answer};
use tests::lab::{Director, Pair, Vip, poll};

const SOON: Duration = Duration::from_secs(10);
const TENTH: Duration = Duration::from_millis(100);

/// How a virtual router is on a director.
fn router(director: &Director, name: &str) -> Result<VirtualRouter> {
    let answer: Answer = director.ask(&["vrrp"])?;
    let router = answer.routers.into_iter().find(|r| r.name == name);
    router.context("there is no such virtual router")
}

fn is(director: &Director, name: &str, wanted: &str) -> Result<()> {
    let state = router(director, name)?.state;
    ensure!(state == wanted, "{name} is {state}, not {wanted}");
    Ok(())
}

/// A director of a pair that serves by DR and by NAT, at most one of whom is master. `extra`: more keys of its virtual routers.
fn configuration(pair: &Pair, priority: u8, interval: Duration, extra: &str) -> String {
    let reals: Vec<String> = pair.reals.iter().map(|r| r.address.to_string()).collect();
    let reals = reals.join(", ");
    let interval = interval.as_millis();
    let router = |name: &str, interface: &str, id: u8, addresses: &str| {
        format!(
            "  - {{name: {name}, interface: {interface}, virtual_router_id: {id}, version: 3, advert_interval: {interval}ms, \
             priority: {priority}, group: pair, {extra} addresses: [{addresses}]}}\n"
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
fn started(interval: Duration) -> Result<Pair> {
    started_with(interval, "")
}

/// Both run with these keys, too.
fn started_with(interval: Duration, extra: &str) -> Result<Pair> {
    let mut pair = Pair::new(2)?;
    for (n, priority) in [(0, 150), (1, 100)] {
        let yaml = configuration(&pair, priority, interval, extra);
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
        answers(pair, vip)?;
    }
    Ok(())
}

/// A director loses its power. The links go first: what has no power says nothing any more, not even a farewell.
fn lose_power(director: &mut Director) -> Result<()> {
    director
        .host()
        .ip(&["link set eth0 down", "link set eth1 down"])?;
    director.kill()
}

/// Its power is back, and so is the route that the kernel has removed with its link.
fn regain_power(director: &mut Director) -> Result<()> {
    director.host().ip(&[
        "link set eth0 up",
        "link set eth1 up",
        "route replace default via 10.0.2.254",
    ])?;
    director.start().map(drop)
}

/// The MAC by which the client reaches a VIP.
fn arp_entry(pair: &Pair, vip: Vip) -> Result<String> {
    let address = vip.address().to_string();
    let text = pair.client.run(&["ip", "neigh", "show", &address])?;
    let mac = text.split_whitespace().skip_while(|word| *word != "lladdr");
    let mac = mac.skip(1).map(str::to_owned).next();
    mac.with_context(|| format!("the client knows no MAC of {address}: {text}"))
}

/// Waits until a VIP answers.
fn answers(pair: &Pair, vip: Vip) -> Result<()> {
    poll("the VIP to answer", SOON, || {
        let answers = pair.client.curl(&vip.url("/"), 1)?;
        ensure!(answers.total() == 1, "{vip:?}: {answers:?}");
        Ok(())
    })
}

/// How often something is tried; `LB_RUNS` says more.
fn runs() -> usize {
    let said = std::env::var("LB_RUNS").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(2)
}
