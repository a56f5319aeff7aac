//! A web server that fails in different ways under steady traffic, and returns.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_daemon::api::types::Place;
use nix::sys::signal::Signal;
use tests::lab::{Asked, Pace, Real, Site, Vip, poll, port};
use tests::needs_lab;

use super::{DOWN, PATIENCE, UP, Watch, addresses, check, service, site, web};

/// The steady traffic, in requests a second.
const RATE: u32 = 200;

/// A way to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    /// `/healthz` answers 503; the pages are as they were.
    Sick,
    /// `/healthz` drips in, and is not there in time; the pages are as they were.
    Slow,
    /// It is killed: connections are refused.
    Killed,
    /// It is stopped: the kernel takes connections, and nobody answers.
    Stopped,
}

impl Failure {
    fn begin(self, real: &Real) -> Result<()> {
        match self {
            Self::Sick => real.set_sick(true),
            Self::Slow => real.set_slow(true),
            Self::Killed => real.signal_web(Signal::SIGKILL),
            Self::Stopped => real.signal_web(Signal::SIGSTOP),
        }
    }

    fn end(self, site: &mut Site, index: usize) -> Result<()> {
        match self {
            Self::Sick => site.reals[index].set_sick(false),
            Self::Slow => site.reals[index].set_slow(false),
            Self::Killed => site.start_web(index),
            Self::Stopped => site.reals[index].signal_web(Signal::SIGCONT),
        }
    }
}

#[test]
fn a_web_server_that_fails_is_left_in_time_and_used_again_in_time() -> Result<()> {
    needs_lab!();
    let mut site = site(3)?;
    site.balance(&web(&site, &[0, 1, 2], &[check("http: /healthz")]))?;
    let watch = Watch::new(&site)?;
    let real = site.reals[0].web();
    for failure in [
        Failure::Sick,
        Failure::Slow,
        Failure::Killed,
        Failure::Stopped,
    ] {
        watch.until(real, Place::Up, PATIENCE)?;
        let pace = Pace::start(&site.client, Vip::Dr.web(), RATE);
        // What comes before the failure is to be steady traffic.
        std::thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        failure.begin(&site.reals[0])?;
        let (_, words) = watch.until(real, Place::Down, PATIENCE)?;
        std::thread::sleep(Duration::from_secs(1));
        let mended = Instant::now();
        failure.end(&mut site, 0)?;
        let serves = Instant::now();
        watch.until(real, Place::Up, PATIENCE)?;
        std::thread::sleep(Duration::from_millis(500));
        let asked = pace.stop()?;
        judge(failure, &asked, began, mended, serves)
            .with_context(|| format!("{failure:?} ({words})"))?;
    }
    Ok(())
}

/// Whether requests went where they should.
fn judge(
    failure: Failure,
    asked: &[Asked],
    began: Instant,
    mended: Instant,
    serves: Instant,
) -> Result<()> {
    let lost: Vec<&Asked> = asked.iter().filter(|a| a.answer.is_err()).collect();
    let during = |a: &&Asked| a.at > began && a.at < mended;
    // Where only the check fails, pages are still served: there the last of them tells when it was left.
    let wrong = |a: &&Asked| match failure {
        Failure::Sick | Failure::Slow => a.is_from("r1"),
        Failure::Killed | Failure::Stopped => a.answer.is_err(),
    };
    let left = asked
        .iter()
        .filter(during)
        .filter(wrong)
        .map(|a| a.at)
        .max();
    let left = left.map_or(Duration::ZERO, |at| at - began);
    let back = asked
        .iter()
        .filter(|a| a.at > mended && a.is_from("r1"))
        .map(|a| a.at)
        .min()
        .context("it never came back")?
        .saturating_duration_since(serves);
    println!(
        "{failure:?}: left after {left:.0?} (limit {DOWN:?}), back after {back:.0?} (limit {UP:?}); \
         {} of {} requests lost",
        lost.len(),
        asked.len()
    );
    ensure!(left <= DOWN, "it was left after {left:?}");
    ensure!(back <= UP, "it was back after {back:?}");
    // Requests that were in flight, or begun before it was left. Nothing else is lost.
    let patience = Duration::from_secs(1);
    let excused = |a: &Asked| a.at + patience > began && a.at <= began + DOWN;
    if let Some(other) = lost.iter().find(|a| !excused(a)) {
        let at = other.at.saturating_duration_since(began);
        anyhow::bail!(
            "a request {at:?} after the failure was lost: {:?}",
            other.answer
        );
    }
    ensure!(
        !matches!(failure, Failure::Sick | Failure::Slow) || lost.is_empty(),
        "nothing failed but a check, and {} requests were lost",
        lost.len()
    );
    let most = f64::from(RATE) * (DOWN + patience).as_secs_f64();
    ensure!((lost.len() as f64) < most, "{} requests lost", lost.len());
    Ok(())
}

#[test]
fn a_real_server_without_the_vip_is_found_out_by_a_check_via_the_vip() -> Result<()> {
    needs_lab!();
    let (http, dns) = (
        "http: /healthz, via: vip",
        "dns: {name: who.lab, record: TXT}, via: vip",
    );
    for (vip, protocol, port, asked) in [
        (Vip::Dr, "tcp", port::WEB, http),
        (Vip::Tun, "tcp", port::WEB, http),
        (Vip::Dr, "udp", port::DNS, dns),
        (Vip::Tun, "udp", port::DNS, dns),
    ] {
        let mut site = site(2)?;
        let reals = addresses(&site, &[0, 1]);
        site.balance(&service(protocol, port, vip, &reals, &[check(asked)]))?;
        let watch = Watch::new(&site)?;
        let real = SocketAddr::new(site.reals[0].address.into(), port);
        // The first probes begin with the next hop unknown; none may count as a failure for long.
        poll("good answers", PATIENCE, || {
            let report = watch.report()?;
            let checks = report.services[0].reals.iter().flat_map(|r| &r.checks);
            for check in checks {
                let good = check.last.as_ref().is_some_and(|last| last.passed);
                ensure!(good && check.against == 0, "{check:?}");
            }
            Ok(())
        })?;
        let address = format!("address del {}/32 dev lo", vip.address());
        site.reals[0].host.ip(&[&address])?;
        let (down, words) = watch.until(real, Place::Down, DOWN)?;
        // At its own address it answers all the same.
        let own = format!("http://{}/healthz", site.reals[0].address);
        site.director.host().run(&["curl", "-sf", &own])?;
        let answers = match protocol {
            "udp" => site.client.dns(vip.dns(), 20)?,
            _ => site.client.curl(&vip.url("/"), 20)?,
        };
        ensure!(answers.from("r2") == 20, "{answers:?}");
        let asked = site.director.lbctl(&["health", "check", &reals[0]]);
        let said = asked.err().context("a check that fails exits with 1")?;
        ensure!(
            format!("{said:#}").contains("on the way of its packets"),
            "{said:#}"
        );
        let address = format!("address add {}/32 dev lo", vip.address());
        site.reals[0].host.ip(&[&address])?;
        let (up, _) = watch.until(real, Place::Up, UP)?;
        println!("{vip:?}, {protocol}: down after {down:.0?} ({words}), up after {up:.0?}");
    }
    Ok(())
}

#[test]
fn a_real_server_whose_tunnel_is_broken_is_found_out_by_a_check_via_the_vip() -> Result<()> {
    needs_lab!();
    let mut site = site(2)?;
    let reals = addresses(&site, &[0, 1]);
    let asked = check("http: /healthz, via: vip, initial: down");
    site.balance(&service("tcp", 80, Vip::Tun, &reals, &[asked]))?;
    let watch = Watch::new(&site)?;
    let real = site.reals[0].web();
    for real in [real, site.reals[1].web()] {
        watch.until(real, Place::Up, PATIENCE)?;
    }
    // Nobody takes packets out of the tunnel any more; all else is as it was.
    site.reals[0].break_tunnel()?;
    let (down, words) = watch.until(real, Place::Down, DOWN)?;
    let own = format!("http://{}/healthz", site.reals[0].address);
    site.director.host().run(&["curl", "-sf", &own])?;
    let answers = site.client.curl(&Vip::Tun.url("/"), 20)?;
    ensure!(answers.from("r2") == 20, "{answers:?}");
    site.reals[0].prepare(&[Vip::Dr, Vip::Tun], "tun")?;
    let (up, _) = watch.until(real, Place::Up, UP)?;
    println!("tunnel broken: down after {down:.0?} ({words}), up after {up:.0?}");
    Ok(())
}

#[test]
fn with_nat_a_check_via_the_vip_goes_to_the_real_servers_own_port() -> Result<()> {
    needs_lab!();
    let mut site = site(1)?;
    let real = SocketAddr::new(site.reals[0].address.into(), port::NAT_WEB);
    let via = check("http: /healthz, via: vip, initial: down");
    let reals = [real.to_string()];
    site.balance(&service("tcp", 80, Vip::Nat, &reals, &[via]))?;
    let watch = Watch::new(&site)?;
    watch.until(real, Place::Up, PATIENCE)?;
    let report = watch.report()?;
    let target = &report.services[0].reals[0].checks[0].target;
    ensure!(*target == real.to_string(), "it asks {target}");
    site.reals[0].set_sick(true)?;
    watch.until(real, Place::Down, DOWN)?;
    Ok(())
}
