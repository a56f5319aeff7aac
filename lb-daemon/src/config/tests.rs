//! What must hold for every configuration, whatever is in it.

mod health;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::model::health::CheckRule;
use super::model::{
    Api, Gateway, Limits, LinkDelays, Model, Notify, OwnTimeouts, Real, Scope, Script, Service,
    Track, Tracked, VirtualAddress, VirtualRoute, VirtualRouter, default_name,
};
use super::{Anywhere, Refused, Shown, Yaml, parse, rules};
use crate::config::model::default_virtual_interface;
use crate::core::desired::{
    ConnReuse, Connections, Forwarding, Method, Persistence, Proto, Scheduler, SchedulerFlags,
    ServiceId, Timeouts, VipDefault, XdpMode,
};
use crate::core::diff::changes;
use crate::core::health::probe::Probe;
use crate::core::vrrp::{
    Announcements, Auth, Freshness, InitialState, Interval, Key, Mode, Password, Preempt, Priority,
    Signing, Version,
};

fn read(bytes: &[u8]) -> Result<Model, Refused> {
    parse(bytes, Path::new("lbd.yaml"), &Anywhere)
}

fn seconds(most: u64) -> impl Strategy<Value = Duration> {
    (1..=most).prop_map(Duration::from_secs)
}

const YEAR: u64 = 365 * 86_400;

prop_compose! {
    fn timeouts()(tcp in seconds(YEAR), tcp_fin in seconds(YEAR), udp in seconds(YEAR)) -> Timeouts {
        Timeouts { tcp, tcp_fin, udp }
    }
}

prop_compose! {
    fn own_timeouts()(
        tcp in option::of(seconds(YEAR)),
        tcp_fin in option::of(seconds(YEAR)),
        udp in option::of(seconds(YEAR)),
    ) -> OwnTimeouts {
        OwnTimeouts { tcp, tcp_fin, udp }
    }
}

fn method() -> impl Strategy<Value = Method> {
    select(vec![Method::Dr, Method::Tun, Method::Nat])
}

prop_compose! {
    /// A real server; its address and port are made unique and right for its service later.
    fn real()(
        method in option::of(method()),
        weight in any::<u16>(),
        upper in 0..=i32::MAX as u32,
        lower in any::<u32>(),
        port in any::<u16>(),
        checks in option::weighted(0.2, health::rules()),
    ) -> Real {
        let mut real = Real::new(Ipv4Addr::UNSPECIFIED.into(), port);
        real.method = method;
        real.checks = checks;
        real.weight = weight;
        real.upper = upper;
        real.lower = if upper == 0 { 0 } else { lower % (upper + 1) };
        real
    }
}

prop_compose! {
    /// A service; what it serves is made unique later.
    fn service()(
        udp in any::<bool>(),
        ports in vec(any::<u16>(), 1..4),
        name in option::of("[a-z0-9][a-zA-Z0-9._:-]{0,20}"),
        scheduler in select(Scheduler::ALL),
        port in any::<bool>(),
        fallback in any::<bool>(),
        kernel_table in any::<bool>(),
        persistence in option::of((seconds(i32::MAX as u64), 0u8..=32, any::<bool>())),
        one_packet in any::<bool>(),
        timeouts in own_timeouts(),
        udp_leaves_quiesced in any::<bool>(),
        method in method(),
        health in health::health(),
        reals in vec(real(), 0..6),
    ) -> (Service, Vec<u16>, Option<String>) {
        let proto = if udp { Proto::Udp } else { Proto::Tcp };
        let mut service = Service::new(ServiceId::new(proto, Ipv4Addr::UNSPECIFIED, 1));
        let hashes = matches!(scheduler.name(), "sh" | "mh");
        service.scheduler = scheduler;
        service.scheduler_flags = SchedulerFlags {
            port: port && hashes,
            fallback: fallback && hashes,
            kernel_table: kernel_table && scheduler.name() == "mh",
        };
        service.persistence = persistence.map(|(timeout, mask, leave_quiesced)| Persistence {
            timeout,
            mask,
            leave_quiesced,
        });
        service.one_packet = one_packet && udp;
        service.timeouts = timeouts;
        service.udp_leaves_quiesced = udp_leaves_quiesced;
        service.method = method;
        service.health = health;
        service.reals = reals;
        (service, ports, name)
    }
}

/// A service of its own addresses: the n-th.
fn placed((mut service, ports, name): (Service, Vec<u16>, Option<String>), n: u8) -> Service {
    let listener = |(m, port): (usize, &u16)| {
        let port = if service.persistence.is_some() {
            *port
        } else {
            (*port).max(1)
        };
        ServiceId::new(service.id.proto, Ipv4Addr::new(192, 0, n, m as u8), port)
    };
    let listeners: Vec<_> = ports.iter().enumerate().map(listener).collect();
    service.id = listeners[0];
    service.also = listeners[1..].to_vec();
    service.name = match name {
        Some(name) => format!("{name}{n}"),
        None => default_name(service.id),
    };
    let usual = service.real_port();
    for (m, real) in service.reals.iter_mut().enumerate() {
        real.addr = IpAddr::from([10, 0, n, m as u8 + 1]);
        let nat = real.method.unwrap_or(service.method) == Method::Nat;
        if !nat {
            real.port = usual;
        }
        if nat && real.port == 0 {
            real.port = usual;
        }
    }
    if let Some(sorry) = &mut service.health.rules.sorry {
        let nat = sorry.method == Method::Nat;
        sorry.id.set_port(if nat && usual == 1 { 2 } else { usual });
    }
    service
}

fn preempt() -> impl Strategy<Value = Preempt> {
    prop_oneof![
        Just(Preempt::AtOnce),
        Just(Preempt::Never),
        seconds(3_600).prop_map(Preempt::After)
    ]
}

fn command() -> impl Strategy<Value = Vec<String>> {
    ("/[a-z]{1,9}", vec(".{0,9}", 0..3)).prop_map(|(path, arguments)| {
        let words = arguments.into_iter().filter(|word| !word.contains('\0'));
        std::iter::once(path).chain(words).collect()
    })
}

prop_compose! {
    fn script()(command in command(), timing in (seconds(86_400), seconds(86_400)), counts in (1u8.., 1u8..),
        user in option::of("[a-z]{1,8}")) -> Script {
        Script {
            user,
            interval: timing.0,
            timeout: timing.1,
            rise: counts.0,
            fall: counts.1,
            ..Script::new(command)
        }
    }
}

fn track() -> impl Strategy<Value = Track> {
    let what = prop_oneof![
        "[a-z]{1,9}".prop_map(Tracked::Interface),
        script().prop_map(Tracked::Script),
        "[a-z]{1,15}".prop_map(Tracked::Process),
        "/[a-z]{1,9}".prop_map(|path| Tracked::File(path.into())),
        Just(Tracked::Gateway(Gateway::Default)),
        any::<Ipv4Addr>().prop_map(|a| Tracked::Gateway(Gateway::Address(a.into()))),
    ];
    let weight = option::of(prop_oneof![-253i16..=-1, 1i16..=253]);
    (what, weight).prop_map(|(what, weight)| Track { what, weight })
}

prop_compose! {
    fn virtual_address()(
        prefix in 0u8..=32,
        interface in option::of("[a-z]{1,9}"),
        label in option::of("[a-z]{1,5}:[a-z0-9]{1,5}"),
        scope in select(vec![Scope::Global, Scope::Site, Scope::Link, Scope::Host]),
    ) -> VirtualAddress {
        VirtualAddress { interface, label, scope, ..VirtualAddress::new(Ipv4Addr::UNSPECIFIED.into(), prefix) }
    }
}

prop_compose! {
    fn virtual_route()(
        to in (any::<Ipv4Addr>(), 0u8..=32),
        via in option::of(any::<Ipv4Addr>()),
        source in option::of(any::<Ipv4Addr>()),
        interface in option::of("[a-z]{1,9}"),
        metric in option::of(any::<u32>()),
        table in option::of(1u32..),
    ) -> VirtualRoute {
        VirtualRoute {
            to: IpNet::new(to.0.into(), to.1).unwrap().trunc(),
            via: via.map(IpAddr::from),
            interface,
            source: source.map(IpAddr::from),
            metric,
            table,
        }
    }
}

prop_compose! {
    fn notify()(
        programs in vec(option::of(command()), 5),
        user in option::of("[a-z]{1,8}"),
        timeout in seconds(3_600),
    ) -> Notify {
        let mut programs = programs.into_iter().map(Option::unwrap_or_default);
        let mut next = || programs.next().unwrap();
        Notify { master: next(), backup: next(), fault: next(), stop: next(), any: next(), user, timeout }
    }
}

prop_compose! {
    /// A password and keys, of which a virtual router has one at most.
    fn auth()(
        pass in option::of("[ -~]{1,8}"),
        texts in option::of(vec("[ -~]{32,64}", 1..3)),
        mode in select(vec![Mode::ReceiveOnly, Mode::Permissive, Mode::Enforce]),
        window in option::of(1_u64..=300),
    ) -> (Option<String>, Option<Signing>) {
        let signing = texts.map(|texts| {
            let usable = |text: &String| !text.starts_with("file:") && !text.starts_with("hex:");
            let texts = texts.into_iter().filter(usable).chain(["hex:".to_owned() + &"0f".repeat(32)]);
            Signing {
                keys: (5..).zip(texts).map(|(id, text)| Key::new(id, &text).unwrap()).collect(),
                active: 5,
                mode,
                freshness: window.map_or(Freshness::Growing, |s| Freshness::Window(Duration::from_secs(s))),
            }
        });
        (pass, signing)
    }
}

prop_compose! {
    /// A virtual router; its name, number and addresses are made unique later.
    fn virtual_router()(
        v3 in any::<bool>(),
        interval in 1u16..=255,
        priority in 1u8..,
        misses in 1u8..=100,
        preempt in preempt(),
        initial in select(vec![InitialState::Backup, InitialState::Master]),
        auth in auth(),
        source in option::of(any::<Ipv4Addr>()),
        peers in vec(2u8..250, 0..3),
        addresses in (vec(virtual_address(), 1..4), vec(virtual_address(), 0..3)),
        routes in vec(virtual_route(), 0..2),
        announcements in (1u8..=60, seconds(3_600), option::of(seconds(86_400))),
        group in option::of("[a-z]{1,4}"),
        flags in any::<bool>(),
        track in vec(track(), 0..3),
        notify in notify(),
        delays in (seconds(3_600), seconds(3_600)),
    ) -> VirtualRouter {
        let version = if v3 { Version::V3 } else { Version::V2 };
        let length = if v3 { Interval::centis(interval) } else { Interval::seconds(interval as u8) };
        let pass = auth.0.filter(|_| !v3 && auth.1.is_none()).map(|text| Auth::Pass(Password::new(&text).unwrap()));
        let mut peers: Vec<IpAddr> = peers.into_iter().map(|n| IpAddr::from([172, 16, 0, n])).collect();
        peers.sort();
        peers.dedup();
        VirtualRouter {
            name: String::new(),
            interface: "eth0".into(),
            vrid: 1,
            version,
            priority: Priority::new(priority).unwrap(),
            interval: length.unwrap(),
            misses,
            preempt,
            initial,
            auth: pass.unwrap_or_default(),
            signing: auth.1.map(Arc::new),
            virtual_mac: (announcements.0 % 2 == 0).then(String::new),
            source: source.map(IpAddr::from).filter(|s| !peers.contains(s)),
            peers,
            addresses: addresses.0,
            excluded: addresses.1,
            routes,
            group,
            announcements: Announcements { repeat: announcements.0, delay: announcements.1, refresh: announcements.2 },
            check_addresses: flags,
            track,
            notify,
            debounce: LinkDelays { up: delays.0, down: delays.1 },
        }
    }
}

/// The n-th virtual router, with addresses of its own.
fn numbered(mut router: VirtualRouter, n: u8) -> VirtualRouter {
    router.name = format!("VI_{n}");
    router.vrid = n + 1;
    router.virtual_mac = router.virtual_mac.map(|_| match n % 2 {
        0 => format!("mac{n}"),
        _ => default_virtual_interface(false, router.vrid),
    });
    let all = router.addresses.iter_mut().chain(&mut router.excluded);
    for (m, address) in (1..).zip(all) {
        address.addr = IpAddr::from([198, 18, n, m]);
    }
    router
}

prop_compose! {
    fn forwarding()(
        sloppy_tcp in any::<bool>(),
        conn_reuse in select(vec![ConnReuse::Never, ConnReuse::Closed, ConnReuse::FinWait]),
        expire_nodest_conn in any::<bool>(),
        icmp_per_second in 0u32..=1_000_000,
        vip_default in select(vec![VipDefault::Stack, VipDefault::Drop, VipDefault::Reject]),
    ) -> Forwarding {
        Forwarding { sloppy_tcp, conn_reuse, expire_nodest_conn, icmp_per_second, vip_default }
    }
}

prop_compose! {
    fn model()(
        interfaces in vec("[a-z][a-z0-9.]{0,8}", 0..3),
        mode in select(vec![XdpMode::Auto, XdpMode::Native, XdpMode::Generic]),
        max in 1_000u32..=100_000_000,
        timeouts in timeouts(),
        limits in (5u32..=65_536, 30u32..=131_071),
        forwarding in forwarding(),
        group in proptest::option::of("[a-z_][a-z0-9._-]{0,31}"),
        others_read in any::<bool>(),
        routers in vec(virtual_router(), 0..3),
        services in vec(service(), 0..5),
    ) -> Model {
        let number = |(n, name): (usize, String)| format!("{name}{n}");
        let placed = |(n, service)| placed(service, n as u8);
        Model {
            interfaces: interfaces.into_iter().enumerate().map(number).collect(),
            mode,
            connections: Connections { max, timeouts },
            limits: Limits { services: limits.0, reals: limits.1 },
            forwarding,
            api: Api { group, others_read },
            vrrp: (0..).zip(routers).map(|(n, router)| numbered(router, n)).collect(),
            services: services.into_iter().enumerate().map(placed).collect(),
        }
    }
}

/// A model that differs in one thing, if it has such a thing.
fn with_a_difference(model: &Model, (s, r): (Index, Index), kind: usize) -> Model {
    let mut model = model.clone();
    model.connections.max += 1;
    if model.services.is_empty() {
        return model;
    }
    model.connections.max -= 1;
    let s = s.index(model.services.len());
    let service = &mut model.services[s];
    match kind {
        0 => service.name.push('x'),
        1 => service.one_packet = !service.one_packet,
        2 => service.timeouts.udp = Some(Duration::from_secs(2 * YEAR)),
        3 => service
            .also
            .push(ServiceId::new(Proto::Tcp, Ipv4Addr::LOCALHOST, 9)),
        4 => {
            service.persistence = service.persistence.is_none().then_some(Persistence {
                timeout: Duration::from_secs(1),
                mask: 8,
                leave_quiesced: false,
            });
        }
        5 => drop(model.services.remove(s)),
        12 => service.health.rules.quorum += 1,
        13 => service.health.checks.push(CheckRule::new(Probe::Ping)),
        14 => service.health.on_up = None,
        _ if service.reals.is_empty() => {}
        _ => {
            let r = r.index(service.reals.len());
            let real = &mut service.reals[r];
            match kind {
                6 => real.weight ^= 1,
                7 => real.upper += 1,
                8 => real.lower += 1,
                9 => drop(service.reals.remove(r)),
                10 => service.reals.rotate_left(1),
                15 => real.checks = real.checks.is_none().then(Vec::new),
                _ => service
                    .reals
                    .insert(r, Real::new(Ipv4Addr::LOCALHOST.into(), 9)),
            }
        }
    }
    model
}

proptest! {
    #[test]
    fn a_model_that_was_written_reads_as_the_same_model(model in model()) {
        prop_assert_eq!(rules::check(&model, &Anywhere).refusals, []);
        let text = Yaml(&model).to_string();
        let again = read(text.as_bytes());
        prop_assert_eq!(again.as_ref(), Ok(&model), "{}", text);
    }

    #[test]
    fn what_is_shown_has_no_password(mut model in model()) {
        for router in &mut model.vrrp {
            router.version = Version::V2;
            router.auth = Auth::Pass(Password::new("geheim!").unwrap());
            if let Some(signing) = router.signing.take() {
                router.auth = Auth::None;
                let keys = vec![Key::new(1, &"geheim".repeat(8)).unwrap()];
                router.signing = Some(Arc::new(Signing { keys, active: 1, ..signing.as_ref().clone() }));
            }
        }
        let shown = Shown(&model).to_string();
        prop_assert!(!shown.contains("geheim"), "{}", shown);
        let other = Model { vrrp: Vec::new(), ..model.clone() };
        for change in changes(&other, &model).iter().chain(&changes(&model, &other)) {
            prop_assert!(!change.text.contains("geheim"), "{}", change);
        }
    }

    #[test]
    fn the_same_model_needs_no_change_and_another_one_needs_some(
        one in model(),
        place in (any::<Index>(), any::<Index>()),
        kind in 0usize..16,
    ) {
        prop_assert_eq!(changes(&one, &one), []);
        let two = with_a_difference(&one, place, kind);
        prop_assert_eq!(changes(&one, &two).is_empty(), one == two);
        prop_assert_eq!(changes(&two, &one).is_empty(), one == two);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let _ = read(&bytes).map_err(|refused| refused.to_string());
    }

    #[test]
    fn no_text_of_yaml_signs_makes_the_reader_panic(text in "[\\[\\]{}:,\\-&*!|>'\"#%@`a-c0-9 \n\t<~?.]{0,200}") {
        let _ = read(text.as_bytes()).map_err(|refused| refused.to_string());
    }

    /// Bytes overwritten, cut out, repeated and inserted in a file that was valid.
    #[test]
    fn no_damage_to_a_valid_file_makes_the_reader_panic(
        model in model(),
        damage in vec((any::<Index>(), any::<u8>(), 0..4, 1usize..20), 1..8),
    ) {
        let mut bytes = Yaml(&model).to_string().into_bytes();
        for (at, byte, kind, length) in damage {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend_from_within(at..end),
                _ => bytes.insert(at, byte),
            }
        }
        let _ = read(&bytes).map_err(|refused| refused.to_string());
    }
}
