//! What a real server takes out of its tunnels, by the real program and by the same code on the host.

use anyhow::{Context, Result, ensure};
use lb_common::decap::{self, Decap};
use lb_common::model::World;
use lb_common::net::{Be32, Be128};
use lb_common::packet::SliceFrame;
use lb_common::packet::build::{Build, checksums_hold};
use tests::needs_lab;
use tests::plane::{Program, Room, Verdict, none_wrong};

/// Where the tunnel ends.
const RIP: Be32 = Be32::from_bytes([10, 0, 0, 1]);
const ELSEWHERE: [u8; 4] = [10, 0, 0, 2];
/// Where that of IPv6 ends.
const RIP6: Be128 = Be128::from_bits(0xfd00_0010_0000_0000_0000_0000_0000_0001);

/// An outer header; the rest of it is as the director writes it.
#[derive(Clone)]
struct Outer {
    dst: [u8; 4],
    tos: u8,
    fragment: u16,
    options: Vec<u8>,
    proto: u8,
}

impl Default for Outer {
    fn default() -> Self {
        Self {
            dst: RIP.to_bytes(),
            tos: 0,
            fragment: 0x4000,
            options: Vec::new(),
            proto: 4,
        }
    }
}

impl Outer {
    /// The frame in which `inner`, a frame too, is inside.
    fn around(&self, inner: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut ip = vec![0x40 | (header / 4) as u8, self.tos];
        ip.extend(((header + inner.len() - 14) as u16).to_be_bytes());
        ip.extend([0, 7]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([63, self.proto, 0, 0, 10, 0, 0, 254]);
        ip.extend(self.dst);
        ip.extend(&self.options);
        let sum: u32 = ip
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [&inner[..12], &[8, 0], &ip, &inner[14..]].concat()
    }
}

/// The frame in which `inner`, a frame too, is inside a tunnel of IPv6 with this traffic class, to this address.
fn around6(inner: &[u8], class: u8, next: u8, dst: Be128) -> Vec<u8> {
    let mut ip = vec![0x60 | class >> 4, class << 4, 0, 0];
    ip.extend((inner.len() as u16 - 14).to_be_bytes());
    ip.extend([next, 63]);
    ip.extend(Be128::from_bits(RIP6.to_bits() + 0xfd).to_bytes());
    ip.extend(dst.to_bytes());
    [&inner[..12], &[0x86, 0xdd], &ip, &inner[14..]].concat()
}

fn inner6() -> Build {
    Build::tcp("[2001:db8:c::5]:1025", "[2001:db8:f::10]:80").payload(b"GET /")
}

/// Tunnels of which one end or both are of IPv6.
fn rows6() -> Vec<Row> {
    let of4 = |change: fn(&mut Outer)| {
        let mut outer = Outer {
            proto: 41,
            ..Outer::default()
        };
        change(&mut outer);
        outer.around(&inner6().bytes())
    };
    let (in4, in6) = (inner().bytes(), inner6().bytes());
    let elsewhere = Be128::from_bits(RIP6.to_bits() + 1);
    let cut = |len: usize| around6(&in6, 0, 41, RIP6)[..len].to_vec();
    let ecn = |outer: u8, before: u8, after: u8| {
        let (before, after) = (inner6().tos(before).bytes(), inner6().tos(after).bytes());
        Row(
            "ECN of IPv6",
            around6(&before, outer, 41, RIP6),
            Decap::TakenOff,
            after,
        )
    };
    vec![
        Row(
            "IPv6 in IPv6",
            around6(&in6, 0, 41, RIP6),
            Decap::TakenOff,
            in6.clone(),
        ),
        Row(
            "IPv4 in IPv6",
            around6(&in4, 0, 4, RIP6),
            Decap::TakenOff,
            in4.clone(),
        ),
        Row("IPv6 in IPv4", of4(|_| ()), Decap::TakenOff, in6.clone()),
        Row(
            "IPv6 in IPv4, with options",
            of4(|o| o.options = vec![1; 8]),
            Decap::TakenOff,
            in6.clone(),
        ),
        ecn(0, 2, 2),
        ecn(3, 1, 3),
        ecn(3, 2, 3),
        ecn(0, 3, 3),
        Row(
            "ECN of IPv6 around IPv4",
            around6(&inner().tos(2).bytes(), 3, 4, RIP6),
            Decap::TakenOff,
            inner().tos(3).bytes(),
        ),
        left(
            "congestion that IPv6 inside cannot tell of",
            around6(&in6, 3, 41, RIP6),
            Decap::Congested,
        ),
        left(
            "congestion around IPv6 inside",
            of4(|o| o.tos = 3),
            Decap::Congested,
        ),
        left(
            "another's tunnel of IPv6",
            around6(&in6, 0, 41, elsewhere),
            Decap::NotOurs,
        ),
        left("IPv6 not in a tunnel", in6.clone(), Decap::NotOurs),
        left("GRE over IPv6", around6(&in6, 0, 47, RIP6), Decap::NotOurs),
        left(
            "IPv4 where IPv6 was said",
            around6(&in4, 0, 41, RIP6),
            Decap::Left,
        ),
        left(
            "IPv6 where IPv4 was said",
            around6(&in6, 0, 4, RIP6),
            Decap::Left,
        ),
        left(
            "a fragment of a tunnel with IPv6",
            of4(|o| o.fragment = 0x2000),
            Decap::Left,
        ),
        left("IPv6 cut in the outer header", cut(53), Decap::NotOurs),
        left("IPv6 cut behind the outer header", cut(54), Decap::Left),
        left("IPv6 cut in the inner header", cut(93), Decap::Left),
    ]
}

fn inner() -> Build {
    Build::tcp("198.51.100.5:1025", "203.0.113.10:80").payload(b"GET /")
}

/// A frame, how it ends, and what it is then, where it goes on.
struct Row(&'static str, Vec<u8>, Decap, Vec<u8>);

fn left(name: &'static str, frame: Vec<u8>, end: Decap) -> Row {
    Row(name, frame.clone(), end, frame)
}

fn rows() -> Vec<Row> {
    let tunnel = Outer::default();
    let with = |change: fn(&mut Outer)| {
        let mut outer = Outer::default();
        change(&mut outer);
        outer.around(&inner().bytes())
    };
    let cut = |len: usize| tunnel.around(&inner().bytes())[..len].to_vec();
    let patched = |at: usize, byte: u8| {
        let mut frame = tunnel.around(&inner().bytes());
        frame[at] = byte;
        frame
    };
    let ecn = |outer: u8, before: u8, after: u8| {
        let outer = Outer {
            tos: outer,
            ..Outer::default()
        };
        let (before, after) = (inner().tos(before).bytes(), inner().tos(after).bytes());
        Row("ECN", outer.around(&before), Decap::TakenOff, after)
    };
    let udp = Build::udp("198.51.100.5:1025", "203.0.113.10:53").options(&[1; 8]);
    let fragment = inner().fragment(0x2000).bytes();
    let mut rows = vec![
        Row(
            "TCP",
            tunnel.around(&inner().bytes()),
            Decap::TakenOff,
            inner().bytes(),
        ),
        Row(
            "UDP with IP options",
            tunnel.around(&udp.bytes()),
            Decap::TakenOff,
            udp.bytes(),
        ),
        Row(
            "options of the tunnel",
            with(|o| o.options = vec![1; 8]),
            Decap::TakenOff,
            inner().bytes(),
        ),
        Row(
            "a fragment inside",
            tunnel.around(&fragment),
            Decap::TakenOff,
            fragment,
        ),
        Row(
            "padding behind it",
            [tunnel.around(&inner().bytes()), vec![0; 6]].concat(),
            Decap::TakenOff,
            [inner().bytes(), vec![0; 6]].concat(),
        ),
        // RFC 6040, figure 4, in its compatible mode.
        ecn(0, 0, 0),
        ecn(1, 1, 1),
        ecn(2, 0, 0),
        ecn(3, 1, 3),
        ecn(3, 2, 3),
        ecn(3, 3, 3),
        ecn(0, 3, 3),
        left(
            "congestion that the inner packet cannot tell of",
            with(|o| o.tos = 3),
            Decap::Congested,
        ),
        left(
            "another's tunnel",
            with(|o| o.dst = ELSEWHERE),
            Decap::NotOurs,
        ),
        left("not in a tunnel", inner().bytes(), Decap::NotOurs),
        left("GRE", with(|o| o.proto = 47), Decap::NotOurs),
        left("ARP", patched(13, 6), Decap::NotOurs),
        left(
            "the first fragment of a tunnel",
            with(|o| o.fragment = 0x2000),
            Decap::Left,
        ),
        left(
            "another fragment of a tunnel",
            with(|o| o.fragment = 0x0007),
            Decap::Left,
        ),
        left("IPv6 inside", patched(34, 0x60), Decap::Left),
        left("nothing inside", patched(17, 20), Decap::Left),
        left("half a header inside", patched(17, 39), Decap::Left),
        left(
            "an outer header of 16 bytes",
            patched(14, 0x44),
            Decap::Left,
        ),
        left(
            "an outer header of another version",
            patched(14, 0x55),
            Decap::Left,
        ),
        left("cut in the outer header", cut(33), Decap::NotOurs),
        left("cut behind the outer header", cut(34), Decap::Left),
        left("cut in the inner header", cut(53), Decap::Left),
    ];
    rows.extend(rows6());
    rows
}

/// What the host makes of a frame.
fn on_host(frame: &[u8]) -> (Decap, Vec<u8>) {
    let mut bytes = frame.to_vec();
    let mut frame = SliceFrame::new(&mut bytes, 0);
    let end = decap::handle(&mut frame, |addr| {
        addr == Be128::mapped(RIP) || addr == RIP6
    });
    (end, frame.as_slice().to_vec())
}

fn check(program: &mut Program, Row(_, frame, end, becomes): &Row) -> Result<()> {
    let before = program.decaps()?;
    let run = program.run(frame).context("run the program")?;
    let counted: Vec<u64> = before
        .iter()
        .zip(program.decaps()?)
        .map(|(before, now)| now - before)
        .collect();
    let expected: Vec<u64> = (0..counted.len())
        .map(|at| u64::from(at == *end as usize))
        .collect();
    ensure!(counted == expected, "counted {counted:?}, not {end:?}");
    let verdict = if *end == Decap::Congested {
        Verdict::Drop
    } else {
        Verdict::Pass
    };
    ensure!(run.verdict == verdict, "{:?}, not {verdict:?}", run.verdict);
    ensure!(
        run.frame == *becomes,
        "became  {:02x?}\ninstead {becomes:02x?}",
        run.frame
    );
    let is_taken = *end == Decap::TakenOff;
    ensure!(
        !is_taken || checksums_hold(&run.frame),
        "a checksum does not hold"
    );
    let host = on_host(frame);
    ensure!(host == (*end, run.frame), "the host: {host:02x?}");
    Ok(())
}

#[test]
fn each_frame_leaves_its_tunnel_as_its_row_says() -> Result<()> {
    needs_lab!();
    Room::with(&["link set lo up"], |_| {
        let mut program = Program::load("decap", &World::new(2))?;
        program.end_tunnels_at(Be128::mapped(RIP))?;
        program.end_tunnels_at(RIP6)?;
        let rows = rows();
        let mut wrong = Vec::new();
        for row in &rows {
            if let Err(error) = check(&mut program, row) {
                wrong.push(format!("{}: {error:#}", row.0));
            }
        }
        println!("{} rows", rows.len());
        none_wrong(&wrong)
    })
}

#[test]
fn each_end_has_a_row() {
    let rows = rows();
    for end in [
        Decap::TakenOff,
        Decap::NotOurs,
        Decap::Left,
        Decap::Congested,
    ] {
        assert!(
            rows.iter().any(|row| row.2 == end),
            "no row ends as {end:?}"
        );
    }
}
