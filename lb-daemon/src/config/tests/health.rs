//! Any health checks, for the properties of configurations.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::model::health::{CheckRule, Health};
use super::*;
use crate::core::health::plan::{
    Command, Damping, DeadConnections, OnFailure, Rules, Sorry, Timing, Verdict,
};
use crate::core::health::probe::{
    BodyRule, Digest, Dns, Expect, Grpc, Http, HttpVersion, Pattern, Probe, Redis, RedisRole,
    Script, Secret, Smtp, Statuses, Tcp, Tls, Udp, Zookeeper, ZookeeperRole,
};

fn text() -> impl Strategy<Value = String> {
    "[ -~\r\n\tä€]{0,12}"
}

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,8}"
}

fn path() -> impl Strategy<Value = PathBuf> {
    "/[a-z0-9/._ -]{0,12}".prop_map(PathBuf::from)
}

prop_compose! {
    fn tls()(name in option::of(word()), ca in option::of(path()), verify in any::<bool>()) -> Tls {
        Tls { name, ca: ca.filter(|_| verify), verify }
    }
}

fn pattern() -> impl Strategy<Value = Pattern> {
    "[a-z.+*?\\[\\]()|^$\\\\\" ]{0,8}"
        .prop_filter_map("does not compile", |text| Pattern::new(&text).ok())
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        text().prop_map(|text| Expect::Contains(text.into_bytes())),
        pattern().prop_map(Expect::Matches),
    ]
}

fn statuses() -> impl Strategy<Value = Statuses> {
    let range = (100..=999u16, 0..100u16).prop_map(|(low, more)| low..=(low + more).min(999));
    vec(range, 1..3).prop_map(Statuses::new)
}

fn digest() -> impl Strategy<Value = Digest> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(Digest::Md5),
        any::<[u8; 32]>().prop_map(Digest::Sha256)
    ]
}

prop_compose! {
    fn http()(
        tls in option::of(tls()),
        two in any::<bool>(),
        method in select(vec!["GET", "HEAD", "OPTIONS", "PURGE"]),
        path in "/[a-z0-9/?&=._-]{0,12}",
        host in option::of("[a-z][a-z0-9.]{0,8}(:[1-9][0-9])?"),
        headers in vec(("[A-Za-z][A-Za-z0-9-]{0,8}", "[!-~]([ -~]{0,8}[!-~])?"), 0..3),
        status in statuses(),
        rules in (vec(text(), 0..3), vec(pattern(), 0..3), vec(pattern(), 0..2), option::of(digest())),
        body_limit in 1usize..=4 << 20,
    ) -> Probe {
        let (contains, matches, matches_not, digest) = rules;
        let mut body: Vec<BodyRule> = contains.into_iter().map(BodyRule::Contains).collect();
        body.extend(matches.into_iter().map(BodyRule::Matches));
        body.extend(matches_not.into_iter().map(BodyRule::MatchesNot));
        body.extend(digest.map(BodyRule::Digest));
        // Names of headers are told apart, as keys are.
        let headers = headers.into_iter().enumerate().map(|(n, (name, value))| (format!("X-{name}-{n}"), value));
        let headers = headers.collect();
        let version = if two { HttpVersion::Two } else { HttpVersion::One };
        Probe::Http(Http { tls, version, method: method.into(), path, host, headers, status, body, body_limit }.into())
    }
}

fn redis() -> impl Strategy<Value = Probe> {
    let role = select(vec![
        None,
        Some(RedisRole::Master),
        Some(RedisRole::Replica),
    ]);
    (
        option::of(text()),
        option::of(text()),
        role,
        option::of(tls()),
    )
        .prop_map(|(user, password, role, tls)| {
            let user = user.filter(|_| password.is_some());
            Probe::Redis(Redis {
                tls,
                user,
                password: password.map(Secret::new),
                role,
            })
        })
}

fn dns() -> impl Strategy<Value = Probe> {
    let record = select(vec!["A", "AAAA", "SOA", "TXT", "MX"]);
    (
        "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}\\.?",
        record,
        vec(text(), 0..3),
        any::<bool>(),
    )
        .prop_map(|(name, record, expect, tcp)| {
            Probe::Dns(Dns {
                name,
                record: record.into(),
                expect,
                tcp,
            })
        })
}

fn command() -> impl Strategy<Value = Vec<String>> {
    ("/[a-z/]{1,12}", vec(text(), 0..3))
        .prop_map(|(program, rest)| std::iter::once(program).chain(rest).collect())
}

fn probe() -> impl Strategy<Value = Probe> {
    let role = select(vec![
        None,
        Some(ZookeeperRole::Leader),
        Some(ZookeeperRole::Follower),
    ]);
    prop_oneof![
        3 => http(),
        1 => (option::of(vec(any::<u8>(), 0..9)), option::of(expect()), option::of(tls()))
            .prop_map(|(send, expect, tls)| Probe::Tcp(Tcp { tls, send, expect })),
        1 => (vec(any::<u8>(), 0..9), option::of(expect())).prop_map(|(send, expect)| Probe::Udp(Udp { send, expect })),
        1 => dns(),
        1 => Just(Probe::Ping),
        1 => word().prop_map(|helo| Probe::Smtp(Smtp { helo })),
        1 => redis(),
        1 => role.prop_map(|role| Probe::Zookeeper(Zookeeper { role })),
        1 => (option::of(tls()), text(), option::of(word()))
            .prop_map(|(tls, service, host)| Probe::Grpc(Grpc { tls, service, host })),
        1 => (command(), option::of(word())).prop_map(|(command, user)| Probe::Script(Script { command, user })),
        1 => path().prop_map(Probe::File),
    ]
}

prop_compose! {
    fn timing()(
        interval in 100u64..100_000,
        timeout in 10u64..100_000,
        rise in 1..=1000u32,
        fall in 1..=1000u32,
        retry in option::of(10u64..100_000),
        up in any::<bool>(),
    ) -> Timing {
        let millis = Duration::from_millis;
        Timing {
            interval: millis(interval),
            timeout: millis(timeout.min(interval - 1)),
            rise,
            fall,
            retry: retry.map(|retry| millis(retry.min(interval))),
            initial: if up { Verdict::Up } else { Verdict::Down },
        }
    }
}

prop_compose! {
    fn rule()(
        probe in probe(),
        timing in timing(),
        name in option::of(word()),
        address in option::of(any::<[u8; 4]>()),
        port in option::of(1..=u16::MAX),
        via_vip in any::<bool>(),
    ) -> CheckRule {
        let target = probe.has_target();
        let ping = matches!(probe, Probe::Ping);
        let via_vip = via_vip && target && !ping;
        CheckRule {
            name,
            address: address.filter(|_| target && !via_vip).map(IpAddr::from),
            port: port.filter(|_| target && !ping),
            via_vip,
            timing,
            probe,
        }
    }
}

/// Checks whose names are told apart.
pub(super) fn rules() -> impl Strategy<Value = Vec<CheckRule>> {
    vec(rule(), 0..3).prop_map(|mut rules| {
        for (n, rule) in rules.iter_mut().enumerate() {
            rule.name = rule.name.take().map(|name| format!("{name}_{n}"));
        }
        rules
    })
}

fn notify() -> impl Strategy<Value = Command> {
    (command(), option::of(word()), 100u64..3_600_000).prop_map(|(argv, user, millis)| Command {
        argv,
        user,
        timeout: Duration::from_millis(millis),
    })
}

prop_compose! {
    pub(super) fn health()(
        checks in rules(),
        weight_zero in any::<bool>(),
        reset in any::<bool>(),
        (quorum, hysteresis) in (1..1000u32, 0..1000u32),
        sorry in option::of(method()),
        slow_start in option::of(seconds(86_400)),
        damping in option::of((2..=1000u32, seconds(86_400), seconds(86_400))),
        commands in (option::of(notify()), option::of(notify()), option::of(notify()), option::of(notify())),
    ) -> Health {
        let (on_up, on_down, quorum_up, quorum_down) = commands;
        Health {
            checks,
            rules: Rules {
                on_failure: if weight_zero { OnFailure::WeightZero } else { OnFailure::Remove },
                connections: if reset { DeadConnections::Reset } else { DeadConnections::Keep },
                quorum,
                hysteresis: hysteresis % quorum,
                // Its port is made right for its service later.
                sorry: sorry.map(|method| Sorry { id: ([10, 99, 99, 99], 1).into(), method }),
                slow_start,
                damping: damping.map(|(failures, within, hold)| Damping { failures, within, hold }),
                quorum_up: quorum_up.map(Arc::new),
                quorum_down: quorum_down.map(Arc::new),
            },
            on_up,
            on_down,
        }
    }
}
