//! Does `lbctl backend` set what it says, refuse what cannot be, and put everything back?

use std::fs;
use std::process::Command;

use nix::mount::{MsFlags, mount};

use crate::netns::Lan;
use crate::real::{ADDRESS, LBCTL, Real, VIP, VIP6, can_tunnel, one_real, ready, said, same};

#[test]
fn undo_leaves_the_machine_as_it_was_to_the_last_byte() {
    if !ready() || !can_tunnel() {
        return;
    }
    for (role, sets) in [
        (
            format!("--vip {VIP} --vip 192.0.2.81 --method dr"),
            "192.0.2.81/32 on lo  ",
        ),
        (format!("--vip {VIP} --method tun"), "absent → "),
        (
            format!("--vip {VIP6} --vip {VIP} --method tun"),
            "2001:db8::80/128 on lo  ",
        ),
        (
            "--method nat --gateway 10.0.0.1".to_owned(),
            "default via 10.0.0.254 dev eth0 src 10.0.0.11 metric 100 → default via 10.0.0.1",
        ),
        (
            format!("--vip {VIP6} --vip {VIP} --method dr"),
            "2001:db8::80/128 on lo  ",
        ),
        (
            "--method nat --gateway fd00::1 --gateway 10.0.0.1".to_owned(),
            "IPv6 default route  absent → default via fd00::1 dev eth0 metric 1",
        ),
    ] {
        let mut lan = Lan::new();
        let real = Real::new(&mut lan, ADDRESS);
        real.host.run("sysctl -qw net.ipv4.conf.all.rp_filter=1");
        let before = real.state();
        real.lbctl(&format!("check {role}"));
        let planned = real.done(&format!("prepare {role} --dry-run"));
        assert!(planned.contains(sets), "{planned}");
        same(&real.state(), &before, "a dry run");

        let said = real.done(&format!("prepare {role}"));
        assert!(said.contains(sets), "{said}");
        let prepared = real.state();
        assert!(prepared != before);
        real.done(&format!("check {role}"));
        real.done("check");

        // Again, and nothing is left to do.
        let again = real.json(&format!("prepare {role}"));
        assert_eq!(again["changes"], serde_json::json!([]), "{again}");
        assert_eq!(again["files"], serde_json::json!([]), "{again}");
        same(&real.state(), &prepared, "again");

        real.done("undo");
        same(&real.state(), &before, &role);
        let refusal = real.refused("undo");
        assert!(refusal.contains("not prepared") && refusal.contains("hint:"));
    }
}

#[test]
fn another_preparation_takes_back_what_it_does_not_need() {
    let Some((_lan, real)) = one_real().filter(|_| can_tunnel()) else {
        return;
    };
    let before = real.state();
    real.done(&format!(
        "prepare --vip {VIP} --vip 192.0.2.81 --method tun"
    ));
    let said = real.done(&format!("prepare --vip {VIP} --method dr"));
    assert!(
        said.contains("192.0.2.81/32 on lo  present → absent"),
        "{said}"
    );
    assert!(!real.state().contains("prog/xdp"), "the program is gone");
    real.done("undo");
    same(&real.state(), &before, "afterwards");
}

#[test]
fn what_is_in_the_way_is_refused_before_anything_is_changed() {
    let Some((_lan, real)) = one_real() else {
        return;
    };
    real.has_other_addresses();
    let before = real.state();
    for (role, says) in [
        (
            "--vip 2001:db8::99 --method dr",
            "ip address del 2001:db8::99/128 dev eth0",
        ),
        ("--vip fe80::80 --method dr", "link-local"),
        ("--method nat --gateway fd00:9::1", "no network of eth0"),
        (
            "--vip 192.0.2.99 --method dr",
            "ip address del 192.0.2.99/32 dev eth0",
        ),
        (
            "--vip 192.0.2.80 --method dr --interface eth7",
            "eth7 does not exist",
        ),
        ("--vip 224.0.0.1 --method dr", "multicast"),
        ("--method tun", "--vip"),
        ("--method nat --gateway 10.9.9.9", "no network of eth0"),
    ] {
        let said = real.refused(&format!("prepare {role}"));
        assert!(said.contains(says) && said.contains("hint:"), "{said}");
    }
    let output = real.lbctl("prepare --vip web.example --method dr");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let said_twice = real.refused("prepare --method nat --gateway fd00::1 --gateway fd00::2");
    assert!(said_twice.contains("twice"), "{said_twice}");
    real.host.run("sysctl -qw net.ipv6.conf.lo.disable_ipv6=1");
    let off = real.refused(&format!("prepare --vip {VIP6} --method dr"));
    assert!(
        off.contains("sysctl -w net.ipv6.conf.lo.disable_ipv6=0"),
        "{off}"
    );
    real.host.run("sysctl -qw net.ipv6.conf.lo.disable_ipv6=0");

    // As an ordinary user, and where /proc/sys is read-only as in a container.
    let line = format!("prepare --vip {VIP} --method dr");
    let state = real.path("state");
    let output = real.host.call(move || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", LBCTL, "backend"]);
        command.args("prepare --vip 192.0.2.80 --method dr --state-dir".split(' '));
        command.arg(state).output().unwrap()
    });
    assert!(said(&output).contains("only root"), "{}", said(&output));
    real.host.call(|| {
        let none = None::<&str>;
        mount(Some("/proc/sys"), "/proc/sys", none, MsFlags::MS_BIND, none).unwrap();
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(none, "/proc/sys", none, flags, none).unwrap();
    });
    let said = real.refused(&line);
    assert!(
        said.contains("arp_ignore cannot be written") && said.contains("container"),
        "{said}"
    );
    real.host.call(|| nix::mount::umount("/proc/sys").unwrap());

    same(&real.state(), &before, "afterwards");
    real.done(&line);
}

#[test]
fn a_failure_half_way_is_rolled_back() {
    let Some((_lan, real)) = one_real() else {
        return;
    };
    // The parameters' folder cannot be made, which is found out last.
    fs::remove_dir(real.path("etc/sysctl.d")).unwrap();
    fs::write(real.path("etc/sysctl.d"), "").unwrap();
    let before = real.state();
    let said = real.refused(&format!("prepare --vip {VIP} --vip {VIP6} --method dr"));
    assert!(
        said.contains("60-lbd-backend.conf") && said.contains("everything is again as it was"),
        "{said}"
    );
    same(&real.state(), &before, "afterwards");
    assert!(real.refused("check").contains("not prepared"));
}

#[test]
fn a_file_of_somebody_else_is_not_overwritten() {
    let Some((_lan, real)) = one_real() else {
        return;
    };
    let file = real.path("etc/sysctl.d/60-lbd-backend.conf");
    fs::write(&file, "net.ipv4.ip_forward = 1\n").unwrap();
    let said = real.refused(&format!("prepare --vip {VIP} --method dr"));
    assert!(said.contains("not from lbctl"), "{said}");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "net.ipv4.ip_forward = 1\n"
    );
    assert_eq!(real.sysctl("net.ipv4.conf.all.arp_ignore"), "0");
}
