//! What does a master have, who is told of it, and is it gone with the part?

use std::fs;

use anyhow::{Result, ensure};
use tests::lab::{Director, Pair, Vip, poll, program};
use tests::needs_lab;

use super::{SOON, is, router};

/// Whether a director has all that its master has, or nothing of it.
fn has_all(director: &Director, yes: bool) -> Result<()> {
    let host = director.host();
    for (words, belonging) in [
        (
            ["ip", "address", "show", "dev", "eth0"],
            "10.0.1.101/32 scope link eth0:vip",
        ),
        (
            ["ip", "address", "show", "dev", "eth1"],
            "10.9.9.9/32 scope global eth1",
        ),
        (
            ["ip", "route", "show", "table", "100"],
            "10.77.0.0/16 via 10.0.2.254 dev eth1",
        ),
    ] {
        // Without a route a table is not there at all.
        let text = host.run(&words).unwrap_or_default();
        ensure!(
            text.contains(belonging) == yes,
            "{belonging}, {yes}: {text}"
        );
    }
    Ok(())
}

#[test]
fn a_master_has_what_it_is_told_to_and_everybody_hears_of_it() -> Result<()> {
    needs_lab!();
    ensure!(Vip::Dr.address().to_string() == "10.0.1.101");
    let mut pair = Pair::new(1)?;
    let host = pair.directors[0].host().clone();
    let told = host.folder().join("told");
    let yaml = format!(
        "interfaces: [eth0, eth1]\nvrrp:\n  - name: VI_1\n    interface: eth0\n    virtual_router_id: 51\n    version: 3\n    \
         advert_interval: 100ms\n    priority: 150\n    \
         addresses: [{{address: 10.0.1.101/32, label: \"eth0:vip\", scope: link}}]\n    \
         excluded: [{{address: 10.9.9.9/32, interface: eth1}}]\n    \
         routes: [{{to: 10.77.0.0/16, via: 10.0.2.254, metric: 7, table: 100}}]\n    \
         notify: {{any: [/bin/sh, -c, 'echo \"$@\" >> {}', notify]}}\n",
        told.display()
    );
    pair.directors[0].configure(&yaml)?;
    pair.directors[0].start()?;
    let director = &pair.directors[0];
    poll("it to be master", SOON, || is(director, "VI_1", "master"))?;
    poll("it to have all", SOON, || has_all(director, true))?;
    let socket = director.paths().socket.display().to_string();
    let lbctl = program("lbctl")?;
    let words = [
        lbctl.as_str(),
        "--socket",
        &socket,
        "vrrp",
        "events",
        "--json",
    ];
    let events = host.start("events", &words)?;

    // Whoever removes one finds it there again.
    host.ip(&["address delete 10.9.9.9/32 dev eth1"])?;
    poll("the address to be back", SOON, || has_all(director, true))?;

    let before = router(director, "VI_1")?;
    host.ip(&["link set eth0 down"])?;
    poll("it to be in fault", SOON, || is(director, "VI_1", "fault"))?;
    poll("it to have nothing", SOON, || has_all(director, false))?;
    poll("the fault to be told", SOON, || {
        let said = events.output();
        ensure!(
            said.contains("\"from\":\"master\"") && said.contains("interface eth0 is down"),
            "{said}"
        );
        Ok(())
    })?;
    host.ip(&["link set eth0 up"])?;
    poll("it to be master again", SOON, || {
        is(director, "VI_1", "master")
    })?;
    poll("it to have all again", SOON, || has_all(director, true))?;
    let after = router(director, "VI_1")?;
    ensure!(after.masterships == before.masterships + 1 && after.sent > before.sent);

    pair.directors[0].stop()?;
    has_all(&pair.directors[0], false)?;
    let told = fs::read_to_string(told)?;
    let expected = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP"];
    let expected = expected.map(|state| format!("INSTANCE VI_1 {state} 150\n"));
    ensure!(told == expected.concat(), "the program was told:\n{told}");
    Ok(())
}
