//! A real server to try things on, and what is asked of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use crate::netns::{Host, Lan, eventually};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const VIP: &str = "192.0.2.80";
pub(crate) const VIP6: &str = "2001:db8::80";
pub(crate) const ADDRESS: &str = "10.0.0.11/24";
pub(crate) const LBCTL: &str = env!("CARGO_BIN_EXE_lbctl");
pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/backend-prep.sh");
pub(crate) const LBD: &str = env!("CARGO_BIN_EXE_lbd");

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
pub(crate) struct Real {
    pub(crate) host: Host,
    disk: tempfile::TempDir,
}

impl Real {
    pub(crate) fn new(lan: &mut Lan, address: &str) -> Self {
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

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.disk.path().join(path)
    }

    pub(crate) fn lbctl(&self, line: &str) -> Output {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (root, state) = (self.path(""), self.path("state"));
        self.host.call(move || {
            let mut command = Command::new(LBCTL);
            command.arg("backend").args(words).arg("--root").arg(root);
            command.arg("--state-dir").arg(state).output().unwrap()
        })
    }

    /// What it prints; it must succeed.
    pub(crate) fn done(&self, line: &str) -> String {
        let output = self.lbctl(line);
        assert!(output.status.success(), "{line}: {}", said(&output));
        said(&output)
    }

    /// What it says; it must fail.
    pub(crate) fn refused(&self, line: &str) -> String {
        let output = self.lbctl(line);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", said(&output));
        said(&output)
    }

    /// The same by the script; the exit status, and what it says.
    pub(crate) fn script(&self, line: &str) -> (Option<i32>, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (root, state) = (self.path(""), self.path("state"));
        self.host.call(move || {
            let mut command = Command::new(SCRIPT);
            command.args(words).env("BACKEND_PREP_ROOT", root);
            let output = command.env("BACKEND_PREP_STATE", state).output().unwrap();
            (output.status.code(), said(&output))
        })
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_slice(&self.lbctl(&format!("{line} --json")).stdout).unwrap()
    }

    /// Everything that a preparation could change, to the last byte.
    pub(crate) fn state(&self) -> String {
        let disk = format!("cd {} && find . | sort", self.path("").display());
        let more = ["ip -details address show", &disk, "find /sys/fs/bpf | sort"];
        self.host.call({
            let more = more.map(str::to_owned);
            move || NETWORK.map(shell).concat() + &more.map(|line| shell(&line)).concat()
        })
    }

    /// What of it is the same on another machine.
    pub(crate) fn network(&self) -> String {
        self.host.call(|| NETWORK.map(shell).concat())
    }

    pub(crate) fn daemon(&self) -> Daemon {
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

    /// The daemon, which has begun.
    pub(crate) fn kept(&self) -> Daemon {
        let daemon = self.daemon();
        within(10 * SECOND, "the daemon to begin", || {
            daemon.said().contains("keeps this machine a real server")
        });
        daemon
    }

    /// Gives its interface addresses that are therefore no VIPs.
    pub(crate) fn has_other_addresses(&self) {
        self.host.run("ip address add 192.0.2.99/32 dev eth0");
        self.host
            .run("ip address add 2001:db8::99/128 dev eth0 nodad");
    }

    pub(crate) fn sysctl(&self, name: &str) -> String {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        self.host
            .call(move || fs::read_to_string(path).unwrap().trim().to_owned())
    }
}

/// Its addresses of IPv6, and a route that it has of a router. The kernel makes the routes of addresses by and by.
pub(crate) fn ipv6(host: &Host) {
    for address in ["fe80::11", "fd00::11"] {
        host.run(&format!("ip address add {address}/64 dev eth0 nodad"));
        within(5 * SECOND, "the route of an address", || {
            let line = format!("ip -6 route show table local {address}");
            host.call(move || !shell(&line).is_empty())
        });
    }
    host.run("ip route add default via fd00::254 dev eth0 proto ra metric 1024");
}

pub(crate) struct Daemon {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for its end, of itself.
    pub(crate) fn ends(&mut self) {
        within(2 * SECOND, "the daemon to end", || {
            self.child.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
    // ip(8) complains of namespaces that others are just making or removing.
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for a condition, and says how long it took.
pub(crate) fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let held = eventually(what, limit, || holds().then_some(()));
    runtime.block_on(held).1
}

/// Stops the test where two states differ, and says in what.
#[track_caller]
pub(crate) fn same(now: &str, before: &str, when: &str) {
    let only = |one: &str, other: &str, mark: char| -> String {
        let lines = one
            .lines()
            .filter(|line| !other.lines().any(|o| o == *line));
        lines.map(|line| format!("{mark} {line}\n")).collect()
    };
    let difference = only(before, now, '-') + &only(now, before, '+');
    assert!(now == before, "{when}:\n{difference}");
}

pub(crate) fn ready() -> bool {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIP: needs root");
        return false;
    }
    true
}

/// A network with one real server; `None` where there can be none.
pub(crate) fn one_real() -> Option<(Lan, Real)> {
    ready().then(|| {
        let mut lan = Lan::new();
        let real = Real::new(&mut lan, ADDRESS);
        (lan, real)
    })
}

pub(crate) fn can_tunnel() -> bool {
    let can = lb_daemon::io::bpf::is_built_in();
    if !can {
        println!("SKIP: built without the XDP program");
    }
    can
}
