//! Machines as they are found, and what has to be done to each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::check::{Standing, check, is_ready};
use super::facts::{Address, DefaultRoute6, Interface};
use super::plan::{missing, prepare, remember, undo};
use super::setting::{Decap, DefaultRoute, Gateway6, Key, Sysctl, Tunnel, TunnelState};
use super::*;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 81));
const RIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const DIRECTOR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80));
const DIRECTOR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

fn role(method: Method) -> Role {
    Role {
        method,
        vips: vec![VIP],
        interface: "eth0".into(),
        gateways: vec![],
    }
}

/// A machine as Debian installs it, with a router at .254.
fn machine() -> Facts {
    let up = Interface {
        up: true,
        mtu: 1500,
    };
    let mut facts = Facts {
        interfaces: [("lo".to_owned(), up), ("eth0".to_owned(), up)].into(),
        addresses: vec![
            address("lo", "127.0.0.1/8"),
            address("eth0", "10.0.0.11/24"),
            address("eth0", "fd00::11/64"),
        ],
        default_routes: vec![DefaultRoute {
            protocol: 16,
            source: Some(RIP),
            ..DefaultRoute::by(Ipv4Addr::new(10, 0, 0, 254), "eth0", 100)
        }],
        default_routes6: vec![DefaultRoute6 {
            gateway: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
            interface: "eth0".into(),
            metric: 1024,
        }],
        tunnels: vec![Tunnel::Ip4, Tunnel::Ip6],
        can_decap: true,
        ..Facts::default()
    };
    for interface in ["all", "lo", "eth0"] {
        for key in Key::ALL {
            set(&mut facts, interface, key, "0");
        }
    }
    facts
}

fn address(interface: &str, net: &str) -> Address {
    Address {
        interface: interface.into(),
        net: net.parse().unwrap(),
    }
}

fn set(facts: &mut Facts, interface: &str, key: Key, value: &str) {
    facts
        .sysctls
        .insert(Sysctl::new(interface, key), value.into());
}

/// The machine after the changes.
fn after(mut facts: Facts, changes: &[Change]) -> Facts {
    for change in changes {
        assert_eq!(facts.now(&change.old), change.old, "as it was");
        match change.new.clone() {
            Setting::Sysctl {
                name,
                value: Some(value),
            } => {
                facts.sysctls.insert(name, value);
            }
            Setting::Sysctl { name, value: None } => {
                facts.sysctls.remove(&name);
            }
            Setting::Vip {
                address: vip,
                present,
            } => {
                facts.addresses.retain(|a| a.net.addr() != vip);
                if present {
                    facts.addresses.push(Address {
                        interface: "lo".into(),
                        net: vip.into(),
                    });
                }
            }
            Setting::Tunnel {
                device,
                state: TunnelState::Absent,
            } => {
                facts.interfaces.remove(device.device());
            }
            Setting::Tunnel { device, state } => {
                let up = state == TunnelState::Up;
                facts
                    .interfaces
                    .insert(device.device().into(), Interface { up, mtu: 1480 });
            }
            Setting::Decap { decap } => facts.decap = decap,
            Setting::DefaultRoute { route } => {
                facts.default_routes = route.into_iter().collect();
            }
            Setting::Gateway6 { route, present } => {
                let ours = DefaultRoute6 {
                    gateway: Some(route.gateway),
                    interface: route.interface,
                    metric: Gateway6::METRIC,
                };
                facts.default_routes6.retain(|route| *route != ours);
                facts.default_routes6.extend(present.then_some(ours));
            }
        }
    }
    facts
}

fn lines(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|c| format!("{}: {} → {}", c.new.item(), c.old.state(), c.new.state()))
        .collect()
}

#[test]
fn direct_routing_silences_arp_before_the_address_comes() {
    let changes = prepare(&role(Method::Dr), &machine(), &[]).unwrap();
    assert_eq!(
        lines(&changes),
        [
            "net.ipv4.conf.all.arp_ignore: 0 → 1",
            "net.ipv4.conf.eth0.arp_ignore: 0 → 1",
            "net.ipv4.conf.all.arp_announce: 0 → 2",
            "net.ipv4.conf.eth0.arp_announce: 0 → 2",
            "192.0.2.80/32 on lo: absent → present",
        ]
    );
}

/// Loose is not enough: it drops everything on an interface without an address.
#[test]
fn a_tunnel_takes_the_kernels_device_and_no_filter() {
    let mut facts = machine();
    set(&mut facts, "all", Key::RpFilter, "2");
    let changes = prepare(&role(Method::Tun), &facts, &[]).unwrap();
    assert_eq!(
        lines(&changes)[4..],
        [
            "tunl0: absent → up",
            "net.ipv4.conf.all.rp_filter: 2 → 0",
            "net.ipv4.conf.tunl0.rp_filter: absent → 0",
            "192.0.2.80/32 on lo: absent → present",
        ]
    );
}

#[test]
fn a_kernel_without_the_device_gets_the_program() {
    let facts = Facts {
        tunnels: vec![],
        ..machine()
    };
    let changes = prepare(&role(Method::Tun), &facts, &[]).unwrap();
    assert_eq!(
        changes[4].new,
        Setting::Decap {
            decap: Some(Decap {
                interface: "eth0".into(),
                addresses: vec![RIP.into()]
            })
        }
    );
    let none = Facts {
        can_decap: false,
        ..facts
    };
    assert_eq!(
        prepare(&role(Method::Tun), &none, &[]),
        Err(Refusal::NoTunnel(Tunnel::Ip4))
    );
}

#[test]
fn packets_may_come_in_where_replies_do_not_go_out() {
    let mut facts = machine();
    facts.default_routes[0].interface = "eth1".into();
    let loosened = |facts: &Facts| {
        let changes = prepare(&role(Method::Dr), facts, &[]).unwrap();
        lines(&changes).contains(&"net.ipv4.conf.eth0.rp_filter: 1 → 2".to_owned())
    };
    assert!(!loosened(&facts));
    set(&mut facts, "eth0", Key::RpFilter, "1");
    assert!(loosened(&facts));
    facts.default_routes[0].interface = "eth0".into();
    assert!(!loosened(&facts));
}

#[test]
fn nat_changes_the_route_only_when_asked_to() {
    assert_eq!(prepare(&role(Method::Nat), &machine(), &[]), Ok(vec![]));
    let asked = Role {
        gateways: vec![DIRECTOR],
        ..role(Method::Nat)
    };
    let changes = prepare(&asked, &machine(), &[]).unwrap();
    assert_eq!(
        lines(&changes),
        [
            "default route: default via 10.0.0.254 dev eth0 src 10.0.0.11 metric 100 → \
          default via 10.0.0.1 dev eth0 metric 100"
        ]
    );
    assert_eq!(
        prepare(&asked, &after(machine(), &changes), &[]),
        Ok(vec![])
    );
}

/// What is advertised is not taken away: it would come back.
#[test]
fn with_ipv6_the_way_back_is_a_route_before_all_others() {
    let asked = Role {
        gateways: vec![DIRECTOR6.into()],
        ..role(Method::Nat)
    };
    let changes = prepare(&asked, &machine(), &[]).unwrap();
    assert_eq!(
        lines(&changes),
        ["IPv6 default route: absent → default via fd00::1 dev eth0 metric 1"]
    );
    let mut there = machine();
    there.default_routes6[0].gateway = Some(DIRECTOR6);
    assert_eq!(prepare(&asked, &there, &[]), Ok(vec![]), "it is the best");
    there.default_routes6.push(DefaultRoute6 {
        metric: 100,
        ..machine().default_routes6[0].clone()
    });
    assert_eq!(
        prepare(&asked, &there, &[]),
        Ok(changes),
        "another is better"
    );
}

/// Linux answers neighbour solicitations only for addresses of the interface on which they come.
#[test]
fn with_ipv6_there_is_nothing_to_silence() {
    let vip6 = |method| Role {
        vips: vec![VIP6],
        ..role(method)
    };
    let changes = prepare(&vip6(Method::Dr), &machine(), &[]).unwrap();
    assert_eq!(
        lines(&changes),
        ["2001:db8::80/128 on lo: absent → present"]
    );
    assert_eq!(
        changes[0].new.command().unwrap(),
        "ip address add 2001:db8::80/128 dev lo nodad preferred_lft 0"
    );
    let changes = prepare(&vip6(Method::Tun), &machine(), &[]).unwrap();
    assert_eq!(
        lines(&changes),
        [
            "ip6tnl0: absent → up",
            "net.ipv6.conf.ip6tnl0.disable_ipv6: absent → 0",
            "2001:db8::80/128 on lo: absent → present",
        ]
    );
    let without = Facts {
        tunnels: vec![Tunnel::Ip4],
        ..machine()
    };
    assert_eq!(
        lines(&prepare(&vip6(Method::Tun), &without, &[]).unwrap())[0],
        "XDP program decap: absent → on eth0, tunnels to fd00::11"
    );
    let mut bare = without.clone();
    bare.addresses
        .retain(|address| address.net.addr().is_ipv4());
    assert_eq!(
        prepare(&vip6(Method::Tun), &bare, &[]),
        Err(Refusal::NoTunnelEnd("eth0".into(), Tunnel::Ip6))
    );
    bare.can_decap = false;
    assert_eq!(
        prepare(&vip6(Method::Tun), &bare, &[]),
        Err(Refusal::NoTunnel(Tunnel::Ip6))
    );
}

#[test]
fn every_preparation_is_idempotent_and_undone_to_the_last_detail() {
    for tunnels in [vec![Tunnel::Ip4, Tunnel::Ip6], vec![Tunnel::Ip6], vec![]] {
        for gateways in [vec![], vec![DIRECTOR], vec![DIRECTOR, DIRECTOR6.into()]] {
            for method in [Method::Dr, Method::Tun, Method::Nat] {
                let role = Role {
                    gateways: match method {
                        Method::Nat => gateways.clone(),
                        Method::Dr | Method::Tun => vec![],
                    },
                    vips: vec![VIP, VIP6],
                    ..role(method)
                };
                let mut facts = Facts {
                    tunnels: tunnels.clone(),
                    ..machine()
                };
                set(&mut facts, "all", Key::RpFilter, "1");
                set(&mut facts, "eth0", Key::ArpIgnore, "3");
                let changes = prepare(&role, &facts, &[]).unwrap();
                let before = remember(&[], &changes);
                let prepared = after(facts.clone(), &changes);
                assert_eq!(prepare(&role, &prepared, &before), Ok(vec![]));
                assert!(is_ready(&check(&role, &prepared)));
                assert_eq!(after(prepared.clone(), &undo(&before, &prepared)), facts);
            }
        }
    }
}

#[test]
fn another_role_takes_back_what_it_does_not_need() {
    let tun = Role {
        vips: vec![VIP, OTHER],
        ..role(Method::Tun)
    };
    let changes = prepare(&tun, &machine(), &[]).unwrap();
    let before = remember(&[], &changes);
    let prepared = after(machine(), &changes);

    let changes = prepare(&role(Method::Dr), &prepared, &before).unwrap();
    assert_eq!(
        lines(&changes),
        [
            "192.0.2.81/32 on lo: present → absent",
            "net.ipv4.conf.tunl0.rp_filter: 0 → absent",
            "tunl0: up → absent"
        ]
    );
    let before = remember(&before, &changes);
    let prepared = after(prepared, &changes);
    assert_eq!(before.len(), 5);
    assert_eq!(
        after(prepared.clone(), &undo(&before, &prepared)),
        machine()
    );
}

#[test]
fn what_was_there_before_is_not_taken_away() {
    let mut facts = machine();
    facts.addresses.push(address("lo", "192.0.2.80/32"));
    set(&mut facts, "all", Key::ArpIgnore, "2");
    set(&mut facts, "eth0", Key::ArpIgnore, "8");
    let changes = prepare(&role(Method::Dr), &facts, &[]).unwrap();
    assert_eq!(changes.len(), 2, "{:?}", lines(&changes));
    let before = remember(&[], &changes);
    let prepared = after(facts.clone(), &changes);
    assert_eq!(after(prepared.clone(), &undo(&before, &prepared)), facts);
}

#[test]
fn what_somebody_resets_is_missed() {
    let changes = prepare(&role(Method::Dr), &machine(), &[]).unwrap();
    let mut facts = after(machine(), &changes);
    assert_eq!(missing(&role(Method::Dr), &facts), []);
    set(&mut facts, "all", Key::ArpIgnore, "0");
    facts.addresses.retain(|a| a.net.addr() != VIP);
    assert_eq!(
        lines(&missing(&role(Method::Dr), &facts)),
        [
            "net.ipv4.conf.all.arp_ignore: 0 → 1",
            "192.0.2.80/32 on lo: absent → present"
        ]
    );
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_changed() {
    let with = |net: &str, interface: &str| {
        let mut facts = machine();
        facts.addresses.push(address(interface, net));
        facts
    };
    let gateway = |method, gateway| Role {
        gateways: vec![gateway],
        ..role(method)
    };
    let vip = |vip: [u8; 4]| Role {
        vips: vec![vip.into()],
        ..role(Method::Dr)
    };
    let vip6 = |vip: &str| Role {
        vips: vec![vip.parse().unwrap()],
        ..role(Method::Dr)
    };
    let off = |interface: &str| {
        let mut facts = machine();
        set(&mut facts, interface, Key::DisableIpv6, "1");
        facts
    };
    let mut without6 = machine();
    without6
        .sysctls
        .retain(|name, _| name.key != Key::DisableIpv6);
    let mut proxied = machine();
    proxied.proxies.push((VIP6, "eth0".into()));
    let mut first = machine();
    first.default_routes6[0].metric = 1;
    let mut down = machine();
    down.interfaces.get_mut("eth0").unwrap().up = false;
    let mut complex = machine();
    complex.default_routes[0].simple = false;
    for (role, facts, says) in [
        (
            Role {
                interface: "eth7".into(),
                ..role(Method::Dr)
            },
            machine(),
            "eth7 does not exist",
        ),
        (role(Method::Dr), down, "ip link set eth0 up"),
        (
            Role {
                vips: vec![],
                ..role(Method::Dr)
            },
            machine(),
            "--vip",
        ),
        (vip([224, 0, 0, 18]), machine(), "a multicast address"),
        (vip([127, 0, 0, 2]), machine(), "a loopback address"),
        (vip([0, 0, 0, 0]), machine(), "no address"),
        (vip([255, 255, 255, 255]), machine(), "broadcast"),
        (
            role(Method::Dr),
            with("192.0.2.80/24", "eth0"),
            "ip address del 192.0.2.80/24 dev eth0",
        ),
        (
            role(Method::Dr),
            with("192.0.2.80/24", "lo"),
            "all of that network",
        ),
        (
            role(Method::Nat),
            with("192.0.2.80/32", "lo"),
            "the director's alone",
        ),
        (
            gateway(Method::Dr, DIRECTOR),
            machine(),
            "leave --gateway out",
        ),
        (
            gateway(Method::Nat, Ipv4Addr::new(10, 0, 9, 1).into()),
            machine(),
            "on no network of eth0",
        ),
        (
            gateway(Method::Nat, RIP.into()),
            machine(),
            "an address of this machine",
        ),
        (
            gateway(Method::Nat, DIRECTOR),
            complex,
            "could not be put back",
        ),
        (vip6("ff02::1"), machine(), "a multicast address"),
        (vip6("fe80::1"), machine(), "a link-local address"),
        (vip6("::ffff:192.0.2.80"), machine(), "one of IPv4"),
        (vip6("2001:db8::80"), off("lo"), "switched off on lo"),
        (vip6("2001:db8::80"), off("eth0"), "switched off on eth0"),
        (vip6("2001:db8::80"), without6, "no IPv6"),
        (
            vip6("2001:db8::80"),
            proxied,
            "ip -6 neigh del proxy 2001:db8::80 dev eth0",
        ),
        (
            vip6("2001:db8::80"),
            with("2001:db8::80/64", "eth0"),
            "ip address del 2001:db8::80/64 dev eth0",
        ),
        (
            vip6("2001:db8::80"),
            with("2001:db8::80/64", "lo"),
            "all of that network",
        ),
        (
            gateway(Method::Nat, "fd00:9::1".parse().unwrap()),
            machine(),
            "on no network of eth0",
        ),
        (
            gateway(Method::Nat, DIRECTOR6.into()),
            first,
            "has metric 1",
        ),
    ] {
        let refusal = prepare(&role, &facts, &[]).unwrap_err().to_string();
        assert!(
            refusal.contains(says) && refusal.contains("hint: "),
            "{refusal}"
        );
        let findings = check(&role, &facts);
        assert!(!is_ready(&findings), "{says}");
    }
}

#[test]
fn a_check_says_why_and_what_to_type() {
    let findings = check(&role(Method::Dr), &machine());
    assert!(findings.iter().all(|f| f.standing == Standing::Bad));
    let first = &findings[0];
    assert_eq!(first.item, "net.ipv4.conf.all.arp_ignore");
    assert_eq!(
        (first.found.as_str(), first.wanted.as_deref()),
        ("0", Some("1"))
    );
    assert_eq!(
        first.command.as_deref(),
        Some("sysctl -w net.ipv4.conf.all.arp_ignore=1")
    );
    assert!(first.why.as_ref().unwrap().contains("past the director"));

    let facts = Facts {
        tunnels: vec![],
        ..machine()
    };
    let findings = check(&role(Method::Tun), &facts);
    let program = findings.iter().find(|f| f.item.contains("decap")).unwrap();
    assert_eq!(
        program.command.as_deref(),
        Some("lbctl backend prepare --vip 192.0.2.80 --method tun --interface eth0")
    );
    let mtu = findings.iter().find(|f| f.item == "MTU of eth0").unwrap();
    assert_eq!(mtu.standing, Standing::Advice);
    assert!(mtu.found.contains("1480"), "{mtu:?}");
    assert!(mtu.command.as_ref().unwrap().ends_with("advmss 1440"));
}

#[test]
fn an_interface_with_a_dot_keeps_it() {
    let name = Sysctl::new("eth0.100", Key::ArpIgnore);
    assert_eq!(name.to_string(), "net/ipv4/conf/eth0.100/arp_ignore");
    assert_eq!(
        Sysctl::new("eth0", Key::RpFilter).to_string(),
        "net.ipv4.conf.eth0.rp_filter"
    );
}

#[test]
fn what_is_remembered_is_read_back() {
    let mut facts = machine();
    facts.tunnels = vec![];
    let mut all = remember(&[], &prepare(&role(Method::Tun), &facts, &[]).unwrap());
    all.push(Setting::DefaultRoute {
        route: facts.default_route().cloned(),
    });
    all.push(Setting::Tunnel {
        device: Tunnel::Ip6,
        state: TunnelState::Down,
    });
    all.push(Setting::Gateway6 {
        route: Gateway6 {
            gateway: DIRECTOR6,
            interface: "eth0".into(),
        },
        present: false,
    });
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Setting>>(&text).unwrap(), all);
}
