//! Does a director balance real traffic over DR, TUN and NAT?

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result};
use lb_daemon::api::types::{MethodName, Protocol, Service};
use tests::lab::{Answers, Arms, Layout, Real, Site, Vip, port};

use crate::shares::{Share, exact, shares};

/// Which addresses are shown at work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// What lbd starts with: the file, and what is in it.
    const fn configuration(self) -> (&'static str, &'static str) {
        match self {
            Self::V4 => (
                "configs/demo.yaml",
                include_str!("../../../../configs/demo.yaml"),
            ),
            Self::V6 => (
                "configs/demo-ipv6.yaml",
                include_str!("../../../../configs/demo-ipv6.yaml"),
            ),
        }
    }

    fn vip(self, vip: Vip) -> IpAddr {
        match self {
            Self::V4 => vip.address().into(),
            Self::V6 => vip.address6().into(),
        }
    }

    fn real(self, real: &Real) -> IpAddr {
        match self {
            Self::V4 => real.address.into(),
            Self::V6 => real.address6().into(),
        }
    }
}

/// How many requests each service gets.
const REQUESTS: u16 = 300;

/// Run the demonstration; says whether all went as it must.
pub(crate) fn run(family: Family, keep: bool) -> Result<bool> {
    let mut site = step(
        "lay out client, router, director and three real servers",
        || {
            Site::new(Layout {
                arms: Arms::Two,
                reals: 3,
                far: 0,
            })
        },
    )?;
    if family == Family::V6 {
        step("give all of them IPv6", || {
            site.add_ipv6()?;
            site.prepare_ipv6()
        })?;
    }
    let (file, configuration) = family.configuration();
    step(&format!("start lbd with {file}"), || {
        site.balance(configuration)
    })?;
    step("add the service nat-dns with lbctl", || {
        add_service(&site, family)
    })?;

    let services: Vec<Service> = site.director.ask(&["list"])?;
    let mut results = Vec::new();
    for service in services {
        let what = format!(
            "{REQUESTS} {} to {} {}",
            words(service.listener.protocol),
            service.name,
            service.listener.address
        );
        let answers = step(&what, || send(&site, &service))?;
        results.push(Measured::new(&site, family, service, answers));
    }

    println!("\n{}", table(&results));
    println!(
        "{}\n{}",
        prompt("lbctl list"),
        site.director.lbctl(&["list"])?
    );
    println!(
        "{}\n{}",
        prompt("lbctl stats"),
        site.director.lbctl(&["stats"])?
    );
    let good = verdict(&results);
    if keep {
        explain(&site, family)?;
        site.keep()?;
    } else {
        step("take the lab down", || {
            drop(site);
            Ok(())
        })?;
    }
    Ok(good)
}

/// Add one more service and its real servers, as an operator would.
fn add_service(site: &Site, family: Family) -> Result<()> {
    let service = SocketAddr::new(family.vip(Vip::Nat), port::DNS).to_string();
    site.director.lbctl(&[
        "add-service",
        "-u",
        &service,
        "-s",
        "rr",
        "--name",
        "nat-dns",
    ])?;
    for real in &site.reals {
        let address = SocketAddr::new(family.real(real), port::NAT_DNS).to_string();
        site.director
            .lbctl(&["add-real", "-u", &service, "-r", &address, "-m", "-w", "1"])?;
    }
    Ok(())
}

/// Send a service its requests from the client.
fn send(site: &Site, service: &Service) -> Result<Answers> {
    let address: SocketAddr = service
        .listener
        .address
        .parse()
        .context("the service has no address")?;
    match service.listener.protocol {
        Protocol::Tcp => site
            .client
            .curl(&format!("http://{address}/"), REQUESTS.into()),
        Protocol::Udp => site.client.dns(address, REQUESTS),
    }
}

/// A service, who answered for it, and whether that was right.
struct Measured {
    service: Service,
    answers: Answers,
    shares: Vec<Share>,
    good: bool,
}

impl Measured {
    fn new(site: &Site, family: Family, service: Service, answers: Answers) -> Self {
        let name = |address: &str| {
            let ip = address.parse::<SocketAddr>().map(|address| address.ip());
            let is_it = |real: &&Real| ip == Ok(family.real(real));
            let real = site.reals.iter().find(is_it);
            real.map_or_else(|| address.to_owned(), |real| real.host.name().to_owned())
        };
        let shares = shares(&service, &answers, REQUESTS.into(), name);
        let good = exact(&shares, &answers, REQUESTS.into());
        Self {
            service,
            answers,
            shares,
            good,
        }
    }
}

/// Who got how much.
fn table(results: &[Measured]) -> String {
    let mut table = format!(
        "{:<12} {:<6} {:<16} {:>6} {:>9} {:>8} {:>9}\n",
        "service", "method", "real", "weight", "requests", "share", "expected"
    );
    for Measured {
        service, shares, ..
    } in results
    {
        for share in shares {
            table += &format!(
                "{:<12} {:<6} {:<16} {:>6} {:>9} {:>8} {:>9}\n",
                service.name,
                method_name(method_of(service)),
                share.real,
                share.weight,
                share.got,
                percent(share.got),
                percent(share.expected),
            );
        }
    }
    table
}

/// A line for each method: a check mark, or a cross and what went wrong. Says whether all is well.
fn verdict(results: &[Measured]) -> bool {
    let mut all = true;
    for name in [MethodName::Dr, MethodName::Tun, MethodName::Nat] {
        let of_method = || {
            results
                .iter()
                .filter(|result| method_of(&result.service) == name)
        };
        let good = of_method().count() > 0 && of_method().all(|result| result.good);
        let requests: u64 = of_method().map(|result| result.answers.total()).sum();
        let sent = of_method().count() as u64 * u64::from(REQUESTS);
        let outcome = if good {
            "each real server its exact share"
        } else {
            "not as it must be"
        };
        println!(
            "{} {:<4} {requests} of {sent} requests answered, {outcome}",
            mark(good),
            method_name(name)
        );
        for result in of_method().filter(|result| !result.good) {
            for failure in result.answers.failures.iter().take(3) {
                println!("    {}: {failure}", result.service.name);
            }
        }
        all &= good;
    }
    all
}

/// How to go on with a lab that is kept.
fn explain(site: &Site, family: Family) -> Result<()> {
    println!("\nThe lab stays up.");
    let director = site.director.host().namespace();
    let hosts = [&site.client, &site.router, site.director.host()]
        .into_iter()
        .chain(site.reals.iter().map(|real| &real.host));
    for host in hosts {
        println!(
            "  enter {:<9} ip netns exec {} bash",
            host.name(),
            host.namespace()
        );
    }
    let lbctl = tests::lab::program("lbctl")?;
    println!(
        "  ask lbd         {lbctl} --socket {} list",
        site.director.paths().socket.display()
    );
    println!(
        "  what lbd says   {}",
        site.director.host().folder().join("lbd.log").display()
    );
    println!(
        "  send requests   ip netns exec {} curl http://{}/",
        site.client.namespace(),
        SocketAddr::new(family.vip(Vip::Dr), port::WEB)
    );
    println!(
        "  see packets     ip netns exec {director} {lbctl} --socket {} stats --rate",
        site.director.paths().socket.display()
    );
    println!("  take it down    cargo xtask clean");
    Ok(())
}

fn words(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "HTTP requests, each over a new connection,",
        Protocol::Udp => "DNS questions, each from another port,",
    }
}

/// The method of a service's real servers, which the lab's services do not mix.
fn method_of(service: &Service) -> MethodName {
    service
        .reals
        .first()
        .map_or(service.method, |real| real.method)
}

fn method_name(name: MethodName) -> &'static str {
    match name {
        MethodName::Dr => "DR",
        MethodName::Tun => "TUN",
        MethodName::Nat => "NAT",
        MethodName::Local => "local",
    }
}

fn percent(count: u64) -> String {
    format!("{:.1} %", count as f64 * 100.0 / f64::from(REQUESTS))
}

/// Do a step, and say how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = work().with_context(|| what.to_owned());
    println!(
        "{} {what} ({:.1} s)",
        mark(result.is_ok()),
        start.elapsed().as_secs_f64()
    );
    result
}

fn mark(good: bool) -> String {
    if good {
        paint("1;32", "✓")
    } else {
        paint("1;31", "✗")
    }
}

fn prompt(command: &str) -> String {
    paint("1", &format!("$ {command}"))
}

fn paint(colour: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
