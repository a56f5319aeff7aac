//! Does `lbd --backend` keep a real server as it was prepared?

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::real::{SECOND, VIP, VIP6, can_tunnel, ipv6, one_real, same, shell, within};

#[test]
fn the_daemon_puts_back_within_a_second_what_somebody_resets() {
    let Some((_lan, real)) = one_real().filter(|_| can_tunnel()) else {
        return;
    };
    let before = real.state();
    real.done(&format!("prepare --vip {VIP} --method tun"));
    let mut daemon = real.kept();

    real.host.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    let took = within(SECOND, "arp_ignore to be put back", || {
        real.sysctl("net.ipv4.conf.all.arp_ignore") == "1"
    });
    println!("arp_ignore was back after {took:?}");
    let has_vip = || real.state().contains(&format!("inet {VIP}/32"));
    real.host.run(&format!("ip address del {VIP}/32 dev lo"));
    println!(
        "the VIP was back after {:?}",
        within(SECOND, "the VIP to be put back", has_vip)
    );
    real.host
        .call(|| shell("rm /sys/fs/bpf/lbd-backend/links/*"));
    within(SECOND, "the program to be put back", || {
        real.state().contains("prog/xdp")
    });
    // Another address of the interface is another end of tunnels.
    real.host.run("ip address add 10.0.0.12/24 dev eth0");
    within(SECOND, "tunnels to the new address", || {
        real.json("check")["findings"]
            .to_string()
            .contains("10.0.0.12")
    });
    real.host.run("ip address del 10.0.0.12/24 dev eth0");
    // What it cannot mend it says.
    real.host.run("ip link set eth0 down");
    within(SECOND, "word of the interface", || {
        daemon.said().contains("interface eth0 is down")
    });
    real.host.run("ip link set eth0 up");
    real.host
        .run("ip route add default via 10.0.0.254 dev eth0 proto dhcp src 10.0.0.11 metric 100");
    ipv6(&real.host);
    within(SECOND, "word of its return", || {
        daemon.said().contains("no longer so")
    });
    for line in [
        "net.ipv4.conf.all.arp_ignore was 0, and is 1 again",
        "192.0.2.80/32 on lo was absent, and is present again",
    ] {
        assert!(daemon.said().contains(line), "{}", daemon.said());
    }

    real.done("undo");
    daemon.ends();
    // The status after which its unit does not start it again.
    assert_eq!(daemon.child.wait().unwrap().code(), Some(10));
    fs::remove_file(real.path("lbd.log")).unwrap();
    same(&real.state(), &before, "afterwards");
}

#[test]
fn the_daemon_puts_back_what_is_of_ipv6() {
    let Some((_lan, real)) = one_real() else {
        return;
    };
    let before = real.state();
    for (role, reset, back) in [
        (
            format!("--vip {VIP6} --method dr"),
            format!("ip address del {VIP6}/128 dev lo"),
            "inet6 2001:db8::80/128 scope global",
        ),
        (
            "--method nat --gateway fd00::1".to_owned(),
            "ip route del default via fd00::1 dev eth0".to_owned(),
            "default via fd00::1 dev eth0 proto static metric 1 ",
        ),
    ] {
        real.done(&format!("prepare {role}"));
        let mut daemon = real.kept();
        let is_there = || real.state().contains(back);
        assert!(is_there(), "{}", real.state());
        real.host.run(&reset);
        let took = within(SECOND, "it to be put back", is_there);
        println!("{reset}: back after {took:?}");
        real.done("undo");
        daemon.ends();
        fs::remove_file(real.path("lbd.log")).unwrap();
        same(&real.state(), &before, &role);
    }
}

#[test]
fn the_daemon_leaves_everything_when_it_is_told_to_stop() {
    let Some((_lan, real)) = one_real() else {
        return;
    };
    real.done(&format!("prepare --vip {VIP} --method dr"));
    let mut daemon = real.kept();
    kill(Pid::from_raw(daemon.child.id() as i32), Signal::SIGTERM).unwrap();
    assert!(daemon.child.wait().unwrap().success());
    real.done("check");
    real.done("undo");

    let mut daemon = real.daemon();
    assert_eq!(daemon.child.wait().unwrap().code(), Some(1));
    assert!(daemon.said().contains("not prepared"), "{}", daemon.said());
}
