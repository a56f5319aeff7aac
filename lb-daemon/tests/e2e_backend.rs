//! `lbctl backend` and `lbd --backend` on real servers in namespaces.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

mod netns;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use netns::{Host, Lan, eventually, run};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);
const VIP: &str = "192.0.2.80";
const VIP6: &str = "2001:db8::80";
const ADDRESS: &str = "10.0.0.11/24";
const LBCTL: &str = env!("CARGO_BIN_EXE_lbctl");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/backend-prep.sh");
const LBD: &str = env!("CARGO_BIN_EXE_lbd");

/// What tells of the network.
const NETWORK: [&str; 6] = [
    "ip -4 -oneline address show",
    "ip -6 -oneline address show",
    // Routes of addresses come in any order.
    "ip route show table all | sort",
    "ip rule show",
    "grep -r . /proc/sys/net/ipv4/conf | sort",
    "grep -rs . /proc/sys/net/ipv6/conf | sort",
];

/// A real server with a router, a folder in the place of its disk, and a BPF file system of its own.
struct Real {
    host: Host,
    disk: tempfile::TempDir,
}

impl Real {
    fn new(lan: &mut Lan, address: &str) -> Self {
        let host = lan.host(address);
        host.call(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(
                Some("bpf"),
                "/sys/fs/bpf",
                Some("bpf"),
                MsFlags::empty(),
                none,
            )
            .unwrap();
        });
        host.run(
            "ip route add default via 10.0.0.254 dev eth0 proto dhcp src 10.0.0.11 metric 100",
        );
        // An address that comes of the MAC would tell one machine from another.
        host.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
        host.run("ip link set dev eth0 addrgenmode none");
        host.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0");
        ipv6(&host);
        let disk = tempfile::tempdir().unwrap();
        for folder in ["etc/sysctl.d", "etc/systemd/system/multi-user.target.wants"] {
            fs::create_dir_all(disk.path().join(folder)).unwrap();
        }
        Self { host, disk }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.disk.path().join(path)
    }

    fn lbctl(&self, line: &str) -> Output {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (root, state) = (self.path(""), self.path("state"));
        self.host.call(move || {
            let mut command = Command::new(LBCTL);
            command.arg("backend").args(words).arg("--root").arg(root);
            command.arg("--state-dir").arg(state).output().unwrap()
        })
    }

    /// What it prints; it must succeed.
    fn done(&self, line: &str) -> String {
        let output = self.lbctl(line);
        assert!(output.status.success(), "{line}: {}", said(&output));
        said(&output)
    }

    /// What it says; it must fail.
    fn refused(&self, line: &str) -> String {
        let output = self.lbctl(line);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", said(&output));
        said(&output)
    }

    /// The same by the script; the exit status, and what it says.
    fn script(&self, line: &str) -> (Option<i32>, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (root, state) = (self.path(""), self.path("state"));
        self.host.call(move || {
            let mut command = Command::new(SCRIPT);
            command.args(words).env("BACKEND_PREP_ROOT", root);
            let output = command.env("BACKEND_PREP_STATE", state).output().unwrap();
            (output.status.code(), said(&output))
        })
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_slice(&self.lbctl(&format!("{line} --json")).stdout).unwrap()
    }

    /// Everything that a preparation could change, to the last byte.
    fn state(&self) -> String {
        let disk = format!("cd {} && find . | sort", self.path("").display());
        let more = ["ip -details address show", &disk, "find /sys/fs/bpf | sort"];
        self.host.call({
            let more = more.map(str::to_owned);
            move || NETWORK.map(shell).concat() + &more.map(|line| shell(&line)).concat()
        })
    }

    /// What of it is the same on another machine.
    fn network(&self) -> String {
        self.host.call(|| NETWORK.map(shell).concat())
    }

    fn daemon(&self) -> Daemon {
        let log = self.path("lbd.log");
        let (state, file) = (self.path("state"), fs::File::create(&log).unwrap());
        let child = self.host.call(move || {
            let mut command = Command::new(LBD);
            command.arg("--backend").arg("--state-dir").arg(state);
            command.stdin(Stdio::null()).stderr(file);
            command.spawn().unwrap()
        });
        Daemon { child, log }
    }

    fn sysctl(&self, name: &str) -> String {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        self.host
            .call(move || fs::read_to_string(path).unwrap().trim().to_owned())
    }
}

/// Its addresses of IPv6, and a route that it has of a router. The kernel makes the routes of addresses by and by.
fn ipv6(host: &Host) {
    for address in ["fe80::11", "fd00::11"] {
        host.run(&format!("ip address add {address}/64 dev eth0 nodad"));
        within(5 * SECOND, "the route of an address", || {
            let line = format!("ip -6 route show table local {address}");
            host.call(move || !shell(&line).is_empty())
        });
    }
    host.run("ip route add default via fd00::254 dev eth0 proto ra metric 1024");
}

struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
    // ip(8) complains of namespaces that others are just making or removing.
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for a condition, and says how long it took.
fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let held = eventually(what, limit, || holds().then_some(()));
    runtime.block_on(held).1
}

/// Stops the test where two states differ, and says in what.
#[track_caller]
fn same(now: &str, before: &str, when: &str) {
    let only = |one: &str, other: &str, mark: char| -> String {
        let lines = one
            .lines()
            .filter(|line| !other.lines().any(|o| o == *line));
        lines.map(|line| format!("{mark} {line}\n")).collect()
    };
    let difference = only(before, now, '-') + &only(now, before, '+');
    assert!(now == before, "{when}:\n{difference}");
}

fn ready() -> bool {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIP: needs root");
        return false;
    }
    true
}

/// A network with one real server; `None` where there can be none.
fn one_real() -> Option<(Lan, Real)> {
    ready().then(|| {
        let mut lan = Lan::new();
        let real = Real::new(&mut lan, ADDRESS);
        (lan, real)
    })
}

/// Whether the running kernel has a module, built in or to be loaded.
fn has_module(name: &str) -> bool {
    let modprobe = Command::new("modprobe")
        .args(["--quiet", "--dry-run", name])
        .status();
    modprobe.is_ok_and(|status| status.success())
}

fn can_tunnel() -> bool {
    let can = lb_daemon::io::bpf::is_built_in();
    if !can {
        println!("SKIP: built without the XDP program");
    }
    can
}

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
fn a_real_server_without_preparation_takes_the_vip_from_the_director() {
    if !ready() {
        return;
    }
    let mut lan = Lan::new();
    let client = lan.host("10.0.0.9/24");
    client.run("ip route add 192.0.2.0/24 dev eth0");
    let real = Real::new(&mut lan, ADDRESS);
    // Whom the client asks for the VIP, when its director is silent.
    let answers = || {
        client.call(|| {
            run("ip neigh flush dev eth0");
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"?", (VIP, 9)).unwrap();
            let mut entry = String::new();
            within(5 * SECOND, "an answer, or none", || {
                entry = shell(&format!("ip neigh show {VIP}"));
                entry.contains("lladdr") || entry.contains("FAILED")
            });
            entry.contains("lladdr")
        })
    };
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
    let ask = || {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.send_to(b"?", (VIP6, 9)).unwrap();
    };
    // Whom the client asks for the VIP, when its director is silent.
    let answers = || {
        client.call(move || {
            run("ip route replace 2001:db8::/64 dev eth0");
            run("ip neigh flush dev eth0");
            ask();
            let mut entry = String::new();
            within(5 * SECOND, "an answer, or none", || {
                entry = shell(&format!("ip neigh show {VIP6}"));
                entry.contains("lladdr") || entry.contains("FAILED")
            });
            entry.contains("lladdr")
        })
    };
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
    client.call(ask);
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
    assert!(answers(), "a proxy answers");
    let hint = "ip -6 neigh del proxy 2001:db8::80 dev eth0";
    for line in ["check", &prepare] {
        let said = real.refused(line);
        assert!(said.contains(hint), "{said}");
    }
    let (status, said) = real.script(&prepare);
    assert!(status == Some(1) && said.contains("proxy"), "{said}");
}

#[test]
fn what_is_in_the_way_is_refused_before_anything_is_changed() {
    let Some((_lan, real)) = one_real() else {
        return;
    };
    real.host.run("ip address add 192.0.2.99/32 dev eth0");
    real.host
        .run("ip address add 2001:db8::99/128 dev eth0 nodad");
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
    if !has_module("ip6_tunnel") {
        let none = real.refused(&format!("prepare --vip {VIP6} --method tun"));
        assert!(
            none.contains("only IPv4") && none.contains("ip6_tunnel"),
            "{none}"
        );
    }
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

#[test]
fn the_daemon_puts_back_within_a_second_what_somebody_resets() {
    let Some((_lan, real)) = one_real().filter(|_| can_tunnel()) else {
        return;
    };
    let before = real.state();
    real.done(&format!("prepare --vip {VIP} --method tun"));
    let mut daemon = real.daemon();
    within(10 * SECOND, "the daemon to begin", || {
        daemon.said().contains("keeps this machine a real server")
    });

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
    within(2 * SECOND, "the daemon to end", || {
        daemon.child.try_wait().unwrap().is_some()
    });
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
        let mut daemon = real.daemon();
        within(10 * SECOND, "the daemon to begin", || {
            daemon.said().contains("keeps this machine a real server")
        });
        let is_there = || real.state().contains(back);
        assert!(is_there(), "{}", real.state());
        real.host.run(&reset);
        let took = within(SECOND, "it to be put back", is_there);
        println!("{reset}: back after {took:?}");
        real.done("undo");
        within(2 * SECOND, "the daemon to end", || {
            daemon.child.try_wait().unwrap().is_some()
        });
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
    let mut daemon = real.daemon();
    within(10 * SECOND, "the daemon to begin", || {
        daemon.said().contains("keeps this machine a real server")
    });
    kill(Pid::from_raw(daemon.child.id() as i32), Signal::SIGTERM).unwrap();
    assert!(daemon.child.wait().unwrap().success());
    real.done("check");
    real.done("undo");

    let mut daemon = real.daemon();
    assert_eq!(daemon.child.wait().unwrap().code(), Some(1));
    assert!(daemon.said().contains("not prepared"), "{}", daemon.said());
}

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
    real.host.run("ip address add 192.0.2.99/32 dev eth0");
    real.host
        .run("ip address add 2001:db8::99/128 dev eth0 nodad");
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

/// systemd understands the units, and nothing in them is wrong.
#[test]
fn the_units_are_clean() {
    let folder = tempfile::tempdir().unwrap();
    for unit in ["lbd.service", "lbd-backend.service"] {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../configs")
            .join(unit);
        let text = fs::read_to_string(shipped).unwrap();
        let path = folder.path().join(unit);
        let built = Path::new(LBD).parent().unwrap().display().to_string();
        fs::write(&path, text.replace("/usr/local/sbin", &built)).unwrap();
        let verify = Command::new("systemd-analyze")
            .arg("verify")
            .arg(path)
            .output();
        match verify {
            Ok(output) => assert!(
                output.status.success() && output.stderr.is_empty(),
                "{unit}: {}",
                said(&output)
            ),
            Err(_) => println!("SKIP: systemd-analyze is not installed"),
        }
    }
}

#[test]
fn the_script_is_clean() {
    match Command::new("shellcheck").arg(SCRIPT).output() {
        Ok(output) => assert!(output.status.success(), "{}", said(&output)),
        Err(_) => println!("SKIP: shellcheck is not installed"),
    }
}
