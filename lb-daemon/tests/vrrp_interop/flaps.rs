//! A link that goes up and down all the time: how often does the master change?

use std::time::Duration;

use lb_daemon::core::vrrp::State;

use super::ours::Ours;
use super::site::*;

/// So often the link goes down and up again, in ten seconds.
const FLAPS: u32 = 50;

/// The master's link flaps: the other takes over at once and keeps the part until the link has settled, with a delay that is asked
/// for and also by the timers alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_flaps_makes_the_master_change_once_there_and_once_back() {
    if skipped() {
        return;
    }
    for (debounce, delay) in [("", Duration::ZERO), ("debounce: {up: 1s},", SECOND)] {
        let site = Site::new(V3);
        let first = site.start_ours(150, debounce).await;
        site.addresses_with(true, 10 * SECOND).await;
        let second = Ours::start(&site.theirs, site.plan_of_a_second(100)).await;
        until("the second hears the first", 5 * SECOND, async || {
            second.report().await.heard >= 3
        })
        .await;
        for _ in 0..FLAPS {
            site.ours.run("ip link set eth0 down");
            tokio::time::sleep(TENTH).await;
            site.ours.run("ip link set eth0 up");
            tokio::time::sleep(TENTH).await;
        }
        let settled = site.addresses_with(false, SECOND).await;
        let times = async |of: &Ours| of.report().await.masterships;
        let times = (times(&first).await, times(&second).await);
        assert_eq!(times, (1, 1), "master, each so many times");
        let least = delay.saturating_sub(TENTH);
        let most = delay + V3.master_down(150) + SLACK;
        let back = site.addresses_with(true, most).await;
        println!(
            "{debounce}\n  {FLAPS} times down and up: the addresses were with the second alone {settled:?} after the last, and with \
             the first alone {back:?} later"
        );
        assert!(back >= least, "sooner than it was told");
        let report = first.report().await;
        assert_eq!((report.state, report.masterships), (State::Master, 2));
        assert_eq!(second.report().await.masterships, 1);
    }
}
