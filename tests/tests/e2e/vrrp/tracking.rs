//! Does each kind of thing that can be tracked move the priority, and make unfit without a weight?

use std::fs;

use anyhow::{Result, ensure};
use tests::lab::{Pair, Vip, poll};
use tests::needs_lab;

use super::{SOON, router};

#[test]
fn each_kind_of_thing_that_is_tracked_moves_the_priority() -> Result<()> {
    needs_lab!();
    let mut pair = Pair::new(1)?;
    let host = pair.directors[0].host().clone();
    let path = |name: &str| host.folder().join(name).display().to_string();
    let (flag, number) = (path("flag"), path("number"));
    // Processes of the whole machine are seen, so it has a name of its own.
    let process = format!("lb-{}", std::process::id());
    fs::write(&flag, "")?;
    fs::copy("/bin/sleep", path(&process))?;
    let yaml = |track: &str| {
        format!(
            "interfaces: [eth0, eth1]\nvrrp:\n  - {{name: VI_1, interface: eth0, virtual_router_id: 51, priority: 150, \
             addresses: [{}/24], track: [{track}]}}\nservices:\n  - {{name: web, address: \"{}\", method: dr, \
             health: {{http: /healthz, interval: 200ms, timeout: 150ms, rise: 1, fall: 1}}, reals: [{}]}}\n",
            Vip::Dr.address(),
            Vip::Dr.web(),
            pair.reals[0].address
        )
    };
    // Each weight is a bit of its own.
    let weighted = format!(
        "{{interface: eth1, weight: -1}}, {{script: [/bin/test, -e, {flag}], interval: 200ms, weight: -2}}, \
         {{process: {process}, weight: 4}}, {{file: {number}, weight: 8}}, {{service: web, weight: -16}}, \
         {{gateway: 10.0.1.10, weight: -32}}"
    );
    let (weighted, unweighted) = (yaml(&weighted), yaml("{interface: eth1}"));
    pair.directors[0].configure(&weighted)?;
    pair.directors[0].start()?;
    let director = &pair.directors[0];
    let becomes = |what: &str, priority: u8, why: &str| {
        poll(what, SOON, || {
            let is = router(director, "VI_1")?;
            ensure!(
                is.priority == priority,
                "{} by {:?}",
                is.priority,
                is.moved_by
            );
            let said = is.moved_by.iter().any(|moved| moved.contains(why));
            ensure!(why.is_empty() || said, "it is not said: {:?}", is.moved_by);
            Ok(())
        })
    };
    becomes("all to be well", 150, "")?;
    let sleeper = host.start("sleeper", &[&path(&process), "600"])?;
    becomes(
        "the process to be seen",
        154,
        &format!("process {process} is up: +4"),
    )?;
    fs::write(&number, "2\n")?;
    becomes("the number to count", 170, "+16")?;
    fs::remove_file(&flag)?;
    becomes("the script to fail", 168, "-2")?;
    pair.reals[0].set_sick(true)?;
    becomes(
        "the service to have no quorum",
        152,
        "service web is down: -16",
    )?;
    host.ip(&["link set eth1 down"])?;
    becomes(
        "the interface to be down",
        151,
        "interface eth1 is down: -1",
    )?;
    pair.client.ip(&["link set eth0 down"])?;
    becomes(
        "the gateway to be silent",
        119,
        "gateway 10.0.1.10 is down: -32",
    )?;
    sleeper.kill()?;
    becomes("the process to be missed", 115, "")?;

    director.configure(&unweighted)?;
    director.lbctl(&["reload"])?;
    poll("it to be in fault", SOON, || {
        let is = router(director, "VI_1")?;
        let said = is
            .faults
            .iter()
            .any(|fault| fault == "interface eth1 is down");
        ensure!(is.state == "fault" && said, "{is:?}");
        Ok(())
    })?;
    host.ip(&["link set eth1 up"])?;
    poll("it to be master again", SOON, || {
        super::is(director, "VI_1", "master")
    })
}
