//! Packets whose sender is told that they go no further, and what cannot be.

use std::time::Duration;

use lb_common::abi::Method;
use lb_common::counter::Counter;
use lb_common::model::World;
use lb_common::net::Proto;
use lb_common::packet::build::Build;
use tests::plane::Host;

use super::world::Step::Wait;
use super::world::*;

pub(super) fn refusals(rows: &mut Vec<Row>) {
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

pub(super) fn impossible(rows: &mut Vec<Row>) {
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
