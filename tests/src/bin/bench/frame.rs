//! Which frames are sent, and what must come out.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use lb_common::abi::Method;

use crate::run::{FRAME_LEN, Run, client};

/// The interface that the frames come in by, as the clients' router sees it.
pub(crate) const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// The router that clients are behind.
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 9, 9];
/// Source of tunnels.
pub(crate) const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
/// How many real servers each service has.
pub(crate) const REALS: u8 = 8;
/// The port of all services, and of real servers but with NAT.
pub(crate) const PORT: u16 = 80;
/// The port of real servers with NAT.
pub(crate) const NAT_PORT: u16 = 8080;
/// Length of an IPv4 header.
const IPV4_LEN: usize = 20;
const ETH_LEN: usize = 14;
const TTL: u8 = 64;

/// The `n`th real server.
pub(crate) const fn real(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

/// Its MAC address: they differ in the last byte only, which is left out where the harness compares.
pub(crate) const fn real_mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}

/// Flags of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Segment {
    Syn = 0x02,
    Ack = 0x10,
}

/// The frame of a flow to a service.
pub(crate) fn frame(vip: Ipv4Addr, segment: Segment, flow: u32) -> [u8; FRAME_LEN] {
    let (addr, port) = client(flow);
    let mut frame = blank(vip, segment);
    frame[26..30].copy_from_slice(&addr.to_be_bytes());
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    finish(&mut frame[ETH_LEN..]);
    frame
}

/// The frame without client and checksums.
fn blank(vip: Ipv4Addr, segment: Segment) -> [u8; FRAME_LEN] {
    let mut frame = [0; FRAME_LEN];
    frame[0..6].copy_from_slice(&DIRECTOR_MAC);
    frame[6..12].copy_from_slice(&ROUTER_MAC);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&((FRAME_LEN - ETH_LEN) as u16).to_be_bytes());
    frame[20] = 0x40; // do not fragment
    frame[22] = TTL;
    frame[23] = 6;
    frame[30..34].copy_from_slice(&vip.octets());
    frame[36..38].copy_from_slice(&PORT.to_be_bytes());
    frame[46] = 0x50;
    frame[47] = segment as u8;
    frame
}

/// Ones' complement sum of big-endian words.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

/// The sum of a TCP segment with its pseudo header.
fn segment_sum(packet: &[u8]) -> u32 {
    let segment = &packet[IPV4_LEN..];
    sum(&packet[12..20]) + 6 + segment.len() as u32 + sum(segment)
}

/// Writes both checksums of an IPv4 packet with a TCP segment.
fn finish(packet: &mut [u8]) {
    packet[10..12].fill(0);
    packet[36..38].fill(0);
    let segment = !folded(segment_sum(packet));
    packet[36..38].copy_from_slice(&segment.to_be_bytes());
    let header = !folded(sum(&packet[..IPV4_LEN]));
    packet[10..12].copy_from_slice(&header.to_be_bytes());
}

/// A run of packets to a service, without what it expects.
pub(crate) fn run(vip: Ipv4Addr, segment: Segment) -> Run {
    let frame = blank(vip, segment);
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(frame.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(whole);
    }
    // A sum of words in the machine's order is the swapped sum of those in the network's.
    let swapped = |sum| u32::from(folded(sum).swap_bytes());
    Run {
        frame: words,
        ip_sum: swapped(sum(&frame[ETH_LEN..][..IPV4_LEN])),
        tcp_sum: swapped(segment_sum(&frame[ETH_LEN..])),
        ..Run::default()
    }
}

/// What the harness compares of each frame: both addresses but for the last byte of the first.
pub(crate) fn expect(run: &mut Run, dst: [u8; 6], src: [u8; 6], longer: u32) {
    let mut start = [0; 8];
    start[..6].copy_from_slice(&dst);
    start[6..].copy_from_slice(&src[..2]);
    run.want = u64::from_ne_bytes(start);
    run.want_mask = !(0xFF << 40);
    run.want_rest = u32::from_ne_bytes([src[2], src[3], src[4], src[5]]);
    run.want_longer = longer;
}

/// Compares a forwarded frame with what must come out, byte by byte, all checksums made from scratch.
pub(crate) fn check(method: Method, sent: &[u8; FRAME_LEN], got: &[u8]) -> Result<()> {
    let n = *got.get(5).unwrap_or(&0);
    ensure!(
        (1..=REALS).contains(&n),
        "not sent to a real server: {got:02x?}"
    );
    let mut frame = sent.to_vec();
    frame[0..6].copy_from_slice(&real_mac(n));
    frame[6..12].copy_from_slice(&DIRECTOR_MAC);
    frame[22] -= 1;
    if method == Method::Nat {
        frame[30..34].copy_from_slice(&real(n).octets());
        frame[36..38].copy_from_slice(&NAT_PORT.to_be_bytes());
    }
    finish(&mut frame[ETH_LEN..]);
    if method == Method::Tun {
        let mut outer = frame[ETH_LEN..][..IPV4_LEN].to_vec();
        outer[2..4].copy_from_slice(&((FRAME_LEN - ETH_LEN + IPV4_LEN) as u16).to_be_bytes());
        outer[9] = 4;
        outer[12..16].copy_from_slice(&DIRECTOR.octets());
        outer[16..20].copy_from_slice(&real(n).octets());
        outer[10..12].fill(0);
        let header = !folded(sum(&outer));
        outer[10..12].copy_from_slice(&header.to_be_bytes());
        frame.splice(ETH_LEN..ETH_LEN, outer);
    }
    ensure!(
        frame == got,
        "{method:?}: expected {frame:02x?}, got {got:02x?}"
    );
    Ok(())
}
