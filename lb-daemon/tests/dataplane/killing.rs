//! A daemon that is killed, with SIGKILL and at any moment, leaves what the next one can go on with.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lb_common::sched::Scheduler::{Rr, Wrr};
use lb_daemon::core::desired::Desired;

use crate::running::xdp_on;
use crate::sandbox::{Sandbox, desired, hop, service};

const CHILD: &str = "LB_TEST_CHILD";

fn even() -> Desired {
    desired(&[
        service(1, Wrr, &[(1, 3), (2, 1)]),
        service(2, Rr, &[(3, 1)]),
    ])
}

fn odd() -> Desired {
    desired(&[
        service(1, Rr, &[(2, 1), (4, 1)]),
        service(3, Wrr, &[(5, 2), (3, 1)]),
    ])
}

/// Not a test by itself: what the killed process does. It starts as a daemon does, and changes everything again and again.
#[test]
fn child_that_is_killed() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let sandbox = Sandbox {
        pin_dir: "/sys/fs/bpf/lbd".into(),
    };
    let mut dataplane = sandbox.start();
    loop {
        for wanted in [even(), odd()] {
            dataplane.apply(&wanted, &hop).unwrap();
            dataplane
                .maintain(Instant::now(), Duration::from_millis(1))
                .unwrap();
        }
    }
}

#[test]
fn the_next_daemon_goes_on_after_a_kill_at_any_moment() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let attached = sandbox.start().status().unwrap().interfaces.len();
    for round in 0..20_u64 {
        kill_after(Duration::from_millis(20 + 37 * round % 700));
        assert!(
            xdp_on("lb0").is_some() && xdp_on("lb1").is_some(),
            "the program is gone"
        );
        let began = Instant::now();
        let mut dataplane = sandbox.start();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "adopting took {took:?}");
        assert!(dataplane.status().unwrap().adopted);
        assert_eq!(dataplane.status().unwrap().interfaces.len(), attached);
        let wanted = if round % 2 == 0 { even() } else { odd() };
        dataplane.apply(&wanted, &hop).unwrap();
        assert_eq!(dataplane.apply(&wanted, &hop).unwrap().writes, 0);
    }
    let mut dataplane = sandbox.start();
    let wanted = even();
    dataplane.apply(&wanted, &hop).unwrap();
    let (mut now, began) = (Instant::now(), Instant::now());
    while (
        dataplane.status().unwrap().reals,
        dataplane.status().unwrap().services,
    ) != (3, 2)
    {
        now += Duration::from_millis(500);
        dataplane.maintain(now, Duration::from_millis(5)).unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "slots are lost: {:?}",
            dataplane.status()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_kill_during_the_first_start_leaves_nothing_that_hinders_the_next() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    for round in 0..12 {
        kill_after(Duration::from_millis(10 + 25 * round));
        let mut dataplane = sandbox.start();
        dataplane.apply(&even(), &hop).unwrap();
        assert_eq!(dataplane.status().unwrap().interfaces.len(), 2);
        dataplane.detach().unwrap();
        assert!(!sandbox.pin_dir.exists());
    }
}

/// Runs the child in our namespaces and kills it.
fn kill_after(moment: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killing::child_that_is_killed", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(moment);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        status.signal(),
        Some(9),
        "the child ended by itself: {status}"
    );
}
