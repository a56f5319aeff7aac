//! The real XDP program with the daemon's own hand on its maps, given crafted frames by `BPF_PROG_TEST_RUN`.
//!
//! No interface and no traffic: it lives in a network and a mount namespace of its own, with a BPF file system of its own. Waiting
//! is moving the clock that the program adds to its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use lb_common::packet::build::Build;
use lb_daemon::core::desired::{
    self, Desired, DesiredReal, DesiredService, Forwarding, Persistence, Scheduler, SchedulerFlags,
    ServiceId, Timeouts, full_prefix,
};
use lb_daemon::io::bpf::{
    Capacity, ConnectionFilter, Dataplane, Gate, Hop, NextHop, Options, ServiceReading,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::director::{Director, Packet, Seen, Setup, real_addr, real_name};
use super::recording::{Conn, Count, Method, Netmask, Proto, Service};

/// The loopback interface: where frames of `BPF_PROG_TEST_RUN` come from.
const LOOPBACK: u32 = 1;
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xd1];
/// MACs of real servers, less the last byte, which is their number.
const REAL_MAC: [u8; 5] = [2, 0, 0, 0, 1];

/// The program.
pub struct Program {
    dataplane: Dataplane,
    /// What the daemon takes for now: it goes on by leaps, so that each walk over the table is a whole one.
    instant: Instant,
    folder: PathBuf,
}

impl Program {
    /// Loads the program and lets `play` have it, in namespaces of its own.
    pub fn with<R: Send>(play: impl FnOnce(&mut Self) -> Result<R> + Send) -> Result<R> {
        let alone = || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
                .context("enter new namespaces")?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
                .context("keep mounts to ourselves")?;
            let folder = tempfile::tempdir()?;
            mount(
                Some("bpf"),
                folder.path(),
                Some("bpf"),
                MsFlags::empty(),
                None::<&str>,
            )
            .context("mount a BPF file system")?;
            let result = Self::start(folder.path()).and_then(|mut program| play(&mut program));
            nix::mount::umount(folder.path()).context("unmount the BPF file system")?;
            result
        };
        thread::scope(|scope| match scope.spawn(alone).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    fn start(folder: &Path) -> Result<Self> {
        let options = Options {
            pin_dir: folder.join("lbd"),
            interfaces: Vec::new(),
            mode: desired::XdpMode::Auto,
            replace: false,
            capacity: Capacity {
                connections: 10_000,
                reals: 512,
                services: 64,
            },
            log_packets: false,
        };
        let dataplane = Dataplane::start(&options).context("start the data plane")?;
        Ok(Self {
            dataplane,
            instant: Instant::now(),
            folder: options.pin_dir,
        })
    }

    /// Makes the maps equal to what is desired, without a recording.
    pub fn configure(&mut self, desired: &Desired) -> Result<()> {
        self.dataplane.apply(desired, &hop)?;
        Ok(())
    }

    /// Every service as the maps have it, after a walk over all connections.
    pub fn services(&mut self) -> Result<Vec<ServiceReading>> {
        self.sweep()?;
        Ok(self.dataplane.services()?)
    }

    /// The switch between master and standby.
    pub fn gate(&self) -> Gate {
        self.dataplane.gate()
    }

    /// Another handle of the same program, for another thread.
    pub fn runner(&self) -> Result<Runner> {
        let pins = std::fs::read_dir(&self.folder)?;
        let mut pins = pins.filter_map(|entry| Some(entry.ok()?.path()));
        let is_program = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("program") && name.ends_with("-lb"))
        };
        let pin = pins.find(is_program).context("the program is not pinned")?;
        Ok(Runner(Xdp::from_pin(pin, XdpAttachType::Interface)?))
    }

    /// Takes everything out that a recording left, as if days had passed.
    ///
    /// The same program plays the next one then: to load it takes longer than to play most recordings.
    pub fn clear(&mut self) -> Result<()> {
        const DAYS: u64 = 2 * 86_400;
        self.dataplane.apply(&Desired::default(), &hop)?;
        self.advance(DAYS)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.dataplane.status()?.reals > 0 {
            if Instant::now() > deadline {
                bail!("real servers are kept although nothing is left of them");
            }
            self.sweep()?;
        }
        Ok(())
    }

    /// Walks over the whole table, and puts away what is over.
    fn sweep(&mut self) -> Result<()> {
        // What begins in one walk may end in the next but one.
        for _ in 0..3 {
            loop {
                self.instant += Duration::from_secs(10);
                if self
                    .dataplane
                    .maintain(self.instant, Duration::from_secs(1))?
                    .walk_done
                {
                    break;
                }
            }
        }
        Ok(())
    }

    fn reading(&self, service: &Service) -> Result<ServiceReading> {
        let id = service_id(service)?;
        let services = self.dataplane.services()?;
        services
            .into_iter()
            .find(|s| s.id == id)
            .with_context(|| format!("the maps have no service {id}"))
    }

    /// Gives the program a frame: what it does with it, and what the frame is then.
    fn run(&mut self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        self.dataplane.run_frame(frame).context("run the program")
    }
}

/// The program alone.
pub struct Runner(Xdp);

impl Runner {
    /// A packet from a client.
    pub fn send(&self, packet: &Packet) -> Result<Seen> {
        let input = frame(packet)?;
        let mut output = vec![0; input.len() + 64];
        let result = self.0.test_run(TestRunOptions {
            data_in: Some(&input),
            data_out: Some(&mut output),
            ..TestRunOptions::default()
        })?;
        output.truncate(result.data_size_out as usize);
        seen(result.return_value, &output)
    }
}

impl Director for Program {
    fn apply(&mut self, setup: &Setup) -> Result<()> {
        self.dataplane.apply(&desired(setup)?, &hop)?;
        Ok(())
    }

    fn send(&mut self, packet: &Packet) -> Result<Seen> {
        let (action, frame) = self.run(&frame(packet)?)?;
        seen(action, &frame)
    }

    fn answer(&mut self, real: IpAddr, packet: &Packet) -> Result<bool> {
        let vip = packet.vip;
        let port = self.reading_of(vip, packet.proto)?.and_then(|s| {
            let found = s.reals.iter().find(|r| r.addr.ip() == real);
            found.map(|r| r.addr.port())
        });
        let from = SocketAddr::new(real, port.unwrap_or(vip.port()));
        let mac = mac_of(real);
        let reply = build(packet.proto, from, packet.client)
            .macs(mac, DIRECTOR_MAC)
            .flags(packet.flag_bits());
        let (_, frame) = self.run(&reply.bytes())?;
        Ok(source(&frame) == Some(vip.ip()))
    }

    fn advance(&mut self, seconds: u64) -> Result<()> {
        self.dataplane.shift_clock(Duration::from_secs(seconds))?;
        self.sweep()
    }

    fn counts(&mut self, service: &Service) -> Result<Vec<Count>> {
        self.sweep()?;
        let reals = self.reading(service)?.reals;
        Ok(reals
            .iter()
            .map(|r| Count {
                real: real_name(r.addr.ip()),
                weight: r.weight as u16,
                active: r.active,
                inactive: r.inactive,
                persist: r.templates,
            })
            .collect())
    }

    fn connections(&mut self) -> Result<Vec<Conn>> {
        self.sweep()?;
        let all = self.dataplane.connections(ConnectionFilter {
            templates: true,
            ..ConnectionFilter::default()
        })?;
        let connections = all.map(|c| Conn {
            proto: proto_name(c.proto).into(),
            src: c.client.ip(),
            sport: c.client.port(),
            dst: c.vip.ip(),
            dport: c.vip.port(),
            real: real_name(c.real.ip()),
            state: c.state.into(),
            expires: c.expires.as_secs() as i64,
        });
        Ok(connections.collect())
    }
}

impl Program {
    fn reading_of(&self, vip: SocketAddr, proto: Proto) -> Result<Option<ServiceReading>> {
        let id = |port| ServiceId::new(proto_of(proto), vip.ip(), port);
        let services = self.dataplane.services()?;
        let exact = services.iter().find(|s| s.id == id(vip.port()));
        Ok(exact
            .or_else(|| services.iter().find(|s| s.id == id(0)))
            .cloned())
    }
}

/// What the daemon is to make of a recording's configuration.
fn desired(setup: &Setup) -> Result<Desired> {
    let [tcp, tcp_fin, udp] = setup.timeouts.map(Duration::from_secs);
    let services = setup
        .services
        .iter()
        .map(|s| desired_service(s, setup))
        .collect::<Result<_>>()?;
    let mut desired = Desired {
        services,
        ..Desired::default()
    };
    desired.connections.timeouts = Timeouts { tcp, tcp_fin, udp };
    desired.forwarding = Forwarding {
        sloppy_tcp: setup.is_on("sloppy_tcp"),
        conn_reuse: setup.conn_reuse(),
        expire_nodest_conn: setup.is_on("expire_nodest_conn"),
        icmp_per_second: 0,
        ..Forwarding::default()
    };
    Ok(desired)
}

fn desired_service(service: &Service, setup: &Setup) -> Result<DesiredService> {
    let listeners = service.listeners();
    let also = listeners
        .iter()
        .skip(1)
        .map(|l| ServiceId::new(proto_of(l.proto), l.vip, l.port))
        .collect();
    let port = listeners.first().map_or(0, |l| l.port);
    let flag = |name: &str| service.sched_flags.iter().any(|f| f == name);
    let real = |real: &super::recording::Real| {
        Ok(DesiredReal {
            method: method(real.fwd),
            weight: real.weight,
            upper: real.u_threshold,
            lower: real.l_threshold,
            ..DesiredReal::new(
                real_addr(&real.id, listeners.iter().any(|l| l.vip.is_ipv6()))?,
                real.port.unwrap_or(port),
            )
        })
    };
    let id = service_id(service)?;
    Ok(DesiredService {
        also,
        name: service.id.clone(),
        scheduler: Scheduler::from_name(&service.sched)
            .with_context(|| format!("scheduler {}", service.sched))?,
        scheduler_flags: SchedulerFlags {
            port: flag("sh-port") || flag("mh-port"),
            fallback: flag("sh-fallback") || flag("mh-fallback"),
            kernel_table: true,
        },
        persistence: service.persist.map(|seconds| Persistence {
            timeout: Duration::from_secs(seconds),
            mask: service
                .netmask
                .as_ref()
                .map_or(full_prefix(id.addr), Netmask::prefix),
            leave_quiesced: setup.is_on("expire_quiescent_template"),
        }),
        one_packet: service.one_packet,
        reals: service.reals.iter().map(real).collect::<Result<_>>()?,
        ..DesiredService::new(id)
    })
}

fn service_id(service: &Service) -> Result<ServiceId> {
    let listeners = service.listeners();
    let first = listeners
        .first()
        .with_context(|| format!("service {} serves nothing", service.id))?;
    Ok(ServiceId::new(proto_of(first.proto), first.vip, first.port))
}

const fn method(method: Method) -> desired::Method {
    match method {
        Method::Dr => desired::Method::Dr,
        Method::Tun => desired::Method::Tun,
        Method::Nat => desired::Method::Nat,
    }
}

const fn proto_of(proto: Proto) -> desired::Proto {
    match proto {
        Proto::Tcp => desired::Proto::Tcp,
        Proto::Udp => desired::Proto::Udp,
    }
}

const fn proto_name(proto: desired::Proto) -> &'static str {
    match proto {
        desired::Proto::Tcp => "tcp",
        desired::Proto::Udp => "udp",
    }
}

/// Every real server is one hop away, at a MAC that tells which one it is.
fn hop(real: IpAddr) -> Hop {
    Hop::Via(NextHop {
        ifindex: LOOPBACK,
        mac: mac_of(real),
        src_mac: DIRECTOR_MAC,
        mtu: 1500,
        src: match real {
            IpAddr::V4(_) => [10, 0, 0, 254].into(),
            IpAddr::V6(_) => real_v6(0xfe),
        },
    })
}

fn mac_of(real: IpAddr) -> [u8; 6] {
    let [a, b, c, d, e] = REAL_MAC;
    let number = match real {
        IpAddr::V4(real) => real.to_bits() as u8,
        IpAddr::V6(real) => real.to_bits() as u8,
    };
    [a, b, c, d, e, number]
}

/// A real server's IPv6 address.
fn real_v6(number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, number.into()).into()
}

fn frame(packet: &Packet) -> Result<Vec<u8>> {
    let build = build(packet.proto, packet.client, packet.vip);
    Ok(build
        .macs(CLIENT_MAC, DIRECTOR_MAC)
        .flags(packet.flag_bits())
        .payload(b"replay")
        .bytes())
}

fn build(proto: Proto, from: SocketAddr, to: SocketAddr) -> Build {
    match proto {
        Proto::Tcp => Build::tcp_from(from, to),
        Proto::Udp => Build::udp_from(from, to),
    }
}

/// What the IP header of a frame says that is looked at here.
struct Header {
    protocol: u8,
    src: IpAddr,
    dst: IpAddr,
    /// What is behind it.
    payload: Vec<u8>,
}

impl Header {
    fn of(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        let addr4 = |at: usize| Some(IpAddr::from(*ip.get(at..)?.first_chunk::<4>()?));
        let addr6 = |at: usize| Some(IpAddr::from(*ip.get(at..)?.first_chunk::<16>()?));
        if frame.get(12..14)? == [0x86, 0xdd] {
            return Some(Self {
                protocol: *ip.get(6)?,
                src: addr6(8)?,
                dst: addr6(24)?,
                payload: ip.get(40..)?.to_vec(),
            });
        }
        Some(Self {
            protocol: *ip.get(9)?,
            src: addr4(12)?,
            dst: addr4(16)?,
            payload: ip.get(20..)?.to_vec(),
        })
    }
}

fn source(frame: &[u8]) -> Option<IpAddr> {
    Some(Header::of(frame)?.src)
}

/// Where a frame from a client went.
fn seen(action: u32, frame: &[u8]) -> Result<Seen> {
    const DROP: u32 = 1;
    const PASS: u32 = 2;
    const TX: u32 = 3;
    const REDIRECT: u32 = 4;
    match action {
        DROP => Ok(Seen::Silent),
        PASS => Ok(Seen::Stack),
        TX | REDIRECT => sent(frame).context("too short a frame was sent"),
        other => bail!("the program returned {other}"),
    }
}

fn sent(frame: &[u8]) -> Option<Seen> {
    const ICMP: [u8; 2] = [1, 58];
    const TUNNEL: [u8; 2] = [4, 41];
    let (mac, header) = (frame.get(..6)?, Header::of(frame)?);
    if mac == CLIENT_MAC && ICMP.contains(&header.protocol) {
        let [kind, code, ..] = header.payload[..] else {
            return None;
        };
        return Some(Seen::Icmp(kind, code));
    }
    let number = *mac.strip_prefix(&REAL_MAC)?.first()?;
    let real = match header.dst {
        IpAddr::V4(_) => Ipv4Addr::new(10, 0, 0, number).into(),
        IpAddr::V6(_) => real_v6(number),
    };
    // In a tunnel, and with NAT, the address must say the same as the MAC.
    let agrees = !TUNNEL.contains(&header.protocol) || real == header.dst;
    agrees.then_some(Seen::Real(real))
}
