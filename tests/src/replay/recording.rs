//! What stands in a recording? `tests/oracle/README.md` describes the format.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// One recorded scenario.
#[derive(Clone, Debug, Deserialize)]
pub struct Recording {
    /// The file's name without extension.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// Settings of `net.ipv4.vs`.
    #[serde(default)]
    pub sysctl: BTreeMap<String, i64>,
    /// Seconds of TCP, TCP after FIN, and UDP.
    pub timeouts: Option<[u64; 3]>,
    /// The services to begin with.
    pub services: Vec<Service>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// A virtual service.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// Its name in events.
    pub id: String,
    /// The protocol; none with a firewall mark.
    pub proto: Option<Proto>,
    /// The virtual address; none with a firewall mark.
    pub vip: Option<IpAddr>,
    /// The virtual port, 0 for all; none with a firewall mark.
    pub port: Option<u16>,
    /// The firewall mark of a service made of several pairs.
    pub fwmark: Option<u32>,
    /// What the mark is put on.
    #[serde(default, rename = "match")]
    pub matches: Vec<Match>,
    /// The scheduler's name.
    pub sched: String,
    /// Its options.
    #[serde(default)]
    pub sched_flags: Vec<String>,
    /// Persistence timeout in seconds.
    pub persist: Option<u64>,
    /// Which clients count as one.
    pub netmask: Option<Netmask>,
    /// Every datagram is scheduled by itself.
    #[serde(default)]
    pub one_packet: bool,
    /// The real servers in the order of adding.
    pub reals: Vec<Real>,
}

impl Service {
    /// All that the service serves.
    pub fn listeners(&self) -> Vec<Match> {
        match (self.proto, self.vip, self.port) {
            (Some(proto), Some(vip), Some(port)) => vec![Match { vip, proto, port }],
            _ => self.matches.clone(),
        }
    }
}

/// One pair of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Match {
    /// The virtual address.
    pub vip: IpAddr,
    /// The protocol.
    pub proto: Proto,
    /// The virtual port; 0 stands for all.
    pub port: u16,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A persistence netmask.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Netmask {
    /// `255.255.255.0`
    Mask(std::net::Ipv4Addr),
    /// `56`
    Prefix(u8),
}

impl Netmask {
    /// The number of leading bits that count.
    pub fn prefix(&self) -> u8 {
        match self {
            Self::Mask(mask) => mask.to_bits().leading_ones() as u8,
            Self::Prefix(prefix) => *prefix,
        }
    }
}

/// A real server.
#[derive(Clone, Debug, Deserialize)]
pub struct Real {
    /// `r` and its number.
    pub id: String,
    /// Its weight.
    pub weight: u16,
    /// Its forwarding method.
    pub fwd: Method,
    /// Its port; none where the service has all.
    pub port: Option<u16>,
    /// Upper threshold.
    #[serde(default)]
    pub u_threshold: u32,
    /// Lower threshold.
    #[serde(default)]
    pub l_threshold: u32,
}

/// A forwarding method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Direct routing.
    Dr,
    /// IP-in-IP.
    Tun,
    /// Address translation.
    Nat,
}

/// What changes of a real server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealEdit {
    /// Its weight.
    pub weight: Option<u16>,
    /// Upper threshold.
    pub u_threshold: Option<u32>,
    /// Lower threshold.
    pub l_threshold: Option<u32>,
    /// Its forwarding method.
    pub fwd: Option<Method>,
}

/// What changes of a service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEdit {
    /// The scheduler's name.
    pub sched: Option<String>,
    /// Its options.
    pub sched_flags: Option<Vec<String>>,
    /// Persistence timeout in seconds.
    pub persist: Option<u64>,
    /// Which clients count as one.
    pub netmask: Option<Netmask>,
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Event {
    /// A new connection: the whole handshake, or one datagram.
    Open(Opening),
    /// The first segment only.
    Syn(Opening),
    /// One segment of no known connection.
    Pkt {
        /// Where from.
        src: IpAddr,
        /// From which port.
        sport: u16,
        /// Letters of flags.
        flags: String,
        /// To which service.
        svc: Option<String>,
        /// To which of its pairs.
        m: Option<usize>,
        /// To which port.
        dport: Option<u16>,
        /// What became of it.
        expect: Option<Fate>,
    },
    /// A segment with data, or a datagram.
    Data(OnConnection),
    /// A segment with FIN.
    Fin(OnConnection),
    /// A segment with RST.
    Rst(OnConnection),
    /// The client closes.
    Close(OnConnection),
    /// A real server is added.
    AddReal {
        /// To which service.
        svc: Option<String>,
        /// The real server.
        real: Real,
    },
    /// A real server is changed.
    EditReal {
        /// Of which service.
        svc: Option<String>,
        /// Which one.
        real: String,
        /// What changes.
        set: RealEdit,
    },
    /// A real server is removed.
    DelReal {
        /// Of which service.
        svc: Option<String>,
        /// Which one.
        real: String,
    },
    /// A service is added.
    AddService {
        /// The service.
        service: Service,
    },
    /// A service is changed.
    EditService {
        /// Which one.
        svc: Option<String>,
        /// What changes.
        set: ServiceEdit,
    },
    /// A service is removed.
    DelService {
        /// Which one.
        svc: Option<String>,
    },
    /// A setting of `net.ipv4.vs` is changed.
    Sysctl {
        /// Which one.
        key: String,
        /// To what.
        value: i64,
    },
    /// The timeouts are changed.
    Timeouts {
        /// Seconds of TCP, TCP after FIN, and UDP.
        set: [u64; 3],
    },
    /// Time passes.
    Advance {
        /// Seconds.
        s: u64,
    },
    /// The loads of the real servers.
    Counts {
        /// What they were.
        expect: CountsExpected,
    },
    /// The list of connections.
    Conns {
        /// What stood in it.
        expect: ConnsExpected,
    },
}

/// A client that opens a connection.
#[derive(Clone, Debug, Deserialize)]
pub struct Opening {
    /// The connection's number in later events.
    pub c: u32,
    /// Where from.
    pub src: IpAddr,
    /// From which port.
    pub sport: u16,
    /// To which service.
    pub svc: Option<String>,
    /// To which of its pairs.
    pub m: Option<usize>,
    /// To which port.
    pub dport: Option<u16>,
    /// What became of it.
    pub expect: Option<Fate>,
}

/// A segment of a connection.
#[derive(Clone, Debug, Deserialize)]
pub struct OnConnection {
    /// The connection's number.
    pub c: u32,
    /// What became of it.
    pub expect: Option<Fate>,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fate {
    /// The real server that it went to.
    pub real: Option<String>,
    /// What the client got instead.
    pub reject: Option<String>,
    /// Where the handshake's ACK went, if elsewhere.
    pub ack_real: Option<String>,
    /// What became of the real server's answer, if something unusual.
    pub reply: Option<String>,
}

/// The loads of real servers, by service.
#[derive(Clone, Debug, Deserialize)]
pub struct CountsExpected {
    /// By service.
    pub services: BTreeMap<String, Vec<Count>>,
}

/// The load of a real server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Count {
    /// Which one.
    pub real: String,
    /// Its weight.
    pub weight: u16,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Persistence templates.
    #[serde(default)]
    pub persist: u32,
}

/// A list of connections.
#[derive(Clone, Debug, Deserialize)]
pub struct ConnsExpected {
    /// The connections.
    pub conns: Vec<Conn>,
}

/// A connection, or a persistence template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Conn {
    /// The protocol's name.
    pub proto: String,
    /// The client.
    pub src: IpAddr,
    /// Its port; 0 for a template.
    pub sport: u16,
    /// The virtual address.
    pub dst: IpAddr,
    /// The virtual port.
    pub dport: u16,
    /// The real server.
    pub real: String,
    /// The state's name.
    pub state: String,
    /// Seconds until it ends.
    pub expires: i64,
}

impl Recording {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a recording", path.display()))
    }
}

impl Recording {
    /// Why the program cannot be played this, if it cannot.
    pub fn unsupported(&self) -> Option<String> {
        let changed = self.events.iter().filter_map(|event| match event {
            Event::Sysctl { key, value } => Some((key, value)),
            _ => None,
        });
        let mut set = self.sysctl.iter().chain(changed);
        let (key, value) = set.find(|(key, value)| !is_known(key, **value))?;
        Some(format!(
            "there is no setting like net.ipv4.vs.{key}={value}"
        ))
    }
}

/// Whether the balancer has what a setting of IPVS asks for.
fn is_known(key: &str, value: i64) -> bool {
    match key {
        "sloppy_tcp" | "expire_quiescent_template" | "conn_reuse_mode" | "expire_nodest_conn" => {
            true
        }
        // What has no counterpart here is as if it were as the kernel has it to begin with.
        "pmtu_disc" | "snat_reroute" | "sync_version" | "sync_ports" | "run_estimation" => {
            value == 1
        }
        _ => value == 0,
    }
}

/// The recordings of the repository, by name.
pub fn recordings() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/recordings");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    files.sort();
    Ok(files)
}
