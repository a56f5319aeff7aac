//! The sweep of the connection table, and what listings say of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lb_common::abi::{Load, real as flag, seconds_to_ticks};
use lb_common::conn::State;
use lb_common::sched::Scheduler::Rr;
use lb_daemon::io::bpf::{ConnectionFilter, Dataplane};

use crate::sandbox::{Sandbox, desired, hop, id, service};
use crate::table::Pinned;

/// A walk over the table, at the pace at which a daemon calls for it.
fn walk(dataplane: &mut Dataplane, now: &mut Instant) -> u32 {
    let mut freed = 0;
    for _ in 0..100 {
        *now += Duration::from_millis(100);
        let did = dataplane.maintain(*now, Duration::from_millis(5)).unwrap();
        freed += did.connections_freed;
        if did.walk_done {
            return freed;
        }
    }
    panic!("no walk ends within ten seconds");
}

fn one_real(sandbox: &Sandbox) -> (Dataplane, Pinned, u32) {
    let mut dataplane = sandbox.start();
    dataplane
        .apply(&desired(&[service(1, Rr, &[(1, 1), (2, 1)])]), &hop)
        .unwrap();
    let slot = dataplane.services().unwrap()[0].reals[0].slot;
    (dataplane, Pinned::open(&sandbox.pin_dir), slot)
}

#[test]
fn expired_connections_are_freed_and_counted_out_of_the_load() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let (mut dataplane, pinned, slot) = one_real(&sandbox);
    let mut now = Instant::now();
    walk(&mut dataplane, &mut now);
    for port in 0..300 {
        let (state, seconds) = if port % 3 == 0 {
            (State::Established, 900)
        } else {
            (State::FinWait, 120)
        };
        assert!(pinned.connect(7, port, slot, state, seconds_to_ticks(seconds)));
    }
    assert_eq!(
        (pinned.load(slot).active(), pinned.load(slot).inactive()),
        (100, 200)
    );
    assert_eq!(walk(&mut dataplane, &mut now), 0);
    assert_eq!(dataplane.status().unwrap().connections.used, 300);

    pinned.advance(125);
    assert_eq!(walk(&mut dataplane, &mut now), 200);
    assert_eq!(
        (pinned.load(slot).active(), pinned.load(slot).inactive()),
        (100, 0)
    );
    pinned.advance(900);
    assert_eq!(walk(&mut dataplane, &mut now), 100);
    assert_eq!(pinned.load(slot).conns, 0);
    assert_eq!(
        dataplane
            .connections(ConnectionFilter::default())
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_connection_is_listed_with_all_that_is_known_of_it() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let (dataplane, pinned, slot) = one_real(&sandbox);
    let client = Ipv4Addr::new(198, 51, 100, 7);
    assert!(pinned.connect(
        client.into(),
        4711,
        slot,
        State::Established,
        seconds_to_ticks(900),
    ));
    assert!(pinned.connect(1, 4711, slot, State::SynRecv, seconds_to_ticks(60)));
    pinned.advance(30);

    let filter = ConnectionFilter {
        client: Some(client.into()),
        ..ConnectionFilter::default()
    };
    let listed: Vec<_> = dataplane.connections(filter).unwrap().collect();
    let [one] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!(one.client.to_string(), "198.51.100.7:4711");
    assert_eq!(one.vip.to_string(), "192.0.2.1:80");
    assert_eq!(one.real.to_string(), "10.0.0.2:80");
    assert_eq!(one.state, "ESTABLISHED");
    assert!(
        (868..=872).contains(&one.expires.as_secs()),
        "{:?}",
        one.expires
    );
    assert!((28..=32).contains(&one.idle.as_secs()), "{:?}", one.idle);

    let of_no_real = ConnectionFilter {
        real: Some([10, 0, 0, 99].into()),
        ..ConnectionFilter::default()
    };
    assert_eq!(dataplane.connections(of_no_real).unwrap().count(), 0);
}

#[test]
fn a_drained_real_servers_slot_is_free_again_and_its_traffic_kept() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let (mut dataplane, pinned, slot) = one_real(&sandbox);
    let mut now = Instant::now();
    assert!(pinned.connect(1, 1, slot, State::Established, seconds_to_ticks(900)));
    dataplane
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
        .unwrap();
    walk(&mut dataplane, &mut now);
    assert_eq!(dataplane.status().unwrap().reals, 2);

    pinned.advance(1000);
    let began = Instant::now();
    while dataplane.status().unwrap().reals == 2 {
        walk(&mut dataplane, &mut now);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "the slot is not given back"
        );
    }
    assert!(dataplane.services().unwrap()[0].draining.is_empty());
}

#[test]
fn a_removed_real_server_can_be_cut_off() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let (mut dataplane, pinned, slot) = one_real(&sandbox);
    let mut now = Instant::now();
    for port in 0..50 {
        assert!(pinned.connect(1, port, slot, State::Established, seconds_to_ticks(900)));
    }
    let real = SocketAddr::from(([10, 0, 0, 2], 80));
    assert!(
        !dataplane.cut(id(1), real).unwrap(),
        "it is not removed yet"
    );
    dataplane
        .apply(&desired(&[service(1, Rr, &[(1, 1)])]), &hop)
        .unwrap();
    assert!(dataplane.cut(id(1), real).unwrap());
    // The program leaves them at once, and who comes back is another.
    assert_eq!(pinned.flags(slot), flag::REMOVED);
    dataplane
        .apply(&desired(&[service(1, Rr, &[(1, 1), (2, 1)])]), &hop)
        .unwrap();
    let again = &dataplane.services().unwrap()[0].reals;
    assert!(
        again.iter().all(|reading| reading.slot != slot),
        "{again:?}"
    );
    // The walk under way may have passed some of them.
    let freed = walk(&mut dataplane, &mut now) + walk(&mut dataplane, &mut now);
    assert_eq!(freed, 50);
    assert_eq!(pinned.load(slot).conns, 0);
}

#[test]
fn a_load_that_was_left_too_high_is_mended_and_a_right_one_left_alone() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let (mut dataplane, pinned, slot) = one_real(&sandbox);
    let other = dataplane.services().unwrap()[0].reals[1].slot;
    let mut now = Instant::now();
    for port in 0..10 {
        assert!(pinned.connect(1, port, slot, State::Established, seconds_to_ticks(900)));
        assert!(pinned.connect(2, port, other, State::Established, seconds_to_ticks(900)));
    }
    walk(&mut dataplane, &mut now);
    // What a daemon leaves that is killed after taking two entries out and before counting them out.
    pinned.spoil_load(slot, 2 * (Load::ACTIVE + Load::ONE));
    for _ in 0..4 {
        walk(&mut dataplane, &mut now);
    }
    assert_eq!(
        (pinned.load(slot).active(), pinned.load(slot).total()),
        (10, 10)
    );
    assert_eq!(
        (pinned.load(other).active(), pinned.load(other).total()),
        (10, 10)
    );
}
