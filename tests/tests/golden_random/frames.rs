//! Random frames: mostly of the site's services, mostly whole.

use std::net::SocketAddr;

use lb_common::abi::{Method, Real};
use lb_common::model::World;
use lb_common::net::Proto;
use lb_common::packet::build::Build;

use crate::dice::Dice;
use crate::family::Hosts;
use crate::site::Site;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const SYN_ACK: u8 = 0x12;

/// What frames may be for, besides the director that all others are for: MACs that it may have too.
pub(crate) const MACS: [[u8; 6]; 3] = [[0, 0, 0x5e, 0, 1, 51], [2, 0, 0, 0, 0, 0xd9], [0; 6]];

/// A frame of the longest packet that fits: one byte more, in a length that is wrong by chance, and the kernel says that it does not fit
/// before it looks for a neighbour, which the model does not.
const LONGEST: usize = 14 + 1500;

/// A frame to the director.
pub(crate) fn frame<A: Hosts>(dice: &mut Dice, site: &Site<A>, world: &World<A>) -> Vec<u8> {
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
    let payload: Vec<u8> = (0..length::<A>(dice)).map(|_| dice.byte()).collect();
    let mut build = build.payload(&payload);
    if dice.one_in(8) {
        build = build.without_checksum();
    }
    if payload.len() < 1400 - A::MORE && dice.one_in(10) {
        build = A::adorn(dice, build);
    }
    if dice.one_in(6) {
        build = A::as_fragment(dice, build);
    }
    if dice.one_in(30) {
        build = build.macs([2, 0, 0, 0, 0, 0xc1], [0xff; 6]);
    }
    if dice.one_in(12) {
        build = build.macs([2, 0, 0, 0, 0, 0xc1], dice.pick(&MACS));
    }
    let mut frame = build.bytes();
    if frame.len() > LONGEST {
        frame = build.payload(&[]).bytes();
    }
    spoil(dice, &mut frame);
    frame
}

/// The longest packets are as long as the MTU, and not longer: the kernel would say so before it looks for a neighbour.
fn length<A: Hosts>(dice: &mut Dice) -> usize {
    match dice.below(8) {
        0..4 => 0,
        4 => 1 + dice.below(8) as usize,
        5 => dice.below(1000) as usize,
        6 => 1330 - A::MORE + dice.below(40) as usize,
        _ => 1420 - A::MORE + dice.below(40) as usize,
    }
}

/// A packet from a client.
fn request<A: Hosts>(dice: &mut Dice, site: &Site<A>) -> Build {
    let at = dice.below(site.services.len() as u32) as usize;
    let key = site.services[at].key;
    let client = dice.pick(&A::CLIENTS);
    let vip = if dice.one_in(40) {
        client
    } else {
        // In a network few enough addresses, too; and now and then one beside it.
        let further = dice.below(1 << u32::from(key.host_bits.min(2)));
        key.vip
            .beside(further, u32::from(dice.one_in(30)) << key.host_bits)
    };
    let port = match key.port.to_host() {
        0 => dice.pick(&[80, 53, 9999]),
        _ if dice.one_in(20) => 81,
        port => port,
    };
    between(key.proto, (client, client_port(dice)), (vip, port))
}

/// A packet from a NAT real server, if there is one.
fn reply<A: Hosts>(dice: &mut Dice, world: &World<A>) -> Option<Build> {
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
    let to = (dice.pick(&A::CLIENTS), client_port(dice));
    Some(between(real.proto, (A::of_real(real), port), to))
}

/// Few enough that packets meet connections.
fn client_port(dice: &mut Dice) -> u16 {
    1024 + dice.below(6) as u16
}

fn between<A: Hosts>(proto: u8, (src, sport): (A, u16), (dst, dport): (A, u16)) -> Build {
    let (src, dst) = (
        SocketAddr::new(src.ip(), sport),
        SocketAddr::new(dst.ip(), dport),
    );
    if proto == Proto::Tcp as u8 {
        Build::tcp_from(src, dst)
    } else {
        Build::udp_from(src, dst)
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
    } else if dice.one_in(10) && frame.len() + 6 <= LONGEST {
        frame.extend([0; 6]);
    }
    if dice.one_in(60) {
        frame.splice(12..12, [0x81, 0, 0, 5]);
    }
}
