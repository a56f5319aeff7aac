//! Each judgement, on facts as they may be found.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::facts::*;
use super::{Check, Finding, Standing, clock, examine, is_well};
use crate::core::desired::{Method, Proto, XdpMode};
use crate::core::hop::{Mac, Reach, Via};
use crate::core::vrrp::{Auth, State, Version};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, last]).unwrap()
}

const NAT: &str = "10.0.0.13";

/// A director where all is well: a real server by each method, and a virtual router of which it is master.
fn well() -> Facts {
    let way = |last| Way {
        interface: "eth1".to_owned(),
        via: Via::OnLink,
        source: Some(ip("10.0.0.1")),
        mtu: 1_600,
        mac: Some(mac(last)),
        reach: Reach::Reachable,
        others: Vec::new(),
    };
    let host = |last: u8, path, returns| {
        let host = Host {
            way: Ok(way(last)),
            path,
            returns,
        };
        (ip(&format!("10.0.0.{last}")), host)
    };
    let real = |last: u8, method| Real {
        id: SocketAddr::new(ip(&format!("10.0.0.{last}")), 8_080),
        service: "web".to_owned(),
        vip: "192.0.2.80:80".parse().unwrap(),
        proto: Proto::Tcp,
        method,
        probe: Probe::Answered(Duration::from_millis(1)),
    };
    let interface = |name: &str| Interface {
        name: name.to_owned(),
        link: Some(Link {
            up: true,
            mtu: 1_500,
            driver: Some("ixgbe".to_owned()),
        }),
        wanted: XdpMode::Auto,
        programs: Ok(vec![Program {
            id: 7,
            name: "lb".to_owned(),
            native: true,
        }]),
        refused: None,
        offloads: Ok(Joins {
            lro: false,
            gro: true,
        }),
        rp_filter: Some(0),
    };
    Facts {
        machine: Machine {
            daemon: Ok(Daemon {
                alarms: Vec::new(),
                connections: 100,
                connections_max: 1_000,
                connections_set: 650,
            }),
            release: "6.12".to_owned(),
            kernel: Ok(()),
            capabilities: Ok(()),
            pin_dir: "/sys/fs/bpf/lbd".to_owned(),
            bpf_fs: true,
            jit: Some(true),
            forwarding: vec![Forwarding {
                parameter: "net.ipv4.ip_forward",
                on: true,
            }],
        },
        interfaces: vec![interface("eth0"), interface("eth1")],
        default_route: Some("eth0".to_owned()),
        vips: vec![Vip {
            addr: ip("192.0.2.80"),
            on: vec!["eth0".to_owned()],
            near: Vec::new(),
            duty: Duty::Router("VI_1".to_owned(), State::Master),
            answers: Ok(Vec::new()),
        }],
        hosts: [
            host(11, None, None),
            host(12, Some(Ok(Path::Full)), None),
            host(13, None, Some(Ok(true))),
        ]
        .into(),
        reals: vec![
            real(11, Method::Dr),
            real(12, Method::Tun),
            real(13, Method::Nat),
        ],
        routers: vec![Router {
            name: "VI_1".to_owned(),
            interface: "eth0".to_owned(),
            vrid: 51,
            version: Version::V2,
            auth: Auth::None,
            signs: false,
            addresses: vec![ip("192.0.2.80")],
            state: Some(State::Master),
        }],
        adverts: Ok(Vec::new()),
        listened: Duration::from_secs(2),
    }
}

impl Facts {
    fn host_at(&mut self, addr: &str) -> &mut Host {
        self.hosts.get_mut(&ip(addr)).unwrap()
    }

    fn way_to(&mut self, addr: &str) -> &mut Way {
        self.host_at(addr).way.as_mut().unwrap()
    }

    /// Leaves the virtual router, and its address, to another director.
    fn stand_by(&mut self) {
        self.routers[0].state = Some(State::Backup);
        self.vips[0].on.clear();
        self.vips[0].duty = Duty::Router("VI_1".to_owned(), State::Backup);
    }
}

fn lack() -> Lack {
    Lack {
        what: "it is missing".to_owned(),
        hint: "put it there".to_owned(),
    }
}

fn answer(last: u8, known_as: &[&str]) -> Answer {
    Answer {
        interface: "eth0".to_owned(),
        mac: mac(last),
        known_as: known_as.iter().map(|addr| ip(addr)).collect(),
    }
}

fn advert(change: impl FnOnce(&mut Says)) -> Advert {
    let mut says = Says {
        version: Version::V2,
        priority: 50,
        auth: Auth::None,
        addresses: vec![ip("192.0.2.80")],
    };
    change(&mut says);
    Advert {
        interface: "eth0".to_owned(),
        source: ip("192.0.2.2"),
        vrid: 51,
        says: Ok(says),
    }
}

#[test]
fn where_all_is_well_nothing_is_said_but_that() {
    let found = examine(&well());
    let not: Vec<&Finding> = found
        .iter()
        .filter(|f| f.standing != Standing::Good)
        .collect();
    assert!(not.is_empty(), "{not:#?}");
    assert!(is_well(&found));
    let silent = |check: &Check| *check != Check::Clock && !found.iter().any(|f| f.check == *check);
    let silent: Vec<Check> = Check::ALL.into_iter().filter(silent).collect();
    assert!(silent.is_empty(), "of these nothing is said: {silent:?}");
}

/// What to break, and what is then said: the check, how it stands, a part of what is said, and of the command.
type Case = (
    &'static str,
    fn(&mut Facts),
    Check,
    Standing,
    &'static str,
    &'static str,
);

#[test]
fn each_thing_that_is_wrong_is_the_only_one_and_has_a_command() {
    use Standing::{Advice, Bad};
    let cases: &[Case] = &[
        (
            "an alarm",
            |f| {
                f.machine
                    .daemon
                    .as_mut()
                    .unwrap()
                    .alarms
                    .push("the disk is full".to_owned());
            },
            Check::Daemon,
            Bad,
            "the disk is full",
            "lbctl status",
        ),
        (
            "a full table",
            |f| f.machine.daemon.as_mut().unwrap().connections = 800,
            Check::Connections,
            Bad,
            "800 of 1000 entries are in use, 80 %",
            "max: 1300",
        ),
        (
            "an old kernel",
            |f| f.machine.kernel = Err(lack()),
            Check::Kernel,
            Bad,
            "missing",
            "put it there",
        ),
        (
            "an interpreter",
            |f| f.machine.jit = Some(false),
            Check::Jit,
            Bad,
            "interpreted",
            "bpf_jit_enable=1",
        ),
        (
            "no right",
            |f| f.machine.capabilities = Err(lack()),
            Check::Capabilities,
            Bad,
            "missing",
            "put it",
        ),
        (
            "no bpffs",
            |f| f.machine.bpf_fs = false,
            Check::Bpffs,
            Bad,
            "/sys/fs/bpf/lbd",
            "mount -t bpf",
        ),
        (
            "no forwarding",
            |f| f.machine.forwarding[0].on = false,
            Check::Forwarding,
            Bad,
            "ip_forward = 0",
            "ip_forward=1",
        ),
        (
            "an interface that is gone",
            |f| f.interfaces[0].link = None,
            Check::Interface,
            Bad,
            "eth0 does not exist",
            "ip -br link",
        ),
        (
            "an interface that is down",
            |f| f.interfaces[0].link.as_mut().unwrap().up = false,
            Check::Interface,
            Bad,
            "eth0 is down",
            "ip link set eth0 up",
        ),
        (
            "no program",
            |f| f.interfaces[0].programs = Ok(Vec::new()),
            Check::Xdp,
            Bad,
            "does not run on eth0",
            "lbctl status",
        ),
        (
            "another program",
            |f| {
                f.interfaces[0].programs = Ok(vec![Program {
                    id: 9,
                    name: "xdp_drop".to_owned(),
                    native: true,
                }]);
            },
            Check::Xdp,
            Bad,
            "`xdp_drop`, id 9",
            "bpftool prog show id 9",
        ),
        (
            "generic for an MTU",
            |f| {
                f.interfaces[0].programs.as_mut().unwrap()[0].native = false;
                f.interfaces[0].offloads = Ok(Joins::default());
                f.interfaces[0].link.as_mut().unwrap().mtu = 9_000;
                // Or else full packets do not fit into the tunnel.
                f.way_to("10.0.0.12").mtu = 9_100;
            },
            Check::Xdp,
            Bad,
            "its MTU is 9000",
            "ip link set eth0 mtu 1500",
        ),
        (
            "generic, and refused",
            |f| {
                f.interfaces[0].programs.as_mut().unwrap()[0].native = false;
                f.interfaces[0].offloads = Ok(Joins::default());
                f.interfaces[0].refused = Some("Operation not supported".to_owned());
            },
            Check::Xdp,
            Advice,
            "ixgbe; the driver said: Operation not supported",
            "ethtool -i eth0",
        ),
        (
            "generic as told",
            |f| {
                f.interfaces[0].programs.as_mut().unwrap()[0].native = false;
                f.interfaces[0].offloads = Ok(Joins::default());
                f.interfaces[0].wanted = XdpMode::Generic;
            },
            Check::Xdp,
            Advice,
            "`mode: generic`",
            "mode: auto",
        ),
        (
            "LRO",
            |f| {
                f.interfaces[0].offloads = Ok(Joins {
                    lro: true,
                    gro: true,
                });
            },
            Check::Offloads,
            Bad,
            "large-receive-offload: on",
            "ethtool -K eth0 lro off",
        ),
        (
            "a strict filter",
            |f| f.interfaces[1].rp_filter = Some(1),
            Check::RpFilter,
            Bad,
            "net.ipv4.conf.eth1.rp_filter = 1",
            "net.ipv4.conf.eth1.rp_filter=2",
        ),
        (
            "a VIP taken off a master",
            |f| f.vips[0].on.clear(),
            Check::Vip,
            Bad,
            "somebody has taken the address away",
            "lbctl vrrp",
        ),
        (
            "a VIP that nobody has",
            |f| {
                f.vips[0].duty = Duty::Always;
                f.vips[0].on.clear();
                f.vips[0].near.push("eth0".to_owned());
            },
            Check::Vip,
            Bad,
            "is on no interface",
            "ip address add 192.0.2.80/32 dev eth0",
        ),
        (
            "a VIP that is routed",
            |f| {
                f.vips[0].duty = Duty::Always;
                f.vips[0].on.clear();
            },
            Check::Vip,
            Advice,
            "routers may lead to it",
            "dev lo",
        ),
        (
            "a VIP left on a backup",
            |f| {
                f.stand_by();
                f.vips[0].on.push("eth0".to_owned());
                f.vips[0].answers = Ok(vec![answer(2, &["192.0.2.2"])]);
            },
            Check::Vip,
            Bad,
            "virtual router VI_1 is backup",
            "ip address del 192.0.2.80/32 dev eth0",
        ),
        (
            "a real server that takes the VIP",
            |f| f.vips[0].answers = Ok(vec![answer(11, &["10.0.0.11"])]),
            Check::Arp,
            Bad,
            "real server 10.0.0.11 answers ARP for VIP 192.0.2.80",
            "on 10.0.0.11: lbctl backend prepare --vip 192.0.2.80 --method dr",
        ),
        (
            "a real server that takes a VIP of IPv6",
            |f| {
                f.vips[0].addr = "2001:db8::80".parse().unwrap();
                f.vips[0].answers = Ok(vec![answer(11, &["10.0.0.11"])]);
            },
            Check::Arp,
            Bad,
            "real server 10.0.0.11 answers neighbour discovery for VIP 2001:db8::80",
            "on 10.0.0.11: lbctl backend prepare --vip 2001:db8::80 --method dr",
        ),
        (
            "a kernel that does not forward IPv6",
            |f| {
                f.machine.forwarding.push(Forwarding {
                    parameter: "net.ipv6.conf.all.forwarding",
                    on: false,
                });
            },
            Check::Forwarding,
            Bad,
            "net.ipv6.conf.all.forwarding = 0",
            "sysctl -w net.ipv6.conf.all.forwarding=1",
        ),
        (
            "a tunnel's end that takes it",
            |f| f.vips[0].answers = Ok(vec![answer(12, &["10.0.0.12"])]),
            Check::Arp,
            Bad,
            "02:00:00:00:00:0c on eth0",
            "on 10.0.0.12: lbctl backend prepare --vip 192.0.2.80 --method tun",
        ),
        (
            "a stranger that takes it",
            |f| f.vips[0].answers = Ok(vec![answer(99, &[])]),
            Check::Arp,
            Bad,
            "02:00:00:00:00:63 on eth0, of which no other address is known",
            "take 192.0.2.80 off",
        ),
        (
            "two that answer for another's",
            |f| {
                f.stand_by();
                f.vips[0].answers = Ok(vec![answer(2, &["192.0.2.2"]), answer(3, &[])]);
            },
            Check::Arp,
            Bad,
            "2 stations answer",
            "lbctl vrrp",
        ),
        (
            "nobody that answers for another's",
            Facts::stand_by,
            Check::Arp,
            Bad,
            "nobody answers",
            "lbctl vrrp",
        ),
        (
            "no way",
            |f| {
                f.host_at("10.0.0.11").way = Err("no route: Network is unreachable".to_owned());
            },
            Check::Neighbour,
            Bad,
            "Network is unreachable",
            "ip route get 10.0.0.11",
        ),
        (
            "a silent neighbour",
            |f| {
                f.way_to("10.0.0.11").reach = Reach::Failed;
            },
            Check::Neighbour,
            Bad,
            "it was at 02:00:00:00:00:0b before",
            "ip neigh show 10.0.0.11",
        ),
        (
            "an address that two have",
            |f| {
                f.way_to("10.0.0.11").others.push(mac(44));
            },
            Check::Neighbour,
            Bad,
            "02:00:00:00:00:2c too",
            "ip neigh show",
        ),
        (
            "dr through a router",
            |f| {
                f.way_to("10.0.0.11").via = Via::Gateway(ip("10.0.0.254"));
            },
            Check::OnLink,
            Bad,
            "by 10.0.0.254 on eth1",
            "method: tun",
        ),
        (
            "a narrow way",
            |f| f.host_at("10.0.0.12").path = Some(Ok(Path::UpTo(1_400))),
            Check::TunnelMtu,
            Bad,
            "1400 bytes arrive and 1600 do not",
            "ip route add 10.0.0.12 dev eth1 mtu 1400",
        ),
        (
            "a tunnel that is as wide as what goes in",
            |f| {
                f.way_to("10.0.0.12").mtu = 1_500;
            },
            Check::TunnelMtu,
            Advice,
            "which leaves 1480; clients may send 1500",
            "mtu 1520",
        ),
        (
            "a real server without the VIP",
            |f| f.reals[0].probe = Probe::Failed("no answer within 1s".to_owned()),
            Check::Probe,
            Bad,
            "a packet to 192.0.2.80:80 by dr: no answer",
            "on 10.0.0.11: lbctl backend check --vip 192.0.2.80 --method dr",
        ),
        (
            "a server that does not listen",
            |f| f.reals[2].probe = Probe::Failed("cannot connect: connection refused".to_owned()),
            Check::Probe,
            Bad,
            "a packet to 10.0.0.13:8080",
            "on 10.0.0.13: ss -lntu 'sport = :8080'",
        ),
        (
            "replies that go elsewhere",
            |f| f.host_at(NAT).returns = Some(Ok(false)),
            Check::NatReturn,
            Bad,
            "do not come back by way of this director",
            "on 10.0.0.13: lbctl backend prepare --method nat --gateway 10.0.0.1",
        ),
        (
            "a number that is taken",
            |f| f.adverts = Ok(vec![advert(|s| s.addresses = vec![ip("192.0.2.99")])]),
            Check::Vrid,
            Bad,
            "192.0.2.2 uses number 51 of virtual router VI_1 for something else",
            "virtual_router_id",
        ),
        (
            "another version",
            |f| f.adverts = Ok(vec![advert(|s| s.version = Version::V3)]),
            Check::Vrid,
            Bad,
            "version 3, ours is 2",
            "same `version`",
        ),
        (
            "two masters",
            |f| f.adverts = Ok(vec![advert(|_| {})]),
            Check::Vrid,
            Bad,
            "has two masters",
            "protocol 112",
        ),
        (
            "an advert that makes no sense",
            |f| {
                let bad = Advert {
                    says: Err("its checksum is wrong".to_owned()),
                    ..advert(|_| {})
                };
                f.adverts = Ok(vec![bad]);
            },
            Check::Vrid,
            Bad,
            "its checksum is wrong",
            "virtual_router_id",
        ),
    ];
    for (name, break_it, check, standing, says, command) in cases {
        let mut facts = well();
        break_it(&mut facts);
        let found = examine(&facts);
        let not: Vec<&Finding> = found
            .iter()
            .filter(|f| matches!(f.standing, Standing::Bad | Standing::Advice))
            .collect();
        let [one] = not.as_slice() else {
            panic!("{name}: {not:#?}");
        };
        assert_eq!((one.check, one.standing), (*check, *standing), "{name}");
        let text = format!("{}; {}", one.what, one.evidence);
        assert!(text.contains(says), "{name}: {text}");
        assert!(
            one.consequence.as_ref().is_some_and(|c| !c.is_empty()),
            "{name}"
        );
        let hint = one.command.as_deref().unwrap_or_default();
        assert!(hint.contains(command), "{name}: {hint}");
        assert_eq!(is_well(&found), *standing != Bad, "{name}");
    }
}

#[test]
fn what_cannot_be_looked_at_is_no_reason_to_be_content_or_not() {
    let mut facts = well();
    facts.machine.daemon = Err("nobody answers".to_owned());
    facts.adverts = Err("no socket".to_owned());
    facts.vips[0].duty = Duty::Unknown("VI_1".to_owned());
    facts.reals[0].probe = Probe::NotSent("no network".to_owned());
    facts.interfaces[0].programs = Err("no right".to_owned());
    facts.host_at(NAT).returns = Some(Ok(false));
    facts.reals[2].probe = Probe::Failed("no answer".to_owned());
    let found = examine(&facts);
    let of = |standing| -> Vec<Check> {
        let its = found.iter().filter(|f| f.standing == standing);
        its.map(|f| f.check).collect()
    };
    assert_eq!(of(Standing::Bad), [Check::Daemon, Check::Probe]);
    assert_eq!(
        of(Standing::Unknown),
        [
            Check::Connections,
            Check::Xdp,
            Check::Vip,
            Check::Probe,
            Check::NatReturn,
            Check::Vrid
        ]
    );
}

#[test]
fn a_partner_and_a_master_that_was_heard_are_as_it_should_be() {
    let mut facts = well();
    facts.stand_by();
    facts.vips[0].answers = Ok(vec![answer(2, &["192.0.2.2"])]);
    let other = Advert {
        vrid: 77,
        ..advert(|s| s.addresses = vec![ip("192.0.2.99")])
    };
    facts.adverts = Ok(vec![advert(|_| {}), other]);
    assert!(is_well(&examine(&facts)));
}

#[test]
fn a_clock_that_drifts_matters_where_advertisements_are_signed() {
    let told = |synchronised, signs| {
        let clock_now = Clock {
            synchronised,
            error: Duration::from_millis(3),
        };
        clock(Ok(clock_now), signs).standing
    };
    assert_eq!(told(true, true), Standing::Good);
    assert_eq!(told(false, true), Standing::Bad);
    assert_eq!(told(false, false), Standing::Advice);
    assert_eq!(
        clock(Err("EPERM".to_owned()), true).standing,
        Standing::Unknown
    );
}
