//! Stores of the field: Redis, ZooKeeper and etcd, which have roles and health services of their own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Place;
use nix::sys::signal::Signal;
use tests::lab::{Host, Process, Vip, poll};
use tests::needs_lab;

use super::grpc::UNKNOWN;
use super::{
    DOWN, PATIENCE, UP, Watch, addresses, at, avoided, check, listening, outage, service, site,
    taken_out_by,
};

const REDIS: u16 = 6379;
const ZOOKEEPER: u16 = 2181;
const ETCD: u16 = 2379;
/// So long an ensemble takes to start, or to find another leader, on a machine that does much else.
const ELECTION: Duration = Duration::from_secs(60);

#[test]
fn a_redis_master_is_followed_when_the_roles_are_exchanged() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let servers: Vec<Process> = site
        .reals
        .iter()
        .map(|real| redis(&real.host))
        .collect::<Result<_>>()?;
    let [first, second] = [0, 1].map(|n| at(&site, n, REDIS));
    let port = REDIS.to_string();
    let hosts = [0, 1].map(|n: usize| site.reals[n].host.clone());
    let cli = |n: usize, words: &[&str]| {
        hosts[n].run(&[&["redis-cli", "--no-auth-warning", "-a", PASSWORD], words].concat())
    };
    cli(1, &["replicaof", &first.ip().to_string(), &port])?;
    let reals = addresses(&site, &[0, 1]);
    let asked = |password: &str| {
        let asked = format!("redis: {{role: master, password: {password}}}, initial: down");
        service("tcp", REDIS, Vip::Dr, &reals, &[check(&asked)])
    };
    site.balance(&asked(PASSWORD))?;
    let watch = Watch::new(&site)?;
    watch.until(first, Place::Up, PATIENCE)?;
    let (_, words) = watch.until(second, Place::Down, PATIENCE)?;
    cli(1, &["replicaof", "no", "one"])?;
    cli(0, &["replicaof", &second.ip().to_string(), &port])?;
    let (up, _) = watch.until(second, Place::Up, UP)?;
    let (down, _) = watch.until(first, Place::Down, DOWN)?;
    avoided(&site, &watch, first)?;
    println!(
        "redis: exchanged after {up:.0?} and {:.0?} ({words})",
        up + down
    );
    // Stopped: the kernel takes connections, and nobody answers.
    servers[1].signal_group(Signal::SIGSTOP)?;
    let (down, words) = watch.until(second, Place::Down, DOWN)?;
    servers[1].signal_group(Signal::SIGCONT)?;
    let (up, _) = watch.until(second, Place::Up, UP)?;
    println!("redis: stopped, down after {down:.0?} ({words}); up after {up:.0?}");
    taken_out_by(&asked("wrong"), &mut site, &watch, second, "WRONGPASS")
}

#[test]
fn a_zookeeper_ensemble_is_asked_whether_it_is_well_and_who_leads() -> Result<()> {
    needs_lab!();
    let jar = Path::new("/usr/share/java/zookeeper.jar");
    if !jar.exists() {
        println!("SKIP: ZooKeeper is not installed; `cargo xtask setup` does");
        return Ok(());
    }
    let mut site = site(3)?;
    let reals = addresses(&site, &[0, 1, 2]);
    let mut servers = Vec::new();
    for (n, real) in site.reals.iter().enumerate() {
        servers.push(zookeeper(&real.host, n, &reals)?);
    }
    for (real, server) in site.reals.iter().zip(&mut servers) {
        listening(&real.host, server, ZOOKEEPER, ELECTION)?;
    }
    let asked = |what: &str| service("tcp", ZOOKEEPER, Vip::Dr, &reals, &[check(what)]);
    site.balance(&asked("zookeeper: {role: leader}, initial: down"))?;
    let watch = Watch::new(&site)?;
    let all = [0, 1, 2].map(|n| at(&site, n, ZOOKEEPER));
    let leader = |not: Option<usize>| {
        poll("one of them to lead", ELECTION, || {
            let found = all.iter().enumerate().find(|&(n, &real)| {
                let up = watch.look(real).is_ok_and(|(place, _)| place == Place::Up);
                up && Some(n) != not
            });
            found.map(|(n, _)| n).context("none does")
        })
    };
    let first = leader(None)?;
    let (_, words) = watch.look(all[(first + 1) % 3])?;
    ensure!(words.contains("follower"), "{words}");
    // While it is stopped, the two others agree on one of them.
    servers[first].signal_group(Signal::SIGSTOP)?;
    let (down, why) = watch.until(all[first], Place::Down, DOWN)?;
    let second = leader(Some(first))?;
    avoided(&site, &watch, all[first])?;
    servers[first].signal_group(Signal::SIGCONT)?;
    poll("the former leader to follow", ELECTION, || {
        let (place, words) = watch.look(all[first])?;
        ensure!(
            place == Place::Down && words.contains("follower"),
            "{place:?}: {words}"
        );
        Ok(())
    })?;
    println!("zookeeper: the leader is stopped, down after {down:.0?} ({why}); then another leads");
    // Each of them is well, whoever leads.
    site.director.configure(&asked("zookeeper:"))?;
    site.director.lbctl(&["reload"])?;
    for real in all {
        watch.until(real, Place::Up, PATIENCE)?;
    }
    let follower = (0..3).find(|n| ![first, second].contains(n));
    let follower = follower.context("there are three")?;
    servers[follower].signal_group(Signal::SIGSTOP)?;
    let (down, words) = watch.until(all[follower], Place::Down, DOWN)?;
    avoided(&site, &watch, all[follower])?;
    servers[follower].signal_group(Signal::SIGCONT)?;
    let (up, well) = watch.until(all[follower], Place::Up, PATIENCE)?;
    ensure!(well.contains("imok"), "{well}");
    println!("zookeeper: down after {down:.0?} ({words}); up after {up:.0?}");
    Ok(())
}

#[test]
fn etcd_is_asked_by_its_grpc_health_service() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let mut servers: Vec<Process> = site
        .reals
        .iter()
        .map(|real| etcd(&real.host, "etcd"))
        .collect::<Result<_>>()?;
    let reals = addresses(&site, &[0, 1]);
    let asked = |what: &str| service("tcp", ETCD, Vip::Dr, &reals, &[check(what)]);
    site.balance(&asked("grpc:, initial: down"))?;
    let watch = Watch::new(&site)?;
    let [first, second] = [0, 1].map(|n| at(&site, n, ETCD));
    let (_, words) = watch.until(first, Place::Up, PATIENCE)?;
    ensure!(words == "SERVING", "{words}");
    watch.until(second, Place::Up, PATIENCE)?;
    let server = &servers[0];
    let [stop, go_on] =
        [Signal::SIGSTOP, Signal::SIGCONT].map(|signal| move || server.signal_group(signal));
    let stopped = outage(&site, &watch, first, stop, go_on)?;
    let server = servers.remove(0);
    let start = || {
        servers.push(etcd(&site.reals[0].host, "etcd-again")?);
        Ok(())
    };
    let killed = outage(&site, &watch, first, || server.kill(), start)?;
    println!("etcd: stopped, {stopped}; killed, {killed}");
    let strange = asked("grpc: {service: strange}");
    taken_out_by(&strange, &mut site, &watch, second, UNKNOWN)
}

const PASSWORD: &str = "open-sesame";

fn redis(host: &Host) -> Result<Process> {
    let folder = host.folder().display().to_string();
    let port = REDIS.to_string();
    let words = [
        "redis-server",
        "--port",
        &port,
        "--requirepass",
        PASSWORD,
        "--masterauth",
        PASSWORD,
        "--save",
        "",
        "--dir",
        &folder,
    ];
    let mut server = host.start("redis", &words)?;
    listening(host, &mut server, REDIS, PATIENCE)?;
    Ok(server)
}

/// The `n`th server of an ensemble.
fn zookeeper(host: &Host, n: usize, ensemble: &[String]) -> Result<Process> {
    let folder = host.folder();
    let data = folder.join("zookeeper");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("myid"), n.to_string())?;
    let path = folder.join("zoo.cfg");
    let mut text = format!(
        "tickTime=500\ninitLimit=20\nsyncLimit=4\ndataDir={}\nclientPort={ZOOKEEPER}\nadmin.enableServer=false\n\
         4lw.commands.whitelist=*\n",
        data.display()
    );
    for (n, address) in ensemble.iter().enumerate() {
        text.push_str(&format!("server.{n}={address}:2888:3888\n"));
    }
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    let path = path.display().to_string();
    let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
    let words = ["java", "-Xmx64m", "-cp", "/usr/share/java/*", main, &path];
    host.start("zookeeper", &words)
}

/// A store of its own. It takes connections before it serves.
fn etcd(host: &Host, name: &str) -> Result<Process> {
    let data = host.folder().join("etcd").display().to_string();
    let [anywhere, here, peers] = [
        ("0.0.0.0", ETCD),
        ("127.0.0.1", ETCD),
        ("127.0.0.1", ETCD + 1),
    ]
    .map(|(address, port)| format!("http://{address}:{port}"));
    let words = [
        "etcd",
        "--data-dir",
        &data,
        "--listen-client-urls",
        &anywhere,
        "--advertise-client-urls",
        &here,
        "--listen-peer-urls",
        &peers,
    ];
    let mut server = host.start(name, &words)?;
    poll("etcd to serve", PATIENCE, || {
        server.still_runs()?;
        let said = server.output();
        ensure!(said.contains("ready to serve client requests"), "{said}");
        Ok(())
    })?;
    Ok(server)
}
