//! Which keys are there, what do they take, and what are they for?
//!
//! The decoder, the spelling hints and the reference in `docs/configuration.md` all read these tables, so that none
//! of them can know a key that the others do not.

mod health;
mod probe;
mod vrrp;

use super::nearest::nearest_key;
pub(crate) use health::{CHECK, DAMPING, NOTIFY, QUORUM, SORRY};
pub(crate) use probe::{DNS, GRPC, HTTP, REDIS, SCRIPT, SMTP, TCP, TLS, UDP, ZOOKEEPER};
pub(crate) use vrrp::{
    VRRP, VRRP_ADDRESS, VRRP_ANNOUNCE, VRRP_AUTH, VRRP_DEBOUNCE, VRRP_HMAC, VRRP_KEY, VRRP_NOTIFY,
    VRRP_ROUTE, VRRP_TRACK,
};

/// The keys of one kind of map.
pub(crate) struct Table {
    /// Where such a map stands: `services[]`.
    pub at: &'static str,
    /// What it is about, in a sentence or two.
    pub about: &'static str,
    /// Its keys, in the order in which they are written.
    pub keys: &'static [Key],
}

/// A key.
pub(crate) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
}

impl Table {
    /// The names of the keys.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|k| k.name).collect()
    }

    /// The key that one would write first.
    pub(crate) fn foremost(&self) -> &'static str {
        let required = self.keys.iter().find(|k| k.default == REQUIRED);
        // At the top nothing is required, but services come last and matter most.
        let other = if self.at.is_empty() {
            self.keys.last()
        } else {
            self.keys.first()
        };
        required.or(other).map_or("", |k| k.name)
    }

    /// Whether a text is a key and a value that a space was forgotten between.
    pub(crate) fn begins_with_a_key(&self, text: &str) -> bool {
        let key = text.split_once(':').map(|(key, _)| key);
        self.keys.iter().any(|k| Some(k.name) == key)
    }
}

/// The default of a key that must be there.
const REQUIRED: &str = "required";

/// Where a key belongs that was written in the wrong place: its right spelling, and the place.
pub(crate) fn elsewhere(key: &str) -> Option<(&'static str, &'static str)> {
    let spelled = |table: &&Table| Some((nearest_key(key, &table.names())?, table.at));
    TABLES
        .iter()
        .filter(|t| !t.at.is_empty())
        .copied()
        .find_map(|t| spelled(&t))
}

/// Every table, in the order of the reference.
pub(crate) const TABLES: &[&Table] = &[
    &TOP,
    &CONNECTIONS,
    &LIMITS,
    &FORWARDING,
    &API,
    &SERVICE,
    &LISTENER,
    &PERSISTENCE,
    &TIMEOUTS,
    &REAL,
    &CHECK,
    &HTTP,
    &TLS,
    &TCP,
    &UDP,
    &DNS,
    &SMTP,
    &REDIS,
    &ZOOKEEPER,
    &GRPC,
    &SCRIPT,
    &SORRY,
    &QUORUM,
    &DAMPING,
    &NOTIFY,
    &VRRP,
    &VRRP_AUTH,
    &VRRP_HMAC,
    &VRRP_KEY,
    &VRRP_ADDRESS,
    &VRRP_ROUTE,
    &VRRP_ANNOUNCE,
    &VRRP_TRACK,
    &VRRP_NOTIFY,
    &VRRP_DEBOUNCE,
];

/// The file as a whole.
pub(crate) const TOP: Table = Table {
    at: "",
    about: "Everything has a default but the services themselves.",
    keys: &[
        Key {
            name: "interfaces",
            takes: "list of names",
            default: "those that lead to the real servers and to clients",
            about: "Where the XDP program runs: every interface on which requests or, with `nat`, replies come in.",
        },
        Key {
            name: "mode",
            takes: "`auto`, `native` or `generic`",
            default: "`auto`",
            about: "How the program is attached: in the driver (`native`), in the kernel's stack, which is slower \
                    and works everywhere (`generic`), or in the driver where that can be done (`auto`).",
        },
        Key {
            name: "connections",
            takes: "[keys](#connections)",
            default: "",
            about: "The connection table, and the timeouts of services that have none of their own.",
        },
        Key {
            name: "limits",
            takes: "[keys](#limits)",
            default: "",
            about: "How much the maps in the kernel hold besides connections.",
        },
        Key {
            name: "forwarding",
            takes: "[keys](#forwarding)",
            default: "",
            about: "How packets of no connection are treated.",
        },
        Key {
            name: "api",
            takes: "[keys](#api)",
            default: "",
            about: "Who may use the control socket.",
        },
        Key {
            name: "vrrp",
            takes: "list of [virtual routers](#vrrp)",
            default: "none",
            about: "The virtual routers: which addresses this director shares with others, and who has them.",
        },
        Key {
            name: "services",
            takes: "list of [services](#services)",
            default: "none",
            about: "The virtual services.",
        },
    ],
};

/// `connections`
pub(crate) const CONNECTIONS: Table = Table {
    at: "connections",
    about: "How many connections are kept, and how long without a packet. Only these three timeouts can be set, as \
            with `ipvsadm --set`; those of other states are LVS's. A change holds for the packets that come after it.",
    keys: &[
        Key {
            name: "max",
            takes: "1000 to 100000000",
            default: "`1000000`",
            about: "How many connections of IPv4 the table holds; the one of IPv6 holds a quarter as many. They are made when \
                    `lbd` starts without tables to adopt.",
        },
        Key {
            name: "tcp",
            takes: "duration, 1s to 365d",
            default: "`15m`",
            about: "An established TCP connection.",
        },
        Key {
            name: "tcp_fin",
            takes: "duration, 1s to 365d",
            default: "`2m`",
            about: "A TCP connection after a FIN.",
        },
        Key {
            name: "udp",
            takes: "duration, 1s to 365d",
            default: "`5m`",
            about: "A UDP flow.",
        },
    ],
};

/// `limits`
pub(crate) const LIMITS: Table = Table {
    at: "limits",
    about: "The maps are made this large when `lbd` starts without maps to adopt.",
    keys: &[
        Key {
            name: "services",
            takes: "1 to 65536",
            default: "`4096`",
            about: "Virtual services.",
        },
        Key {
            name: "reals",
            takes: "1 to 131071",
            default: "`16384`",
            about: "Real servers over all services, with those that are being drained. One service may have 1024.",
        },
    ],
};

/// `forwarding`
pub(crate) const FORWARDING: Table = Table {
    at: "forwarding",
    about: "What holds for the packets of all services. [Connections](connections.md) says more of what the kernel's settings of the \
            same names do.",
    keys: &[
        Key {
            name: "sloppy_tcp",
            takes: "`true` or `false`",
            default: "`false`",
            about: "Whether a TCP segment without SYN may open a connection, as the kernel's \
                    `net.ipv4.vs.sloppy_tcp`. Without it such a segment goes to the director's own stack.",
        },
        Key {
            name: "conn_reuse_mode",
            takes: "0 to 3",
            default: "`1`",
            about: "When a SYN ends the connection that its ports are of and opens another one, as the kernel's \
                    `net.ipv4.vs.conn_reuse_mode`: 0 never, 1 in TIME_WAIT and CLOSE, 2 (and 3) also in FIN_WAIT with `dr` and `tun`.",
        },
        Key {
            name: "expire_nodest_conn",
            takes: "`true` or `false`",
            default: "`false`",
            about: "Whether connections end with their real server's place in the pool, as with the kernel's \
                    `net.ipv4.vs.expire_nodest_conn=1`: at once where it is removed, as with `--force`; with their next packet where \
                    its checks fail; with the next SYN where its weight is 0. Otherwise they go on until they end.",
        },
        Key {
            name: "icmp_per_second",
            takes: "0 to 1000000",
            default: "`1000`",
            about: "The most ICMP errors, and resets of `vip_default`, that one CPU sends in a second; 0 is no limit.",
        },
        Key {
            name: "vip_default",
            takes: "`stack`, `drop` or `reject`",
            default: "`stack`",
            about: "What becomes of packets to other ports of a service's address: the director's own stack has them, as with IPVS, \
                    and with it whatever listens there; or they are dropped; or refused, with a reset (TCP) or ICMP port unreachable \
                    (UDP). TCP is looked at when a client opens a connection. ICMP, other protocols and the addresses of whole \
                    networks are the stack's in any case. The director itself asks no name server from such an address then, for it \
                    would not hear the answer; and where the address is the one that you log in to, so is that closed.",
        },
    ],
};

/// `api`
pub(crate) const API: Table = Table {
    at: "api",
    about: "Who may use the control socket besides root and the user that `lbd` runs as. It is read when `lbd` starts.",
    keys: &[
        Key {
            name: "group",
            takes: "name of a group",
            default: "none",
            about: "A group whose members may change things with `lbctl`.",
        },
        Key {
            name: "others_read",
            takes: "`true` or `false`",
            default: "`false`",
            about: "Whether everybody else may look, and change nothing.",
        },
    ],
};

/// `services[]`
pub(crate) const SERVICE: Table = Table {
    at: "services[]",
    about: "A virtual service: what clients connect to, and who answers.",
    keys: &[
        Key {
            name: "name",
            takes: "letters, digits, `.`, `_`, `-`, `:`",
            default: "`PROTOCOL-ADDRESS-PORT`",
            about: "What `lbctl` and the logs call it.",
        },
        Key {
            name: "protocol",
            takes: "`tcp` or `udp`",
            default: "`tcp`",
            about: "The transport protocol.",
        },
        Key {
            name: "address",
            takes: "`ADDRESS:PORT`",
            default: REQUIRED,
            about: "The virtual address and port. Port 0 is all ports, and needs `persistence`. `10.20.0.0/16:80` is all \
                    addresses of a network that have no service, or smaller network, of their own: for caches, with `lblc`, \
                    `lblcr` or `dh`.",
        },
        Key {
            name: "also",
            takes: "list of `ADDRESS:PORT` or [keys](#servicesalso)",
            default: "none",
            about: "More addresses and ports that share real servers, scheduler state and persistence: what LVS does \
                    with firewall marks. With several ports, a packet keeps the one that the client chose; real servers \
                    by `nat` may name one.",
        },
        Key {
            name: "scheduler",
            takes: "@schedulers",
            default: "@scheduler",
            about: "How a real server is chosen for a new connection.",
        },
        Key {
            name: "scheduler_flags",
            takes: "list of `sh-port`, `sh-fallback`, `mh-port`, `mh-fallback`, `mh-kernel-table`",
            default: "none",
            about: "For `sh` and `mh`: hash the client's port too; look for another real server when the hashed one \
                    cannot take the connection. For `mh`: the stock kernel's table of 4,093 slots, so that clients keep the real \
                    servers that IPVS gave them, not our own of 65,537, whose shares are finer.",
        },
        Key {
            name: "persistence",
            takes: "duration or [keys](#servicespersistence)",
            default: "none",
            about: "A client's new connections go where its last one went.",
        },
        Key {
            name: "one_packet",
            takes: "`true` or `false`",
            default: "`false`",
            about: "UDP only: every datagram is scheduled by itself, and no connection is kept (`ipvsadm -o`).",
        },
        Key {
            name: "timeouts",
            takes: "[keys](#servicestimeouts)",
            default: "those of `connections`",
            about: "Timeouts of this service's own.",
        },
        Key {
            name: "quiesced_udp",
            takes: "`keep` or `move`",
            default: "`keep`",
            about: "What becomes of the UDP flows of a real server whose weight is 0: they stay until they end, as with IPVS, or \
                    another one has their next datagram (unless they are of clients that `persistence` keeps there).",
        },
        Key {
            name: "method",
            takes: "`dr`, `tun` or `nat`",
            default: "`dr`",
            about: "How packets reach real servers: by their MAC address on a common network (`dr`), in an IP-in-IP \
                    tunnel (`tun`), or with the destination rewritten (`nat`).",
        },
        Key {
            name: "health",
            takes: "[check](#serviceshealth) or list of them",
            default: "none: every real server is taken for well",
            about: "How real servers are checked.",
        },
        Key {
            name: "on_failure",
            takes: "`remove` or `weight_zero`",
            default: "`remove`",
            about: "What becomes of a real server whose checks fail: it leaves the pool, or it stays with weight 0, so that \
                    persistent clients keep coming.",
        },
        Key {
            name: "dead_connections",
            takes: "`keep` or `reset`",
            default: "`keep`",
            about: "What becomes of its established TCP connections: they go on, or the client is sent a reset with its next \
                    packet.",
        },
        Key {
            name: "quorum",
            takes: "number or [keys](#servicesquorum)",
            default: "`1`",
            about: "How much of the service must be alive; without it the sorry server serves.",
        },
        Key {
            name: "sorry",
            takes: "`ADDRESS`, `ADDRESS:PORT` or [keys](#servicessorry)",
            default: "none",
            about: "The server that serves while the quorum is lost. The real servers leave the pool then, also live ones.",
        },
        Key {
            name: "slow_start",
            takes: "duration, 1s to 1d",
            default: "none",
            about: "How long a real server that comes back takes to get its full share. Its weight grows in ten steps; \
                    meanwhile all weights of the service are multiplied by ten where only their proportions matter. It \
                    means nothing to schedulers without weights.",
        },
        Key {
            name: "damping",
            takes: "`off` or [keys](#servicesdamping)",
            default: "on",
            about: "When a real server that comes and goes is kept out for a while.",
        },
        Key {
            name: "on_up",
            takes: "path, list of program and arguments, or [keys](#serviceson_up)",
            default: "none",
            about: "Run when a real server comes into the pool.",
        },
        Key {
            name: "on_down",
            takes: "path, list of program and arguments, or [keys](#serviceson_up)",
            default: "none",
            about: "Run when a real server leaves the pool.",
        },
        Key {
            name: "reals",
            takes: "list of `ADDRESS`, `ADDRESS:PORT` or [keys](#servicesreals)",
            default: "none",
            about: "The real servers. Without any, clients are told that the port is unreachable.",
        },
    ],
};

/// `services[].also[]`
pub(crate) const LISTENER: Table = Table {
    at: "services[].also[]",
    about: "Another address and port of the service. Text alone is its `address`.",
    keys: &[
        Key {
            name: "protocol",
            takes: "`tcp` or `udp`",
            default: "the service's",
            about: "The transport protocol.",
        },
        Key {
            name: "address",
            takes: "`ADDRESS:PORT`",
            default: REQUIRED,
            about: "The virtual address and port.",
        },
    ],
};

/// `services[].persistence`
pub(crate) const PERSISTENCE: Table = Table {
    at: "services[].persistence",
    about: "A client's new connections go where its last one went. A duration alone is the `timeout`.",
    keys: &[
        Key {
            name: "timeout",
            takes: "duration, 1s to 24855d",
            default: "`6m`",
            about: "For how long after its last connection was opened (`ipvsadm -p`).",
        },
        Key {
            name: "mask",
            takes: "0 to 32; IPv6: 0 to 128",
            default: "the whole address",
            about: "How many leading bits of an address make a client (`ipvsadm -M`): 24 keeps a /24 network together.",
        },
        Key {
            name: "leave_quiesced",
            takes: "`true` or `false`",
            default: "`false`",
            about: "Clients leave a real server once its weight is 0 (`expire_quiescent_template`). Otherwise it keeps its clients, \
                    their new connections too.",
        },
    ],
};

/// `services[].timeouts`
pub(crate) const TIMEOUTS: Table = Table {
    at: "services[].timeouts",
    about: "Timeouts of this service's own; those left out are those of `connections`.",
    keys: &[
        Key {
            name: "tcp",
            takes: "duration, 1s to 365d",
            default: "`connections.tcp`",
            about: "An established TCP connection.",
        },
        Key {
            name: "tcp_fin",
            takes: "duration, 1s to 365d",
            default: "`connections.tcp_fin`",
            about: "A TCP connection after a FIN.",
        },
        Key {
            name: "udp",
            takes: "duration, 1s to 365d",
            default: "`connections.udp`",
            about: "A UDP flow.",
        },
    ],
};

/// `services[].reals[]`
pub(crate) const REAL: Table = Table {
    at: "services[].reals[]",
    about: "A real server. Text alone is its `address`.",
    keys: &[
        Key {
            name: "address",
            takes: "`ADDRESS` or `ADDRESS:PORT`",
            default: REQUIRED,
            about: "Its address, and its port where that is not the service's. Only `nat` can change the port.",
        },
        Key {
            name: "weight",
            takes: "0 to 65535",
            default: "`1`",
            about: "Its share. With 0 it keeps the connections that it has and gets no new ones, but for those of \
                    persistent clients.",
        },
        Key {
            name: "method",
            takes: "`dr`, `tun` or `nat`",
            default: "the service's",
            about: "How packets reach it.",
        },
        Key {
            name: "upper",
            takes: "0 to 2147483647",
            default: "`0`, no limit",
            about: "At so many connections, active and inactive, it gets no more (`ipvsadm -x`).",
        },
        Key {
            name: "lower",
            takes: "0 to `upper`",
            default: "three quarters of `upper`",
            about: "Below so many it gets connections again (`ipvsadm -y`).",
        },
        Key {
            name: "health",
            takes: "[check](#serviceshealth) or list of them",
            default: "the service's",
            about: "Its own checks, in place of the service's; `[]` is none.",
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_are_nouns_in_one_spelling_and_come_once() {
        for table in TABLES {
            let names = table.names();
            let once: HashSet<_> = names.iter().collect();
            assert_eq!(once.len(), names.len(), "{}", table.at);
            for key in table.keys {
                assert!(
                    key.name
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b == b'_'),
                    "{}",
                    key.name
                );
                assert!(key.about.ends_with('.'), "{}", key.name);
            }
        }
    }
}
