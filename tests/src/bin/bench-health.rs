//! What do health checks cost? `cargo xtask bench health` runs this.
//!
//! Real servers are addresses of the loopback network, served by a process beside this one. Measured are the thread of the
//! checks, whose processor time the kernel counts apart, the memory of the process, and how late probes start.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use lb_daemon::api::types::{HealthReport, Place};
use lb_daemon::core::desired::{Proto, Scheduler, ServiceId};
use lb_daemon::core::health::plan::{Check, RealPlan, Rules, ServicePlan, Target, Timing};
use lb_daemon::core::health::probe::{BodyRule, Http, HttpVersion, Probe, Statuses, Tcp};
use lb_daemon::io::health::{Checks, Keeper};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// Measures what health checks cost.
#[derive(Parser)]
struct Args {
    /// Numbers of real servers
    #[arg(long, value_delimiter = ',', default_values_t = [2000, 5000])]
    reals: Vec<u32>,
    /// How often each is checked, in milliseconds
    #[arg(long, default_value_t = 2000)]
    interval: u64,
    /// How long is measured with each number, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Be the real servers, on this port
    #[arg(long, hide = true)]
    serve: Option<u16>,
}

/// Where the real servers are.
const PORT: u16 = 18_080;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell";

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.serve {
        Some(port) => serve(port),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("cannot start")
}

/// Answers every request on every address, until killed.
fn serve(port: u16) -> Result<()> {
    runtime()?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        // All real servers share one queue of connections here.
        let listener = socket.listen(4096)?;
        println!("ready");
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut request = [0; 4096];
                // A client that only connects has closed by now.
                if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(ANSWER).await;
                }
            });
        }
    })
}

fn measure(args: &Args) -> Result<()> {
    let _server = Server::start()?;
    let interval = Duration::from_millis(args.interval);
    println!(
        "{:<6} {:>6} {:>9} {:>8} {:>11} {:>11} {:>11} {:>10} {:>10}",
        "check",
        "reals",
        "probes/s",
        "CPU",
        "late p50",
        "late p99",
        "late max",
        "in flight",
        "memory"
    );
    for (name, probe) in [
        ("tcp", Probe::Tcp(Tcp::default())),
        ("http", Probe::Http(Box::new(http()))),
    ] {
        for &reals in &args.reals {
            let figures = runtime()?.block_on(figures(&probe, reals, interval, args.seconds))?;
            let lateness = figures.report.probes.lateness_ms;
            println!(
                "{name:<6} {reals:>6} {:>9.0} {:>6.1} % {:>8.1} ms {:>8.1} ms {:>8.1} ms {:>10} {:>6.1} MiB",
                figures.per_second,
                figures.share * 100.0,
                lateness.p50,
                lateness.p99,
                lateness.max,
                figures.in_flight,
                figures.memory,
            );
        }
    }
    Ok(())
}

/// What was measured.
struct Figures {
    /// The share of one core.
    share: f64,
    per_second: f64,
    /// The most that were seen on their way at once.
    in_flight: usize,
    /// Resident memory in MiB: of the whole process.
    memory: f64,
    report: HealthReport,
}

fn http() -> Http {
    Http {
        tls: None,
        version: HttpVersion::One,
        method: "GET".to_owned(),
        path: "/healthz".to_owned(),
        host: None,
        headers: Vec::new(),
        status: Statuses::new(vec![200..=299]),
        body: vec![BodyRule::Contains("well".to_owned())],
        body_limit: 65_536,
    }
}

async fn figures(probe: &Probe, reals: u32, interval: Duration, seconds: u64) -> Result<Figures> {
    let checks = Checks::start(None, Nowhere)?;
    checks.configure(vec![plan(probe, reals, interval)]).await?;
    // The first probes are spread over an interval.
    tokio::time::sleep(2 * interval).await;
    let (start, before) = (Instant::now(), checks.report().await?);
    let used = processor_time()?;
    let mut in_flight = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_millis(250)).await;
        in_flight = in_flight.max(checks.report().await?.probes.in_flight);
    }
    let spent = processor_time()? - used;
    let took = start.elapsed().as_secs_f64();
    let report = checks.report().await?;
    let all = || report.services.iter().flat_map(|service| &service.reals);
    let down: Vec<_> = all().filter(|real| real.place != Place::Up).collect();
    if let Some(real) = down.first() {
        bail!(
            "{} real servers are down, as {}: {:?}",
            down.len(),
            real.address,
            real.checks
        );
    }
    let unasked = all()
        .flat_map(|real| &real.checks)
        .filter(|c| c.passes == 0)
        .count();
    ensure!(unasked == 0, "{unasked} real servers were never asked");
    let probes = report.probes.started - before.probes.started;
    let figures = Figures {
        share: spent / took,
        per_second: probes as f64 / took,
        in_flight,
        memory: memory()?,
        report,
    };
    checks.finish().await?;
    Ok(figures)
}

fn plan(probe: &Probe, reals: u32, interval: Duration) -> ServicePlan {
    let timing = Timing {
        interval,
        timeout: interval / 2,
        ..Timing::default()
    };
    let real = |n: u32| {
        let address = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + n);
        let id = SocketAddr::from((address, PORT));
        RealPlan {
            id,
            weight: 1,
            checks: vec![Arc::new(Check {
                name: probe.kind().to_owned(),
                probe: probe.clone(),
                target: Target::Address(id),
                timing,
            })],
            on_up: None,
            on_down: None,
        }
    };
    ServicePlan {
        id: ServiceId::new(Proto::Tcp, Ipv4Addr::new(192, 0, 2, 1), 80),
        name: "bench".to_owned(),
        scheduler: Scheduler::Wlc,
        rules: Rules::default(),
        reals: (0..reals).map(real).collect(),
    }
}

/// Keeps nothing.
struct Nowhere;

impl Keeper for Nowhere {
    fn read(&self) -> Option<Vec<u8>> {
        None
    }

    fn write(&self, _: &[u8]) {}
}

/// The real servers, in a process of their own.
struct Server(Child);

impl Server {
    fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--serve", &PORT.to_string()])
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the real servers")?;
        let output = child.stdout.take().context("they have no output")?;
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)?;
        ensure!(line.trim() == "ready", "port {PORT} cannot be served");
        Ok(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The processor time that the threads of the checks have used, in seconds.
fn processor_time() -> Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == "health" {
            let times = fs::read_to_string(task.join("schedstat"))?;
            let first = times.split(' ').next().context("no times")?;
            nanoseconds += first.parse::<u64>()?;
        }
    }
    ensure!(nanoseconds > 0, "the thread of the checks is not there");
    Ok(nanoseconds as f64 / 1e9)
}

/// Resident memory, in MiB.
fn memory() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no VmRSS")?.parse::<f64>()? / 1024.0)
}
