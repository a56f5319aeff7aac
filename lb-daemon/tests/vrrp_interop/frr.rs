//! FRR's vrrpd as the other director, which has version 3 only, and keeps addresses on an interface with the virtual MAC.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lb_daemon::core::vrrp::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::netns::Host;
use super::site::*;

const PROGRAMS: &str = "/usr/lib/frr";

/// zebra and vrrpd on a host. They end with this.
struct Frr {
    zebra: Child,
    vrrpd: Child,
    dir: tempfile::TempDir,
}

impl Frr {
    /// The reason why there is none, if there is none.
    fn missing() -> Option<&'static str> {
        let there = ["zebra", "vrrpd"].map(|name| Path::new(PROGRAMS).join(name).exists());
        (there != [true; 2]).then_some("frr is not installed; `cargo xtask setup` does")
    }

    /// Starts it on a host, with the interface that it wants to have.
    fn start(host: &Host, case: &Case, priority: u8) -> Self {
        let (family, group) = if case.v6 { ("ipv6", 2) } else { ("ip", 1) };
        host.run(&format!(
            "ip link add vrrp link eth0 address 00:00:5e:00:0{group}:33 type macvlan mode bridge"
        ));
        let mut lines = format!(
            "interface eth0\n vrrp 51 version 3\n vrrp 51 priority {priority}\n vrrp 51 advertisement-interval {}\n",
            case.interval.as_millis()
        );
        for address in case.addresses() {
            let nodad = if case.v6 { " nodad" } else { "" };
            host.run(&format!("ip addr add {address} dev vrrp{nodad}"));
            let (address, _) = address.split_once('/').unwrap();
            lines.push_str(&format!(" vrrp 51 {family} {address}\n"));
        }
        host.run("ip link set vrrp up");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        std::fs::write(path.join("zebra.conf"), "").unwrap();
        std::fs::write(path.join("vrrpd.conf"), lines).unwrap();
        // They run as a user of their own.
        run_here(&["chown", "-R", "frr:frr", path.to_str().unwrap()]);
        let start = |name: &'static str| {
            let path = path.to_owned();
            host.call(move || {
                let log = std::fs::File::create(path.join(format!("{name}.log"))).unwrap();
                let file = |suffix: &str| path.join(format!("{name}.{suffix}"));
                Command::new(Path::new(PROGRAMS).join(name))
                    .args(["--log", "stdout", "--log-level", "debug"])
                    .arg("-f")
                    .arg(file("conf"))
                    .arg("-i")
                    .arg(file("pid"))
                    .arg("-z")
                    .arg(path.join("zserv.api"))
                    .arg("--vty_socket")
                    .arg(&path)
                    .stdin(Stdio::null())
                    .stderr(log.try_clone().unwrap())
                    .stdout(log)
                    .spawn()
                    .unwrap()
            })
        };
        let zebra = start("zebra");
        let socket = path.join("zserv.api");
        wait_for(|| socket.exists());
        let vrrpd = start("vrrpd");
        Self { zebra, vrrpd, dir }
    }

    /// Its state, as it says: `Master`, `Backup` or `Initialize`.
    fn state(&self, v6: bool) -> String {
        let output = Command::new("vtysh")
            .arg("--vty_socket")
            .arg(self.dir.path())
            .args(["-c", "show vrrp json"])
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let family = if v6 { "v6" } else { "v4" };
        let state = said[0][family]["status"].as_str();
        state.unwrap_or("nothing").to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill(pid(&self.vrrpd), signal).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("vrrpd.log")).unwrap_or_default()
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        for child in [&mut self.vrrpd, &mut self.zebra] {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

fn run_here(words: &[&str]) {
    let status = Command::new(words[0]).args(&words[1..]).status().unwrap();
    assert!(status.success(), "{words:?}");
}

fn wait_for(holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing after 10 s");
}

/// FRR is master and sleeps, wakes, is killed; then a new one finds us as master and takes over when we leave.
async fn beside_frr(case: Case) {
    let reason = nix::unistd::geteuid().is_root().then(Frr::missing);
    if let Some(reason) = reason.unwrap_or(Some("only root may make namespaces")) {
        println!("SKIP: {reason}");
        return;
    }
    let site = Site::new(case);
    let theirs = Frr::start(&site.theirs, &case, 150);
    let says = |frr: &Frr, state: &str| {
        let said = frr.state(case.v6);
        assert_ne!(said, "nothing", "{}", frr.log());
        said == state
    };
    wait_for(|| theirs.state(case.v6) == "Master");
    let ours = site.start_ours(100, "").await;
    until("we hear FRR", 10 * SECOND, async || {
        let report = ours.report().await;
        assert_eq!(report.rejects, [], "{}", theirs.log());
        report.heard >= 3
    })
    .await;
    assert!(ours.is(State::Backup).await);

    theirs.signal(Signal::SIGSTOP);
    let took = ours.takes_over(case.master_down(100)).await;
    println!("{case:?}\n  SIGSTOP of vrrpd: master after {took:?}");
    theirs.signal(Signal::SIGCONT);
    let backup = async || ours.is(State::Backup).await;
    let took = until("it takes over again", 10 * SECOND, backup).await;
    println!("  SIGCONT: it is master again after {took:?}");
    assert!(says(&theirs, "Master"));
    theirs.signal(Signal::SIGKILL);
    let took = ours.takes_over(case.master_down(100)).await;
    println!("  kill -9 of vrrpd: master after {took:?}");
    assert_eq!(
        ours.report().await.rejects,
        [],
        "we reject nothing of theirs"
    );
    drop(theirs);

    // One of lower priority keeps quiet, hears us, and follows when we leave.
    site.theirs.run("ip link del vrrp");
    let theirs = Frr::start(&site.theirs, &case, 50);
    wait_for(|| theirs.state(case.v6) == "Backup");
    tokio::time::sleep(case.master_down(50) + SLACK).await;
    assert!(ours.is(State::Master).await);
    assert!(says(&theirs, "Backup"), "{}", theirs.log());
    let left = std::time::Instant::now();
    ours.vrrp.stop();
    wait_for(|| says(&theirs, "Master"));
    println!("  we stop: it is master after {:?}", left.elapsed());
    let log = theirs.log();
    for complaint in ["invalid", "Bad", "mismatch", "unknown"] {
        assert!(!log.contains(complaint), "FRR complains: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_frr_with_ipv4() {
    beside_frr(V3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_frr_with_ipv6() {
    beside_frr(V3_IPV6).await;
}
