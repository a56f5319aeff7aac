//! Beside keepalived: the shortest interval that there is, the owner of the addresses, and waiting before taking over.

use std::time::{Duration, Instant};

use lb_daemon::core::vrrp::State;
use nix::sys::signal::Signal;

use super::site::*;

/// Time enough for hundreds of advertisements.
const WHILE: Duration = Duration::from_secs(3);
/// How long somebody waits who takes over only then.
const DELAY: Duration = Duration::from_secs(2);

/// At ten milliseconds either side keeps the other a backup, and takes over within the time of its timers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_milliseconds_are_kept_by_either_side() {
    if skipped() {
        return;
    }
    let case = V3_QUICKEST;
    let site = Site::new(case);
    let theirs = site.start_master(150).await;
    let ours = site.start_ours(100, "").await;
    let heard = async || ours.report().await.heard;
    until("we hear keepalived", 10 * SECOND, async || {
        heard().await >= 10
    })
    .await;
    let before = heard().await;
    tokio::time::sleep(WHILE).await;
    let (report, most) = (ours.report().await, WHILE.as_millis() / 10);
    println!(
        "{} advertisements of keepalived heard in {WHILE:?}, of some {most}; master {} times meanwhile",
        report.heard - before,
        report.masterships
    );
    assert_eq!(report.rejects, []);
    // A busy machine keeps keepalived from speaking in time, and then we may be master for as long as it says nothing.
    assert!(u128::from(report.heard - before) > most / 20);
    until("we are a backup", SECOND, async || {
        ours.is(State::Backup).await
    })
    .await;

    theirs.signal(Signal::SIGSTOP);
    let took = ours.takes_over(case.master_down(100)).await;
    println!(
        "SIGSTOP of keepalived: master after {took:?}, at most {:?}",
        case.master_down(100)
    );
    drop(theirs);
    site.clean_theirs();

    let sent = ours.report().await.sent;
    let theirs = site.start_theirs(50, "");
    tokio::time::sleep(WHILE).await;
    let report = ours.report().await;
    println!("{} of ours sent in {WHILE:?}", report.sent - sent);
    assert!(u128::from(report.sent - sent) + most / 10 >= most);
    // Should the machine have kept keepalived from hearing us for so long, it has given way again.
    site.addresses_with(true, SECOND).await;
    ours.vrrp.stop();
    let took = site.addresses_with(false, case.skew(50) + SLACK).await;
    println!(
        "we stop: keepalived is master after {took:?}, at most {:?}",
        case.skew(50)
    );
    drop(theirs);
}

/// The owner of the addresses is master as soon as it is there, and nobody else while it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_is_master_at_once_on_either_side() {
    if skipped() {
        return;
    }
    let case = V3;
    let site = Site::new(case);
    let theirs = site.start_master(254).await;
    let ours = site.start_ours(255, "").await;
    let took = site.addresses_with(true, SECOND).await;
    println!("we own the addresses: master after {took:?}");
    ours.vrrp.stop();
    site.addresses_with(false, case.skew(254) + SLACK).await;
    theirs.stop();

    let ours = site.start_ours(254, "").await;
    site.addresses_with(true, SECOND + case.master_down(254))
        .await;
    let theirs = site.start_theirs(255, "");
    let took = site.addresses_with(false, 10 * SECOND).await;
    println!("keepalived owns the addresses: master after {took:?}");
    tokio::time::sleep(2 * case.master_down(254)).await;
    let report = ours.report().await;
    let seen = (report.state, report.masterships, report.master_priority);
    assert_eq!(seen, (State::Backup, 1, Some(255)));
    assert_eq!(report.rejects, []);
    theirs.stop();
    site.addresses_with(true, case.skew(254) + SLACK).await;
}

/// A higher priority that is to wait does so, on either side, and then takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_waits_before_it_takes_over_when_it_is_told_to() {
    if skipped() {
        return;
    }
    let case = V3;
    let site = Site::new(case);
    let theirs = site.start_master(100).await;
    let began = Instant::now();
    let ours = site
        .start_ours(150, &format!("preempt: {}s,", DELAY.as_secs()))
        .await;
    let most = DELAY + case.master_down(150) + SLACK;
    site.addresses_with(true, most).await;
    let took = began.elapsed();
    println!("we take over after {took:?}, told to wait {DELAY:?}");
    assert!(took >= DELAY, "too soon");
    theirs.stop();
    ours.vrrp.stop();

    let ours = site.start_ours(100, "").await;
    site.addresses_with(true, SECOND + case.master_down(100))
        .await;
    let began = Instant::now();
    let theirs = site.start_theirs(150, &format!("preempt_delay {}", DELAY.as_secs()));
    // It also has to start.
    site.addresses_with(false, most + 5 * SECOND).await;
    let took = began.elapsed();
    println!("keepalived takes over after {took:?}, told to wait {DELAY:?}");
    assert!(took >= DELAY, "too soon");
    assert_eq!(ours.report().await.rejects, []);
    drop(theirs);
}
