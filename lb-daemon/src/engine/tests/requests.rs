//! What requests do to the data plane, to what is remembered, and what they answer.

use std::time::Duration;

use lb_common::net::Proto;

use super::fakes::{Bench, FILE, ask};
use crate::api::types::{
    AddReal, AddService, ConnectionFilter, Kind, MethodName, RealState, ReloadRequest,
    TimeoutsPatch,
};
use crate::engine::{
    Check, Connections, Detach, Diff, EditReal, EditService, NewReal, ReadServices, ReadStats,
    ReadStatus, Reload, RemoveReal, RemoveService, Save, Text, Zero,
};
use crate::io::bpf::{Connection, Hop, TrafficSum};

fn service(json: &str) -> AddService {
    serde_json::from_str(json).unwrap()
}

fn new_real(address: &str) -> NewReal {
    let real: AddReal = serde_json::from_value(serde_json::json!({"address": address})).unwrap();
    NewReal {
        service: "web".into(),
        real,
    }
}

fn web(reals: &[&str]) -> (String, Vec<String>) {
    (
        "web".into(),
        reals.iter().map(ToString::to_string).collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_runs_and_is_listed() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    assert_eq!(
        bench.plane.reals(),
        [web(&["10.0.0.21:80 1", "10.0.0.22:80 3"])]
    );
    assert_eq!(bench.plane.told().desired.interfaces, ["eth0"]);
    assert_eq!(bench.network.watched(), ["10.0.0.21", "10.0.0.22"]);
    assert!(
        bench
            .plane
            .told()
            .hops
            .iter()
            .all(|(_, hop)| matches!(hop, Hop::Via(_)))
    );
    let services = ask(&mut engine, ReadServices::default()).await.unwrap();
    let [web] = services.as_slice() else { panic!() };
    assert_eq!(
        (
            web.name.as_str(),
            web.listener.to_string().as_str(),
            web.scheduler.as_str()
        ),
        ("web", "tcp 192.0.2.1:80", "wrr")
    );
    let [first, second] = web.reals.as_slice() else {
        panic!()
    };
    assert_eq!(
        (
            first.address.as_str(),
            first.weight,
            first.active,
            first.inactive
        ),
        ("10.0.0.21:80", 1, 2, 5)
    );
    assert_eq!(
        (second.method, second.state),
        (MethodName::Dr, RealState::Up)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_real_servers_come_change_and_go() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let dns = ask(
        &mut engine,
        service(
            r#"{"protocol": "udp", "address": "192.0.2.1:53", "name": "dns", "scheduler": "rr"}"#,
        ),
    )
    .await
    .unwrap();
    assert_eq!(
        (dns.name.as_str(), dns.scheduler.as_str(), dns.reals.len()),
        ("dns", "rr", 0)
    );
    let mut request = new_real("10.0.0.31");
    request.service = "udp:192.0.2.1:53".into();
    let real = ask(&mut engine, request).await.unwrap();
    assert_eq!(
        (real.address.as_str(), real.weight, real.method),
        ("10.0.0.31:53", 1, MethodName::Dr)
    );
    assert_eq!(
        bench.plane.reals()[1],
        ("dns".into(), vec!["10.0.0.31:53 1".into()])
    );

    let change = serde_json::from_str(r#"{"weight": 0}"#).unwrap();
    let real = ask(
        &mut engine,
        EditReal {
            service: "dns".into(),
            real: "10.0.0.31".into(),
            change,
        },
    )
    .await
    .unwrap();
    assert_eq!((real.weight, real.state), (0, RealState::Quiesced));
    let change = serde_json::from_str(r#"{"scheduler": "wrr"}"#).unwrap();
    let dns = ask(
        &mut engine,
        EditService {
            service: "dns".into(),
            change,
        },
    )
    .await
    .unwrap();
    assert_eq!(dns.scheduler, "wrr");

    let left = ask(
        &mut engine,
        RemoveReal {
            service: "dns".into(),
            real: "10.0.0.31".into(),
            force: false,
        },
    )
    .await
    .unwrap();
    assert_eq!((left.active, left.inactive), (2, 5));
    assert!(bench.plane.told().cut.is_empty(), "a removal drains");
    let gone = ask(
        &mut engine,
        RemoveService {
            service: "dns".into(),
            force: false,
        },
    )
    .await
    .unwrap();
    assert_eq!(gone.name, "dns");
    assert_eq!(bench.plane.reals().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn force_cuts() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let left = ask(
        &mut engine,
        RemoveReal {
            service: "web".into(),
            real: "10.0.0.22".into(),
            force: true,
        },
    )
    .await
    .unwrap();
    assert_eq!((left.active, left.inactive), (0, 0));
    let told = |bench: &Bench| {
        bench
            .plane
            .told()
            .cut
            .iter()
            .map(|(id, real)| format!("{id} {real}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&bench), ["tcp 192.0.2.1:80 10.0.0.22:80"]);
    ask(
        &mut engine,
        RemoveService {
            service: "web".into(),
            force: true,
        },
    )
    .await
    .unwrap();
    assert_eq!(told(&bench)[1], "tcp 192.0.2.1:80 10.0.0.21:80");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_refuse_changes_nothing() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let before = (bench.plane.reals(), bench.plane.told().applied);
    let far = ask(&mut engine, new_real("198.51.100.7"))
        .await
        .unwrap_err();
    assert!(
        far.error.contains("not on a directly connected network"),
        "{far}"
    );
    assert!(far.hint.unwrap().contains("tun"));
    let vip = ask(&mut engine, new_real("192.0.2.1")).await.unwrap_err();
    assert!(vip.error.contains("virtual address"), "{vip}");
    let twice = ask(&mut engine, new_real("10.0.0.21:80"))
        .await
        .unwrap_err();
    assert_eq!(twice.kind, Kind::Conflict);
    let port = ask(&mut engine, new_real("10.0.0.23:8080"))
        .await
        .unwrap_err();
    assert!(port.hint.unwrap().contains("nat"));
    let nobody = ask(
        &mut engine,
        RemoveReal {
            service: "wbe".into(),
            real: "10.0.0.21".into(),
            force: true,
        },
    )
    .await
    .unwrap_err();
    assert_eq!(
        (nobody.kind, nobody.hint.as_deref()),
        (Kind::NotFound, Some("did you mean `web`?"))
    );
    assert_eq!((bench.plane.reals(), bench.plane.told().applied), before);
    assert!(ask(&mut engine, Diff).await.unwrap().changes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_data_plane_refuses_changes_nothing() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let before = bench.plane.reals();
    bench.plane.told().refuse = 1;
    let refused = ask(&mut engine, new_real("10.0.0.23")).await.unwrap_err();
    assert_eq!(refused.error, "cannot change the data plane");
    assert!(refused.why.unwrap().contains("all 1 are taken"));
    assert!(refused.hint.unwrap().contains("together"));
    assert_eq!(bench.plane.reals(), before);
    assert_eq!(
        ask(&mut engine, ReadServices::default()).await.unwrap()[0]
            .reals
            .len(),
        2
    );
    assert!(
        ask(&mut engine, ReadStatus)
            .await
            .unwrap()
            .warnings
            .is_empty()
    );
    // And the next one is as if nothing had been.
    ask(&mut engine, new_real("10.0.0.23")).await.unwrap();
    assert_eq!(
        bench.plane.reals(),
        [web(&["10.0.0.21:80 1", "10.0.0.22:80 3", "10.0.0.23:80 1"])]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn diff_save_and_reload_compare_write_and_apply_the_file() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    ask(&mut engine, new_real("10.0.0.23")).await.unwrap();
    let diff = ask(&mut engine, Diff).await.unwrap();
    assert_eq!(diff.changes.len(), 1, "{diff:?}");
    assert_eq!(diff.changes[0].sign, '-');
    assert_eq!(ask(&mut engine, ReadStatus).await.unwrap().unsaved, Some(1));

    let dry = ask(&mut engine, Reload(ReloadRequest { dry_run: true }))
        .await
        .unwrap();
    assert_eq!((dry.changes, dry.applied), (diff.changes, false));
    let saved = ask(&mut engine, Save).await.unwrap();
    assert_eq!(saved.changes[0].sign, '+');
    assert!(ask(&mut engine, Diff).await.unwrap().changes.is_empty());
    assert!(
        std::fs::read_to_string(bench.config())
            .unwrap()
            .contains("10.0.0.23")
    );

    bench.write(FILE);
    let reloaded = ask(&mut engine, Reload(ReloadRequest::default()))
        .await
        .unwrap();
    assert_eq!((reloaded.changes.len(), reloaded.applied), (1, true));
    assert_eq!(
        bench.plane.reals(),
        [web(&["10.0.0.21:80 1", "10.0.0.22:80 3"])]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_errors_is_refused_whole_with_line_and_column() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let before = bench.plane.told().applied;
    bench.write(&FILE.replace("wrr", "wrrr"));
    let refused = ask(&mut engine, Reload(ReloadRequest::default()))
        .await
        .unwrap_err();
    let why = refused.why.unwrap();
    assert!(
        why.contains("lbd.yaml:4:14") && why.contains("did you mean `wrr`"),
        "{why}"
    );
    assert!(
        refused.error.ends_with("refused, 1 error"),
        "{}",
        refused.error
    );
    assert_eq!(bench.plane.told().applied, before);
    assert_eq!(ask(&mut engine, ReadStatus).await.unwrap().unsaved, None);

    let text = FILE.replace("10.0.0.21", "198.51.100.1").into_bytes();
    let refused = ask(
        &mut engine,
        Check {
            name: "new.yaml".into(),
            text,
        },
    )
    .await
    .unwrap_err();
    assert!(refused.why.unwrap().contains("new.yaml:5:"));
    let text = FILE.replace("10.0.0.21", "10.0.0.99").into_bytes();
    let checked = ask(
        &mut engine,
        Check {
            name: "new.yaml".into(),
            text,
        },
    )
    .await
    .unwrap();
    assert_eq!(checked.changes.len(), 3, "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_do_not_change_under_a_running_data_plane() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    bench.write(&format!("connections: {{max: 5000}}\n{FILE}"));
    let refused = ask(&mut engine, Reload(ReloadRequest::default()))
        .await
        .unwrap_err();
    assert!(refused.hint.unwrap().contains("lbctl detach"));
    assert_eq!(engine.model.connections.max, 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_are_the_directors_or_the_services_own() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let all = ask(
        &mut engine,
        TimeoutsPatch {
            tcp: Some(60),
            ..TimeoutsPatch::default()
        },
    )
    .await
    .unwrap();
    assert_eq!((all.tcp, all.tcp_fin, all.udp), (60, 120, 300));
    assert_eq!(
        engine.model.connections.timeouts.tcp,
        Duration::from_secs(60)
    );
    let change = serde_json::from_str(r#"{"timeouts": {"udp": 5}}"#).unwrap();
    let web = ask(
        &mut engine,
        EditService {
            service: "web".into(),
            change,
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (web.timeouts.tcp, web.timeouts.udp, web.own_timeouts),
        (60, 5, true)
    );
    assert!(
        ask(
            &mut engine,
            TimeoutsPatch {
                tcp: Some(0),
                ..TimeoutsPatch::default()
            }
        )
        .await
        .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn zeroed_counters_begin_anew_and_stay_so_over_a_restart() {
    let bench = Bench::new(FILE);
    let count = |conns| TrafficSum {
        conns,
        in_packets: 2 * conns,
        ..TrafficSum::default()
    };
    bench.plane.told().traffic = count(10);
    let mut engine = bench.start().await.unwrap();
    assert_eq!(
        ask(&mut engine, ReadStats::default())
            .await
            .unwrap()
            .services[0]
            .totals
            .conns,
        10
    );
    assert_eq!(
        ask(
            &mut engine,
            Zero {
                service: Some("web".into())
            }
        )
        .await
        .unwrap(),
        ["web"]
    );
    bench.plane.told().traffic = count(14);
    for _ in 0..2 {
        let stats = ask(
            &mut engine,
            ReadStats {
                service: Some("web".into()),
            },
        )
        .await
        .unwrap();
        assert_eq!(
            (
                stats.services[0].totals.conns,
                stats.services[0].reals[0].totals.in_packets
            ),
            (4, 8)
        );
        assert_eq!(stats.totals.conns, 4);
        engine = bench.start().await.unwrap();
    }
    bench.plane.told().traffic = count(3);
    assert_eq!(
        ask(&mut engine, ReadStats::default())
            .await
            .unwrap()
            .totals
            .conns,
        3,
        "made anew"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_filtered_by_all_that_is_given() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let connection = |client: &str, vip: &str, real: &str, state| Connection {
        proto: Proto::Tcp,
        client: client.parse().unwrap(),
        vip: vip.parse().unwrap(),
        real: real.parse().unwrap(),
        state,
        expires: Duration::from_secs(899),
        idle: Duration::from_secs(1),
        is_left: false,
    };
    bench.plane.told().connections = vec![
        connection(
            "10.9.0.1:1000",
            "192.0.2.1:80",
            "10.0.0.21:80",
            "ESTABLISHED",
        ),
        connection("10.9.0.1:1001", "192.0.2.1:80", "10.0.0.22:80", "FIN_WAIT"),
        connection("10.9.0.2:1000", "192.0.2.1:80", "10.0.0.21:80", "SYN_RECV"),
        connection(
            "10.9.0.2:1002",
            "192.0.2.1:443",
            "10.0.0.21:443",
            "ESTABLISHED",
        ),
    ];
    let text = |text: &str| Some(text.to_owned());
    for (filter, clients) in [
        (
            ConnectionFilter::default(),
            vec![
                "10.9.0.1:1000",
                "10.9.0.1:1001",
                "10.9.0.2:1000",
                "10.9.0.2:1002",
            ],
        ),
        (
            ConnectionFilter {
                service: text("web"),
                ..Default::default()
            },
            vec!["10.9.0.1:1000", "10.9.0.1:1001", "10.9.0.2:1000"],
        ),
        (
            ConnectionFilter {
                real: text("10.0.0.21"),
                ..Default::default()
            },
            vec!["10.9.0.1:1000", "10.9.0.2:1000", "10.9.0.2:1002"],
        ),
        (
            ConnectionFilter {
                real: text("10.0.0.21:443"),
                ..Default::default()
            },
            vec!["10.9.0.2:1002"],
        ),
        (
            ConnectionFilter {
                client: text("10.9.0.1"),
                state: text("FIN_WAIT"),
                ..Default::default()
            },
            vec!["10.9.0.1:1001"],
        ),
        (
            ConnectionFilter {
                limit: Some(1),
                ..Default::default()
            },
            vec!["10.9.0.1:1000"],
        ),
    ] {
        let found: Vec<_> = ask(&mut engine, Connections(filter.clone()))
            .await
            .unwrap()
            .map(|c| c.client)
            .collect();
        assert_eq!(found, clients, "{filter:?}");
    }
    let nobody = ConnectionFilter {
        service: text("wbe"),
        ..Default::default()
    };
    assert_eq!(
        ask(&mut engine, Connections(nobody))
            .await
            .err()
            .unwrap()
            .kind,
        Kind::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_warns_of_a_vip_that_nobody_has() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let status = ask(&mut engine, ReadStatus).await.unwrap();
    assert_eq!(
        (
            status.services,
            status.reals,
            status.unsaved,
            status.interfaces.len()
        ),
        (1, 2, Some(0), 1)
    );
    assert!(status.warnings.is_empty(), "{:?}", status.warnings);
    ask(
        &mut engine,
        service(r#"{"protocol": "tcp", "address": "192.0.2.7:80"}"#),
    )
    .await
    .unwrap();
    let warnings = ask(&mut engine, ReadStatus).await.unwrap().warnings;
    assert!(
        matches!(warnings.as_slice(), [one] if one.contains("192.0.2.7")),
        "{warnings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_detach_nothing_is_left() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    assert_eq!(ask(&mut engine, Detach).await.unwrap().interfaces, ["eth0"]);
    assert!(bench.plane.told().detached);
    assert!(ask(&mut engine, ReadStatus).await.is_err());
    assert!(ask(&mut engine, Detach).await.is_err());
    assert!(ask(&mut engine, Text).await.unwrap().contains("web"));
}
