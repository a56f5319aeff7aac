//! Starts, stops and what is remembered in between; the loop.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tokio::sync::mpsc;

use super::fakes::{Bench, FILE, ask, channel};
use crate::api::types::{AddReal, EditReal as Change, ReloadRequest};
use crate::core::hop::Via;
use crate::engine::{
    Alive, Detach, EditReal, Network, NewReal, ReadServices, ReadStatus, Reload, Save, run,
};
use crate::io::net::NetEvent;

fn weight(weight: u32) -> EditReal {
    let change = Change {
        weight: Some(weight),
        ..Change::default()
    };
    EditReal {
        service: "web".into(),
        real: "10.0.0.22".into(),
        change,
    }
}

fn running(bench: &Bench) -> Vec<String> {
    bench.plane.reals().remove(0).1
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_remembered_the_file_must_be_right() {
    let bench = Bench::new("services: []\nservcies: []\n");
    let problem = bench.start().await.err().unwrap();
    assert!(problem.why.unwrap().contains("servcies"));
    std::fs::remove_file(bench.config()).unwrap();
    assert!(bench.start().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lbctl_changed_outlives_the_daemon() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    ask(&mut engine, weight(9)).await.unwrap();
    drop(engine);
    let mut engine = bench.start().await.unwrap();
    assert_eq!(running(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 9"]);
    let status = ask(&mut engine, ReadStatus).await.unwrap();
    assert_eq!((status.unsaved, status.warnings.len()), (Some(1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_file_counts_at_the_next_start_if_lbctl_changed_nothing() {
    let bench = Bench::new(FILE);
    drop(bench.start().await.unwrap());
    bench.write(&FILE.replace("weight: 3", "weight: 4"));
    let mut engine = bench.start().await.unwrap();
    assert_eq!(running(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 4"]);
    assert!(
        ask(&mut engine, ReadStatus)
            .await
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_file_does_not_throw_away_what_lbctl_changed() {
    let bench = Bench::new(FILE);
    ask(&mut bench.start().await.unwrap(), weight(9))
        .await
        .unwrap();
    bench.write(&FILE.replace("weight: 3", "weight: 4"));
    let mut engine = bench.start().await.unwrap();
    assert_eq!(running(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 9"]);
    let warnings = ask(&mut engine, ReadStatus).await.unwrap().warnings;
    assert!(
        warnings.iter().any(|w| w.contains("lbctl reload")),
        "{warnings:?}"
    );
    ask(&mut engine, Reload(ReloadRequest::default()))
        .await
        .unwrap();
    assert_eq!(running(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 4"]);
    assert!(
        ask(&mut engine, ReadStatus)
            .await
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_save_the_file_is_what_counts() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    ask(&mut engine, weight(9)).await.unwrap();
    ask(&mut engine, Save).await.unwrap();
    bench.write(&FILE.replace("weight: 3", "weight: 4"));
    drop(engine);
    bench.start().await.unwrap();
    assert_eq!(running(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_does_not_keep_a_director_down_that_has_been_running() {
    let bench = Bench::new(FILE);
    drop(bench.start().await.unwrap());
    bench.write("services: [");
    let mut engine = bench.start().await.unwrap();
    assert_eq!(running(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 3"]);
    let warnings = ask(&mut engine, ReadStatus).await.unwrap().warnings;
    assert!(
        warnings.iter().any(|w| w.contains("goes on")),
        "{warnings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_written_stops_nothing_and_is_told() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    // Root may write anywhere, but not in a directory that is gone.
    std::fs::remove_dir_all(bench.state()).unwrap();
    ask(&mut engine, weight(9)).await.unwrap();
    assert_eq!(running(&bench), ["10.0.0.21:80 1", "10.0.0.22:80 9"]);
    let warnings = ask(&mut engine, ReadStatus).await.unwrap().warnings;
    assert!(
        warnings.iter().any(|w| w.contains("not kept")),
        "{warnings:?}"
    );
    std::fs::create_dir(bench.state()).unwrap();
    std::fs::set_permissions(bench.state(), std::fs::Permissions::from_mode(0o700)).unwrap();
    engine.remember_again();
    assert!(
        ask(&mut engine, ReadStatus)
            .await
            .unwrap()
            .warnings
            .is_empty()
    );
}

struct Beats(mpsc::UnboundedSender<()>);

impl Alive for Beats {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_millis(5))
    }

    fn tell(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_answers_follows_the_network_proves_that_it_lives_and_stops() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let (handle, jobs) = channel();
    let (events, events_from) = mpsc::unbounded_channel();
    let (stop, stopped) = crate::stop::channel();
    let (beat, mut beats) = mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        run(&mut engine, jobs, events_from, stopped, Beats(beat)).await;
        engine
    });
    assert_eq!(handle.ask(ReadServices::default()).await.unwrap().len(), 1);
    let real: AddReal = serde_json::from_str(r#"{"address": "10.0.0.23"}"#).unwrap();
    let asked: Vec<_> = (0..20)
        .map(|n| {
            let (handle, mut real) = (handle.clone(), real.clone());
            real.address = format!("10.0.0.{}", 100 + n);
            tokio::spawn(async move {
                handle
                    .ask(NewReal {
                        service: "web".into(),
                        real,
                    })
                    .await
            })
        })
        .collect();
    for one in asked {
        one.await.unwrap().unwrap();
    }
    assert_eq!(
        bench.plane.reals()[0].1.len(),
        22,
        "changes at once do not lose each other"
    );

    bench.plane.told().hops.clear();
    let real = "10.0.0.21".parse().unwrap();
    let hop = bench.network.hop(real);
    assert_eq!(hop.as_ref().unwrap().via, Via::OnLink);
    events.send(NetEvent::HopChanged { real, hop }).unwrap();
    let followed = async {
        while bench.plane.told().hops.is_empty() {
            beats.recv().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(5), followed)
        .await
        .expect("the loop beats and follows the network");

    stop.stop();
    tokio::time::timeout(Duration::from_secs(5), running)
        .await
        .unwrap()
        .unwrap();
    assert!(
        !bench.plane.told().detached,
        "forwarding goes on without the daemon"
    );
    assert!(handle.ask(ReadStatus).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detach_ends_the_loop() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let (handle, jobs) = channel();
    let (_events, events_from) = mpsc::unbounded_channel();
    let (_stop, stopped) = crate::stop::channel();
    let (beat, _beats) = mpsc::unbounded_channel();
    let running =
        tokio::spawn(
            async move { run(&mut engine, jobs, events_from, stopped, Beats(beat)).await },
        );
    handle.ask(Detach).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), running)
        .await
        .unwrap()
        .unwrap();
    assert!(bench.plane.told().detached);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_was_taken_off_is_put_back() {
    let bench = Bench::new(FILE);
    let mut engine = bench.start().await.unwrap();
    let now = crate::io::clock::now();
    let before = bench.plane.told().attachments;
    engine.keep_attached(now).await;
    assert_eq!(bench.plane.told().attachments, before, "nothing is missing");

    bench.plane.told().taken_off = vec!["eth0".into()];
    engine.keep_attached(now).await;
    assert_eq!(bench.plane.told().attachments, before + 1);

    // What cannot be put back is told, and tried again later.
    bench.plane.told().taken_off = vec!["eth0".into()];
    bench.plane.told().refuse = 1;
    engine.keep_attached(now).await;
    let status = ask(&mut engine, ReadStatus).await.unwrap();
    assert_eq!(status.warnings.len(), 1, "{:?}", status.warnings);
    bench.plane.told().taken_off = vec!["eth0".into()];
    let tried = bench.plane.told().attachments;
    engine.keep_attached(now + Duration::from_secs(4)).await;
    assert_eq!(bench.plane.told().attachments, tried);
    engine.keep_attached(now + Duration::from_secs(5)).await;
    assert_eq!(bench.plane.told().attachments, tried + 1);
    let status = ask(&mut engine, ReadStatus).await.unwrap();
    assert_eq!(status.warnings.len(), 0, "{:?}", status.warnings);
}
