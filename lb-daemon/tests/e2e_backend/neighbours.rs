//! Whom do neighbours find at the VIP?

use std::net::UdpSocket;

use crate::netns::{Host, Lan, run};
use crate::real::{ADDRESS, Real, SECOND, VIP, VIP6, ready, shell, within};

#[test]
fn a_real_server_without_preparation_takes_the_vip_from_the_director() {
    if !ready() {
        return;
    }
    let mut lan = Lan::new();
    let client = lan.host("10.0.0.9/24");
    client.run("ip route add 192.0.2.0/24 dev eth0");
    let real = Real::new(&mut lan, ADDRESS);
    let answers = || is_answered(&client, VIP);
    real.host.run(&format!("ip address add {VIP}/32 dev lo"));
    assert!(answers(), "ARP tells of addresses on lo");
    let check = real.refused(&format!("check --vip {VIP} --method dr"));
    assert!(
        check.contains("✗ net.ipv4.conf.all.arp_ignore: 0, must be 1"),
        "{check}"
    );
    assert!(
        check.contains("hint: sysctl -w net.ipv4.conf.all.arp_ignore=1"),
        "{check}"
    );
    real.done(&format!("prepare --vip {VIP} --method dr"));
    assert!(!answers(), "a prepared real server is silent");
    real.done("undo");
    assert!(answers());
}

#[test]
fn a_real_server_tells_no_neighbour_of_its_ipv6_vip() {
    if !ready() {
        return;
    }
    let mut lan = Lan::new();
    let client = lan.host("10.0.0.9/24");
    client.run("ip address add fd00::9/64 dev eth0 nodad");
    let real = Real::new(&mut lan, ADDRESS);
    client.run("ip route add 2001:db8::/64 dev eth0");
    let answers = || is_answered(&client, VIP6);
    let prepare = format!("prepare --vip {VIP6} --method dr");
    real.done(&prepare);
    real.done("check");
    assert!(!answers(), "an address on lo is nobody's neighbour");
    real.host.run("sysctl -qw net.ipv6.conf.all.forwarding=1");
    assert!(!answers(), "on a router neither");

    // It asks for its clients by its own address, also when the VIP answers them.
    let mac = real
        .host
        .call(|| shell("ip -oneline link show dev eth0 | sed 's/.*ether //;s/ .*//'"));
    let mac = mac.trim().to_owned();
    client.call(move || {
        run("ip neigh flush dev eth0");
        run(&format!("ip neigh replace fd00::11 lladdr {mac} dev eth0"));
        run("ip route replace 2001:db8::/64 via fd00::11 dev eth0");
    });
    real.host.run("ip neigh flush dev eth0");
    client.call(|| ask(VIP6));
    within(5 * SECOND, "the real server to ask for its client", || {
        real.host
            .call(|| shell("ip neigh show fd00::9").contains("lladdr"))
    });
    let known = client.call(|| shell(&format!("ip neigh show {VIP6}")));
    assert_eq!(known, "", "the VIP asked for its client");

    // Only who is told to speaks for others.
    real.host
        .run("sysctl -qw net.ipv6.conf.all.proxy_ndp=1 net.ipv6.conf.eth0.proxy_ndp=1");
    real.host
        .run(&format!("ip -6 neigh add proxy {VIP6} dev eth0"));
    client.run("ip route replace 2001:db8::/64 dev eth0");
    assert!(answers(), "a proxy answers");
    let hint = "ip -6 neigh del proxy 2001:db8::80 dev eth0";
    for line in ["check", &prepare] {
        let said = real.refused(line);
        assert!(said.contains(hint), "{said}");
    }
    let (status, said) = real.script(&prepare);
    assert!(status == Some(1) && said.contains("proxy"), "{said}");
}

/// Whether anybody tells a client of his MAC when it looks for the VIP, whose director is silent.
fn is_answered(client: &Host, vip: &'static str) -> bool {
    client.call(move || {
        run("ip neigh flush dev eth0");
        ask(vip);
        let mut entry = String::new();
        within(5 * SECOND, "an answer, or none", || {
            entry = shell(&format!("ip neigh show {vip}"));
            entry.contains("lladdr") || entry.contains("FAILED")
        });
        entry.contains("lladdr")
    })
}

/// Has this host send something to the VIP.
fn ask(vip: &str) {
    let socket = UdpSocket::bind("[::]:0").unwrap();
    socket.send_to(b"?", (vip, 9)).unwrap();
}
