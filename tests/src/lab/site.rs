//! What does a whole site look like: client, router, director and real servers?
//!
//! Two-armed, the director stands between the client's network and that of the real servers:
//!
//! ```text
//!   client 10.0.1.10 ──┬── front 10.0.1.0/24 ──┬── eth0 .1 director .1 eth1 ──┬── back 10.0.2.0/24 ── r1 .11, r2 .12 …
//!                      └───── .254 router .254 ┼──────────────────────────────┘
//!                                              └ .254 ── far 10.0.3.0/24 ── f1 .11 …
//! ```
//!
//! One-armed, all meet in one network and the client is behind the router:
//!
//! ```text
//!   client 10.0.9.10 ── outside 10.0.9.0/24 ── .254 router .254 ──┬── front 10.0.1.0/24 ──┬── eth0 .1 director
//!                                                            .254 │                       └── r1 .11, r2 .12 …
//!                                                                 └── far 10.0.3.0/24 ── f1 .11 …
//! ```
//!
//! A real server sends what it says as a VIP to the router, as with direct routing and tunnels it must not come back
//! to the director, and what it says as itself to the director, as NAT needs.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::client::{Checksum, sha256};
use super::director::{Director, program};
use super::host::Host;
use super::process::Process;
use super::programs;
use super::run::Lab;
use super::server;

/// The virtual addresses of a site, one for each forwarding method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vip {
    /// Direct routing.
    Dr,
    /// IP-in-IP tunnel.
    Tun,
    /// NAT.
    Nat,
    /// Real servers that are the director itself.
    Local,
}

impl Vip {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dr, Self::Tun, Self::Nat, Self::Local];

    /// The address.
    pub const fn address(self) -> Ipv4Addr {
        let last = match self {
            Self::Dr => 101,
            Self::Tun => 102,
            Self::Nat => 103,
            Self::Local => 104,
        };
        Ipv4Addr::new(10, 0, 1, last)
    }

    /// The web service.
    pub const fn web(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address(), 80)
    }

    /// The DNS service.
    pub const fn dns(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address(), 53)
    }

    /// Where a path of the web service is.
    pub fn url(self, path: &str) -> String {
        format!("http://{}{path}", self.web())
    }
}

/// The ports on which real servers serve, also as targets of NAT.
pub mod port {
    /// nginx, at the service's own port.
    pub const WEB: u16 = 80;
    /// nginx, where only NAT leads.
    pub const NAT_WEB: u16 = 8080;
    /// The DNS server, at the service's own port.
    pub const DNS: u16 = 53;
    /// The DNS server, where only NAT leads.
    pub const NAT_DNS: u16 = 5353;
}

/// How many networks a director stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arms {
    /// Clients and real servers are behind the same interface.
    One,
    /// Clients are behind one, real servers behind another.
    Two,
}

/// The shape of a site.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// How many networks the director stands in.
    pub arms: Arms,
    /// Number of real servers, up to 9.
    pub reals: u8,
    /// Number of real servers behind the router, up to 9.
    pub far: u8,
}

/// A real server.
pub struct Real {
    /// The host.
    pub host: Host,
    /// Its address (RIP).
    pub address: Ipv4Addr,
    /// Where the program for tunnels is pinned, on kernels without a device for them.
    pins: PathBuf,
    pub(super) servers: Vec<Process>,
}

/// A lab with everything that balanced traffic needs.
pub struct Site {
    /// Where requests come from.
    pub client: Host,
    /// The router.
    pub router: Host,
    /// The director; lbd does not run yet.
    pub director: Director,
    /// Real servers in the director's network.
    pub reals: Vec<Real>,
    /// Real servers behind the router.
    pub far: Vec<Real>,
    /// What runs on the director itself.
    local: Vec<Process>,
    // Last, so that processes end before their namespaces go.
    lab: Lab,
}

impl Real {
    /// Where its web server serves.
    pub fn web(&self) -> SocketAddr {
        SocketAddrV4::new(self.address, port::WEB).into()
    }

    /// Run `lbctl backend` on it. Its disk is a folder of its own, so that nothing reaches the machine's `/etc`.
    ///
    /// # Errors
    ///
    /// The exit status is not 0; the error has what it said.
    pub fn backend(&self, words: &[&str]) -> Result<String> {
        let lbctl = program("lbctl")?;
        let disk = self.host.folder().join("disk");
        let [state, root, pins] =
            [disk.join("state"), disk, self.pins.clone()].map(|path| path.display().to_string());
        let places = ["--root", &root, "--state-dir", &state, "--pin-dir", &pins];
        self.host
            .run(&[&[lbctl.as_str(), "backend"], words, &places].concat())
    }

    /// Prepare it for these VIPs, as an operator does.
    ///
    /// # Errors
    ///
    /// Something is in the way.
    pub fn prepare(&self, vips: &[Vip], method: &str) -> Result<()> {
        self.prepare_for(vips.iter().map(|vip| vip.address().into()), method)
    }

    /// Has nobody take packets out of tunnels any more, neither our program nor the kernel's device;
    /// [`prepare`](Self::prepare) puts back what did.
    ///
    /// # Errors
    ///
    /// There is neither.
    pub fn break_tunnel(&self) -> Result<()> {
        let links = self.pins.join("links");
        if !links.exists() {
            return self.host.ip(&["link set dev tunl0 down"]);
        }
        fs::remove_dir_all(&links).with_context(|| format!("cannot remove {}", links.display()))
    }

    /// Has its web server answer `/healthz` with status 503, or with 200 again. All else it serves as before.
    ///
    /// # Errors
    ///
    /// The file that says so cannot be made or removed.
    pub fn set_sick(&self, sick: bool) -> Result<()> {
        set(&server::sick(&self.host), sick)
    }

    /// Has `/healthz` of its web server come drop by drop, or at once again. All else it serves as before.
    ///
    /// # Errors
    ///
    /// The file that says so cannot be made or removed.
    pub fn set_slow(&self, slow: bool) -> Result<()> {
        set(&server::slow(&self.host), slow)
    }

    /// Sends a signal to its web server, with all the processes of it.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn signal_web(&self, signal: Signal) -> Result<()> {
        let web = self.servers.first().context("it has no web server")?;
        web.signal_group(signal)
    }
}

impl Site {
    /// Make a site, with all servers running.
    ///
    /// # Errors
    ///
    /// A step of the set-up failed.
    pub fn new(layout: Layout) -> Result<Self> {
        let lab = Lab::new()?;
        programs::pin(&lab)?;
        let (client, router, director) = hosts(&lab, layout.arms)?;
        for folder in ["files", "uploaded"] {
            std::fs::create_dir(lab.folder().join(folder))
                .with_context(|| format!("cannot make the folder `{folder}`"))?;
        }
        let mut site = Self {
            client,
            router,
            director: Director::new(director, &lab.bpffs()),
            reals: Vec::new(),
            far: Vec::new(),
            local: Vec::new(),
            lab,
        };
        let (network, prefix, gateway) = match layout.arms {
            Arms::One => ("front", [10, 0, 1], "10.0.1.1"),
            Arms::Two => ("back", [10, 0, 2], "10.0.2.1"),
        };
        for index in 1..=layout.reals {
            let real = real(
                &site.lab,
                &format!("r{index}"),
                network,
                prefix,
                index,
                gateway,
            )?;
            site.reals.push(real);
        }
        for index in 1..=layout.far {
            let name = format!("f{index}");
            let real = real(&site.lab, &name, "far", [10, 0, 3], index, "10.0.3.254")?;
            site.far.push(real);
        }
        Ok(site)
    }

    /// Set the MTU of all links.
    ///
    /// # Errors
    ///
    /// A link cannot have it.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        let mut hosts = vec![&self.client, &self.router, self.director.host()];
        hosts.extend(self.reals.iter().chain(&self.far).map(|real| &real.host));
        self.lab.set_mtu(&hosts, mtu)
    }

    /// The lab it stands in.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Start lbd with a configuration.
    ///
    /// # Errors
    ///
    /// lbd does not start; the error has what it said.
    pub fn balance(&mut self, yaml: &str) -> Result<()> {
        self.director.configure(yaml)?;
        self.director.start().map(drop)
    }

    /// Put a file of `size` bytes on all real servers at `/files/NAME`; returns its checksum.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn file(&self, name: &str, size: usize) -> Result<Checksum> {
        let path = self.lab.folder().join("files").join(name);
        server::write_file(&path, size)?;
        checksum(&path)
    }

    /// Send a file that was made with [`file`](Self::file) from the client to a web service; returns the checksum of what
    /// arrived.
    ///
    /// # Errors
    ///
    /// The service did not take it.
    pub fn upload(&self, name: &str, vip: Vip) -> Result<Checksum> {
        let arrived = self.lab.folder().join("uploaded").join(name);
        if arrived.exists() {
            std::fs::remove_file(&arrived)
                .with_context(|| format!("cannot remove {}", arrived.display()))?;
        }
        let file = self.lab.folder().join("files").join(name);
        self.client
            .upload(&file, &vip.url(&format!("/uploaded/{name}")))?;
        checksum(&arrived)
    }

    /// Serve on the director itself, too.
    ///
    /// # Errors
    ///
    /// A server does not start.
    pub fn serve_locally(&mut self) -> Result<()> {
        self.local = serve(self.director.host(), &self.lab)?;
        Ok(())
    }

    /// Start the web server of a real server that was killed; it is there when this returns.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn start_web(&mut self, index: usize) -> Result<()> {
        let real = self.reals.get_mut(index).context("no such real server")?;
        let folder = self.lab.folder();
        let web = server::nginx(&real.host, &[port::WEB, port::NAT_WEB], &folder)?;
        if let Some(former) = real.servers.first_mut() {
            *former = web;
        }
        Ok(())
    }

    /// Leave everything up when we end.
    ///
    /// # Errors
    ///
    /// The lab cannot be marked as kept.
    pub fn keep(mut self) -> Result<()> {
        self.director.leave();
        let reals = self
            .reals
            .into_iter()
            .chain(self.far)
            .flat_map(|real| real.servers);
        reals.chain(self.local).for_each(Process::leave);
        self.lab.keep()
    }
}

/// Makes an empty file, or removes it.
fn set(file: &Path, there: bool) -> Result<()> {
    if there {
        std::fs::write(file, "")
    } else {
        std::fs::remove_file(file)
    }
    .with_context(|| file.display().to_string())
}

/// Make a real server, ready for each forwarding method.
pub(super) fn real(
    lab: &Lab,
    name: &str,
    network: &str,
    prefix: [u8; 3],
    index: u8,
    gateway: &str,
) -> Result<Real> {
    let [a, b, c] = prefix;
    let address = Ipv4Addr::new(a, b, c, 10 + index);
    let host = lab.host(name)?;
    lab.connect(&host, "eth0", network, &format!("{address}/24"))?;
    let router = format!("{a}.{b}.{c}.254");
    host.ip(&[
        &format!("route add default via {gateway}"),
        &format!("route add default via {router} table 100"),
        &format!("rule add from {} lookup 100", Vip::Dr.address()),
        &format!("rule add from {} lookup 100", Vip::Tun.address()),
    ])?;
    let mut real = Real {
        pins: lab.bpffs().join(name),
        host,
        address,
        servers: Vec::new(),
    };
    real.prepare(&[Vip::Dr, Vip::Tun], "tun")?;
    real.servers = serve(&real.host, lab)?;
    Ok(real)
}

/// Client, router and director, each with its interfaces, addresses and routes.
fn hosts(lab: &Lab, arms: Arms) -> Result<(Host, Host, Host)> {
    for network in ["front", "far"] {
        lab.network(network)?;
    }
    let (client, router, director) = (
        lab.host("client")?,
        lab.host("router")?,
        lab.host("director")?,
    );
    lab.connect(&router, "front", "front", "10.0.1.254/24")?;
    lab.connect(&router, "far", "far", "10.0.3.254/24")?;
    lab.connect(&director, "eth0", "front", "10.0.1.1/24")?;
    lab.receive_from_program(&director, "eth0")?;
    for host in [&router, &director] {
        host.set(&[("ipv4/ip_forward", "1")])?;
    }
    for vip in Vip::ALL {
        director.ip(&[&format!("address add {}/32 dev eth0", vip.address())])?;
    }
    match arms {
        Arms::One => {
            lab.network("outside")?;
            lab.connect(&client, "eth0", "outside", "10.0.9.10/24")?;
            lab.connect(&router, "outside", "outside", "10.0.9.254/24")?;
            client.ip(&["route add default via 10.0.9.254"])?;
            director.ip(&["route add default via 10.0.1.254"])?;
        }
        Arms::Two => {
            lab.network("back")?;
            lab.connect(&client, "eth0", "front", "10.0.1.10/24")?;
            lab.connect(&router, "back", "back", "10.0.2.254/24")?;
            lab.connect(&director, "eth1", "back", "10.0.2.1/24")?;
            lab.receive_from_program(&director, "eth1")?;
            client.ip(&["route add default via 10.0.1.254"])?;
            director.ip(&["route add default via 10.0.2.254"])?;
        }
    }
    Ok((client, router, director))
}

/// Start a web server and DNS servers.
fn serve(host: &Host, lab: &Lab) -> Result<Vec<Process>> {
    Ok(vec![
        server::nginx(host, &[port::WEB, port::NAT_WEB], &lab.folder())?,
        server::dns(host, port::DNS)?,
        server::dns(host, port::NAT_DNS)?,
    ])
}

fn checksum(path: &Path) -> Result<Checksum> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    sha256(Stdio::from(file))
}
