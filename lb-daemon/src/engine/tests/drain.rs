//! How long a drain holds, and when a server can be stopped.

use std::time::Duration;

use lb_common::net::Proto;

use super::fakes::{Bench, FILE, ask};
use crate::api::types::{
    self, AddService, DrainRequest, Drained, Problem, RealState, ReloadRequest,
};
use crate::engine::{
    Drain, EditReal, Engine, ReadRemaining, ReadServices, ReadStatus, Reload, RemoveReal, Undrain,
};
use crate::io::bpf::Connection;

const REAL: &str = "10.0.0.22";

fn which() -> DrainRequest {
    DrainRequest {
        real: REAL.into(),
        service: None,
    }
}

async fn drain(engine: &mut Engine) -> Result<Vec<Drained>, Problem> {
    Ok(ask(engine, Drain(which())).await?.count())
}

/// What the data plane was told of the first service.
fn told(bench: &Bench) -> Vec<String> {
    bench.plane.reals().remove(0).1
}

const DRAINED: [&str; 2] = ["10.0.0.21:80 1", "10.0.0.22:80 0"];
const IN_USE: [&str; 2] = ["10.0.0.21:80 1", "10.0.0.22:80 3"];

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_takes_the_machine_out_of_every_service_and_leaves_its_weights() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let dns = r#"{"protocol": "udp", "address": "192.0.2.1:53", "name": "dns", "reals": [{"address": "10.0.0.22", "weight": 7}]}"#;
    let dns: AddService = serde_json::from_str(dns).unwrap();
    ask(&mut engine, dns).await.unwrap();
    let left = drain(&mut engine).await.unwrap();
    let shown: Vec<_> = left
        .iter()
        .map(|l| (l.service.as_str(), l.address.as_str(), l.active, l.open))
        .collect();
    assert_eq!(
        shown,
        [("web", "10.0.0.22:80", 2, 7), ("dns", "10.0.0.22:53", 2, 7)]
    );
    assert_eq!(told(&bench), DRAINED);
    let services = ask(&mut engine, ReadServices::default()).await.unwrap();
    for service in &services {
        let real = service.reals.last().unwrap();
        assert_eq!(real.state, RealState::Draining);
        assert_ne!(real.weight, 0, "as configured");
    }
    let status = ask(&mut engine, ReadStatus).await.unwrap();
    assert_eq!(status.warnings.len(), 2, "{:?}", status.warnings);

    ask(&mut engine, Undrain(which())).await.unwrap();
    assert_eq!(told(&bench), IN_USE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_outlives_the_daemon_and_a_reload() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    drain(&mut engine).await.unwrap();
    drop(engine);
    let mut engine = bench.start().await.unwrap();
    assert_eq!(told(&bench), DRAINED);

    bench.write(&FILE.replace("weight: 3", "weight: 4"));
    ask(&mut engine, Reload(ReloadRequest::default()))
        .await
        .unwrap();
    assert_eq!(told(&bench), DRAINED);
    ask(&mut engine, Undrain(which())).await.unwrap();
    assert_eq!(told(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 4"]);
    drop(engine);
    bench.start().await.unwrap();
    assert_eq!(told(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_ends_a_drain_and_so_does_removal() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let edit = |weight| EditReal {
        service: "web".into(),
        real: REAL.into(),
        change: types::EditReal {
            weight: Some(weight),
            ..Default::default()
        },
    };
    drain(&mut engine).await.unwrap();
    ask(&mut engine, edit(0)).await.unwrap();
    bench.plane.told().refuse = 1;
    ask(&mut engine, edit(3)).await.unwrap_err();
    let services = ask(&mut engine, ReadServices::default()).await.unwrap();
    assert_eq!(services[0].reals[1].state, RealState::Draining);
    ask(&mut engine, edit(3)).await.unwrap();
    assert_eq!(told(&bench), IN_USE);

    drain(&mut engine).await.unwrap();
    let remove = RemoveReal {
        service: "web".into(),
        real: REAL.into(),
        force: false,
    };
    ask(&mut engine, remove).await.unwrap();
    assert!(drain(&mut engine).await.is_err(), "it is there no more");
    ask(&mut engine, Reload(ReloadRequest::default()))
        .await
        .unwrap();
    assert_eq!(told(&bench), IN_USE, "one that is added again is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_the_data_plane_refuses_is_none() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    bench.plane.told().refuse = 1;
    drain(&mut engine).await.unwrap_err();
    drop(engine);
    bench.start().await.unwrap();
    assert_eq!(told(&bench), IN_USE);
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_keep_no_server_from_being_stopped() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    bench.plane.told().idle = true;
    let connection = |n: u16, real: &str, state| Connection {
        proto: Proto::Tcp,
        client: format!("10.9.0.1:{n}").parse().unwrap(),
        vip: "192.0.2.1:80".parse().unwrap(),
        real: real.parse().unwrap(),
        state,
        expires: Duration::from_secs(90),
        idle: Duration::from_secs(1),
        is_left: false,
    };
    bench.plane.told().connections = vec![
        connection(1, "10.0.0.22:80", "TIME_WAIT"),
        connection(2, "10.0.0.22:80", "FIN_WAIT"),
        connection(3, "10.0.0.22:80", "CLOSE"),
        connection(4, "10.0.0.21:80", "FIN_WAIT"),
        connection(5, "10.0.0.22:81", "FIN_WAIT"),
    ];
    let left = drain(&mut engine).await.unwrap();
    assert_eq!((left[0].active, left[0].inactive, left[0].open), (0, 5, 1));
    bench.plane.told().connections.remove(1);
    let left = ask(&mut engine, ReadRemaining(which())).await.unwrap();
    assert_eq!(left.count()[0].open, 0);
}
