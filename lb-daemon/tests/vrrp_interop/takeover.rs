//! Who is master when one of the two dies, is stopped, loses its link or sleeps, and how soon?

use std::ops::Range;

use lb_daemon::core::vrrp::State;
use nix::sys::signal::Signal;

use super::keepalived::Keepalived;
use super::ours::Ours;
use super::site::*;

/// keepalived is master; it is killed, comes back and takes over, is stopped, sleeps.
async fn they_are_master(case: Case) {
    let site = Site::new(case);
    let theirs = site.start_master(150).await;
    let ours = site.start_ours(100, "").await;
    let hears = async || {
        let report = ours.report().await;
        assert_eq!(report.rejects, [], "{}", theirs.log());
        report.heard >= 3
    };
    until("we hear keepalived", 10 * SECOND, hears).await;
    let report = ours.report().await;
    assert_eq!(report.rejects, [], "{report:?}");
    assert_eq!(report.master, Some(site.addresses().1));
    assert!(ours.is(State::Backup).await);

    theirs.signal(Signal::SIGKILL);
    let took = ours.takes_over(case.master_down(100)).await;
    println!(
        "{case:?}\n  kill -9 of keepalived: master after {took:?}, at most {:?}",
        case.master_down(100)
    );
    // What was killed leaves its addresses behind; we say where they are now.
    site.clean_theirs();
    site.addresses_with(true, SECOND).await;
    site.client_comes_to(&site.ours).await;
    drop(theirs);

    let theirs = site.start_theirs(150, "");
    let took = site.addresses_with(false, 15 * SECOND).await;
    println!("  keepalived is back, and preempts: {took:?}");
    assert!(ours.is(State::Backup).await);
    site.client_comes_to(&site.theirs).await;

    theirs.signal(Signal::SIGSTOP);
    let took = ours.takes_over(case.master_down(100)).await;
    println!("  SIGSTOP of keepalived: master after {took:?}");
    theirs.signal(Signal::SIGCONT);
    let took = site.addresses_with(false, 10 * SECOND).await;
    println!("  SIGCONT: it is master again after {took:?}");

    let link_down_from = theirs.log().len();
    site.theirs.run("ip link set eth0 down");
    let took = ours.takes_over(case.master_down(100)).await;
    println!("  its link is down: master after {took:?}");
    site.theirs.run("ip link set eth0 up");
    if case.v6 {
        // The kernel has taken the address with the link.
        site.theirs
            .run(&format!("ip addr replace {THEIRS_V6}/64 dev eth0 nodad"));
    }
    let took = site.addresses_with(false, 15 * SECOND).await;
    println!("  its link is up: it is master again after {took:?}");
    let without_link = link_down_from..theirs.log().len();

    theirs.reload(site.plan_of_theirs(50, ""));
    let took = site.addresses_with(true, 15 * SECOND).await;
    println!("  its priority is lower after a reload: master after {took:?}");
    theirs.reload(site.plan_of_theirs(150, ""));
    site.addresses_with(false, 15 * SECOND).await;

    let log = theirs.log();
    theirs.stop();
    let took = ours.takes_over(case.skew(100)).await;
    println!(
        "  keepalived is stopped (priority 0): master after {took:?}, at most {:?}",
        case.skew(100)
    );
    site.addresses_with(true, SECOND).await;
    let report = ours.report().await;
    assert_eq!(report.rejects, [], "we reject nothing of theirs");
    no_complaint(&log, without_link);
}

/// We are master; we hand over, come back, change our priority, stop.
async fn we_are_master(case: Case) {
    let site = Site::new(case);
    let ours = site.start_ours(150, "").await;
    site.addresses_with(true, 10 * SECOND).await;
    let theirs = site.start_theirs(100, "");
    tokio::time::sleep(case.master_down(100)).await;
    assert!(ours.is(State::Master).await, "they keep quiet");
    assert_eq!(site.has_all(&site.theirs), Some(false));
    site.client_comes_to(&site.ours).await;

    let before = ours.vrrp.failover("VI_1").await.unwrap();
    assert_eq!(before, Some(State::Master));
    let took = site.addresses_with(false, case.skew(100) + SLACK).await;
    println!(
        "{case:?}\n  handed over by an operator: {took:?}, at most {:?}",
        case.skew(100)
    );
    tokio::time::sleep(case.master_down(150) + SLACK).await;
    assert!(
        ours.is(State::Backup).await,
        "whom an operator made give way does not come back by itself"
    );
    site.client_comes_to(&site.theirs).await;

    // Another interval would make it another virtual router; announcements do not.
    ours.configure(site.plan_of_ours(50, "preempt: false,"))
        .await;
    theirs.signal(Signal::SIGSTOP);
    ours.takes_over(case.master_down(50)).await;
    theirs.signal(Signal::SIGCONT);
    let took = site.addresses_with(false, 10 * SECOND).await;
    println!("  of a lower priority we yield when they wake: {took:?}");
    ours.configure(site.plan_of_ours(200, "preempt: false,"))
        .await;
    tokio::time::sleep(case.master_down(200) + SLACK).await;
    assert!(
        ours.is(State::Backup).await,
        "without preemption a higher priority waits"
    );
    ours.configure(site.plan_of_ours(200, "")).await;
    let took = site
        .addresses_with(true, case.master_down(200) + SLACK)
        .await;
    println!("  with it, it does not: {took:?}");

    site.ours.run("ip link set eth0 down");
    let took = until(
        "they take over",
        case.master_down(100) + SLACK,
        async || site.has_all(&site.theirs) == Some(true),
    )
    .await;
    println!("  our link is down: they are master after {took:?}");
    let fault = async || ours.is(State::Fault).await;
    until("we know that we are in fault", SECOND, fault).await;
    site.ours.run("ip link set eth0 up");
    if case.v6 {
        site.ours
            .run(&format!("ip addr replace {OURS_V6}/64 dev eth0 nodad"));
    }
    let took = site
        .addresses_with(true, case.master_down(200) + 3 * SECOND)
        .await;
    println!("  our link is up: master again after {took:?}");

    let vip = case.addresses()[0];
    site.ours.run(&format!("ip addr del {vip} dev eth0"));
    let took = site.addresses_with(true, SECOND).await;
    println!("  an address that somebody removed is back after {took:?}");

    let log = theirs.log();
    ours.vrrp.stop();
    let took = site.addresses_with(false, case.skew(100) + SLACK).await;
    println!(
        "  we stop (priority 0): they are master after {took:?}, at most {:?}",
        case.skew(100)
    );
    no_complaint(&log, 0..0);
}

/// Without preemption a higher priority of either side waits for as long as the other is master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_preemption_a_higher_priority_waits_on_either_side() {
    if skipped() {
        return;
    }
    let site = Site::new(V3);
    let ours = site.start_ours(100, "").await;
    site.addresses_with(true, 10 * SECOND).await;
    let theirs = site.start_theirs(150, "nopreempt");
    tokio::time::sleep(V3.master_down(100) + SECOND).await;
    assert!(ours.is(State::Master).await);
    assert_eq!(site.has_all(&site.theirs), Some(false));
    ours.vrrp.stop();
    site.addresses_with(false, SECOND).await;
    let ours = site.start_ours(200, "preempt: false,").await;
    tokio::time::sleep(V3.master_down(100) + SECOND).await;
    assert!(ours.is(State::Backup).await);
    assert_eq!(site.has_all(&site.theirs), Some(true));
    theirs.stop();
    site.addresses_with(true, SECOND).await;
}

/// Every number that there is, on one interface of each of two directors: all change hands together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_numbers_of_an_interface_are_handed_over_at_once() {
    if skipped() {
        return;
    }
    let site = Site::new(V3);
    let routers = |priority: u8| {
        let one = |n: u8| {
            format!(
                "{{name: VI_{n}, interface: eth0, virtual_router_id: {n}, version: 3, priority: {priority}, \
                 addresses: [10.6.0.{n}/32]}}"
            )
        };
        let all: Vec<String> = (1..=255).map(one).collect();
        format!("vrrp: [{}]\n", all.join(", "))
    };
    let in_state = async |of: &Ours, state| {
        let report = of.vrrp.report().await.unwrap();
        report.routers.iter().filter(|r| r.state == state).count()
    };
    let second = site.start_ours(100, "").await;
    second.configure_text(&routers(100)).await;
    until("the second is master of all", 20 * SECOND, async || {
        in_state(&second, State::Master).await == 255
    })
    .await;
    let first = Ours::start(&site.theirs, site.plan_of_a_second(150)).await;
    first.configure_text(&routers(150)).await;
    let preempted = async || {
        in_state(&first, State::Master).await == 255
            && in_state(&second, State::Backup).await == 255
    };
    let took = until("the first is master of all", 20 * SECOND, preempted).await;
    println!("255 virtual routers: preempted after {took:?}");
    let left = std::time::Instant::now();
    first.vrrp.stop();
    let all = async || in_state(&second, State::Master).await == 255;
    until("the second is master of all", 5 * SECOND, all).await;
    println!("handed over after {:?}", left.elapsed());
    let report = second.vrrp.report().await.unwrap();
    println!(
        "{} timers late, the worst by {:?}",
        report.late, report.latest
    );
}

/// keepalived says nothing against our advertisements. `without_link`: the bytes that it has logged while it had none.
pub(crate) fn no_complaint(log: &str, without_link: Range<usize>) {
    let complaints = [
        "invalid",
        "mismatch",
        "bogus",
        "unexpected",
        "different",
        "incorrect",
        "ignoring",
        "dropped",
        "wrong",
    ];
    let complains = |line: &&str| {
        complaints
            .iter()
            .any(|word| line.to_lowercase().contains(word))
    };
    let start = log.find("Startup complete").unwrap_or_default();
    let at = |line: &str| line.as_ptr().addr() - log.as_ptr().addr();
    // Not about our advertisements, but its own: it cannot send any while its link is down.
    let is_its_own =
        |line: &&str| without_link.contains(&at(line)) && line.contains("(Invalid argument)");
    let lines = log
        .lines()
        .filter(|line| at(line) >= start && !is_its_own(line));
    let found: Vec<&str> = lines.filter(complains).collect();
    assert_eq!(found, [""; 0], "keepalived complains");
}

macro_rules! with_each {
    ($($name:ident: $what:ident($case:ident);)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if skipped() {
                    return;
                }
                if !$case.signed || Keepalived::can_sign() {
                    $what($case).await;
                }
            }
        )+
    };
}

with_each! {
    they_are_master_of_version_2_with_a_password: they_are_master(V2);
    we_are_master_of_version_2_with_a_password: we_are_master(V2);
    they_are_master_of_version_2_by_unicast: they_are_master(V2_UNICAST);
    we_are_master_of_version_2_by_unicast: we_are_master(V2_UNICAST);
    they_are_master_of_version_3: they_are_master(V3);
    we_are_master_of_version_3: we_are_master(V3);
    they_are_master_of_version_3_by_unicast: they_are_master(V3_UNICAST);
    we_are_master_of_version_3_by_unicast: we_are_master(V3_UNICAST);
    they_are_master_of_version_3_with_ipv6: they_are_master(V3_IPV6);
    we_are_master_of_version_3_with_ipv6: we_are_master(V3_IPV6);
    they_are_master_of_version_3_with_ipv6_by_unicast: they_are_master(V3_IPV6_UNICAST);
    we_are_master_of_version_3_with_ipv6_by_unicast: we_are_master(V3_IPV6_UNICAST);
    they_are_master_and_version_2_is_signed: they_are_master(V2_SIGNED);
    we_are_master_and_version_2_is_signed: we_are_master(V2_SIGNED);
    they_are_master_and_version_3_is_signed: they_are_master(V3_SIGNED);
    we_are_master_and_version_3_is_signed: we_are_master(V3_SIGNED);
    they_are_master_and_unicast_is_signed: they_are_master(V3_UNICAST_SIGNED);
    we_are_master_and_unicast_is_signed: we_are_master(V3_UNICAST_SIGNED);
    they_are_master_and_ipv6_is_signed: they_are_master(V3_IPV6_SIGNED);
    we_are_master_and_ipv6_is_signed: we_are_master(V3_IPV6_SIGNED);
}
