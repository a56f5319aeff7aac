//! Datagrams of any length, cut anywhere: what arrives makes the datagram that would have arrived in one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use lb_common::abi::Method;
use lb_common::counter::Counter;
use lb_common::net::{Be32, Be128};
use lb_common::packet::build::{Build, checksums_hold};
use lb_common::packet::cut::{cut, join};
use tests::needs_lab;
use tests::plane::{Host, NETWORK, Room, Twin, Verdict, undisturbed};

use super::{Recorded, SLOT, director};

/// Datagrams each way.
const DATAGRAMS: u32 = 6;

/// A family whose addresses have a textual form.
trait Shown: Recorded {
    const REAL: IpAddr;

    fn shown(self) -> IpAddr;
}

impl Shown for Be32 {
    const REAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn shown(self) -> IpAddr {
        Ipv4Addr::from(self.to_host()).into()
    }
}

impl Shown for Be128 {
    const REAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 1));

    fn shown(self) -> IpAddr {
        Ipv6Addr::from(self.to_bytes()).into()
    }
}

/// A datagram with a payload of its own.
fn datagram(from: SocketAddr, to: SocketAddr, len: usize) -> Build {
    let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
    Build::udp_from(from, to)
        .dont_fragment(false)
        .payload(&payload)
}

/// Where a datagram is cut, differently each time.
fn sizes(seed: u32, len: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let (mut random, mut left) = (seed.wrapping_mul(0x9E37_79B9) | 1, len);
    while left > 1400 || sizes.len() < 2 {
        // Xorshift (Marsaglia, 2003).
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let size = 8 + 8 * (random as usize % (left.min(1400) / 16));
        sizes.push(size);
        left -= size;
    }
    sizes
}

/// Sends a datagram in fragments, the last one before those between, and makes sure that another arrives.
fn arrives<A: Shown>(
    twin: &mut Twin<A>,
    seed: u32,
    sent: &Build,
    counter: Counter,
    expected: &Build,
) -> Result<()> {
    let whole = sent.bytes();
    let mut frames = cut(&whole, &sizes(seed, whole.len() - 14 - A::LEN));
    let many = frames.len();
    ensure!(many > 2, "{many} fragments");
    frames[1..].reverse();
    let mut arrived = Vec::new();
    for frame in frames {
        let mut run = twin.send(&frame)?;
        ensure!(
            run.counted == [(counter, 1)] && run.verdict == Verdict::Redirect,
            "{run}"
        );
        ensure!(
            checksums_hold(&run.frame),
            "a checksum does not hold: {run}"
        );
        if counter == Counter::ForwardedTun {
            run.frame.drain(14..14 + A::LEN);
        }
        arrived.push(run.frame);
    }
    let joined = join(&arrived).context("fragments of one datagram do not make one")?;
    ensure!(checksums_hold(&joined), "the datagram's checksum is wrong");
    ensure!(joined == expected.bytes(), "another datagram arrives");
    Ok(())
}

fn by_method<A: Shown>(
    twin: &mut Twin<A>,
    front: u32,
    method: Method,
    counter: Counter,
) -> Result<()> {
    let (client, vip) = (
        SocketAddr::new(A::CLIENT.shown(), 1025),
        SocketAddr::new(A::VIP.shown(), 53),
    );
    let is_nat = method == Method::Nat;
    let server = if is_nat {
        SocketAddr::new(A::REAL, 5353)
    } else {
        vip
    };
    undisturbed(|| {
        twin.become_director(director(method, "one real server, weight 1", front))?;
        for seed in 1..=DATAGRAMS {
            let len = 100 + 1300 * seed as usize;
            let id = seed as u16;
            let sent = datagram(client, vip, len).id(id);
            let received = datagram(client, server, len)
                .id(id)
                .ttl(63)
                .macs(Host::Real.director(), Host::Real.mac());
            arrives(twin, seed, &sent, counter, &received)
                .with_context(|| format!("{method:?}, {len} bytes from the client"))?;
            if !is_nat {
                continue;
            }
            let sent = datagram(server, client, len)
                .id(id)
                .macs(Host::Real.mac(), Host::Real.director());
            let received = datagram(vip, client, len)
                .id(id)
                .ttl(63)
                .macs(Host::Client.director(), Host::Client.mac());
            arrives(twin, seed, &sent, Counter::ForwardedReply, &received)
                .with_context(|| format!("{len} bytes from the real server"))?;
        }
        Ok(())
    })
}

fn by_each_method<A: Shown>() -> Result<()> {
    let network = [NETWORK.as_slice(), &[A::DEFAULT_ROUTE]].concat();
    Room::with(&network, |room| {
        let front = room.index("front")?;
        let mut twin = Twin::<A>::new(1024)?;
        twin.set_egress(SLOT as u32, room.index("lo")?)?;
        for (method, counter) in [
            (Method::Dr, Counter::ForwardedDr),
            (Method::Tun, Counter::ForwardedTun),
            (Method::Nat, Counter::ForwardedNat),
        ] {
            by_method(&mut twin, front, method, counter)?;
        }
        Ok(())
    })
}

#[test]
fn fragments_make_the_datagram_that_was_cut() -> Result<()> {
    needs_lab!();
    by_each_method::<Be32>()
}

#[test]
fn so_do_those_of_ipv6() -> Result<()> {
    needs_lab!();
    by_each_method::<Be128>()
}
