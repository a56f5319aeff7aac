//! Does a large director start, change and tell in time? A hundred services with a hundred real servers each, and a hundred
//! thousand connections.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lb_common::conn::State;
use lb_common::sched::Scheduler::{Rr, Wrr};
use lb_daemon::core::desired::{Desired, DesiredReal};
use lb_daemon::io::bpf::{Capacity, ConnectionFilter, Dataplane, Options};

use crate::sandbox::{Sandbox, desired, hop, service};
use crate::table::Pinned;

const SERVICES: u32 = 100;
const REALS: u32 = 100;
const CONNECTIONS: u32 = 100_000;

#[test]
fn a_large_director_starts_and_changes_in_time() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let options = Options {
        capacity: Capacity {
            connections: CONNECTIONS,
            reals: 2 * SERVICES * REALS,
            services: SERVICES,
        },
        ..sandbox.options()
    };
    let mut first = timed("start", 1000, || Dataplane::start(&options).unwrap());
    let mut wanted = large();
    timed("apply all", 5000, || first.apply(&wanted, &hop).unwrap());
    timed("apply nothing", 1000, || {
        assert_eq!(first.apply(&wanted, &hop).unwrap().writes, 0);
    });
    wanted.services[50].reals[50].weight = 7;
    timed("apply one weight", 1000, || {
        first.apply(&wanted, &hop).unwrap()
    });

    let pinned = Pinned::open(&options.pin_dir);
    // With two thirds of all places taken, a few find all of theirs taken.
    let recorded = timed("connect", 60_000, || {
        let one = |i| pinned.connect(i, 1, i % (SERVICES * REALS), State::Established, 10_000);
        (0..CONNECTIONS).filter(|i| one(*i)).count() as u64
    });
    assert!(recorded > u64::from(CONNECTIONS) * 999 / 1000, "{recorded}");
    let mut now = Instant::now();
    let mut longest = Duration::ZERO;
    timed("walk", 10_000, || {
        // The walk that is under way when the connections come does not count them all.
        let mut walks = 0;
        while walks < 2 {
            now += Duration::from_millis(100);
            let began = Instant::now();
            let did = first.maintain(now, Duration::from_millis(5)).unwrap();
            longest = longest.max(began.elapsed());
            walks += u32::from(did.walk_done);
        }
    });
    println!("{:>20} {longest:?}", "longest slice");
    assert_eq!(first.status().unwrap().connections.used, recorded);
    timed("read all", 1000, || {
        assert_eq!(first.services().unwrap().len(), SERVICES as usize);
    });
    drop(first);

    let mut second = timed("adopt", 1000, || Dataplane::start(&options).unwrap());
    timed("apply nothing", 1000, || {
        assert_eq!(second.apply(&wanted, &hop).unwrap().writes, 0);
    });
    let listed = timed("list", 5000, || {
        second
            .connections(ConnectionFilter::default())
            .unwrap()
            .count()
    });
    assert_eq!(listed as u64, recorded);
    println!(
        "{:>20} {} MiB",
        "memory",
        second.status().unwrap().memory >> 20
    );
}

fn large() -> Desired {
    let one = |i: u32| {
        let mut one = service(1, if i.is_multiple_of(2) { Rr } else { Wrr }, &[]);
        one.id.addr = Ipv4Addr::from(0xC633_0000 + i).into();
        one.reals = (0..REALS)
            .map(|r| DesiredReal {
                addr: Ipv4Addr::from(0x0A00_0000 + i * 256 + r).into(),
                weight: (r % 5) as u16 + 1,
                ..service(1, Rr, &[(1, 1)]).reals[0].clone()
            })
            .collect();
        one
    };
    desired(&(0..SERVICES).map(one).collect::<Vec<_>>())
}

/// How much longer everything may take in a build that is not optimised, beside other tests.
const SLOWER: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

fn timed<T>(what: &str, at_most: u64, run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = run();
    let took = began.elapsed();
    println!("{what:>20} {took:?}");
    assert!(
        took <= Duration::from_millis(at_most) * SLOWER,
        "{what} took longer than {at_most} ms times {SLOWER}"
    );
    result
}
