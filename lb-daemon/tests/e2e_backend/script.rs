//! Does the shell script what the command does?

use std::fs;
use std::process::Command;

use crate::netns::Lan;
use crate::real::{
    ADDRESS, Real, SCRIPT, SECOND, VIP, VIP6, one_real, ready, said, same, shell, within,
};

#[test]
fn the_script_sets_what_the_command_sets_and_undoes_it_as_well() {
    if !ready() {
        return;
    }
    for (role, strict) in [
        (format!("--vip {VIP} --vip 192.0.2.81 --method dr"), false),
        (format!("--vip {VIP} --method dr --interface eth1"), true),
        ("--method nat --gateway 10.0.0.1".to_owned(), false),
        (
            format!("--vip 2001:DB8::80 --vip {VIP} --vip 2001:db8::81 --method dr"),
            false,
        ),
        (format!("--vip {VIP6} --method dr --interface eth1"), false),
        (
            "--method nat --gateway fd00::1 --gateway 10.0.0.1".to_owned(),
            false,
        ),
    ] {
        let mut lan = Lan::new();
        let mut reals = [(); 2].map(|()| Real::new(&mut lan, ADDRESS));
        for real in &mut reals {
            real.host.run("ip link add eth1 type veth peer name far");
            for interface in ["eth1", "far"] {
                real.host
                    .run(&format!("ip link set dev {interface} addrgenmode none"));
            }
            real.host
                .run("ip link set eth1 address 02:00:00:00:00:01 up");
            real.host
                .run("ip link set far address 02:00:00:00:00:02 up");
            for interface in ["eth1", "far"] {
                within(5 * SECOND, "the routes of an interface", || {
                    let line = format!("ip -6 route show table local dev {interface}");
                    real.host.call(move || !shell(&line).is_empty())
                });
            }
            if strict {
                real.host.run("sysctl -qw net.ipv4.conf.all.rp_filter=1");
            }
        }
        let [command, script] = reals;
        let before = script.state();
        same(&script.network(), &command.network(), "two machines");
        assert_eq!(script.script(&format!("check {role}")).0, Some(1));
        command.done(&format!("prepare {role}"));
        let (status, said) = script.script(&format!("prepare {role}"));
        assert_eq!(status, Some(0), "{said}");
        same(&script.network(), &command.network(), &role);
        assert_eq!(strict, said.contains("eth1.rp_filter  0 → 2"), "{said}");
        // Each finds that the other has done well.
        script.done(&format!("check {role}"));
        for again in ["check".to_owned(), format!("prepare {role}")] {
            let (status, said) = script.script(&again);
            assert!(status == Some(0) && !said.contains('→'), "{said}");
        }
        assert_eq!(command.script(&format!("check {role}")).0, Some(0));
        let (status, said) = script.script("undo");
        assert_eq!(status, Some(0), "{said}");
        same(&script.state(), &before, &role);
        command.done("undo");
    }
}

#[test]
fn the_script_refuses_and_rolls_back_as_the_command_does() {
    let Some((_lan, real)) = one_real() else {
        return;
    };
    real.has_other_addresses();
    let before = real.state();
    for (line, status, says) in [
        (
            "prepare --vip 192.0.2.99 --method dr",
            1,
            "ip address del 192.0.2.99/32 dev eth0",
        ),
        (
            "prepare --vip 192.0.2.80 --method dr --interface eth7",
            1,
            "eth7 does not exist",
        ),
        (
            "prepare --vip 224.0.0.1 --method dr",
            1,
            "cannot be a virtual address",
        ),
        ("prepare --vip web --method dr", 1, "no address"),
        ("prepare --vip 192.0.2.300 --method dr", 1, "no address"),
        ("prepare --vip 2001:db8::g --method dr", 1, "no address"),
        (
            "prepare --vip FE80::1 --method dr",
            1,
            "cannot be a virtual address",
        ),
        (
            "prepare --vip 2001:db8::99 --method dr",
            1,
            "ip address del 2001:db8::99/128 dev eth0",
        ),
        (
            "prepare --method nat --gateway fd00:9::1",
            1,
            "no network of eth0",
        ),
        (
            "prepare --method nat --gateway fd00::1 --gateway fd00::2",
            2,
            "twice",
        ),
        ("prepare --method dr", 1, "--vip"),
        (
            "prepare --method nat --gateway 10.9.9.9",
            1,
            "no network of eth0",
        ),
        ("prepare --method foo", 2, "dr, tun or nat"),
        ("undo", 1, "not prepared"),
        ("check", 1, "not prepared"),
        ("frobnicate", 2, "what is frobnicate"),
    ] {
        let (code, said) = real.script(line);
        assert!(
            code == Some(status) && said.contains(says),
            "{line}: {code:?} {said}"
        );
    }
    same(&real.state(), &before, "refusals");
    fs::remove_dir(real.path("etc/sysctl.d")).unwrap();
    fs::write(real.path("etc/sysctl.d"), "").unwrap();
    let before = real.state();
    let (code, said) = real.script(&format!("prepare --vip {VIP} --method dr"));
    assert!(code != Some(0) && said.contains("half way"), "{said}");
    same(&real.state(), &before, "a failure half way");
}

#[test]
fn the_script_is_clean() {
    match Command::new("shellcheck").arg(SCRIPT).output() {
        Ok(output) => assert!(output.status.success(), "{}", said(&output)),
        Err(_) => println!("SKIP: shellcheck is not installed"),
    }
}
