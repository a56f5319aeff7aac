//! Frames for this host's MACs, and for those of others.

use std::time::Duration;

use lb_common::abi::{Method, NO_MAC, OwnMacs, own_macs_place};
use lb_common::counter::Counter;
use lb_common::model::World;
use lb_common::packet::build::Build;
use lb_common::packet::wire::mac_word;
use tests::plane::{Host, Verdict};

use super::connections::{from_real, to_client};
use super::related::{Word, served};
use super::world::Step::{Change, Wait};
use super::world::*;

/// The MAC of a virtual router, and that of another host.
const VIRTUAL: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 0xd9];

/// What this host is reached by where the frames come from, in this order.
fn reached_by(world: &mut World, macs: &[[u8; 6]]) {
    let mut record = OwnMacs {
        ifindex: INGRESS.into(),
        macs: [NO_MAC; OwnMacs::MOST],
    };
    for (place, mac) in record.macs.iter_mut().zip(macs) {
        *place = mac_word(*mac);
    }
    world.own_macs[own_macs_place(INGRESS) as usize] = record;
}

fn at_own_mac(mut world: World) -> World {
    reached_by(
        &mut world,
        &[Host::Client.director(), Host::Real.director()],
    );
    world
}

fn at(mac: [u8; 6], build: Build) -> Build {
    build.macs(Host::Client.mac(), mac)
}

/// It is another host's.
fn other(frame: Vec<u8>) -> Step {
    passes(frame, Counter::PassOtherHost)
}

/// The same frame, to another host.
fn to_other(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&OTHER);
    frame
}

pub(super) fn addressees(rows: &mut Vec<Row>) {
    for method in [Method::Dr, Method::Tun, Method::Nat, Method::Local] {
        row(
            rows,
            "for another host: what opens, what is recorded, fragments, errors, whom it is sent to",
            move || at_own_mac(plain(method)),
            vec![
                other(at(OTHER, syn()).bytes()),
                // Nothing was recorded.
                passes(segment(ACK).bytes(), Counter::PassNoConnection),
                other(at(OTHER, segment(ACK)).bytes()),
                other(at(OTHER, query()).bytes()),
                other(at(OTHER, query()).fragment(0x2000).bytes()),
                other(at(OTHER, query()).fragment(0x0004).bytes()),
                other(at(OTHER, syn()).ttl(1).bytes()),
                other(at(OTHER, syn()).options(&[1; 12]).bytes()),
                other(at([0; 6], syn()).bytes()),
                other(at([0xff; 6], syn()).bytes()),
                other(at([1, 0, 0x5e, 0, 0, 1], query()).bytes()),
                other(to_other(Word::about(&served()).bytes())),
                // What is nobody's is not looked at more closely.
                passes(
                    at(OTHER, Build::tcp(CLIENT, "203.0.113.11:80")).bytes(),
                    Counter::PassNoService,
                ),
            ],
        );
    }
    row(
        rows,
        "what is flooded of a connection is not forwarded, and does not keep it",
        move || at_own_mac(plain(Method::Dr)),
        vec![
            to(syn(), 1),
            Wait(Duration::from_secs(40)),
            other(at(OTHER, segment(ACK)).bytes()),
            // What another director has made of the client's packet, and its switch has flooded.
            other(onward(segment(ACK), 1).bytes()),
            Wait(Duration::from_secs(40)),
            passes(segment(ACK).bytes(), Counter::PassNoConnection),
        ],
    );
    let nat = || Build::udp(CLIENT, "10.0.0.1:8053").payload(b"query");
    let answer = || from_real(Build::udp("10.0.0.1:8053", CLIENT).payload(b"answer"));
    row(
        rows,
        "NAT: replies and errors for another host",
        move || at_own_mac(plain(Method::Nat)),
        vec![
            becomes(
                query().bytes(),
                Counter::ForwardedNat,
                Verdict::Redirect,
                onward(nat(), 1).bytes(),
            ),
            other(to_other(answer().bytes())),
            other(to_other(Word::beyond(onward(nat(), 1).bytes()).bytes())),
            becomes(
                answer().bytes(),
                Counter::ForwardedReply,
                Verdict::Redirect,
                to_client(Build::udp(DNS, CLIENT).payload(b"answer")).bytes(),
            ),
        ],
    );
    row(
        rows,
        "a virtual MAC is taken while its virtual router is served",
        || {
            let mut world = plain(Method::Dr);
            reached_by(&mut world, &[Host::Client.director(), VIRTUAL]);
            world
        },
        vec![
            to(at(VIRTUAL, syn()), 1),
            Change(|world| reached_by(world, &[Host::Client.director()])),
            other(at(VIRTUAL, segment(ACK)).bytes()),
            to(segment(ACK), 1),
            Change(|world| reached_by(world, &[Host::Client.director(), VIRTUAL])),
            to(at(VIRTUAL, segment(ACK)), 1),
        ],
    );
    row(
        rows,
        "each of seven MACs",
        || {
            let mut world = plain(Method::Dr);
            reached_by(&mut world, &[1, 2, 3, 4, 5, 6, 7].map(numbered));
            world
        },
        (1..=7)
            .map(|n| to(at(numbered(n), query()), 1))
            .chain([other(at(numbered(8), query()).bytes())])
            .collect(),
    );
    row(
        rows,
        "of an interface of which nothing is known every frame is taken",
        || {
            let mut world = plain(Method::Dr);
            reached_by(&mut world, &[Host::Client.director()]);
            world.own_macs[own_macs_place(INGRESS) as usize].ifindex += 64;
            world
        },
        vec![to(at(OTHER, syn()), 1)],
    );
}

fn numbered(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 7, n]
}
