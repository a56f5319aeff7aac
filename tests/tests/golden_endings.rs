//! Every way in which a packet can end, through the real program and through the model: a row for each.

use anyhow::{Context, Result, bail, ensure};
use lb_common::abi::{Method, Plan, Real, ServiceKey4, real, setting};
use lb_common::counter::Counter;
use lb_common::model::{Lists, Path, World};
use lb_common::net::{Be16, Be32, Proto};
use lb_common::packet::build::{Build, checksums_hold};
use lb_common::packet::wire::{MacPair, mac_word};
use lb_common::sched::Scheduler;
use std::time::Duration;
use tests::needs_lab;
use tests::plane::{Host, Room, Run, Twin, Verdict, same, undisturbed};

const VIP: Be32 = Be32::from_bytes([203, 0, 113, 10]);
const CLIENT: &str = "198.51.100.5:1025";
const WEB: &str = "203.0.113.10:80";
const DNS: &str = "203.0.113.10:53";
/// Towards this client packets of up to 1000 bytes fit.
const NARROW_CLIENT: &str = "198.51.100.6:1025";
/// The neighbour of this client is not known.
const SILENT_CLIENT: &str = "198.51.100.7:1025";
/// The egress slot of the real servers' side.
const SLOT: u64 = 3;
/// The loopback: where frames of the tests come from.
const INGRESS: u32 = 1;

const NETWORK: [&str; 8] = [
    "link set lo up",
    "link add front type veth peer name far",
    "link set front address 02:00:00:00:00:d1 up",
    "link set far up",
    "addr add 198.51.100.1/24 dev front",
    "neigh add 198.51.100.5 lladdr 02:00:00:00:00:c1 dev front",
    "neigh add 198.51.100.6 lladdr 02:00:00:00:00:c1 dev front",
    "route add 198.51.100.6 dev front mtu lock 1000",
];

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const SYN_ACK: u8 = 0x12;

/// A director, what it is given, and how each packet ends.
struct Row {
    name: &'static str,
    world: Box<dyn Fn() -> World>,
    steps: Vec<Step>,
}

enum Step {
    /// A packet comes.
    Packet(Packet),
    /// Time passes.
    Wait(Duration),
    /// The configuration changes.
    Change(fn(&mut World)),
}

struct Packet {
    frame: Vec<u8>,
    /// Bytes of metadata in front, which take room.
    metadata: usize,
    counter: Counter,
    verdict: Verdict,
    /// What the frame is in the end.
    becomes: Vec<u8>,
}

use Step::{Change, Wait};

/// A packet that is left to the stack as it came.
fn passes(frame: Vec<u8>, counter: Counter) -> Step {
    becomes(frame.clone(), counter, Verdict::Pass, frame)
}

/// A packet that is dropped.
fn dropped(frame: Vec<u8>, counter: Counter) -> Step {
    becomes(frame.clone(), counter, Verdict::Drop, frame)
}

/// A packet whose sender is told by ICMP of this type and code.
fn refused(frame: Vec<u8>, counter: Counter, [kind, code]: [u8; 2], mtu: u16) -> Step {
    let error = icmp_error(&frame, kind, code, mtu);
    becomes(frame, counter, Verdict::Tx, error)
}

fn becomes(frame: Vec<u8>, counter: Counter, verdict: Verdict, becomes: Vec<u8>) -> Step {
    Step::Packet(Packet {
        frame,
        metadata: 0,
        counter,
        verdict,
        becomes,
    })
}

const TIME_EXCEEDED: [u8; 2] = [11, 0];
const PORT_UNREACHABLE: [u8; 2] = [3, 3];
const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];

/// The ICMP error of Linux for a frame, as RFC 792 and RFC 1812 have it, made here from scratch.
fn icmp_error(frame: &[u8], kind: u8, code: u8, mtu: u16) -> Vec<u8> {
    let mut quote = frame[14..].to_vec();
    let length = usize::from(u16::from_be_bytes([quote[2], quote[3]]));
    quote.truncate(length.min(548));
    if code == FRAGMENTATION_NEEDED[1] {
        // IPVS finds the size wrong after the TTL was counted down.
        quote[8] -= 1;
        quote[10..12].fill(0);
        let sum = checksum(&quote[..usize::from(quote[0] & 15) * 4]);
        quote[10..12].copy_from_slice(&sum);
    }
    let mut icmp = vec![kind, code, 0, 0, 0, 0];
    icmp.extend(mtu.to_be_bytes());
    icmp.extend(&quote);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let mut ip = vec![0x45, 0xc0];
    ip.extend((20 + icmp.len() as u16).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 1, 0, 0]);
    ip.extend(&frame[30..34]);
    ip.extend(&frame[26..30]);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [&frame[6..12], &frame[..6], &[8, 0], &ip, &icmp].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let pairs = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

fn key(proto: Proto, port: u16) -> ServiceKey4 {
    ServiceKey4 {
        vip: VIP,
        port: Be16::from_host(port),
        proto: proto as u8,
        host_bits: 0,
    }
}

/// Real server `10.0.0.number`; with NAT its port is the service's, and 8000 more.
fn real_server(method: Method, number: u8, port: u16) -> Real {
    let [a, b, c, d, e, _] = Host::Real.mac();
    let nat = method == Method::Nat;
    Real {
        dst: mac_word([a, b, c, d, e, number]) | SLOT << 48,
        src: mac_word(Host::Real.director()) | 1500 << 48,
        addr: Be32::from_bytes([10, 0, 0, number]),
        port: Be16::from_host(if nat { 8000 + port } else { port }),
        method: method as u8,
        flags: real::USED,
        tun_src: Be32::from_bytes([10, 0, 0, 254]),
        ifindex: 99,
        ..Real::default()
    }
}

/// A director with the web (TCP 80) and DNS (UDP 53), whose real servers are made by `reals` from their port.
fn director(buckets: u32, reals: impl Fn(u16) -> Vec<(Real, u16)>) -> World {
    let mut world = World::new(buckets);
    for (client, mtu) in [(5, 1500), (6, 1000)] {
        let macs = MacPair {
            dst: mac_word(Host::Client.mac()),
            src: mac_word(Host::Client.director()),
        };
        let path = Path {
            ifindex: FRONT,
            macs,
            mtu,
        };
        world
            .routes
            .insert(Be32::from_bytes([198, 51, 100, client]), path);
    }
    for (proto, port) in [(Proto::Tcp, 80), (Proto::Udp, 53)] {
        world.add_service(key(proto, port), Scheduler::Rr, &reals(port));
    }
    world
}

/// The interface to the clients: the third one of the namespace, behind `lo` and its peer.
const FRONT: u32 = 3;

/// A director with one real server a service, as `change` makes it.
fn one_real(method: Method, change: impl Fn(&mut Real)) -> World {
    director(64, |port| {
        let mut real = real_server(method, 1, port);
        change(&mut real);
        vec![(real, 1)]
    })
}

/// A director with two real servers a service.
fn two() -> World {
    director(64, |port| {
        [1, 2]
            .map(|number| (real_server(Method::Dr, number, port), 1))
            .to_vec()
    })
}

fn plain(method: Method) -> World {
    one_real(method, |_| {})
}

fn syn() -> Build {
    Build::tcp(CLIENT, WEB).flags(SYN)
}

fn segment(flags: u8) -> Build {
    Build::tcp(CLIENT, WEB).flags(flags)
}

fn query() -> Build {
    Build::udp(CLIENT, DNS).payload(b"query")
}

/// What the real server gets, its Ethernet addresses exchanged for the hop's, its TTL counted down from 64.
fn onward(build: Build, number: u8) -> Build {
    let [a, b, c, d, e, _] = Host::Real.mac();
    build
        .macs(Host::Real.director(), [a, b, c, d, e, number])
        .ttl(63)
}

/// A frame with other bytes at a place.
fn patched(build: Build, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = build.bytes();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A frame of this length, its end cut off.
fn cut(build: Build, len: usize) -> Vec<u8> {
    let mut frame = build.bytes();
    frame.truncate(len);
    frame
}

/// The outer header of a tunnel in front of what the real server would get.
fn tunnelled(inner: Build) -> Vec<u8> {
    let inner = onward(inner, 1).bytes();
    let mut ip = vec![0x45, inner[15]];
    ip.extend((inner.len() as u16 - 14 + 20).to_be_bytes());
    ip.extend([
        0,
        0,
        inner[20] & 0x40,
        0,
        63,
        4,
        0,
        0,
        10,
        0,
        0,
        254,
        10,
        0,
        0,
        1,
    ]);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [&inner[..14], &ip, &inner[14..]].concat()
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    forwarding(&mut rows);
    refusals(&mut rows);
    sizes(&mut rows);
    not_ours(&mut rows);
    real_servers(&mut rows);
    connections(&mut rows);
    replies(&mut rows);
    impossible(&mut rows);
    rows
}

fn row(
    rows: &mut Vec<Row>,
    name: &'static str,
    world: impl Fn() -> World + 'static,
    steps: Vec<Step>,
) {
    let world = Box::new(world);
    rows.push(Row { name, world, steps });
}

fn forwarding(rows: &mut Vec<Row>) {
    let dr = |build: Build| {
        let out = onward(build.clone(), 1).bytes();
        becomes(build.bytes(), Counter::ForwardedDr, Verdict::Redirect, out)
    };
    row(
        rows,
        "DR: TCP, UDP, IP options",
        move || plain(Method::Dr),
        vec![
            dr(syn()),
            dr(segment(ACK).payload(b"GET / HTTP/1.0")),
            dr(query()),
            dr(query().without_checksum()),
            dr(syn().options(&[1; 12])),
            dr(query().options(&[1; 40])),
        ],
    );
    let back = || one_real(Method::Dr, |real| real.ifindex = INGRESS);
    let out = onward(syn(), 1).bytes();
    row(
        rows,
        "DR: out by the interface of arrival",
        back,
        vec![becomes(
            syn().bytes(),
            Counter::ForwardedDr,
            Verdict::Tx,
            out,
        )],
    );
    let tun = |build: Build| {
        becomes(
            build.clone().bytes(),
            Counter::ForwardedTun,
            Verdict::Redirect,
            tunnelled(build),
        )
    };
    row(
        rows,
        "TUN",
        move || plain(Method::Tun),
        vec![
            tun(syn()),
            tun(query().dont_fragment(false)),
            tun(syn().options(&[1; 8])),
        ],
    );
    let nat = |build: Build, to: Build| {
        becomes(
            build.bytes(),
            Counter::ForwardedNat,
            Verdict::Redirect,
            onward(to, 1).bytes(),
        )
    };
    let to_web = || Build::tcp(CLIENT, "10.0.0.1:8080").flags(SYN);
    let to_dns = || Build::udp(CLIENT, "10.0.0.1:8053").payload(b"query");
    row(
        rows,
        "NAT: a UDP checksum of zero stays",
        move || plain(Method::Nat),
        vec![
            nat(syn(), to_web()),
            nat(syn().options(&[1; 8]), to_web().options(&[1; 8])),
            nat(query(), to_dns()),
            nat(query().without_checksum(), to_dns().without_checksum()),
        ],
    );
    row(
        rows,
        "the director itself is the real server",
        move || plain(Method::Local),
        vec![
            passes(syn().bytes(), Counter::DeliveredLocal),
            passes(query().ttl(1).bytes(), Counter::DeliveredLocal),
        ],
    );
}

fn refusals(rows: &mut Vec<Row>) {
    let quiesced = |port| vec![(real_server(Method::Dr, 1, port), 0)];
    for (name, reals) in [("no real server", 0), ("all weights 0", 1)] {
        row(
            rows,
            name,
            move || director(64, |port| quiesced(port).into_iter().take(reals).collect()),
            vec![
                refused(syn().bytes(), Counter::RejectNoReal, PORT_UNREACHABLE, 0),
                refused(query().bytes(), Counter::RejectNoReal, PORT_UNREACHABLE, 0),
                refused(
                    query().payload(&[7; 1001]).bytes(),
                    Counter::RejectNoReal,
                    PORT_UNREACHABLE,
                    0,
                ),
                refused(
                    syn().ttl(1).bytes(),
                    Counter::RejectNoReal,
                    PORT_UNREACHABLE,
                    0,
                ),
                passes(segment(ACK).bytes(), Counter::PassNoConnection),
                // A frame to all: each director would answer.
                dropped(
                    syn().macs(Host::Client.mac(), [0xff; 6]).bytes(),
                    Counter::DropMartian,
                ),
                dropped(
                    query()
                        .macs(Host::Client.mac(), [1, 0, 0x5e, 0, 0, 1])
                        .bytes(),
                    Counter::DropMartian,
                ),
            ],
        );
    }
    for method in [Method::Dr, Method::Tun, Method::Nat] {
        row(
            rows,
            "time exceeded, of what is recorded and what is not",
            move || plain(method),
            vec![
                refused(syn().ttl(1).bytes(), Counter::RejectTtl, TIME_EXCEEDED, 0),
                refused(
                    segment(ACK).ttl(1).bytes(),
                    Counter::RejectTtl,
                    TIME_EXCEEDED,
                    0,
                ),
                refused(query().ttl(0).bytes(), Counter::RejectTtl, TIME_EXCEEDED, 0),
            ],
        );
    }
    let limited = || {
        let mut world = director(64, |_| Vec::new());
        world.settings.icmp_per_second = 2;
        world
    };
    row(
        rows,
        "two ICMP errors a second",
        limited,
        vec![
            refused(syn().bytes(), Counter::RejectNoReal, PORT_UNREACHABLE, 0),
            refused(query().bytes(), Counter::RejectNoReal, PORT_UNREACHABLE, 0),
            dropped(query().bytes(), Counter::DropIcmpRate),
            Wait(Duration::from_secs(1)),
            refused(query().bytes(), Counter::RejectNoReal, PORT_UNREACHABLE, 0),
        ],
    );
    let from = |source: &str| Build::tcp(source, WEB).flags(SYN).bytes();
    row(
        rows,
        "sources that are no host's",
        move || plain(Method::Dr),
        vec![
            dropped(from("0.0.0.0:1025"), Counter::DropMartian),
            dropped(from("127.0.0.1:1025"), Counter::DropMartian),
            dropped(from("224.0.0.1:1025"), Counter::DropMartian),
            dropped(from("240.0.0.1:1025"), Counter::DropMartian),
            dropped(from("255.255.255.255:1025"), Counter::DropMartian),
            dropped(from("203.0.113.10:1025"), Counter::DropMartian),
            // What opens nothing is the stack's, which drops it.
            passes(
                Build::tcp("127.0.0.1:1025", WEB).bytes(),
                Counter::PassNoConnection,
            ),
        ],
    );
}

fn sizes(rows: &mut Vec<Row>) {
    let of = |len: usize| segment(SYN).payload(&vec![0x61; len - 40]);
    for (method, room, mtu) in [
        (Method::Tun, 1480, 1500),
        (Method::Dr, 1400, 1400),
        (Method::Nat, 1400, 1400),
    ] {
        let change = move |real: &mut Real| {
            real.src = mac_word(Host::Real.director()) | mtu << 48;
        };
        let world = move || one_real(method, change);
        row(
            rows,
            "too big for the way to the real server, DF or not",
            world,
            vec![
                refused(
                    of(room + 1).bytes(),
                    Counter::RejectTooBig,
                    FRAGMENTATION_NEEDED,
                    room as u16,
                ),
                refused(
                    of(room + 1).dont_fragment(false).bytes(),
                    Counter::RejectTooBig,
                    FRAGMENTATION_NEEDED,
                    room as u16,
                ),
                // The TTL is looked at first.
                refused(
                    of(room + 1).ttl(1).bytes(),
                    Counter::RejectTtl,
                    TIME_EXCEEDED,
                    0,
                ),
            ],
        );
    }
    let fits = || of(1480);
    row(
        rows,
        "it just fits into the tunnel",
        move || plain(Method::Tun),
        vec![becomes(
            fits().bytes(),
            Counter::ForwardedTun,
            Verdict::Redirect,
            tunnelled(fits()),
        )],
    );
}

fn not_ours(rows: &mut Vec<Row>) {
    let malformed = |frame| passes(frame, Counter::PassMalformed);
    row(
        rows,
        "headers cut short, lengths that contradict each other",
        move || plain(Method::Dr),
        vec![
            malformed(cut(syn(), 14)),
            malformed(cut(syn(), 33)),
            malformed(cut(syn(), 34)),
            malformed(cut(syn(), 53)),
            malformed(cut(query(), 41)),
            malformed(cut(query().payload(b"whole"), 42)),
            malformed(patched(syn(), 14, &[0x65])),
            malformed(patched(syn(), 14, &[0x44])),
            malformed(patched(syn(), 14, &[0x4f])),
            malformed(patched(syn(), 16, &41u16.to_be_bytes())),
            malformed(patched(syn(), 16, &39u16.to_be_bytes())),
            malformed(patched(query(), 16, &27u16.to_be_bytes())),
            malformed(patched(syn(), 16, &0u16.to_be_bytes())),
            // Padding behind the packet is none of these.
            becomes(
                [syn().bytes(), vec![0; 6]].concat(),
                Counter::ForwardedDr,
                Verdict::Redirect,
                [onward(syn(), 1).bytes(), vec![0; 6]].concat(),
            ),
        ],
    );
    row(
        rows,
        "not IPv4: ARP, IPv6, one and two VLAN tags",
        move || plain(Method::Dr),
        vec![
            passes(patched(syn(), 12, &[8, 6]), Counter::PassNotIp),
            passes(patched(syn(), 12, &[0x86, 0xdd]), Counter::PassNotIp),
            passes(vlan(&syn().bytes(), &[[0x81, 0]]), Counter::PassNotIp),
            passes(
                vlan(&syn().bytes(), &[[0x88, 0xa8], [0x81, 0]]),
                Counter::PassNotIp,
            ),
            passes(
                cut(syn(), 14).iter().map(|_| 0).collect(),
                Counter::PassNotIp,
            ),
        ],
    );
    let fragment = |build: Build| passes(build.bytes(), Counter::PassFragment);
    row(
        rows,
        "fragments: first, middle, last, of TCP too",
        move || plain(Method::Nat),
        vec![
            fragment(query().fragment(0x2000)),
            fragment(query().fragment(0x2001)),
            fragment(query().fragment(0x0001)),
            fragment(syn().fragment(0x2000)),
            fragment(syn().fragment(0x1fff)),
        ],
    );
    row(
        rows,
        "other protocols: ICMP, SCTP, IP-in-IP",
        move || plain(Method::Dr),
        vec![
            passes(patched(syn(), 23, &[1]), Counter::PassProtocol),
            passes(patched(syn(), 23, &[132]), Counter::PassProtocol),
            passes(patched(syn(), 23, &[4]), Counter::PassProtocol),
        ],
    );
    let elsewhere = |frame| passes(frame, Counter::PassNoService);
    row(
        rows,
        "another port, protocol or address",
        move || plain(Method::Nat),
        vec![
            elsewhere(Build::tcp(CLIENT, "203.0.113.10:81").flags(SYN).bytes()),
            elsewhere(Build::udp(CLIENT, "203.0.113.10:80").bytes()),
            elsewhere(Build::tcp(CLIENT, "203.0.113.11:80").flags(SYN).bytes()),
            elsewhere(Build::tcp(CLIENT, "10.0.0.1:8080").flags(SYN).bytes()),
            // Broken packets that are nobody's are the stack's too.
            elsewhere(patched(
                Build::tcp(CLIENT, "203.0.113.11:80"),
                16,
                &[0xff, 0xff],
            )),
        ],
    );
}

/// A frame with VLAN tags of these types, all with identifier 5.
fn vlan(frame: &[u8], types: &[[u8; 2]]) -> Vec<u8> {
    let tags: Vec<u8> = types.iter().flat_map(|[a, b]| [*a, *b, 0, 5]).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

fn real_servers(rows: &mut Vec<Row>) {
    let unresolved = |method| one_real(method, |real| real.dst = SLOT << 48);
    for method in [Method::Dr, Method::Tun] {
        row(
            rows,
            "the next hop is not known",
            move || unresolved(method),
            vec![
                dropped(syn().bytes(), Counter::DropUnresolved),
                dropped(query().bytes(), Counter::DropUnresolved),
            ],
        );
    }
    let by_stack = |build: Build, to: Build| {
        becomes(
            build.bytes(),
            Counter::PassUnresolved,
            Verdict::Pass,
            to.bytes(),
        )
    };
    row(
        rows,
        "NAT: the stack finds the next hop",
        move || unresolved(Method::Nat),
        vec![
            by_stack(syn(), Build::tcp(CLIENT, "10.0.0.1:8080").flags(SYN)),
            by_stack(
                query(),
                Build::udp(CLIENT, "10.0.0.1:8053").payload(b"query"),
            ),
        ],
    );
    let to = |build: Build, number| {
        becomes(
            build.clone().bytes(),
            Counter::ForwardedDr,
            Verdict::Redirect,
            onward(build, number).bytes(),
        )
    };
    row(
        rows,
        "a real server goes down: segments go on, a SYN and datagrams go elsewhere",
        two,
        vec![
            to(syn(), 1),
            to(segment(ACK), 1),
            to(query(), 1),
            Change(|world| take_down(world, real::DOWN)),
            to(segment(ACK), 1),
            to(query(), 2),
            to(syn(), 2),
            to(segment(ACK), 2),
        ],
    );
    row(
        rows,
        "connections of a dead real server are given up",
        two,
        vec![
            to(syn(), 1),
            to(segment(ACK), 1),
            Change(|world| take_down(world, real::DOWN | real::RESET)),
            passes(segment(ACK).bytes(), Counter::PassNoConnection),
            to(syn(), 2),
        ],
    );
    row(
        rows,
        "a real server at its upper threshold",
        || one_real(Method::Dr, |real| real.upper = 1),
        vec![
            to(syn(), 1),
            refused(
                Build::tcp(NARROW_CLIENT, WEB).flags(SYN).bytes(),
                Counter::RejectNoReal,
                PORT_UNREACHABLE,
                0,
            ),
            to(segment(ACK), 1),
        ],
    );
}

/// Takes real server 1 of each service down, and out of its list.
fn take_down(world: &mut World, flags: u8) {
    for (slot, key) in [(0, key(Proto::Tcp, 80)), (2, key(Proto::Udp, 53))] {
        world.reals[slot].flags |= flags;
        let members = [lb_common::abi::Member {
            real: slot as u32 + 1,
            weight: 1,
            last_weight: 1,
        }];
        let plan = Plan {
            scheduler: Scheduler::Rr as u8,
            eligible_len: 1,
            fallback_len: 1,
            ..Plan::default()
        };
        let lists = Lists {
            members: &members,
            schedule: &[],
            fallback: &[0],
        };
        world.set_generation(key, plan, lists);
    }
}

fn connections(rows: &mut Vec<Row>) {
    let none = |flags| passes(segment(flags).bytes(), Counter::PassNoConnection);
    row(
        rows,
        "segments of no connection",
        move || plain(Method::Dr),
        vec![
            none(ACK),
            none(RST),
            none(FIN_ACK),
            none(SYN | RST),
            none(0),
        ],
    );
    let to = |build: Build, number| {
        becomes(
            build.clone().bytes(),
            Counter::ForwardedDr,
            Verdict::Redirect,
            onward(build, number).bytes(),
        )
    };
    let sloppy = || {
        let mut world = plain(Method::Dr);
        world.settings.flags |= setting::SLOPPY_TCP;
        world
    };
    row(
        rows,
        "sloppy TCP: any segment opens but a reset",
        sloppy,
        vec![none(RST), to(segment(ACK), 1), to(segment(RST), 1)],
    );
    let standby = || {
        let mut world = plain(Method::Dr);
        world.plans[0].router = 1;
        world.standby.push(1);
        world
    };
    row(
        rows,
        "new connections are those of the virtual router's master",
        standby,
        vec![
            passes(syn().bytes(), Counter::PassStandby),
            Change(|world| world.standby.clear()),
            to(syn(), 1),
            Change(|world| world.standby.push(1)),
            to(segment(ACK), 1),
            passes(
                Build::tcp(NARROW_CLIENT, WEB).flags(SYN).bytes(),
                Counter::PassStandby,
            ),
        ],
    );
    row(
        rows,
        "a SYN on a connection that is over opens another",
        two,
        vec![
            to(syn(), 1),
            to(segment(ACK), 1),
            to(segment(RST), 1),
            to(syn(), 2),
        ],
    );
    row(
        rows,
        "a SYN on a connection that the client is closing does not",
        two,
        vec![
            to(syn(), 1),
            to(segment(ACK), 1),
            to(segment(FIN_ACK), 1),
            to(syn(), 1),
        ],
    );
    row(
        rows,
        "a connection ends by its timeout",
        two,
        vec![
            to(query(), 1),
            Wait(Duration::from_secs(299)),
            to(query(), 1),
            Wait(Duration::from_secs(302)),
            to(query(), 2),
        ],
    );
    for (method, name) in [
        (Method::Dr, "DR: no place in the table"),
        (Method::Nat, "NAT: no place in the table, there and back"),
    ] {
        let world = move || director(2, |port| vec![(real_server(method, 1, port), 1)]);
        // Twelve flows that have proved to be there.
        let mut steps: Vec<Step> = (0..24)
            .map(|i| {
                let client = format!("198.51.100.5:{}", 2000 + i / 2);
                let flow = Build::udp(&client, DNS);
                if method == Method::Nat {
                    let out = onward(Build::udp(&client, "10.0.0.1:8053"), 1).bytes();
                    becomes(flow.bytes(), Counter::ForwardedNat, Verdict::Redirect, out)
                } else {
                    to(flow, 1)
                }
            })
            .collect();
        let stateless = |build: Build, out: Build| {
            becomes(
                build.bytes(),
                Counter::ForwardedStateless,
                Verdict::Redirect,
                out.bytes(),
            )
        };
        if method == Method::Nat {
            steps.push(stateless(
                syn(),
                onward(Build::tcp(CLIENT, "10.0.0.1:8080").flags(SYN), 1),
            ));
            let answer = Build::tcp("10.0.0.1:8080", CLIENT)
                .flags(SYN_ACK)
                .macs(Host::Real.mac(), Host::Real.director());
            steps.push(stateless(
                answer,
                to_client(Build::tcp(WEB, CLIENT).flags(SYN_ACK)),
            ));
        } else {
            steps.push(stateless(syn(), onward(syn(), 1)));
            steps.push(stateless(segment(ACK), onward(segment(ACK), 1)));
            steps.push(Wait(Duration::from_secs(302)));
            steps.push(to(syn(), 1));
        }
        row(rows, name, world, steps);
    }
}

/// What the client gets, its TTL counted down from 64.
fn to_client(build: Build) -> Build {
    build
        .macs(Host::Client.director(), Host::Client.mac())
        .ttl(63)
}

fn replies(rows: &mut Vec<Row>) {
    let from_real = |build: Build| build.macs(Host::Real.mac(), Host::Real.director());
    let nat = |client: &str| {
        let out = onward(Build::udp(client, "10.0.0.1:8053").payload(b"query"), 1).bytes();
        becomes(
            Build::udp(client, DNS).payload(b"query").bytes(),
            Counter::ForwardedNat,
            Verdict::Redirect,
            out,
        )
    };
    let answer = |client: &str| from_real(Build::udp("10.0.0.1:8053", client).payload(b"answer"));
    let answered = |client: &str| Build::udp(DNS, client).payload(b"answer");
    row(
        rows,
        "NAT replies, and what is none",
        move || plain(Method::Nat),
        vec![
            nat(CLIENT),
            becomes(
                answer(CLIENT).bytes(),
                Counter::ForwardedReply,
                Verdict::Redirect,
                to_client(answered(CLIENT)).bytes(),
            ),
            becomes(
                answer(CLIENT).without_checksum().bytes(),
                Counter::ForwardedReply,
                Verdict::Redirect,
                to_client(answered(CLIENT)).without_checksum().bytes(),
            ),
            // The stack tells the real server that its packet goes no further.
            passes(answer(CLIENT).ttl(1).bytes(), Counter::RejectTtl),
            // Another port of the real server, another client, a fragment, a packet cut short: no replies.
            passes(
                from_real(Build::udp("10.0.0.1:8054", CLIENT)).bytes(),
                Counter::PassNoService,
            ),
            passes(answer(NARROW_CLIENT).bytes(), Counter::PassNoService),
            passes(
                answer(CLIENT).fragment(0x2000).bytes(),
                Counter::PassNoService,
            ),
            passes(cut(answer(CLIENT), 41), Counter::PassNoService),
        ],
    );
    let big = |build: Build| build.payload(&[0x61; 973]);
    row(
        rows,
        "NAT replies that do not fit",
        move || plain(Method::Nat),
        vec![
            nat(NARROW_CLIENT),
            passes(big(answer(NARROW_CLIENT)).bytes(), Counter::RejectTooBig),
            // The stack makes fragments of it.
            becomes(
                big(answer(NARROW_CLIENT)).dont_fragment(false).bytes(),
                Counter::PassUnresolved,
                Verdict::Pass,
                from_real(big(answered(NARROW_CLIENT)))
                    .dont_fragment(false)
                    .bytes(),
            ),
        ],
    );
    row(
        rows,
        "NAT: the stack finds the client",
        move || plain(Method::Nat),
        vec![
            nat(SILENT_CLIENT),
            becomes(
                answer(SILENT_CLIENT).bytes(),
                Counter::PassUnresolved,
                Verdict::Pass,
                from_real(answered(SILENT_CLIENT)).bytes(),
            ),
        ],
    );
}

fn impossible(rows: &mut Vec<Row>) {
    let empty = || {
        let mut world = World::new(64);
        world.index_of(key(Proto::Tcp, 80));
        world
    };
    row(
        rows,
        "a service without a generation",
        empty,
        vec![dropped(syn().bytes(), Counter::DropInternal)],
    );
    row(
        rows,
        "a method that there is not",
        || one_real(Method::Dr, |real| real.method = 9),
        vec![dropped(syn().bytes(), Counter::DropInternal)],
    );
    let mut cramped = dropped(syn().bytes(), Counter::DropResize);
    if let Step::Packet(packet) = &mut cramped {
        packet.metadata = 200;
    }
    row(
        rows,
        "no room for the tunnel's header",
        move || plain(Method::Tun),
        vec![cramped],
    );
}

fn judge(expected: &Packet, run: &Run) -> Result<()> {
    ensure!(
        run.counted == [(expected.counter, 1)],
        "counted {:?}, not {:?}",
        run.counted,
        expected.counter
    );
    ensure!(
        run.verdict == expected.verdict,
        "{:?}, not {:?}",
        run.verdict,
        expected.verdict
    );
    if run.verdict == Verdict::Drop {
        return Ok(());
    }
    if !same(&run.frame, &expected.becomes) {
        bail!(
            "became  {:02x?}\ninstead {:02x?}",
            run.frame,
            expected.becomes
        );
    }
    let is_sent = run.verdict != Verdict::Pass;
    ensure!(
        !is_sent || checksums_hold(&run.frame),
        "a checksum does not hold: {:02x?}",
        run.frame
    );
    Ok(())
}

/// Whether the kernel called an argument invalid.
fn is_invalid(error: &anyhow::Error) -> bool {
    let code = |cause: &std::io::Error| cause.raw_os_error() == Some(libc::EINVAL);
    error
        .chain()
        .any(|cause| cause.downcast_ref().is_some_and(code))
}

fn play(twin: &mut Twin, row: &Row) -> Result<()> {
    twin.become_director((row.world)())?;
    for (number, step) in (1..).zip(&row.steps) {
        match step {
            Step::Packet(packet) => {
                let metadata = vec![0; packet.metadata];
                let run = match twin.send_behind(&metadata, &packet.frame) {
                    Err(error) if packet.metadata > 0 && is_invalid(&error) => {
                        println!("SKIP: {}: Linux before 6.8 takes less metadata", row.name);
                        return Ok(());
                    }
                    run => run.and_then(|run| judge(packet, &run)),
                };
                run.with_context(|| format!("step {number}"))?;
            }
            Wait(time) => twin.wait(*time),
            Change(change) => twin.change(*change)?,
        }
    }
    Ok(())
}

#[test]
fn each_packet_ends_as_its_row_says() -> Result<()> {
    needs_lab!();
    Room::with(&NETWORK, |room| {
        ensure!(
            room.index("front")? == FRONT,
            "`front` is interface {}",
            room.index("front")?
        );
        let mut twin = Twin::new(64)?;
        twin.set_egress(SLOT as u32, room.index("lo")?)?;
        let rows = rows();
        let mut wrong = Vec::new();
        for row in &rows {
            if let Err(error) = undisturbed(|| play(&mut twin, row)) {
                wrong.push(format!("{}: {error:#}", row.name));
            }
        }
        println!("{} rows", rows.len());
        ensure!(
            wrong.is_empty(),
            "{} wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        Ok(())
    })
}

#[test]
fn each_counter_has_a_row() {
    let rows = rows();
    for &counter in Counter::ALL {
        let is_there = rows
            .iter()
            .flat_map(|row| &row.steps)
            .any(|step| matches!(step, Step::Packet(packet) if packet.counter == counter));
        assert!(is_there, "no packet of a row ends in `{}`", counter.label());
    }
}
