//! Real servers of the field that are no web servers.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Place;
use nix::sys::signal::Signal;
use tests::lab::{Host, Process, Site, Vip, poll};
use tests::needs_lab;

use super::{DOWN, PATIENCE, UP, Watch, addresses, check, service, site};

/// Where the DNS server of these tests is; at the usual port there is another one.
const DNS: u16 = 5300;
const REDIS: u16 = 6379;
const ZOOKEEPER: u16 = 2181;

#[test]
fn a_redis_master_is_followed_when_the_roles_are_exchanged() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let servers: Vec<Process> = site
        .reals
        .iter()
        .map(|real| redis(&real.host))
        .collect::<Result<_>>()?;
    let [first, second] = both(&site, REDIS);
    let port = REDIS.to_string();
    let cli = |n: usize, words: &[&str]| {
        let host = &site.reals[n].host;
        host.run(&[&["redis-cli"], words].concat())
    };
    cli(1, &["replicaof", &first.ip().to_string(), &port])?;
    let reals = addresses(&site, &[0, 1]);
    let checked = check("redis: {role: master}, initial: down");
    site.balance(&service("tcp", REDIS, Vip::Dr, &reals, &[checked]))?;
    let watch = Watch::new(&site)?;
    watch.until(first, Place::Up, PATIENCE)?;
    let (_, words) = watch.until(second, Place::Down, PATIENCE)?;
    let cli = |n: usize, words: &[&str]| {
        let host = &site.reals[n].host;
        host.run(&[&["redis-cli"], words].concat())
    };
    cli(1, &["replicaof", "no", "one"])?;
    cli(0, &["replicaof", &second.ip().to_string(), &port])?;
    let (up, _) = watch.until(second, Place::Up, UP)?;
    let (down, _) = watch.until(first, Place::Down, DOWN)?;
    avoided(&site, &watch, first, REDIS)?;
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
    Ok(())
}

#[test]
fn a_resolver_with_a_wrong_answer_is_left() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let mut servers = Vec::new();
    for real in &site.reals {
        servers.push(unbound(&real.host, Ipv4Addr::new(192, 0, 2, 7))?);
    }
    let reals = addresses(&site, &[0, 1]);
    let asked = check("dns: {name: www.lab, record: A, expect: 192.0.2.7}");
    site.balance(&service("udp", DNS, Vip::Dr, &reals, &[asked]))?;
    let watch = Watch::new(&site)?;
    let [first, _] = both(&site, DNS);
    watch.until(first, Place::Up, PATIENCE)?;
    servers.remove(0).stop(PATIENCE)?;
    let (down, words) = watch.until(first, Place::Down, DOWN)?;
    println!("unbound stopped: down after {down:.0?} ({words})");
    let wrong = unbound(&site.reals[0].host, Ipv4Addr::new(192, 0, 2, 8))?;
    poll("the wrong answer to be seen", PATIENCE, || {
        let (place, words) = watch.look(first)?;
        ensure!(
            place == Place::Down && words.contains("192.0.2.8"),
            "{place:?} {words}"
        );
        Ok(())
    })?;
    wrong.stop(PATIENCE)?;
    servers.push(unbound(&site.reals[0].host, Ipv4Addr::new(192, 0, 2, 7))?);
    let (up, _) = watch.until(first, Place::Up, UP)?;
    println!("unbound: up after {up:.0?}");
    Ok(())
}

#[test]
fn a_tcp_server_is_asked_for_a_greeting() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let reals = addresses(&site, &[0, 1]);
    let asked = check(r#"tcp: {send: "GET / HTTP/1.0\r\n\r\n", matches: "(?s)200 OK.*r[12]$"}"#);
    site.balance(&service("tcp", 80, Vip::Dr, &reals, &[asked]))?;
    let watch = Watch::new(&site)?;
    let [first, _] = both(&site, 80);
    watch.until(first, Place::Up, PATIENCE)?;
    site.reals[0].signal_web(Signal::SIGKILL)?;
    let (down, words) = watch.until(first, Place::Down, DOWN)?;
    avoided(&site, &watch, first, 80)?;
    site.start_web(0)?;
    let (up, _) = watch.until(first, Place::Up, UP)?;
    println!("tcp: down after {down:.0?} ({words}), up after {up:.0?}");
    Ok(())
}

#[test]
fn a_zookeeper_server_is_asked_whether_it_is_well() -> Result<()> {
    needs_lab!();
    let jar = Path::new("/usr/share/java/zookeeper.jar");
    if !jar.exists() {
        println!("SKIP: ZooKeeper is not installed (Debian: zookeeper)");
        return Ok(());
    }
    let mut site = site(1)?;
    let server = zookeeper(&site.reals[0].host)?;
    let reals = addresses(&site, &[0]);
    let asked = check("zookeeper:");
    site.balance(&service("tcp", ZOOKEEPER, Vip::Dr, &reals, &[asked]))?;
    let watch = Watch::new(&site)?;
    let real = SocketAddr::new(site.reals[0].address.into(), ZOOKEEPER);
    poll("a good answer", PATIENCE, || {
        let (place, words) = watch.look(real)?;
        ensure!(
            place == Place::Up && words.contains("imok"),
            "{place:?}: {words}"
        );
        Ok(())
    })?;
    server.signal_group(Signal::SIGSTOP)?;
    let (down, words) = watch.until(real, Place::Down, DOWN)?;
    server.signal_group(Signal::SIGCONT)?;
    let (up, _) = watch.until(real, Place::Up, UP)?;
    println!("zookeeper: down after {down:.0?} ({words}), up after {up:.0?}");
    Ok(())
}

/// The two real servers of a site, at a port.
fn both(site: &Site, port: u16) -> [SocketAddr; 2] {
    [0, 1].map(|n| SocketAddr::new(site.reals[n].address.into(), port))
}

/// Whether none of some new connections to the service goes to this real server.
fn avoided(site: &Site, watch: &Watch, real: SocketAddr, port: u16) -> Result<()> {
    let before = watch.conns(real)?;
    let vip = SocketAddr::new(Vip::Dr.address().into(), port);
    site.client.inside(|| {
        for _ in 0..50 {
            TcpStream::connect_timeout(&vip, Duration::from_secs(1))
                .with_context(|| vip.to_string())?;
        }
        Ok(())
    })?;
    let after = watch.conns(real)?;
    ensure!(
        before == after,
        "{} connections went to {real}",
        after - before
    );
    Ok(())
}

fn redis(host: &Host) -> Result<Process> {
    let folder = host.folder().display().to_string();
    let port = REDIS.to_string();
    let words = [
        "redis-server",
        "--port",
        &port,
        "--protected-mode",
        "no",
        "--save",
        "",
        "--dir",
        &folder,
    ];
    let mut server = host.start("redis", &words)?;
    listening(host, &mut server, REDIS, PATIENCE)?;
    Ok(server)
}

/// A resolver that knows one name.
fn unbound(host: &Host, address: Ipv4Addr) -> Result<Process> {
    let path = host.folder().join("unbound.conf");
    let text = format!(
        "server:
  interface: 0.0.0.0@{DNS}
  access-control: 0.0.0.0/0 allow
  chroot: \"\"
  username: \"\"
  directory: \"{0}\"
  pidfile: \"{0}/unbound.pid\"
  use-syslog: no
  do-daemonize: no
  do-ip6: no
  module-config: \"iterator\"
  local-zone: \"lab.\" static
  local-data: \"www.lab. A {address}\"
",
        host.folder().display()
    );
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    let path = path.display().to_string();
    let mut server = host.start("unbound", &["unbound", "-d", "-c", &path])?;
    listening(host, &mut server, DNS, PATIENCE)?;
    Ok(server)
}

fn zookeeper(host: &Host) -> Result<Process> {
    let folder = host.folder();
    let path = folder.join("zoo.cfg");
    let text = format!(
        "tickTime=2000\ndataDir={}\nclientPort={ZOOKEEPER}\nadmin.enableServer=false\n4lw.commands.whitelist=*\n",
        folder.join("zookeeper").display()
    );
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    let path = path.display().to_string();
    let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
    let words = ["java", "-Xmx64m", "-cp", "/usr/share/java/*", main, &path];
    let mut server = host.start("zookeeper", &words)?;
    listening(host, &mut server, ZOOKEEPER, Duration::from_secs(60))?;
    Ok(server)
}

/// Waits until a server takes connections.
fn listening(host: &Host, server: &mut Process, port: u16, within: Duration) -> Result<()> {
    let start = Instant::now();
    poll(&format!("port {port}"), within, || {
        if let Err(ended) = server.still_runs() {
            return Ok(Err(ended));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connect = || Ok(TcpStream::connect_timeout(&address, PATIENCE)?);
        host.inside(connect).map(|_| Ok(()))
    })?
    .with_context(|| format!("after {:?}", start.elapsed()))
}
