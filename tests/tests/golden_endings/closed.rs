//! Ports of no service on an address of services: the stack's, or closed.

use std::time::Duration;

use lb_common::abi::{Method, ServiceKey, closed};
use lb_common::counter::Counter;
use lb_common::model::World;
use lb_common::packet::build::Build;
use tests::plane::{Host, Verdict};

use super::world::Step::{Change, Wait};
use super::world::*;

const SSH: &str = "203.0.113.10:22";
const NTP: &str = "203.0.113.10:123";

fn closed_by(how: u32) -> World {
    let mut world = plain(Method::Dr);
    world.services.insert(ServiceKey::of_closed(VIP), how);
    world
}

fn knock() -> Build {
    Build::tcp(CLIENT, SSH).flags(SYN)
}

fn question() -> Build {
    Build::udp(CLIENT, NTP).payload(b"time")
}

/// The reset of Linux for a SYN, as RFC 9293 has it, made here from scratch.
fn reset(frame: &[u8]) -> Vec<u8> {
    let ip_len = usize::from(frame[14] & 15) * 4;
    let syn = &frame[14 + ip_len..];
    let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let data = length - ip_len - usize::from(syn[12] >> 4) * 4;
    let sequence = u32::from_be_bytes([syn[4], syn[5], syn[6], syn[7]]);
    let mut tcp = [&syn[2..4], &syn[..2], &[0; 4]].concat();
    tcp.extend((sequence + data as u32 + 1).to_be_bytes());
    tcp.extend([0x50, RST | ACK, 0, 0, 0, 0, 0, 0]);
    let addresses = [&frame[30..34], &frame[26..30]].concat();
    let sum = checksum(&[&addresses[..], &[0, 6, 0, 20], &tcp].concat());
    tcp[16..18].copy_from_slice(&sum);
    let start = [0x45, frame[15], 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    let mut ip = [&start[..], &addresses].concat();
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [&frame[6..12], &frame[..6], &[8, 0], &ip, &tcp].concat()
}

/// A SYN that is answered by a reset.
fn is_reset(frame: Vec<u8>) -> Step {
    let answer = reset(&frame);
    becomes(frame, Counter::RejectNoPort, Verdict::Tx, answer)
}

/// What is left to the stack wherever ports are closed.
fn stays() -> Vec<Step> {
    let to_ssh = |flags| Build::tcp(CLIENT, SSH).flags(flags).bytes();
    let of_vip = |to: &str| Build::tcp(CLIENT, to).flags(SYN).bytes();
    vec![
        // Answers to what the director itself began, and what opens nothing.
        passes(to_ssh(SYN_ACK), Counter::PassNoService),
        passes(to_ssh(ACK), Counter::PassNoService),
        passes(to_ssh(RST), Counter::PassNoService),
        passes(to_ssh(RST | SYN), Counter::PassNoService),
        // Another address.
        passes(of_vip("203.0.113.11:22"), Counter::PassNoService),
        // What a service has.
        to(syn(), 1),
        to(query(), 1),
        passes(
            Build::tcp("198.51.100.5:1026", WEB).flags(ACK).bytes(),
            Counter::PassNoConnection,
        ),
    ]
}

pub(super) fn closed_ports(rows: &mut Vec<Row>) {
    row(
        rows,
        "ports of no service: the stack's",
        || plain(Method::Dr),
        vec![
            passes(knock().bytes(), Counter::PassNoService),
            passes(question().bytes(), Counter::PassNoService),
        ],
    );
    row(
        rows,
        "ports of no service: dropped",
        || closed_by(closed::DROP),
        [
            stays(),
            vec![
                dropped(knock().bytes(), Counter::DropNoPort),
                dropped(knock().options(&[1; 12]).bytes(), Counter::DropNoPort),
                dropped(question().bytes(), Counter::DropNoPort),
                // The other protocol's port.
                dropped(
                    Build::udp(CLIENT, WEB).payload(b"x").bytes(),
                    Counter::DropNoPort,
                ),
            ],
        ]
        .concat(),
    );
    row(
        rows,
        "ports of no service: refused",
        || closed_by(closed::REJECT),
        [
            stays(),
            vec![
                is_reset(knock().bytes()),
                is_reset(knock().tos(0xb8).ttl(1).bytes()),
                is_reset(knock().options(&[1; 20]).bytes()),
                is_reset(knock().payload(&[7; 33]).bytes()),
                // Options of TCP, and no data; then padding of a short frame.
                is_reset(patched(&knock().payload(&[1; 20]), 46, &[0xa0])),
                is_reset([knock().bytes(), vec![0xee; 6]].concat()),
                refused(
                    question().bytes(),
                    Counter::RejectNoPort,
                    PORT_UNREACHABLE,
                    0,
                ),
                dropped(
                    knock().macs(Host::Client.mac(), [0xff; 6]).bytes(),
                    Counter::DropMartian,
                ),
                dropped(
                    Build::tcp("127.0.0.1:1025", SSH).flags(SYN).bytes(),
                    Counter::DropMartian,
                ),
            ],
        ]
        .concat(),
    );
    row(
        rows,
        "ports of no service: two refusals a second",
        || {
            let mut world = closed_by(closed::REJECT);
            world.settings.icmp_per_second = 2;
            world
        },
        vec![
            is_reset(knock().bytes()),
            is_reset(knock().bytes()),
            dropped(knock().bytes(), Counter::DropIcmpRate),
            Wait(Duration::from_secs(1)),
            is_reset(knock().bytes()),
        ],
    );
    row(
        rows,
        "ports of no service: another director's while that is master",
        || {
            let mut world = closed_by(closed::DROP | 7);
            world.standby.push(7);
            world
        },
        vec![
            passes(knock().bytes(), Counter::PassNoService),
            Change(|world| world.standby.clear()),
            dropped(knock().bytes(), Counter::DropNoPort),
        ],
    );
}
