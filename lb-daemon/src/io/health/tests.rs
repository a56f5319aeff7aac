//! The thread with real probes, over loopback.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::core::desired::{Proto, Scheduler};
use crate::core::health::plan::{
    Check, Command as Program, RealPlan, Rules, Target, Timing, Verdict,
};
use crate::core::health::probe::{Probe, Tcp};
use crate::core::health::{Place, Standing};

/// Keeps in memory.
#[derive(Clone, Debug, Default)]
struct Pocket(Arc<Mutex<Option<Vec<u8>>>>);

impl Keeper for Pocket {
    fn read(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }

    fn write(&self, bytes: &[u8]) {
        *self.0.lock().unwrap() = Some(bytes.to_vec());
    }
}

fn service() -> ServiceId {
    ServiceId::new(Proto::Tcp, [192, 0, 2, 1], 80)
}

fn plan(reals: &[SocketAddr]) -> ServicePlan {
    let timing = Timing {
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(50),
        ..Timing::default()
    };
    let real = |&id: &SocketAddr| RealPlan {
        id,
        weight: 1,
        checks: vec![Arc::new(Check {
            name: "tcp".into(),
            probe: Probe::Tcp(Tcp::default()),
            target: Target::Address(id),
            timing,
        })],
        on_up: None,
        on_down: None,
    };
    ServicePlan {
        id: service(),
        name: "web".into(),
        scheduler: Scheduler::Rr,
        rules: Rules {
            damping: None,
            ..Rules::default()
        },
        reals: reals.iter().map(real).collect(),
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn standing(checks: &Checks, real: SocketAddr) -> Standing {
    checks.standings().get(service()).unwrap().reals[&real]
}

/// Waits until a real server stands as wanted.
async fn until(checks: &mut Checks, real: SocketAddr, out: bool) -> Duration {
    let start = Instant::now();
    let wait = async {
        while standing(checks, real).out != out {
            checks.changed().await;
        }
    };
    timeout(Duration::from_secs(5), wait)
        .await
        .expect("it stands so within five seconds");
    start.elapsed()
}

#[tokio::test]
async fn a_server_that_closes_leaves_and_comes_back_when_it_listens_again() {
    let (listener, well) = listen().await;
    let (other, lost) = listen().await;
    let mut checks = Checks::start(None, Pocket::default()).unwrap();
    checks.configure(vec![plan(&[well, lost])]).await.unwrap();
    assert!(!standing(&checks, well).out && !standing(&checks, lost).out);
    drop(other);
    let down = until(&mut checks, lost, true).await;
    assert!(!standing(&checks, well).out);
    let again = TcpListener::bind(lost).await.unwrap();
    let up = until(&mut checks, lost, false).await;
    println!("down after {down:?}, up after {up:?}");
    // Three intervals and a timeout; two intervals.
    assert!(down < Duration::from_millis(550) && up < Duration::from_millis(450));

    let report = checks.report().await.unwrap();
    assert!(
        report.services[0]
            .reals
            .iter()
            .all(|real| real.place == Place::Up)
    );
    assert!(report.probes.started >= 8 && report.probes.limit >= 16);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(
        serde_json::from_str::<HealthReport>(&text)
            .unwrap()
            .services
            .len(),
        1
    );
    drop((listener, again));
}

#[tokio::test]
async fn what_was_down_is_down_after_a_restart() {
    let (listener, well) = listen().await;
    let (other, lost) = listen().await;
    drop(other);
    let pocket = Pocket::default();
    let mut checks = Checks::start(None, pocket.clone()).unwrap();
    checks.configure(vec![plan(&[well, lost])]).await.unwrap();
    until(&mut checks, lost, true).await;
    drop(checks);
    let kept = || pocket.0.lock().unwrap().is_some();
    timeout(Duration::from_secs(5), async {
        while !kept() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the thread writes down what it knows when it ends");

    let again = Checks::start(None, pocket).unwrap();
    again.configure(vec![plan(&[well, lost])]).await.unwrap();
    assert!(standing(&again, lost).out && !standing(&again, well).out);
    drop(listener);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_nothing_to_stop_for() {
    let pocket = Pocket(Arc::new(Mutex::new(Some(b"{not json".to_vec()))));
    let (_listener, well) = listen().await;
    let checks = Checks::start(None, pocket).unwrap();
    checks.configure(vec![plan(&[well])]).await.unwrap();
    assert!(!standing(&checks, well).out);
}

#[tokio::test]
async fn a_check_can_be_made_for_somebody_who_asks() {
    let (listener, well) = listen().await;
    let checks = Checks::start(None, Pocket::default()).unwrap();
    checks.configure(vec![plan(&[well])]).await.unwrap();
    let asked = checks.ask(well, None).await.unwrap();
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].passed && asked[0].lines.iter().any(|line| line == "connected"),
        "{asked:?}"
    );
    assert_eq!(
        checks
            .ask("127.0.0.1:1".parse().unwrap(), None)
            .await
            .unwrap(),
        []
    );
    let other = ServiceId::new(Proto::Tcp, [192, 0, 2, 2], 80);
    assert_eq!(checks.ask(well, Some(other)).await.unwrap(), []);
    drop(listener);
}

#[tokio::test]
async fn programs_are_told_in_order_and_the_loop_does_not_wait_for_them() {
    let (other, lost) = listen().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("told");
    // The first one takes its time.
    let script = format!(
        "sleep 0.5; echo $LBD_EVENT $LBD_SERVICE $LBD_REAL >> {}",
        file.display()
    );
    let command = Program {
        argv: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
        user: None,
        timeout: Duration::from_secs(5),
    };
    let mut service = plan(&[lost]);
    service.reals[0].on_down = Some(Arc::new(command.clone()));
    service.reals[0].on_up = Some(Arc::new(command));
    service.reals[0].checks = vec![Arc::new(Check {
        timing: Timing {
            rise: 1,
            fall: 1,
            initial: Verdict::Up,
            ..service.reals[0].checks[0].timing
        },
        ..(*service.reals[0].checks[0]).clone()
    })];
    let mut checks = Checks::start(None, Pocket::default()).unwrap();
    checks.configure(vec![service]).await.unwrap();
    drop(other);
    until(&mut checks, lost, true).await;
    let again = TcpListener::bind(lost).await.unwrap();
    let up = until(&mut checks, lost, false).await;
    assert!(
        up < Duration::from_millis(400),
        "the program of the failure still runs: {up:?}"
    );
    let told = || std::fs::read_to_string(&file).unwrap_or_default();
    timeout(Duration::from_secs(5), async {
        while told().lines().count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("both programs end");
    assert_eq!(told(), format!("down web {lost}\nup web {lost}\n"));
    drop(again);
}
