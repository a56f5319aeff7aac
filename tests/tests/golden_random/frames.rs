//! Random frames: mostly of the site's services, mostly whole.

use lb_common::abi::{Method, Real};
use lb_common::model::World;
use lb_common::net::Proto;
use lb_common::packet::build::Build;

use crate::dice::Dice;
use crate::site::Site;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const SYN_ACK: u8 = 0x12;

/// Clients: a usual one, one behind a small MTU, those whose MAC is not known, and what no host has for an address.
const CLIENTS: [[u8; 4]; 8] = [
    [198, 51, 100, 5],
    [198, 51, 100, 5],
    [198, 51, 100, 5],
    [198, 51, 100, 6],
    [198, 51, 100, 7],
    [198, 51, 100, 8],
    [198, 51, 101, 9],
    [127, 0, 0, 1],
];

/// A frame to the director.
pub(crate) fn frame(dice: &mut Dice, site: &Site, world: &World) -> Vec<u8> {
    let reply = if dice.one_in(3) {
        reply(dice, world)
    } else {
        None
    };
    let build = match reply {
        Some(build) => build,
        None => request(dice, site),
    };
    let build = build
        .flags(dice.pick(&[
            SYN,
            SYN,
            SYN,
            SYN_ACK,
            ACK,
            ACK,
            ACK,
            FIN_ACK,
            RST,
            SYN | RST,
            0,
        ]))
        .ttl(dice.pick(&[64, 64, 64, 64, 64, 64, 255, 2, 1, 0]))
        .tos(dice.byte())
        // Few enough that fragments meet others of their datagram.
        .id(dice.below(3) as u16)
        .dont_fragment(!dice.one_in(4));
    let payload: Vec<u8> = (0..length(dice)).map(|_| dice.byte()).collect();
    let mut build = build.payload(&payload);
    if dice.one_in(8) {
        build = build.without_checksum();
    }
    // No packet exceeds the MTU towards clients that the model has no route to.
    if payload.len() < 1400 && dice.one_in(10) {
        build = build.options(&vec![1; 4 * (1 + dice.below(10) as usize)]);
    }
    if dice.one_in(6) {
        let any = dice.below(1 << 16) as u16;
        build = build.fragment(dice.pick(&[0x2000, 0x2000, 0x2001, 0x0002, 0x2003, 0x0004, any]));
    }
    if dice.one_in(30) {
        build = build.macs([2, 0, 0, 0, 0, 0xc1], [0xff; 6]);
    }
    let mut frame = build.bytes();
    spoil(dice, &mut frame);
    frame
}

fn length(dice: &mut Dice) -> usize {
    match dice.below(8) {
        0..4 => 0,
        4 => 1 + dice.below(8) as usize,
        5 => dice.below(1000) as usize,
        6 => 1330 + dice.below(40) as usize,
        _ => 1420 + dice.below(40) as usize,
    }
}

/// A packet from a client.
fn request(dice: &mut Dice, site: &Site) -> Build {
    let at = dice.below(site.services.len() as u32) as usize;
    let key = site.services[at].key;
    let client = u32::from_be_bytes(dice.pick(&CLIENTS));
    let vip = if dice.one_in(40) {
        client
    } else {
        // In a network few enough addresses, too; and now and then one beside it.
        let within = 1 << u32::from(key.host_bits.min(2));
        key.vip.to_host().wrapping_add(dice.below(within))
            ^ (u32::from(dice.one_in(30)) << key.host_bits)
    };
    let port = match key.port.to_host() {
        0 => dice.pick(&[80, 53, 9999]),
        _ if dice.one_in(20) => 81,
        port => port,
    };
    between(key.proto, (client, client_port(dice)), (vip, port))
}

/// A packet from a NAT real server, if there is one.
fn reply(dice: &mut Dice, world: &World) -> Option<Build> {
    let is_nat = |real: &&Real| real.method == Method::Nat as u8;
    let reals: Vec<&Real> = world.reals.iter().filter(is_nat).collect();
    if reals.is_empty() {
        return None;
    }
    let real = dice.pick(&reals);
    let port = match real.port.to_host() {
        0 => dice.pick(&[80, 53, 9999]),
        port => port,
    };
    let client = u32::from_be_bytes(dice.pick(&CLIENTS));
    let to = (client, client_port(dice));
    Some(between(real.proto, (real.addr.to_host(), port), to))
}

/// Few enough that packets meet connections.
fn client_port(dice: &mut Dice) -> u16 {
    1024 + dice.below(6) as u16
}

fn between(proto: u8, (src, sport): (u32, u16), (dst, dport): (u32, u16)) -> Build {
    if proto == Proto::Tcp as u8 {
        Build::tcp_between(src, sport, dst, dport)
    } else {
        Build::udp_between(src, sport, dst, dport)
    }
}

/// Now and then bytes are wrong, or some are missing, or too many.
fn spoil(dice: &mut Dice, frame: &mut Vec<u8>) {
    if dice.one_in(12) {
        for _ in 0..=dice.below(3) {
            let at = dice.below(frame.len().min(80) as u32) as usize;
            frame[at] = dice.byte();
        }
    }
    if dice.one_in(25) {
        // The kernel's test wants an Ethernet header at least.
        frame.truncate(14 + dice.below(frame.len() as u32 - 13) as usize);
    } else if dice.one_in(10) {
        frame.extend([0; 6]);
    }
    if dice.one_in(60) {
        frame.splice(12..12, [0x81, 0, 0, 5]);
    }
}
