//! Packets that are forwarded, and those that are too big for it.

use lb_common::abi::{Method, Real};
use lb_common::counter::Counter;
use lb_common::packet::build::Build;
use lb_common::packet::wire::mac_word;
use tests::plane::{Host, Verdict};

use super::world::*;

pub(super) fn forwarding(rows: &mut Vec<Row>) {
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

pub(super) fn sizes(rows: &mut Vec<Row>) {
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

/// Frames that lie in more than one page of memory, of which programs see the first.
pub(super) fn jumbo(rows: &mut Vec<Row>) {
    const MTU: usize = 9000;
    let towards = |to: &str, len: usize| {
        let payload: Vec<u8> = (0..len - 40).map(|at| (at * 7) as u8).collect();
        Build::tcp(CLIENT, to).flags(SYN).payload(&payload)
    };
    let of = |len: usize| towards(WEB, len);
    let over = |method: Method, mtu: u64| {
        move || {
            one_real(method, |real| {
                real.src = mac_word(Host::Real.director()) | mtu << 48;
            })
        }
    };
    let sent = |build: Build, counter: Counter, out: Vec<u8>| {
        becomes(build.bytes(), counter, Verdict::Redirect, out)
    };
    row(
        rows,
        "jumbo frames: DR",
        over(Method::Dr, MTU as u64),
        vec![
            sent(of(MTU), Counter::ForwardedDr, onward(of(MTU), 1).bytes()),
            refused(
                of(MTU + 1).bytes(),
                Counter::RejectTooBig,
                FRAGMENTATION_NEEDED,
                MTU as u16,
            ),
            passes(
                towards("203.0.113.99:80", MTU).bytes(),
                Counter::PassNoService,
            ),
            passes(cut(&of(MTU), MTU), Counter::PassMalformed),
        ],
    );
    row(
        rows,
        "jumbo frames: TUN",
        over(Method::Tun, MTU as u64),
        vec![
            sent(of(MTU - 20), Counter::ForwardedTun, tunnelled(of(MTU - 20))),
            refused(
                of(MTU).bytes(),
                Counter::RejectTooBig,
                FRAGMENTATION_NEEDED,
                MTU as u16 - 20,
            ),
        ],
    );
    let translated = || towards("10.0.0.1:8080", MTU);
    row(
        rows,
        "jumbo frames: NAT",
        over(Method::Nat, MTU as u64),
        vec![sent(
            of(MTU),
            Counter::ForwardedNat,
            onward(translated(), 1).bytes(),
        )],
    );
    row(
        rows,
        "jumbo frames: too big for the way to the real server",
        move || plain(Method::Dr),
        vec![refused(
            of(MTU).bytes(),
            Counter::RejectTooBig,
            FRAGMENTATION_NEEDED,
            1500,
        )],
    );
}
