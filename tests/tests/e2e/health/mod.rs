//! Do pools follow the health of their real servers, and in time?

mod damping;
mod grpc;
mod many;
mod nginx;
mod pool;
mod programs;
mod protocols;
mod requests;
mod seen;
mod shares;
mod stores;
mod tls;
mod web;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_daemon::api::client::Client;
use lb_daemon::api::types::{HealthReport, Place, Stats};
use serde::de::DeserializeOwned;
use tests::lab::{Arms, Host, Layout, Process, Site, Vip, poll};

/// How often these tests check.
const TIMING: &str = "interval: 200ms, timeout: 100ms, rise: 2, fall: 3";
/// From a failure to the first connection that avoids the real server: fall × interval + timeout + 200 ms.
const DOWN: Duration = Duration::from_millis(3 * 200 + 100 + 200);
/// From the repair to the first connection that goes to it: rise × interval + 200 ms.
const UP: Duration = Duration::from_millis(2 * 200 + 200);
/// So many new connections show whom they avoid.
const CONNECTIONS: u64 = 50;
/// For what has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// A site with so many real servers behind the director.
fn site(reals: u8) -> Result<Site> {
    Site::new(Layout {
        arms: Arms::Two,
        reals,
        far: 0,
    })
}

/// A configuration with one service; `more` are further keys of it, a line each.
fn service(protocol: &str, port: u16, vip: Vip, reals: &[String], more: &[String]) -> String {
    let method = match vip {
        Vip::Tun => "tun",
        Vip::Nat => "nat",
        Vip::Dr | Vip::Local => "dr",
    };
    let more: String = more.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "interfaces: [eth0, eth1]
connections: {{max: 20000}}
services:
  - name: it
    protocol: {protocol}
    address: {}:{port}
    scheduler: rr
    method: {method}
{more}    reals: [{}]
",
        vip.address(),
        reals.join(", ")
    )
}

/// A shell script in the site's folder.
fn script(site: &Site, name: &str, text: &str) -> Result<PathBuf> {
    let path = site.lab().folder().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The web service by direct routing.
fn web(site: &Site, reals: &[usize], more: &[String]) -> String {
    service("tcp", 80, Vip::Dr, &addresses(site, reals), more)
}

/// A check with the timing of these tests.
fn check(what: &str) -> String {
    format!("health: {{{what}, {TIMING}}}")
}

fn addresses(site: &Site, reals: &[usize]) -> Vec<String> {
    let address = |&n: &usize| site.reals[n].address.to_string();
    reals.iter().map(address).collect()
}

/// A server of a site's real server.
fn at(site: &Site, real: usize, port: u16) -> SocketAddr {
    SocketAddr::new(site.reals[real].address.into(), port)
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

/// Whether new connections to the service, which is by direct routing, go to other real servers than this one, all of them.
fn avoided(site: &Site, watch: &Watch, real: SocketAddr) -> Result<()> {
    let before = watch.split(real)?;
    let vip = SocketAddr::new(Vip::Dr.address().into(), real.port());
    site.client.inside(|| {
        for _ in 0..CONNECTIONS {
            TcpStream::connect_timeout(&vip, Duration::from_secs(1))
                .with_context(|| vip.to_string())?;
        }
        Ok(())
    })?;
    let after = watch.split(real)?;
    ensure!(
        after == (before.0, before.1 + CONNECTIONS),
        "connections of {real} and of the others: {before:?}, and with {CONNECTIONS} new ones {after:?}"
    );
    Ok(())
}

/// How long a real server that failed was away, and what its checks said.
struct Outage {
    down: Duration,
    words: String,
    up: Duration,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { down, words, up } = self;
        write!(f, "down after {down:.0?} ({words}), up after {up:.0?}")
    }
}

/// Lets a real server of the service, which is by direct routing, fail, and mends it: it is out in time with all new connections,
/// and then back in time.
fn outage(
    site: &Site,
    watch: &Watch,
    real: SocketAddr,
    fail: impl FnOnce() -> Result<()>,
    mend: impl FnOnce() -> Result<()>,
) -> Result<Outage> {
    fail()?;
    let (down, words) = watch.until(real, Place::Down, DOWN)?;
    avoided(site, watch, real)?;
    mend()?;
    let (up, _) = watch.until(real, Place::Up, UP)?;
    Ok(Outage { down, words, up })
}

/// Runs another configuration, by whose check a real server is out, which says why.
fn taken_out_by(
    configuration: &str,
    site: &mut Site,
    watch: &Watch,
    real: SocketAddr,
    why: &str,
) -> Result<()> {
    site.director.configure(configuration)?;
    site.director.lbctl(&["reload"])?;
    let (_, words) = watch.until(real, Place::Down, PATIENCE)?;
    ensure!(words.contains(why), "{words}");
    Ok(())
}

/// Asks a director over its socket: quicker than by starting `lbctl`.
struct Watch {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Watch {
    fn new(site: &Site) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        Ok(Self {
            runtime: { runtime }.enable_all().build()?,
            client: Client::new(&site.director.paths().socket),
        })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.runtime.block_on(self.client.get(path));
        answer.map_err(|problem| anyhow::anyhow!("{path}: {problem}"))
    }

    fn report(&self) -> Result<HealthReport> {
        self.get("/v1/health")
    }

    /// Whether a real server of the first service is in the pool, and what its checks say.
    fn look(&self, real: SocketAddr) -> Result<(Place, String)> {
        let report = self.report()?;
        let service = report.services.into_iter().next().context("no service")?;
        let found = service.reals.into_iter().find(|r| r.address == real);
        let found = found.with_context(|| format!("no real server {real}"))?;
        let last = found.checks.iter().filter_map(|check| check.last.as_ref());
        let words: Vec<&str> = last.map(|last| last.words.as_str()).collect();
        Ok((found.place, words.join("; ")))
    }

    /// Waits until a real server is where it should be; returns how long that took, and what its checks say then.
    fn until(
        &self,
        real: SocketAddr,
        place: Place,
        within: Duration,
    ) -> Result<(Duration, String)> {
        let start = Instant::now();
        let words = poll(&format!("{real} {place:?}"), within, || {
            let (is, words) = self.look(real)?;
            anyhow::ensure!(is == place, "it is {is:?}: {words}");
            Ok(words)
        })?;
        Ok((start.elapsed(), words))
    }

    /// How many connections the first service has opened with a real server.
    fn conns(&self, real: SocketAddr) -> Result<u64> {
        Ok(self.split(real)?.0)
    }

    /// How many connections the first service has opened with a real server, and with all others.
    fn split(&self, real: SocketAddr) -> Result<(u64, u64)> {
        let stats: Stats = self.get("/v1/stats")?;
        let service = stats.services.into_iter().next().context("no service")?;
        let real = real.to_string();
        let (its, others): (Vec<_>, Vec<_>) = service.reals.iter().partition(|r| r.address == real);
        let its = its.first().with_context(|| real.clone())?.totals.conns;
        Ok((its, others.iter().map(|r| r.totals.conns).sum()))
    }
}

/// Seconds since midnight, UTC.
fn seconds_of_day(time: std::time::SystemTime) -> f64 {
    let since = time.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64() % 86_400.0)
}

/// When, in seconds since midnight, the director last wrote a line into its log with these words in it.
fn logged_at(site: &Site, words: &str) -> Result<f64> {
    let log = site.director.log();
    let line = log.lines().rfind(|line| line.contains(words));
    let line = line.with_context(|| format!("the log has no `{words}`:\n{log}"))?;
    let time = line
        .split('T')
        .nth(1)
        .and_then(|rest| rest.split('Z').next());
    let mut parts = time.context("a line without a time")?.split(':');
    let mut part = || -> Result<f64> { Ok(parts.next().context("no such time")?.parse()?) };
    Ok(part()? * 3600.0 + part()? * 60.0 + part()?)
}
