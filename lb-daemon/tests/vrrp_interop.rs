//! Our director and keepalived's on one network, each as master and as backup, and what becomes of the addresses when one of
//! them dies, is stopped, loses its link or sleeps.
//!
//! Debian's keepalived (`--vrrp`) runs beside ours in network namespaces. Every takeover is timed and printed beside what
//! the timers allow.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

#[path = "vrrp_interop/flood.rs"]
mod flood;
#[path = "vrrp_interop/forgery.rs"]
mod forgery;
#[path = "vrrp_interop/garbage.rs"]
mod garbage;
#[path = "vrrp_interop/keepalived.rs"]
mod keepalived;
mod netns;
#[path = "vrrp_interop/ours.rs"]
mod ours;

use std::future::Future;
use std::net::{IpAddr, UdpSocket};
use std::ops::Range;
use std::process::Command;
use std::time::{Duration, Instant};

use flood::Flood;
use keepalived::Keepalived;
use lb_daemon::core::vrrp::State;
use netns::{Host, Lan, eventually};
use nix::sys::signal::Signal;
use ours::Ours;

/// What both sides are told.
#[derive(Clone, Copy, Debug)]
struct Case {
    version: u8,
    v6: bool,
    unicast: bool,
    password: Option<&'static str>,
    /// With keys, which keepalived has from 2.4 on.
    signed: bool,
    interval: Duration,
}

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

/// Version 2 with a password, as most keepalived pairs run.
const V2: Case = Case {
    version: 2,
    v6: false,
    unicast: false,
    password: Some("1111"),
    signed: false,
    interval: SECOND,
};
const V2_UNICAST: Case = Case {
    unicast: true,
    ..V2
};
const V3: Case = Case {
    version: 3,
    password: None,
    interval: TENTH,
    ..V2
};
const V3_UNICAST: Case = Case {
    unicast: true,
    ..V3
};
const V3_IPV6: Case = Case { v6: true, ..V3 };
const V3_IPV6_UNICAST: Case = Case {
    unicast: true,
    ..V3_IPV6
};

const V2_SIGNED: Case = Case {
    password: None,
    signed: true,
    ..V2
};
const V3_SIGNED: Case = Case { signed: true, ..V3 };
const V3_UNICAST_SIGNED: Case = Case {
    signed: true,
    ..V3_UNICAST
};
const V3_IPV6_SIGNED: Case = Case {
    signed: true,
    ..V3_IPV6
};

impl Case {
    /// What signs where something signs.
    const KEY: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn addresses(&self) -> Vec<&'static str> {
        if self.v6 {
            vec!["fe80::80/64", "2001:db8::80/64"]
        } else {
            vec!["10.5.0.80/24", "10.5.0.81/24"]
        }
    }

    /// The address that clients use.
    fn vip(&self) -> &'static str {
        if self.v6 { "2001:db8::80" } else { "10.5.0.80" }
    }

    /// How long a master may be silent before one of this priority takes over.
    fn master_down(&self, priority: u8) -> Duration {
        3 * self.interval + self.skew(priority)
    }

    fn skew(&self, priority: u8) -> Duration {
        let unit = if self.version == 2 {
            SECOND
        } else {
            self.interval
        };
        unit * (256 - u32::from(priority)) / 256
    }
}

/// Two directors and a client on one network.
struct Site {
    case: Case,
    ours: Host,
    theirs: Host,
    client: Host,
    _lan: Lan,
}

const OURS: &str = "10.5.0.1";
const THEIRS: &str = "10.5.0.2";
const OURS_V6: &str = "fe80::1";
const THEIRS_V6: &str = "fe80::2";

impl Site {
    fn new(case: Case) -> Self {
        let mut lan = Lan::new();
        let mut host = |v4: &str, v6: &str| {
            let host = lan.host(&format!("{v4}/24"));
            host.run(&format!("ip addr add {v6}/64 dev eth0 nodad"));
            host
        };
        Self {
            case,
            ours: host(OURS, OURS_V6),
            theirs: host(THEIRS, THEIRS_V6),
            client: host("10.5.0.9", "2001:db8::9"),
            _lan: lan,
        }
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        let (ours, theirs) = if self.case.v6 {
            (OURS_V6, THEIRS_V6)
        } else {
            (OURS, THEIRS)
        };
        (ours.parse().unwrap(), theirs.parse().unwrap())
    }

    async fn start_ours(&self, priority: u8, extra: &str) -> Ours {
        Ours::start(&self.ours, self.plan_of_ours(priority, extra)).await
    }

    fn plan_of_ours<'a>(&'a self, priority: u8, extra: &'a str) -> ours::Plan<'a> {
        let (own, peer) = self.addresses();
        ours::Plan {
            case: &self.case,
            priority,
            extra,
            own,
            peer,
        }
    }

    /// A second director of ours, in keepalived's place.
    fn plan_of_a_second(&self, priority: u8) -> ours::Plan<'_> {
        let (peer, own) = self.addresses();
        ours::Plan {
            own,
            peer,
            ..self.plan_of_ours(priority, "")
        }
    }

    fn start_theirs(&self, priority: u8, extra: &str) -> Keepalived {
        Keepalived::start(&self.theirs, self.plan_of_theirs(priority, extra))
    }

    fn plan_of_theirs<'a>(&'a self, priority: u8, extra: &'a str) -> keepalived::Plan<'a> {
        let (peer, own) = self.addresses();
        keepalived::Plan {
            case: &self.case,
            priority,
            extra,
            own,
            peer,
        }
    }

    /// Whether a host has the virtual addresses: all or none.
    fn has_all(&self, host: &Host) -> Option<bool> {
        let addresses = self.case.addresses();
        let there = host.call(move || {
            let text = output("ip addr show");
            let has = |a: &&&str| text.contains(&format!(" {a} "));
            (addresses.iter().filter(has).count(), addresses.len())
        });
        match there {
            (0, _) => Some(false),
            (n, all) if n == all => Some(true),
            _ => None,
        }
    }

    /// Waits until the addresses are with us, or with them, and nowhere else; how long that took.
    async fn addresses_with(&self, us: bool, within: Duration) -> Duration {
        until(
            "the addresses are where they should be",
            within,
            async || {
                let (ours, theirs) = (self.has_all(&self.ours), self.has_all(&self.theirs));
                (ours, theirs) == (Some(us), Some(!us))
            },
        )
        .await
    }

    /// Waits until the client's packets for the virtual address reach a host.
    async fn client_comes_to(&self, host: &Host) {
        let reaches = || self.client_reaches(host).then_some(());
        eventually(
            "the client comes to where the address is",
            5 * SECOND,
            reaches,
        )
        .await;
    }

    /// Whether the client's packets for the virtual address reach us, or them.
    fn client_reaches(&self, host: &Host) -> bool {
        let vip: IpAddr = self.case.vip().parse().unwrap();
        let links = host.call(|| output("ip -brief link show dev eth0"));
        let mac = links.split_whitespace().nth(2).unwrap().to_owned();
        self.client.call(move || {
            // Whoever is to get a datagram is looked for.
            let any = if vip.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any).unwrap();
            let _ = socket.send_to(b"?", (vip, 9));
            output(&format!("ip neigh show {vip}")).contains(&mac)
        })
    }
}

/// What a command prints, in the namespace of the calling thread.
fn output(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    String::from_utf8(command.args(words).output().unwrap().stdout).unwrap()
}

/// Waits until something holds, and says how long that took; the test stops at the deadline.
async fn until<F: Future<Output = bool>>(
    what: &str,
    within: Duration,
    mut holds: impl FnMut() -> F,
) -> Duration {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

/// What a busy machine may add to a timer.
const SLACK: Duration = Duration::from_millis(700);

fn skipped() -> bool {
    let reason = if nix::unistd::geteuid().is_root() {
        Keepalived::missing()
    } else {
        Some("only root may make namespaces")
    };
    if let Some(reason) = reason {
        println!("SKIP: {reason}");
    }
    reason.is_some()
}

/// keepalived is master; it is killed, comes back and takes over, is stopped, sleeps.
async fn they_are_master(case: Case) {
    let site = Site::new(case);
    let theirs = site.start_theirs(150, "");
    site.addresses_with(false, 10 * SECOND).await;
    let ours = site.start_ours(100, "").await;
    let hears = async || {
        let report = ours.report().await;
        assert_eq!(report.rejects, [], "{}", theirs.log());
        report.heard >= 3
    };
    until("we hear keepalived", 10 * SECOND, hears).await;
    let report = ours.report().await;
    assert_eq!(report.rejects, [], "{report:?}");
    assert_eq!(report.master, Some(site.addresses().1));
    assert!(ours.is(State::Backup).await);

    theirs.signal(Signal::SIGKILL);
    let became = async || ours.is(State::Master).await;
    let took = until("we take over", case.master_down(100) + SLACK, became).await;
    println!(
        "{case:?}\n  kill -9 of keepalived: master after {took:?}, at most {:?}",
        case.master_down(100)
    );
    // What was killed leaves its addresses behind; we say where they are now.
    site.theirs.run("ip addr flush dev eth0 scope global");
    site.theirs
        .run(&format!("ip addr add {THEIRS}/24 dev eth0"));
    site.theirs.run("ip -6 addr flush dev eth0");
    site.theirs
        .run(&format!("ip addr add {THEIRS_V6}/64 dev eth0 nodad"));
    site.addresses_with(true, SECOND).await;
    site.client_comes_to(&site.ours).await;
    drop(theirs);

    let theirs = site.start_theirs(150, "");
    let took = site.addresses_with(false, 15 * SECOND).await;
    println!("  keepalived is back, and preempts: {took:?}");
    assert!(ours.is(State::Backup).await);
    site.client_comes_to(&site.theirs).await;

    theirs.signal(Signal::SIGSTOP);
    let took = until("we take over", case.master_down(100) + SLACK, became).await;
    println!("  SIGSTOP of keepalived: master after {took:?}");
    theirs.signal(Signal::SIGCONT);
    let took = site.addresses_with(false, 10 * SECOND).await;
    println!("  SIGCONT: it is master again after {took:?}");

    let link_down_from = theirs.log().len();
    site.theirs.run("ip link set eth0 down");
    let took = until("we take over", case.master_down(100) + SLACK, became).await;
    println!("  its link is down: master after {took:?}");
    site.theirs.run("ip link set eth0 up");
    if case.v6 {
        // The kernel has taken the address with the link.
        site.theirs
            .run(&format!("ip addr replace {THEIRS_V6}/64 dev eth0 nodad"));
    }
    let took = site.addresses_with(false, 15 * SECOND).await;
    println!("  its link is up: it is master again after {took:?}");
    let without_link = link_down_from..theirs.log().len();

    theirs.reload(site.plan_of_theirs(50, ""));
    let took = site.addresses_with(true, 15 * SECOND).await;
    println!("  its priority is lower after a reload: master after {took:?}");
    theirs.reload(site.plan_of_theirs(150, ""));
    site.addresses_with(false, 15 * SECOND).await;

    let log = theirs.log();
    theirs.stop();
    let took = until("we take over", case.skew(100) + SLACK, became).await;
    println!(
        "  keepalived is stopped (priority 0): master after {took:?}, at most {:?}",
        case.skew(100)
    );
    site.addresses_with(true, SECOND).await;
    let report = ours.report().await;
    assert_eq!(report.rejects, [], "we reject nothing of theirs");
    no_complaint(&log, without_link);
}

/// We are master; we hand over, come back, change our priority, stop.
async fn we_are_master(case: Case) {
    let site = Site::new(case);
    let ours = site.start_ours(150, "").await;
    site.addresses_with(true, 10 * SECOND).await;
    let theirs = site.start_theirs(100, "");
    tokio::time::sleep(case.master_down(100)).await;
    assert!(ours.is(State::Master).await, "they keep quiet");
    assert_eq!(site.has_all(&site.theirs), Some(false));
    site.client_comes_to(&site.ours).await;

    let before = ours.vrrp.failover("VI_1").await.unwrap();
    assert_eq!(before, Some(State::Master));
    let took = site.addresses_with(false, case.skew(100) + SLACK).await;
    println!(
        "{case:?}\n  handed over by an operator: {took:?}, at most {:?}",
        case.skew(100)
    );
    tokio::time::sleep(case.master_down(150) + SLACK).await;
    assert!(
        ours.is(State::Backup).await,
        "whom an operator made give way does not come back by itself"
    );
    site.client_comes_to(&site.theirs).await;

    // Another interval would make it another virtual router; announcements do not.
    ours.configure(site.plan_of_ours(50, "preempt: false,"))
        .await;
    theirs.signal(Signal::SIGSTOP);
    let became = async || ours.is(State::Master).await;
    until("we take over", case.master_down(50) + SLACK, became).await;
    theirs.signal(Signal::SIGCONT);
    let took = site.addresses_with(false, 10 * SECOND).await;
    println!("  of a lower priority we yield when they wake: {took:?}");
    ours.configure(site.plan_of_ours(200, "preempt: false,"))
        .await;
    tokio::time::sleep(case.master_down(200) + SLACK).await;
    assert!(
        ours.is(State::Backup).await,
        "without preemption a higher priority waits"
    );
    ours.configure(site.plan_of_ours(200, "")).await;
    let took = site
        .addresses_with(true, case.master_down(200) + SLACK)
        .await;
    println!("  with it, it does not: {took:?}");

    site.ours.run("ip link set eth0 down");
    let took = until(
        "they take over",
        case.master_down(100) + SLACK,
        async || site.has_all(&site.theirs) == Some(true),
    )
    .await;
    println!("  our link is down: they are master after {took:?}");
    let fault = async || ours.is(State::Fault).await;
    until("we know that we are in fault", SECOND, fault).await;
    site.ours.run("ip link set eth0 up");
    if case.v6 {
        site.ours
            .run(&format!("ip addr replace {OURS_V6}/64 dev eth0 nodad"));
    }
    let took = site
        .addresses_with(true, case.master_down(200) + 3 * SECOND)
        .await;
    println!("  our link is up: master again after {took:?}");

    let vip = case.addresses()[0];
    site.ours.run(&format!("ip addr del {vip} dev eth0"));
    let took = site.addresses_with(true, SECOND).await;
    println!("  an address that somebody removed is back after {took:?}");

    let log = theirs.log();
    ours.vrrp.stop();
    let took = site.addresses_with(false, case.skew(100) + SLACK).await;
    println!(
        "  we stop (priority 0): they are master after {took:?}, at most {:?}",
        case.skew(100)
    );
    no_complaint(&log, 0..0);
}

/// keepalived says nothing against our advertisements. `without_link`: the bytes that it has logged while it had none.
fn no_complaint(log: &str, without_link: Range<usize>) {
    let complaints = [
        "invalid",
        "mismatch",
        "bogus",
        "unexpected",
        "different",
        "incorrect",
        "ignoring",
        "dropped",
        "wrong",
    ];
    let complains = |line: &&str| {
        complaints
            .iter()
            .any(|word| line.to_lowercase().contains(word))
    };
    let start = log.find("Startup complete").unwrap_or_default();
    let at = |line: &str| line.as_ptr().addr() - log.as_ptr().addr();
    // Not about our advertisements, but its own: it cannot send any while its link is down.
    let is_its_own =
        |line: &&str| without_link.contains(&at(line)) && line.contains("(Invalid argument)");
    let lines = log
        .lines()
        .filter(|line| at(line) >= start && !is_its_own(line));
    let found: Vec<&str> = lines.filter(complains).collect();
    assert_eq!(found, [""; 0], "keepalived complains");
}

macro_rules! with_each {
    ($($name:ident: $what:ident($case:ident);)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if skipped() {
                    return;
                }
                if $case.signed && !Keepalived::signs() {
                    println!("SKIP: this keepalived is older than 2.4 and signs nothing; `LB_KEEPALIVED` names another");
                    return;
                }
                $what($case).await;
            }
        )+
    };
}

with_each! {
    they_are_master_of_version_2_with_a_password: they_are_master(V2);
    we_are_master_of_version_2_with_a_password: we_are_master(V2);
    they_are_master_of_version_2_by_unicast: they_are_master(V2_UNICAST);
    we_are_master_of_version_2_by_unicast: we_are_master(V2_UNICAST);
    they_are_master_of_version_3: they_are_master(V3);
    we_are_master_of_version_3: we_are_master(V3);
    they_are_master_of_version_3_by_unicast: they_are_master(V3_UNICAST);
    we_are_master_of_version_3_by_unicast: we_are_master(V3_UNICAST);
    they_are_master_of_version_3_with_ipv6: they_are_master(V3_IPV6);
    we_are_master_of_version_3_with_ipv6: we_are_master(V3_IPV6);
    they_are_master_of_version_3_with_ipv6_by_unicast: they_are_master(V3_IPV6_UNICAST);
    we_are_master_of_version_3_with_ipv6_by_unicast: we_are_master(V3_IPV6_UNICAST);
    they_are_master_and_version_2_is_signed: they_are_master(V2_SIGNED);
    we_are_master_and_version_2_is_signed: we_are_master(V2_SIGNED);
    they_are_master_and_version_3_is_signed: they_are_master(V3_SIGNED);
    we_are_master_and_version_3_is_signed: we_are_master(V3_SIGNED);
    they_are_master_and_unicast_is_signed: they_are_master(V3_UNICAST_SIGNED);
    we_are_master_and_unicast_is_signed: we_are_master(V3_UNICAST_SIGNED);
    they_are_master_and_ipv6_is_signed: they_are_master(V3_IPV6_SIGNED);
    we_are_master_and_ipv6_is_signed: we_are_master(V3_IPV6_SIGNED);
}

/// Every sort of garbage is counted by its reason, and changes nothing: neither a backup nor a master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_counted_by_reason_and_changes_no_state() {
    if skipped() {
        return;
    }
    let site = Site::new(V2);
    let theirs = site.start_theirs(150, "");
    site.addresses_with(false, 10 * SECOND).await;
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

/// Signing is introduced, and the key changed, one director after the other, while nobody takes over; then neither forged nor
/// repeated advertisements are heeded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_is_introduced_without_a_takeover_and_then_keeps_strangers_out() {
    if skipped() {
        return;
    }
    let site = Site::new(V3);
    let first = Ours::start(&site.theirs, site.plan_of_a_second(150)).await;
    site.addresses_with(false, 10 * SECOND).await;
    let second = site.start_ours(100, "").await;
    let (old, new) = (
        "hex:".to_owned() + &"01".repeat(32),
        "hex:".to_owned() + &"02".repeat(32),
    );
    let keys = |active: u8, mode: &str| {
        format!(
            "auth: {{hmac: {{keys: [{{id: 1, key: \"{old}\"}}, {{id: 2, key: \"{new}\"}}], active: {active}, \
             mode: {mode}}}}}, "
        )
    };
    let steps = [
        String::new(),
        keys(1, "receive-only"),
        keys(1, "permissive"),
        keys(1, "enforce"),
        keys(2, "enforce"),
    ];
    for step in steps {
        for of_first in [true, false] {
            if of_first {
                let plan = site.plan_of_a_second(150);
                first
                    .configure(ours::Plan {
                        extra: &step,
                        ..plan
                    })
                    .await;
            } else {
                second.configure(site.plan_of_ours(100, &step)).await;
            }
            let heard = second.report().await.heard;
            until("the second hears the first", 2 * SECOND, async || {
                second.report().await.heard >= heard + 5
            })
            .await;
            let report = second.report().await;
            let seen = (report.state, report.masterships, report.rejects);
            assert_eq!(seen, (State::Backup, 0, vec![]), "{step}");
        }
    }

    forgery::try_all(&site.client, THEIRS.parse().unwrap());
    for director in [&second, &first] {
        until("each reason is counted", 2 * SECOND, async || {
            let report = director.report().await;
            let mut seen: Vec<_> = report.rejects.iter().map(|(r, n)| (r.name(), *n)).collect();
            seen.sort_unstable();
            let mut expected = vec![("auth_hmac", 1), ("auth_missing", 1)];
            // The kernel keeps from a director what comes from its own address.
            if director.is(State::Backup).await {
                expected.push(("auth_replay", 1_000));
            }
            seen == expected
        })
        .await;
    }
    assert_eq!(second.report().await.masterships, 0);
    assert_eq!(first.report().await.masterships, 1);
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
    let site = Site::new(V3);
    // keepalived itself says nothing any more while it is flooded, for it has to log each packet.
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
            let ran = flood::time_of_our_threads();
            let heard = ours.report().await.heard;
            let said = theirs.report().await.sent;
            let sent = flood.send(&site.client);
            let sent = tokio::task::spawn_blocking(move || sent.recv().unwrap());
            let sent = sent.await.unwrap();
            let ran = flood::time_of_our_threads() - ran;
            let after = counted().await;
            let unread = after.1.others - before.1.others;
            let of_master = after.1.masters - before.1.masters;
            let report = ours.report().await;
            let percent = 100.0 * ran.as_secs_f64() / flood.lasts.as_secs_f64();
            println!(
                "{flood:?}: {sent} sent, {} looked at, {unread} and {of_master} as of the master unread, {} of the \
                 {} of the master heard, {percent:.1} % of a CPU for us and the master",
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

/// What our advertisements look like to somebody else's dissector.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tshark_finds_no_error_in_our_advertisements() {
    if skipped() {
        return;
    }
    for case in [V2, V3, V3_IPV6] {
        let site = Site::new(case);
        let ours = site.start_ours(150, "").await;
        until("we are master", 10 * SECOND, async || {
            ours.is(State::Master).await
        })
        .await;
        let text = site.client.call(|| {
            let mut tshark = Command::new("tshark");
            tshark.args([
                "-i",
                "eth0",
                "-c",
                "3",
                "-a",
                "duration:20",
                "-V",
                "-f",
                "ip proto 112 or ip6 proto 112",
            ]);
            match tshark.output() {
                Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
                Err(_) => None,
            }
        });
        let Some(text) = text else {
            println!("SKIP: tshark is not installed; `cargo xtask setup` does");
            return;
        };
        assert!(
            text.contains("Virtual Router Redundancy Protocol"),
            "{text}"
        );
        for complaint in [
            "Malformed",
            "incorrect",
            "Expert Info (Error",
            "Expert Info (Warn",
            "[Bad",
        ] {
            assert!(!text.contains(complaint), "{complaint}: {text}");
        }
        assert!(
            text.contains("[correct]") || text.contains("Checksum Status: Good"),
            "{text}"
        );
    }
}
