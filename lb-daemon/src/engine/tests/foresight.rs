//! What explanations and simulations say, and that they change nothing.

use std::time::Duration;

use lb_common::net::Proto;

use super::fakes::{Bench, FILE, ask};
use crate::api::types::{DecidedBy, DrainRequest, Live};
use crate::core::outlook::Kept;
use crate::engine::{Drain, Explain, Simulate};
use crate::io::bpf::Connection;

fn flow(client: &str, vip: &str) -> Explain {
    let query = serde_json::json!({"protocol": "tcp", "client": client, "vip": vip});
    Explain(serde_json::from_value(query).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_names_what_decides() {
    let bench = Bench::new(&FILE.replace("wrr", "wlc"));
    let mut engine = bench.start().await.unwrap();
    let nothing = ask(&mut engine, flow("10.9.0.1:4000", "192.0.2.1:81"))
        .await
        .unwrap();
    assert_eq!(
        (nothing.decided_by, nothing.real),
        (DecidedBy::NoService, None)
    );

    let mixed = ask(&mut engine, flow("[2001:db8::9]:4000", "192.0.2.1:80")).await;
    assert!(mixed.unwrap_err().hint.unwrap().contains("family"));

    // The older one, which comes last, has the connection; the newer one none.
    let chosen = ask(&mut engine, flow("10.9.0.1:4000", "192.0.2.1:80"))
        .await
        .unwrap();
    assert_eq!(
        (chosen.decided_by, chosen.real.as_deref()),
        (DecidedBy::Scheduler, Some("10.0.0.22:80"))
    );
    let shown: Vec<_> = chosen
        .candidates
        .iter()
        .map(|c| (c.address.as_str(), c.active, c.score.as_deref(), c.chosen))
        .collect();
    assert_eq!(
        shown,
        [
            ("10.0.0.22:80", 0, Some("0 / 3 = 0.0"), true),
            ("10.0.0.21:80", 1, Some("256 / 1 = 256.0"), false),
        ]
    );

    let connection = Connection {
        proto: Proto::Tcp,
        client: "10.9.0.1:4000".parse().unwrap(),
        vip: "192.0.2.1:80".parse().unwrap(),
        real: "10.0.0.21:80".parse().unwrap(),
        state: "ESTABLISHED",
        expires: Duration::from_secs(899),
        idle: Duration::from_secs(1),
        is_left: false,
    };
    bench.plane.told().connections = vec![connection];
    let known = ask(&mut engine, flow("10.9.0.1:4000", "192.0.2.1:80"))
        .await
        .unwrap();
    assert_eq!(
        (known.decided_by, known.real.as_deref()),
        (DecidedBy::Connection, Some("10.0.0.21:80"))
    );

    bench.plane.told().connections.clear();
    let kept = |leads| Kept {
        real: "10.0.0.21:80".parse().unwrap(),
        expires: Duration::from_secs(77),
        leads,
    };
    for (leads, decided_by, real) in [
        (true, DecidedBy::Template, "10.0.0.21:80"),
        (false, DecidedBy::Scheduler, "10.0.0.22:80"),
    ] {
        bench.plane.told().kept = Some(kept(leads));
        let client = ask(&mut engine, flow("10.9.0.1:4000", "192.0.2.1:80"))
            .await
            .unwrap();
        assert_eq!(
            (client.decided_by, client.real.as_deref()),
            (decided_by, Some(real))
        );
        let chosen: Vec<_> = client.candidates.iter().filter(|c| c.chosen).collect();
        assert!(chosen.len() == 1 && chosen[0].address == real, "{chosen:?}");
        assert!(client.reasons.iter().any(|r| r.contains("77 s")));
    }
    bench.plane.told().kept = None;
    bench.plane.told().standby = true;
    let left = ask(&mut engine, flow("10.9.0.1:4000", "192.0.2.1:80"))
        .await
        .unwrap();
    assert_eq!((left.decided_by, left.real), (DecidedBy::Standby, None));
    assert!(left.candidates.iter().all(|c| !c.chosen));
    bench.plane.told().standby = false;
    let all = DrainRequest {
        real: "10.0.0.21".into(),
        service: None,
    };
    ask(&mut engine, Drain(all)).await.unwrap();
    ask(
        &mut engine,
        Drain(DrainRequest {
            real: "10.0.0.22".into(),
            service: None,
        }),
    )
    .await
    .unwrap();
    let nobody = ask(&mut engine, flow("10.9.0.1:4000", "192.0.2.1:80"))
        .await
        .unwrap();
    assert_eq!((nobody.decided_by, nobody.real), (DecidedBy::Nobody, None));
    assert!(
        ask(&mut engine, flow("10.9.0.1", "192.0.2.1:80"))
            .await
            .is_err()
    );
}

fn simulate(json: &str) -> Simulate {
    Simulate(serde_json::from_str(json).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_shares_before_and_after_and_changes_nothing() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let applied = bench.plane.told().applied;
    let request = r#"{"service": "web", "connections": 400, "edit": [{"real": "10.0.0.22", "weight": 0}],
                      "add": [{"address": "10.0.0.23"}]}"#;
    let answer = ask(&mut engine, simulate(request)).await.unwrap();
    let shown: Vec<_> = answer
        .reals
        .iter()
        .map(|real| {
            (
                real.address.as_str(),
                real.weight.before,
                real.weight.after,
                real.share.before,
                real.share.after,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("10.0.0.21:80", Some(1), Some(1), 100, 200),
            ("10.0.0.22:80", Some(3), Some(0), 300, 0),
            ("10.0.0.23:80", None, Some(1), 0, 200),
        ]
    );
    assert_eq!(bench.plane.told().applied, applied);
    let far = r#"{"service": "web", "add": [{"address": "198.51.100.1"}]}"#;
    assert!(
        ask(&mut engine, simulate(far))
            .await
            .unwrap_err()
            .error
            .contains("not on a directly connected")
    );
    assert!(
        ask(
            &mut engine,
            simulate(r#"{"service": "web", "connections": 0}"#)
        )
        .await
        .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_says_what_becomes_of_live_connections() {
    let bench = Bench::new(&FILE.replace("wrr", "mh"));
    let mut engine = bench.start().await.unwrap();
    let connection = |n: u16, real: &str| Connection {
        proto: Proto::Tcp,
        client: format!("10.9.0.1:{n}").parse().unwrap(),
        vip: "192.0.2.1:80".parse().unwrap(),
        real: real.parse().unwrap(),
        state: "ESTABLISHED",
        expires: Duration::from_secs(899),
        idle: Duration::from_secs(1),
        is_left: false,
    };
    bench.plane.told().connections = vec![
        connection(1, "10.0.0.21:80"),
        connection(2, "10.0.0.22:80"),
        connection(3, "10.0.0.22:80"),
    ];
    let live = |stay, finish, moved, elsewhere| Live {
        stay,
        finish,
        moved,
        elsewhere,
    };
    for (request, expected) in [
        (r#"{"service": "web"}"#, live(3, 0, 0, Some(0))),
        (
            r#"{"service": "web", "scheduler": "rr"}"#,
            live(3, 0, 0, None),
        ),
        (
            r#"{"service": "web", "scheduler": "rr", "edit": [{"real": "10.0.0.22", "weight": 0}]}"#,
            live(1, 2, 0, None),
        ),
        (
            r#"{"service": "web", "scheduler": "rr", "remove": ["10.0.0.22"]}"#,
            live(1, 2, 0, None),
        ),
        (
            r#"{"service": "web", "scheduler": "rr", "remove": ["10.0.0.22"], "force": true}"#,
            live(1, 0, 2, None),
        ),
    ] {
        assert_eq!(
            ask(&mut engine, simulate(request)).await.unwrap().live,
            expected,
            "{request}"
        );
    }
}
