//! Two directors and a client on one network: what they are told, and where the addresses are.

use std::future::Future;
use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use super::keepalived::{self, Keepalived};
use super::netns::{Host, Lan, eventually};
use super::ours::{self, Ours};

/// What both sides are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) version: u8,
    pub(crate) v6: bool,
    pub(crate) unicast: bool,
    pub(crate) password: Option<&'static str>,
    /// With keys, which keepalived has from 2.4 on.
    pub(crate) signed: bool,
    pub(crate) interval: Duration,
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const TENTH: Duration = Duration::from_millis(100);

/// Version 2 with a password, as most keepalived pairs run.
pub(crate) const V2: Case = Case {
    version: 2,
    v6: false,
    unicast: false,
    password: Some("1111"),
    signed: false,
    interval: SECOND,
};
pub(crate) const V2_UNICAST: Case = Case {
    unicast: true,
    ..V2
};
pub(crate) const V3: Case = Case {
    version: 3,
    password: None,
    interval: TENTH,
    ..V2
};
/// As quick as version 3 can be.
pub(crate) const V3_QUICKEST: Case = Case {
    interval: Duration::from_millis(10),
    ..V3
};
pub(crate) const V3_UNICAST: Case = Case {
    unicast: true,
    ..V3
};
pub(crate) const V3_IPV6: Case = Case { v6: true, ..V3 };
pub(crate) const V3_IPV6_UNICAST: Case = Case {
    unicast: true,
    ..V3_IPV6
};

pub(crate) const V2_SIGNED: Case = Case {
    password: None,
    signed: true,
    ..V2
};
pub(crate) const V3_SIGNED: Case = Case { signed: true, ..V3 };
pub(crate) const V3_UNICAST_SIGNED: Case = Case {
    signed: true,
    ..V3_UNICAST
};
pub(crate) const V3_IPV6_SIGNED: Case = Case {
    signed: true,
    ..V3_IPV6
};

impl Case {
    /// What signs where something signs.
    pub(crate) const KEY: &str =
        "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    pub(crate) fn addresses(&self) -> Vec<&'static str> {
        if self.v6 {
            vec!["fe80::80/64", "2001:db8::80/64"]
        } else {
            vec!["10.5.0.80/24", "10.5.0.81/24"]
        }
    }

    /// The address that clients use.
    pub(crate) fn vip(&self) -> &'static str {
        if self.v6 { "2001:db8::80" } else { "10.5.0.80" }
    }

    /// How long a master may be silent before one of this priority takes over.
    pub(crate) fn master_down(&self, priority: u8) -> Duration {
        3 * self.interval + self.skew(priority)
    }

    pub(crate) fn skew(&self, priority: u8) -> Duration {
        let unit = if self.version == 2 {
            SECOND
        } else {
            self.interval
        };
        unit * (256 - u32::from(priority)) / 256
    }
}

/// Two directors and a client on one network.
pub(crate) struct Site {
    pub(crate) case: Case,
    pub(crate) ours: Host,
    pub(crate) theirs: Host,
    pub(crate) client: Host,
    lan: Lan,
}

pub(crate) const OURS: &str = "10.5.0.1";
pub(crate) const THEIRS: &str = "10.5.0.2";
pub(crate) const OURS_V6: &str = "fe80::1";
pub(crate) const THEIRS_V6: &str = "fe80::2";

impl Site {
    pub(crate) fn new(case: Case) -> Self {
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
            lan,
        }
    }

    /// Two directors on one cable, and nobody else: what one sends costs nobody but the other.
    pub(crate) fn on_a_cable(case: Case) -> Self {
        let (ours, theirs) = (Host::new(), Host::new());
        ours.cable("eth0", &theirs, "eth0");
        for (host, addr) in [(&ours, OURS), (&theirs, THEIRS)] {
            host.run(&format!("ip addr add {addr}/24 dev eth0"));
        }
        Self {
            case,
            ours,
            theirs,
            client: Host::new(),
            lan: Lan::new(),
        }
    }

    /// Whether the switch reaches a MAC by our port, or by theirs; none where it knows neither.
    pub(crate) fn is_behind_us(&self, mac: &str) -> Option<bool> {
        let text = self.lan.switch.call(|| output("bridge fdb show br br0"));
        let line = text.lines().find(|line| line.starts_with(mac))?;
        let mut words = line.split_whitespace().skip_while(|word| *word != "dev");
        match words.nth(1)? {
            "p1" => Some(true),
            "p2" => Some(false),
            _ => None,
        }
    }

    pub(crate) fn addresses(&self) -> (IpAddr, IpAddr) {
        let (ours, theirs) = if self.case.v6 {
            (OURS_V6, THEIRS_V6)
        } else {
            (OURS, THEIRS)
        };
        (ours.parse().unwrap(), theirs.parse().unwrap())
    }

    pub(crate) async fn start_ours(&self, priority: u8, extra: &str) -> Ours {
        Ours::start(&self.ours, self.plan_of_ours(priority, extra)).await
    }

    pub(crate) fn plan_of_ours<'a>(&'a self, priority: u8, extra: &'a str) -> ours::Plan<'a> {
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
    pub(crate) fn plan_of_a_second(&self, priority: u8) -> ours::Plan<'_> {
        let (peer, own) = self.addresses();
        ours::Plan {
            own,
            peer,
            ..self.plan_of_ours(priority, "")
        }
    }

    pub(crate) fn start_theirs(&self, priority: u8, extra: &str) -> Keepalived {
        Keepalived::start(&self.theirs, self.plan_of_theirs(priority, extra))
    }

    /// Starts keepalived, and waits until it is master.
    pub(crate) async fn start_master(&self, priority: u8) -> Keepalived {
        let theirs = self.start_theirs(priority, "");
        self.addresses_with(false, 10 * SECOND).await;
        theirs
    }

    /// Takes from their host what keepalived has left behind; it has its own addresses again.
    pub(crate) fn clean_theirs(&self) {
        for line in [
            "ip addr flush dev eth0 scope global".to_owned(),
            format!("ip addr add {THEIRS}/24 dev eth0"),
            "ip -6 addr flush dev eth0".to_owned(),
            format!("ip addr add {THEIRS_V6}/64 dev eth0 nodad"),
        ] {
            self.theirs.run(&line);
        }
    }

    pub(crate) fn plan_of_theirs<'a>(
        &'a self,
        priority: u8,
        extra: &'a str,
    ) -> keepalived::Plan<'a> {
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
    pub(crate) fn has_all(&self, host: &Host) -> Option<bool> {
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
    pub(crate) async fn addresses_with(&self, us: bool, within: Duration) -> Duration {
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
    pub(crate) async fn client_comes_to(&self, host: &Host) {
        let reaches = || self.client_reaches(host).then_some(());
        eventually(
            "the client comes to where the address is",
            5 * SECOND,
            reaches,
        )
        .await;
    }

    /// Whether the client's packets for the virtual address reach us, or them.
    pub(crate) fn client_reaches(&self, host: &Host) -> bool {
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
pub(crate) fn output(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    String::from_utf8(command.args(words).output().unwrap().stdout).unwrap()
}

/// Waits until something holds, and says how long that took; the test stops at the deadline.
pub(crate) async fn until<F: Future<Output = bool>>(
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
pub(crate) const SLACK: Duration = Duration::from_millis(700);

pub(crate) fn skipped() -> bool {
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
