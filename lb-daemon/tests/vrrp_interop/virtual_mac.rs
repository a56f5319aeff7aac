//! Are the addresses at the virtual MAC, whoever is master?

use lb_daemon::core::vrrp::State;
use nix::sys::signal::Signal;

use super::site::*;

const OURS: &str = "virtual_mac: true,";
const THEIRS: &str = "use_vmac";

/// The MAC by which the client reaches the virtual address.
fn mac_at_client(site: &Site) -> Option<String> {
    let vip = site.case.vip();
    site.client.call(move || {
        let text = output(&format!("ip neigh show {vip}"));
        let mut words = text.split_whitespace().skip_while(|w| *w != "lladdr");
        words.nth(1).map(str::to_owned)
    })
}

/// Waits until the client and the switch find the virtual MAC where it should be.
async fn clients_come_to(site: &Site, mac: &str, us: bool) {
    until(
        "the client knows the virtual MAC, and the switch where it is",
        5 * SECOND,
        async || {
            site.client_reaches(&site.ours);
            mac_at_client(site).as_deref() == Some(mac) && site.is_behind_us(mac) == Some(us)
        },
    )
    .await;
}

/// Whether our interface with the virtual MAC is switched on; none where there is none.
fn is_on(site: &Site, interface: &'static str) -> Option<bool> {
    let text = site
        .ours
        .call(move || output(&format!("ip -brief link show dev {interface}")));
    (!text.is_empty()).then(|| text.contains(",UP") || text.contains("<UP"))
}

/// Beside keepalived with `use_vmac`: clients keep the MAC through every change, and two masters with the same MAC hear
/// each other.
async fn beside_keepalived(case: Case, interface: &'static str, mac: &str) {
    if skipped() {
        return;
    }
    let site = Site::new(case);
    let ours = site.start_ours(100, OURS).await;
    site.addresses_with(true, 10 * SECOND).await;
    clients_come_to(&site, mac, true).await;
    assert_eq!(is_on(&site, interface), Some(true));
    // Whoever asks for the address is answered by the virtual MAC alone.
    site.client.run("ip neigh flush dev eth0");
    clients_come_to(&site, mac, true).await;

    let theirs = site.start_theirs(150, THEIRS);
    let took = site.addresses_with(false, 15 * SECOND).await;
    println!("{case:?} with virtual MACs\n  keepalived preempts after {took:?}");
    assert!(ours.is(State::Backup).await);
    assert_eq!(
        is_on(&site, interface),
        Some(false),
        "a backup takes nothing sent to that MAC"
    );
    assert_eq!(ours.report().await.rejects, [], "{}", theirs.log());
    clients_come_to(&site, mac, false).await;

    theirs.signal(Signal::SIGSTOP);
    let took = ours.takes_over(case.master_down(100)).await;
    println!("  SIGSTOP of keepalived: master after {took:?}");
    clients_come_to(&site, mac, true).await;
    // What it says then comes from a MAC that is one of ours, too.
    theirs.signal(Signal::SIGCONT);
    let took = site.addresses_with(false, 10 * SECOND).await;
    println!("  SIGCONT: it is master again after {took:?}");
    clients_come_to(&site, mac, false).await;

    theirs.stop();
    site.addresses_with(true, case.skew(100) + SLACK).await;
    clients_come_to(&site, mac, true).await;
    assert_eq!(ours.report().await.claims, 0, "the same MAC is nobody else");

    // Somebody removes the interface: it is made again, and serves.
    site.ours.run(&format!("ip link del {interface}"));
    site.addresses_with(true, 2 * SECOND).await;
    clients_come_to(&site, mac, true).await;
    ours.vrrp.stop();
    assert_eq!(is_on(&site, interface), None, "what was made is removed");
    let quiet = site.ours.call(|| {
        let read = |name| std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/eth0/{name}"));
        ["arp_ignore", "arp_announce"].map(|name| read(name).unwrap())
    });
    assert_eq!(
        quiet.map(|text| text.trim().to_owned()),
        ["0", "0"],
        "as it was before"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_virtual_mac_stays_through_every_change() {
    beside_keepalived(V3, "vrrp.51", "00:00:5e:00:01:33").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_virtual_mac_of_ipv6_stays_through_every_change() {
    beside_keepalived(V3_IPV6, "vrrp6.51", "00:00:5e:00:02:33").await;
}
