//! What a connection that there is, or was, makes of a packet; and the way back.

use std::time::Duration;

use lb_common::abi::{Method, setting};
use lb_common::counter::Counter;
use lb_common::packet::build::Build;
use tests::plane::{Host, Verdict};

use super::world::Step::{Change, Wait};
use super::world::*;

pub(super) fn connections(rows: &mut Vec<Row>) {
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
    closed_by_both(rows);
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

/// With NAT both sides' FINs are seen, and the connection is in TIME_WAIT.
fn closed_by_both(rows: &mut Vec<Row>) {
    let two = || {
        director(64, |port| {
            [1, 2]
                .map(|number| (real_server(Method::Nat, number, port), 1))
                .to_vec()
        })
    };
    let to = |flags, number: u8| {
        let real = format!("10.0.0.{number}:8080");
        let out = onward(Build::tcp(CLIENT, &real).flags(flags), number).bytes();
        becomes(
            segment(flags).bytes(),
            Counter::ForwardedNat,
            Verdict::Redirect,
            out,
        )
    };
    let back = |flags| {
        let reply = Build::tcp("10.0.0.1:8080", CLIENT).flags(flags);
        becomes(
            reply.macs(Host::Real.mac(), Host::Real.director()).bytes(),
            Counter::ForwardedReply,
            Verdict::Redirect,
            to_client(Build::tcp(WEB, CLIENT).flags(flags)).bytes(),
        )
    };
    row(
        rows,
        "a SYN on a connection that both sides have closed opens another",
        two,
        vec![
            to(SYN, 1),
            back(SYN_ACK),
            to(ACK, 1),
            to(FIN_ACK, 1),
            // The client alone has closed: the SYN belongs to the same connection.
            to(SYN, 1),
            back(FIN_ACK),
            to(ACK, 1),
            to(SYN, 2),
        ],
    );
}

/// What the client gets, its TTL counted down from 64.
pub(super) fn to_client(build: Build) -> Build {
    build
        .macs(Host::Client.director(), Host::Client.mac())
        .ttl(63)
}

/// What a real server sends to the director.
pub(super) fn from_real(build: Build) -> Build {
    build.macs(Host::Real.mac(), Host::Real.director())
}

pub(super) fn replies(rows: &mut Vec<Row>) {
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
            // Another port of the real server, another client, a later fragment, a packet cut short: no replies.
            passes(
                from_real(Build::udp("10.0.0.1:8054", CLIENT)).bytes(),
                Counter::PassNoService,
            ),
            passes(answer(NARROW_CLIENT).bytes(), Counter::PassNoService),
            passes(
                answer(CLIENT).fragment(0x0001).bytes(),
                Counter::PassFragment,
            ),
            passes(cut(&answer(CLIENT), 41), Counter::PassNoService),
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
