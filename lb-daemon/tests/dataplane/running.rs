//! Loading, attaching, applying, detaching.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_common::sched::Scheduler::{Rr, Wrr};
use lb_daemon::core::desired::XdpMode;
use lb_daemon::io::bpf::{self, Dataplane, Hop};

use crate::sandbox::{BPF_FS, Sandbox, desired, hop, ip, service};

#[test]
fn it_runs_in_the_driver_where_it_can_and_says_so() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let dataplane = sandbox.start();
    let status = dataplane.status().unwrap();
    assert!(!status.adopted && status.program != 0);
    let interfaces: Vec<_> = status
        .interfaces
        .iter()
        .map(|i| (i.name.as_str(), i.native))
        .collect();
    assert_eq!(interfaces, [("lb0", true), ("lb1", true)]);
    assert!(status.memory > 3 << 20, "{} bytes", status.memory);
}

#[test]
fn where_the_driver_has_no_xdp_it_runs_in_the_stack() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut options = sandbox.options();
    options.interfaces = vec!["lo".into()];
    let dataplane = Dataplane::start(&options).unwrap();
    assert!(!dataplane.status().unwrap().interfaces[0].native);
    drop(dataplane.detach());

    options.mode = XdpMode::Native;
    let error = Dataplane::start(&options).unwrap_err().to_string();
    assert!(
        error.contains("lo in native mode") && error.contains("mode: generic"),
        "{error}"
    );
    assert!(
        !sandbox.pin_dir.exists(),
        "something is left of the attempt"
    );
}

#[test]
fn a_wanted_mode_replaces_another() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut dataplane = sandbox.start();
    let names = ["lb0".to_owned()];
    dataplane
        .set_interfaces(&names, XdpMode::Generic, false)
        .unwrap();
    let status = dataplane.status().unwrap();
    assert_eq!(status.interfaces.len(), 1);
    assert!(!status.interfaces[0].native);
    dataplane
        .set_interfaces(&names, XdpMode::Auto, false)
        .unwrap();
    assert!(
        !dataplane.status().unwrap().interfaces[0].native,
        "auto is content with what there is"
    );
    dataplane
        .set_interfaces(&names, XdpMode::Native, false)
        .unwrap();
    assert!(dataplane.status().unwrap().interfaces[0].native);
}

#[test]
fn a_program_that_was_taken_off_is_missed_and_put_back() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut dataplane = sandbox.start();
    let interfaces = sandbox.options().interfaces;
    assert!(dataplane.taken_off().is_empty());
    for link in std::fs::read_dir(sandbox.pin_dir.join("links")).unwrap() {
        // The pin alone holds the link.
        std::fs::remove_file(link.unwrap().path()).unwrap();
    }
    assert_eq!(dataplane.taken_off(), interfaces);
    dataplane
        .set_interfaces(&interfaces, XdpMode::Auto, false)
        .unwrap();
    assert!(dataplane.taken_off().is_empty());
    assert_eq!(dataplane.status().unwrap().interfaces.len(), 2);
    ip(&["link", "del", "lb1"]);
    assert!(dataplane.taken_off().is_empty(), "no interface, no program");
}

#[test]
fn an_interface_that_was_made_again_is_attached_again() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut dataplane = sandbox.start();
    ip(&["link", "del", "lb1"]);
    assert_eq!(dataplane.status().unwrap().interfaces.len(), 1);
    ip(&["link", "add", "lb1", "type", "veth", "peer", "name", "far1"]);
    dataplane
        .set_interfaces(&sandbox.options().interfaces, XdpMode::Auto, false)
        .unwrap();
    assert_eq!(dataplane.status().unwrap().interfaces.len(), 2);
    assert_eq!(
        std::fs::read_dir(sandbox.pin_dir.join("links"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn the_second_time_nothing_is_written_and_a_change_writes_its_size() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut dataplane = sandbox.start();
    let one = service(1, Wrr, &[(1, 3), (2, 1)]);
    let two = service(2, Rr, &[(3, 1)]);
    let wanted = desired(&[one.clone(), two]);
    assert!(dataplane.apply(&wanted, &hop).unwrap().writes > 0);
    assert_eq!(dataplane.apply(&wanted, &hop).unwrap().writes, 0);
    let changed = dataplane
        .apply(&desired(&[one, service(2, Rr, &[(3, 2)])]), &hop)
        .unwrap();
    // Members, fallback table, generation, and the store that makes it current.
    assert_eq!((changed.writes, changed.changed.len()), (4, 1));

    let readings = dataplane.services().unwrap();
    assert_eq!(readings.len(), 2);
    let first: Vec<_> = readings[0]
        .reals
        .iter()
        .map(|r| (r.addr.to_string(), r.weight, r.resolved))
        .collect();
    assert_eq!(
        first,
        [
            ("10.0.0.2:80".to_owned(), 1, true),
            ("10.0.0.1:80".to_owned(), 3, true)
        ]
    );
}

#[test]
fn what_was_replaced_is_given_back_within_a_second() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut dataplane = sandbox.start();
    // More changes than there is room for generations at once.
    for weight in 1..200 {
        dataplane
            .apply(&desired(&[service(1, Wrr, &[(1, weight), (2, 1)])]), &hop)
            .unwrap();
    }
    let began = Instant::now();
    while dataplane.status().unwrap().reals != 2 || dataplane.awaiting_grace() > 0 {
        dataplane
            .maintain(Instant::now(), Duration::from_millis(2))
            .unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{} still wait",
            dataplane.awaiting_grace()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_next_hop_is_in_use_at_once() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut dataplane = sandbox.start();
    dataplane
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &|_| Hop::Unresolved)
        .unwrap();
    assert!(!dataplane.services().unwrap()[0].reals[0].resolved);
    let addr = IpAddr::from([10, 0, 0, 1]);
    assert_eq!(dataplane.real_addresses(), [addr]);
    assert_eq!(dataplane.set_next_hop(addr, hop(addr)).unwrap(), 1);
    assert!(dataplane.services().unwrap()[0].reals[0].resolved);
}

#[test]
fn detaching_leaves_nothing() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    // The kernel may have put something there of its own.
    let pins = || std::fs::read_dir(BPF_FS).unwrap().count();
    let before = pins();
    let mut dataplane = sandbox.start();
    dataplane
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
        .unwrap();
    let maps = map_ids(&sandbox);
    let program = dataplane.status().unwrap().program;
    let detached = dataplane.detach().unwrap();
    assert_eq!(detached.interfaces, ["lb0", "lb1"]);
    assert_eq!(detached.maps, maps.len());
    assert!(!sandbox.pin_dir.exists());
    assert_eq!(pins(), before);
    assert_eq!(xdp_on("lb0"), None);

    let began = Instant::now();
    let gone = || {
        maps.iter()
            .all(|id| aya::maps::MapInfo::from_id(*id).is_err())
            && !aya::programs::loaded_programs()
                .flatten()
                .any(|p| p.id() == program)
    };
    while !gone() {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "maps or program are still in the kernel"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_dead_daemon_left_can_be_detached_and_nothing_is_no_error() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    assert_eq!(bpf::detach(&sandbox.pin_dir).unwrap(), Default::default());
    let dataplane = sandbox.start();
    let error = bpf::detach(&sandbox.pin_dir).unwrap_err().to_string();
    assert!(
        error.contains(&format!("pid {}", std::process::id())),
        "{error}"
    );
    drop(dataplane);
    assert_eq!(
        bpf::detach(&sandbox.pin_dir).unwrap().interfaces,
        ["lb0", "lb1"]
    );
    assert_eq!(xdp_on("lb0"), None);
}

fn map_ids(sandbox: &Sandbox) -> Vec<u32> {
    let entries = std::fs::read_dir(sandbox.pin_dir.join("maps")).unwrap();
    entries
        .map(|e| {
            aya::maps::MapData::from_pin(e.unwrap().path())
                .unwrap()
                .info()
                .unwrap()
                .id()
        })
        .collect()
}

/// The program on an interface, by what `ip` says.
pub(crate) fn xdp_on(interface: &str) -> Option<u32> {
    let shown = std::process::Command::new("ip")
        .args(["-d", "link", "show", interface])
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let after = text.split("prog/xdp id ").nth(1)?;
    after.split_ascii_whitespace().next()?.parse().ok()
}
