//! Checks over loopback, and what the data plane is told of them.

use std::net::TcpListener;
use std::time::Duration;

use super::fakes::{Bench, FILE, ask};
use crate::api::types::RealState;
use crate::engine::{Engine, ReadServices, ReadStatus};

/// Real servers, and whether the data plane was told that they are down.
fn told(bench: &Bench) -> Vec<(String, bool)> {
    let told = bench.plane.told();
    let reals = told.desired.services[0].reals.iter();
    reals.map(|r| (r.addr.to_string(), r.down)).collect()
}

async fn warnings(engine: &mut Engine) -> Vec<String> {
    ask(engine, ReadStatus).await.unwrap().warnings
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_plane_follows_verdicts_and_is_told_again_what_it_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let keys = format!(
        "  health: {{tcp: {{}}, address: 127.0.0.1, port: {port}, interval: 100ms, timeout: 50ms, fall: 1}}
  sorry: 10.0.0.99
  reals:"
    );
    let bench = Bench::new(&FILE.replace("  reals:", &keys));
    let mut engine = bench.start().await.unwrap();
    let pool = |down: [bool; 3]| {
        let addresses = ["10.0.0.21", "10.0.0.22", "10.0.0.99"].map(str::to_owned);
        addresses.into_iter().zip(down).collect::<Vec<_>>()
    };
    assert_eq!(told(&bench), pool([false, false, true]));
    assert!(bench.network.watched().contains(&"10.0.0.99".to_owned()));

    drop(listener);
    let mut checks = engine.checks.clone();
    let id = engine.model.services[0].id;
    tokio::time::timeout(Duration::from_secs(5), async {
        let alive = |engine: &Engine| {
            let standings = engine.standings();
            let reals = &standings.get(id).unwrap().reals;
            reals.values().any(|real| !real.dead)
        };
        while alive(&engine) {
            checks.changed().await;
        }
    })
    .await
    .expect("both are down within five seconds");
    bench.plane.told().refuse = 1;
    engine.follow_health();
    assert_eq!(told(&bench), pool([false, false, true]));
    let found = warnings(&mut engine).await;
    assert!(found.iter().any(|w| w.contains("pools")), "{found:?}");

    engine.follow_health_again();
    assert_eq!(told(&bench), pool([true, true, false]));
    let found = warnings(&mut engine).await;
    assert!(!found.iter().any(|w| w.contains("pools")), "{found:?}");
    let sorry = "sorry server 10.0.0.99:80 serves, for 2 of 2 real servers are down";
    assert!(found.iter().any(|w| w.contains(sorry)), "{found:?}");
    let services = ask(&mut engine, ReadServices::default()).await.unwrap();
    let states: Vec<RealState> = services[0].reals.iter().map(|real| real.state).collect();
    assert_eq!(states, [RealState::Down, RealState::Down, RealState::Sorry]);
}
