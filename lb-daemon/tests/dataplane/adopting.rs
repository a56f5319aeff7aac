//! A daemon that ends leaves everything running, and the next one goes on with it.

use std::time::{Duration, Instant};

use lb_common::abi::program;
use lb_common::conn::State;
use lb_common::sched::Scheduler::{Rr, Wrr};
use lb_daemon::io::bpf::ConnectionFilter;

use crate::running::xdp_on;
use crate::sandbox::{Sandbox, desired, hop, service};
use crate::table::Pinned;

#[test]
fn the_next_daemon_finds_everything_as_it_was() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let wanted = desired(&[
        service(1, Wrr, &[(1, 3), (2, 1)]),
        service(2, Rr, &[(3, 1)]),
    ]);
    let mut first = sandbox.start();
    first.apply(&wanted, &hop).unwrap();
    let slot = first.services().unwrap()[0].reals[0].slot;
    let pinned = Pinned::open(&sandbox.pin_dir);
    for port in 1000..1100 {
        assert!(pinned.connect(0x0A00_0001, port, slot, State::Established, 1000));
    }
    let before = first.services().unwrap();
    let links = links(&sandbox);
    let program = first.status().unwrap().program;
    drop(first);

    assert_eq!(
        xdp_on("lb0"),
        Some(program),
        "nothing runs without the daemon"
    );
    let began = Instant::now();
    let mut second = sandbox.start();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "adopting took {took:?}");
    assert!(second.status().unwrap().adopted);
    assert_eq!(
        links,
        self::links(&sandbox),
        "the program was attached anew"
    );
    assert_eq!(
        second.status().unwrap().program,
        program,
        "the same program was loaded again"
    );

    assert_eq!(second.services().unwrap(), before);
    assert_eq!(second.apply(&wanted, &hop).unwrap().writes, 0);
    assert_eq!(second.services().unwrap()[0].reals[0].active, 100);
    assert_eq!(
        second
            .connections(ConnectionFilter::default())
            .unwrap()
            .count(),
        100
    );
}

#[test]
fn a_new_program_takes_the_place_of_the_old_one_in_its_links() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let first = sandbox.start();
    let program = first.status().unwrap().program;
    let links = links(&sandbox);
    drop(first);
    // As if it were of another object.
    let pins = pinned_programs(&sandbox);
    for (n, pin) in pins.iter().enumerate() {
        let other = format!("program-0123456789abcdef-{n}");
        std::fs::rename(pin, pin.with_file_name(other)).unwrap();
    }

    let second = sandbox.start();
    let new = second.status().unwrap().program;
    assert_ne!(new, program);
    assert_eq!((xdp_on("lb0"), xdp_on("lb1")), (Some(new), Some(new)));
    assert_eq!(
        links,
        self::links(&sandbox),
        "the program was attached anew"
    );
    assert_eq!(
        pinned_programs(&sandbox),
        pins,
        "the old programs are still pinned"
    );
}

/// Where the director's programs are pinned: the first one, and those that it hands packets over to.
fn pinned_programs(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(&sandbox.pin_dir)
        .unwrap()
        .map(|e| e.unwrap().path());
    let is_program = |p: &std::path::PathBuf| {
        p.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("program")
    };
    let mut programs: Vec<_> = entries.filter(is_program).collect();
    programs.sort();
    assert_eq!(programs.len() as u32, 1 + program::LEN, "{programs:?}");
    programs
}

#[test]
fn a_removed_real_server_goes_on_draining() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut first = sandbox.start();
    first
        .apply(&desired(&[service(1, Rr, &[(1, 1), (2, 1)])]), &hop)
        .unwrap();
    let slot = first.services().unwrap()[0].reals[0].slot;
    assert!(Pinned::open(&sandbox.pin_dir).connect(1, 1, slot, State::Established, 1000));
    let less = desired(&[service(1, Rr, &[(1, 1)])]);
    first.apply(&less, &hop).unwrap();
    drop(first);
    let mut second = sandbox.start();
    assert_eq!(second.apply(&less, &hop).unwrap().writes, 0);
    let services = second.services().unwrap();
    let draining: Vec<_> = services[0]
        .draining
        .iter()
        .map(|r| (r.slot, r.active))
        .collect();
    assert_eq!(draining, [(slot, 1)]);
}

#[test]
fn what_the_configuration_says_otherwise_is_mended() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut first = sandbox.start();
    first
        .apply(
            &desired(&[service(1, Rr, &[(1, 1)]), service(2, Rr, &[(2, 1)])]),
            &hop,
        )
        .unwrap();
    drop(first);
    let mut second = sandbox.start();
    let applied = second
        .apply(
            &desired(&[service(2, Rr, &[(2, 5)]), service(3, Rr, &[(3, 1)])]),
            &hop,
        )
        .unwrap();
    assert_eq!(
        (
            applied.added.len(),
            applied.changed.len(),
            applied.removed.len()
        ),
        (1, 1, 1)
    );
}

/// The ids of the pinned links.
fn links(sandbox: &Sandbox) -> Vec<u32> {
    let entries = std::fs::read_dir(sandbox.pin_dir.join("links")).unwrap();
    let id = |path: std::path::PathBuf| {
        let link = aya::programs::links::PinnedLink::from_pin(path).unwrap();
        aya::programs::links::FdLink::from(link)
            .info()
            .unwrap()
            .id()
    };
    let mut ids: Vec<u32> = entries.map(|e| id(e.unwrap().path())).collect();
    ids.sort_unstable();
    ids
}
