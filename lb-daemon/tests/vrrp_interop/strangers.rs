//! What can somebody do who sends what he likes: garbage, forgeries, claims, floods?

use lb_daemon::core::vrrp::State;

use super::flood::Flood;
use super::ours::Ours;
use super::site::*;
use super::{flood, garbage};

/// Every sort of garbage is counted by its reason, and changes nothing: neither a backup nor a master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_counted_by_reason_and_changes_no_state() {
    if skipped() {
        return;
    }
    let site = Site::new(V2);
    let theirs = site.start_master(150).await;
    let ours = site.start_ours(100, "").await;
    until("we hear keepalived", 10 * SECOND, async || {
        ours.report().await.heard >= 1
    })
    .await;
    let counted = async || {
        let report = ours.report().await;
        let mut counts: Vec<_> = report.rejects.iter().map(|(r, n)| (r.name(), *n)).collect();
        counts.sort_unstable();
        counts
    };
    let expected = garbage::send(&site.client, 1);
    until("each is counted once", 5 * SECOND, async || {
        counted().await == expected
    })
    .await;
    assert!(ours.is(State::Backup).await);

    theirs.stop();
    until("we are master", 5 * SECOND, async || {
        ours.is(State::Master).await
    })
    .await;
    garbage::send(&site.client, 1_000);
    let report = ours.report().await;
    assert_eq!((report.state, report.masterships), (State::Master, 1));
    println!("{:?}", counted().await);
}

/// Somebody who says that he has a virtual address does not get it for longer than a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_somebody_else_claims_is_defended() {
    if skipped() {
        return;
    }
    for case in [V3, V3_IPV6] {
        let site = Site::new(case);
        let ours = site.start_ours(150, "").await;
        site.addresses_with(true, 10 * SECOND).await;
        site.client_comes_to(&site.ours).await;
        let vip = case.vip();
        site.theirs.call(|| {
            for setting in ["ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify"] {
                std::fs::write(format!("/proc/sys/net/{setting}"), "1").unwrap();
            }
        });
        let (prefix, nodad) = if case.v6 { (64, "nodad") } else { (24, "") };
        site.theirs
            .run(&format!("ip addr add {vip}/{prefix} dev eth0 {nodad}"));
        // The kernel announces a new MAC, also when it is the old one.
        let claim = || {
            site.theirs
                .run("ip link set eth0 address 02:00:00:00:05:02");
        };
        until("the claim is noticed", 10 * SECOND, async || {
            claim();
            ours.report().await.claims > 0
        })
        .await;
        let report = ours.report().await;
        let by = report.claimed_by.map(|mac| mac.to_string());
        assert_eq!(by.as_deref(), Some("02:00:00:00:05:02"));
        site.theirs
            .run(&format!("ip addr del {vip}/{prefix} dev eth0"));
        site.client_comes_to(&site.ours).await;
        assert_eq!(ours.report().await.masterships, 1);
    }
}

/// However much garbage comes, from whomever it pretends to come, a backup hears its master; and each packet is counted, by
/// its reason or as one that came too fast to be looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_displaces_what_the_master_says() {
    if skipped() {
        return;
    }
    // On one cable: a switch would be busier than we are. keepalived itself says nothing any more while it is flooded, for it
    // has to log each packet.
    let site = Site::on_a_cable(V3);
    let theirs = Ours::start(&site.theirs, site.plan_of_a_second(150)).await;
    site.addresses_with(false, 10 * SECOND).await;
    let ours = site.start_ours(100, "").await;
    until("we hear the master", 10 * SECOND, async || {
        ours.report().await.heard >= 3
    })
    .await;
    let counted = async || {
        let report = ours.vrrp.report().await.unwrap();
        let rejects = report.routers[0].rejects.iter().map(|(_, n)| n).sum();
        (rejects, report.unread)
    };
    let stranger = "10.5.0.9".parse().unwrap();
    let master = THEIRS.parse().unwrap();
    for (source, looks_right) in [(stranger, false), (stranger, true), (master, true)] {
        for rate in [None, Some(100_000)] {
            let flood = Flood {
                source,
                looks_right,
                rate,
                lasts: 3 * SECOND,
            };
            let before: (u64, _) = counted().await;
            let before_it = flood::times_of_threads();
            let heard = ours.report().await.heard;
            let said = theirs.report().await.sent;
            let sent = flood.send(&site.theirs);
            let sent = tokio::task::spawn_blocking(move || sent.recv().unwrap());
            let sent = sent.await.unwrap();
            assert!(sent > 10_000, "{sent} packets are no flood");
            let ran = flood::ran_since(&before_it);
            let after = counted().await;
            let unread = after.1.others - before.1.others;
            let of_master = after.1.masters - before.1.masters;
            let report = ours.report().await;
            let percent = 100.0 * ran.as_secs_f64() / flood.lasts.as_secs_f64();
            println!(
                "{flood:?}: {:.0} a second, {sent} sent, {} looked at, {unread} and {of_master} as of the master unread, {} of the \
                 {} of the master heard, {percent:.1} % of a CPU for VRRP threads, the master's among them",
                sent as f64 / flood.lasts.as_secs_f64(),
                after.0 - before.0,
                report.heard - heard,
                theirs.report().await.sent - said,
            );
            assert_eq!((report.state, report.masterships), (State::Backup, 0));
            let all = async || {
                let (rejects, unread) = counted().await;
                let unread = unread.others + unread.masters - before.1.others - before.1.masters;
                rejects - before.0 + unread == sent
            };
            until("all are counted", 2 * SECOND, all).await;
        }
    }
}
