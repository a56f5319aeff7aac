//! Datagrams in fragments: all of one go to the same real server, and back.

use std::time::Duration;

use lb_common::abi::{Method, real};
use lb_common::counter::Counter;
use lb_common::packet::build::Build;
use lb_common::packet::cut::cut;
use tests::plane::Verdict;

use super::connections::{from_real, to_client};
use super::world::Step::{Change, Wait};
use super::world::*;

/// A question that is too long for one packet.
fn long(client: &str) -> Build {
    Build::udp(client, DNS)
        .dont_fragment(false)
        .payload(&[0x71; 1500])
}

/// What NAT makes of it.
fn translated(client: &str) -> Build {
    Build::udp(client, "10.0.0.1:8053")
        .dont_fragment(false)
        .payload(&[0x71; 1500])
}

/// How the fragments of a datagram are cut: the last one is shorter than any header of UDP.
const SIZES: [usize; 2] = [800, 704];

/// Each fragment of a datagram becomes the one of another.
fn each(before: &Build, after: &Build, counter: Counter) -> Vec<Step> {
    each_as(before, after, counter, |frame| frame)
}

fn each_as(
    before: &Build,
    after: &Build,
    counter: Counter,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Vec<Step> {
    let after = cut(&after.bytes(), &SIZES).into_iter().map(change);
    cut(&before.bytes(), &SIZES)
        .into_iter()
        .zip(after)
        .map(|(frame, after)| becomes(frame, counter, Verdict::Redirect, after))
        .collect()
}

fn dr(build: &Build, number: u8) -> Vec<Step> {
    each(build, &onward(build.clone(), number), Counter::ForwardedDr)
}

/// The fragments of a datagram of which only the first says that it is for no service.
fn of_no_service(build: &Build) -> Vec<Step> {
    let mut counter = Counter::PassNoService;
    cut(&build.bytes(), &SIZES)
        .into_iter()
        .map(|frame| {
            passes(
                frame,
                std::mem::replace(&mut counter, Counter::PassFragment),
            )
        })
        .collect()
}

/// The steps of several datagrams, taken in turn.
fn interleaved(datagrams: [Vec<Step>; 2]) -> Vec<Step> {
    let [one, other] = datagrams;
    one.into_iter()
        .zip(other)
        .flat_map(|(a, b)| [a, b])
        .collect()
}

pub(super) fn fragments(rows: &mut Vec<Row>) {
    by_each_method(rows);
    replies(rows);
    out_of_order(rows);
    datagrams_apart(rows);
    within_headers(rows);
    no_further(rows);
}

fn by_each_method(rows: &mut Vec<Row>) {
    row(
        rows,
        "fragments: DR",
        || plain(Method::Dr),
        dr(&long(CLIENT), 1),
    );
    row(
        rows,
        "fragments: TUN",
        || plain(Method::Tun),
        each_as(
            &long(CLIENT),
            &onward(long(CLIENT), 1),
            Counter::ForwardedTun,
            |frame| in_tunnel(&frame),
        ),
    );
    let nat = |build: &dyn Fn(Build) -> Build| {
        each(
            &build(long(CLIENT)),
            &onward(build(translated(CLIENT)), 1),
            Counter::ForwardedNat,
        )
    };
    row(
        rows,
        "fragments: NAT",
        || plain(Method::Nat),
        [nat(&|build| build), nat(&Build::without_checksum)].concat(),
    );
    let segment = |to: &str| Build::tcp(CLIENT, to).flags(SYN).payload(&[0x71; 1500]);
    row(
        rows,
        "fragments: of TCP too",
        || plain(Method::Nat),
        each(
            &segment(WEB),
            &onward(segment("10.0.0.1:8080"), 1),
            Counter::ForwardedNat,
        ),
    );
    let stays = |frame| passes(frame, Counter::DeliveredLocal);
    row(
        rows,
        "fragments: for the director itself",
        || plain(Method::Local),
        cut(&long(CLIENT).bytes(), &SIZES)
            .into_iter()
            .map(stays)
            .collect(),
    );
    let without_hop = || one_real(Method::Nat, |real| real.dst = 0);
    let steps = cut(&long(CLIENT).bytes(), &SIZES)
        .into_iter()
        .zip(cut(&translated(CLIENT).bytes(), &SIZES))
        .map(|(frame, after)| becomes(frame, Counter::PassUnresolved, Verdict::Pass, after));
    row(
        rows,
        "fragments: NAT, the stack finds the real server",
        without_hop,
        steps.collect(),
    );
}

fn replies(rows: &mut Vec<Row>) {
    let opened = |client| {
        let out = onward(Build::udp(client, "10.0.0.1:8053").payload(b"query"), 1);
        let query = Build::udp(client, DNS).payload(b"query");
        becomes(
            query.bytes(),
            Counter::ForwardedNat,
            Verdict::Redirect,
            out.bytes(),
        )
    };
    let long = |from, client| {
        Build::udp(from, client)
            .dont_fragment(false)
            .payload(&[0x61; 1500])
    };
    let answers = |build: &dyn Fn(Build) -> Build| {
        each(
            &from_real(build(long("10.0.0.1:8053", CLIENT))),
            &to_client(build(long(DNS, CLIENT))),
            Counter::ForwardedReply,
        )
    };
    row(
        rows,
        "fragments: NAT replies",
        || plain(Method::Nat),
        [
            vec![opened(CLIENT)],
            answers(&|build| build),
            answers(&Build::without_checksum),
        ]
        .concat(),
    );
    let silent = cut(
        &from_real(long("10.0.0.1:8053", SILENT_CLIENT)).bytes(),
        &SIZES,
    )
    .into_iter()
    .zip(cut(&from_real(long(DNS, SILENT_CLIENT)).bytes(), &SIZES))
    .map(|(frame, after)| becomes(frame, Counter::PassUnresolved, Verdict::Pass, after));
    row(
        rows,
        "fragments: NAT replies, the stack finds the client",
        || plain(Method::Nat),
        [opened(SILENT_CLIENT)].into_iter().chain(silent).collect(),
    );
    // Nobody asked: not even the first one is a reply.
    row(
        rows,
        "fragments: what no NAT real server was asked",
        || plain(Method::Nat),
        of_no_service(&from_real(long("10.0.0.1:8053", CLIENT))),
    );
}

fn out_of_order(rows: &mut Vec<Row>) {
    let left = |frame: &[u8]| passes(frame.to_vec(), Counter::PassFragment);
    let frames = cut(&long(CLIENT).bytes(), &SIZES);
    for method in [Method::Dr, Method::Nat] {
        let (counter, after) = match method {
            Method::Nat => (Counter::ForwardedNat, translated(CLIENT)),
            _ => (Counter::ForwardedDr, long(CLIENT)),
        };
        let mut steps = each(&long(CLIENT), &onward(after, 1), counter);
        steps.swap(1, 2);
        let late = steps.pop();
        steps.insert(0, left(&frames[1]));
        row(
            rows,
            "fragments: one before the first, the last before the middle",
            move || plain(method),
            steps.into_iter().chain(late).collect(),
        );
    }
    let steps = dr(&long(CLIENT), 1);
    row(
        rows,
        "fragments: remembered for 30 seconds",
        || plain(Method::Dr),
        vec![
            steps[0].clone(),
            Wait(Duration::from_secs(29)),
            steps[1].clone(),
            Wait(Duration::from_millis(1200)),
            left(&frames[2]),
        ],
    );
    row(
        rows,
        "fragments: of a real server that was removed by force",
        || plain(Method::Dr),
        vec![
            steps[0].clone(),
            Change(|world| {
                for real in &mut world.reals {
                    real.flags &= !real::USED;
                }
            }),
            left(&frames[2]),
        ],
    );
    let elsewhere = Build::udp(CLIENT, "203.0.113.10:54")
        .dont_fragment(false)
        .payload(&[0x71; 1500]);
    row(
        rows,
        "fragments: for a port of no service",
        || plain(Method::Dr),
        of_no_service(&elsewhere),
    );
}

fn datagrams_apart(rows: &mut Vec<Row>) {
    let from = |port: u16, id| long(&format!("198.51.100.5:{port}")).id(id);
    row(
        rows,
        "fragments: two datagrams of one client, interleaved",
        two,
        interleaved([dr(&from(1025, 1), 1), dr(&from(1026, 2), 2)]),
    );
    // The same identification, another protocol.
    let segment = Build::tcp(CLIENT, WEB)
        .flags(SYN)
        .id(1)
        .dont_fragment(false)
        .payload(&[0x71; 1500]);
    row(
        rows,
        "fragments: a datagram and a segment, interleaved",
        two,
        std::iter::once(to(Build::tcp("198.51.100.5:1027", WEB).flags(SYN), 1))
            .chain(interleaved([dr(&from(1025, 1), 1), dr(&segment, 2)]))
            .collect(),
    );
    let second = cut(&onward(from(1026, 1), 2).bytes(), &SIZES);
    let first = dr(&from(1025, 1), 1);
    let again = dr(&from(1026, 1), 2);
    let frames = cut(&from(1025, 1).bytes(), &SIZES);
    row(
        rows,
        "fragments: an identification that is used again",
        two,
        first
            .into_iter()
            .take(2)
            .chain(again)
            .chain([becomes(
                frames[2].clone(),
                Counter::ForwardedDr,
                Verdict::Redirect,
                second[2].clone(),
            )])
            .collect(),
    );
    let one_packet = || {
        let mut world = two();
        for plan in &mut world.plans {
            plan.flags |= lb_common::abi::service::ONE_PACKET;
        }
        world.settings.flags |= lb_common::abi::setting::HAS_ONE_PACKET;
        world
    };
    row(
        rows,
        "fragments: of a service that schedules each datagram by itself",
        one_packet,
        interleaved([dr(&from(1025, 1), 1), dr(&from(1025, 2), 2)]),
    );
}

fn within_headers(rows: &mut Vec<Row>) {
    let segment = || {
        Build::tcp(CLIENT, WEB)
            .flags(SYN)
            .dont_fragment(false)
            .payload(&[0x71; 100])
    };
    let tiny = |frame: &[u8]| dropped(frame.to_vec(), Counter::DropTinyFragment);
    let first = dr_first(&segment(), 64);
    let mut steps = vec![first];
    // Data of its own where the TCP header is, and right behind it.
    for (at, is_tiny) in [(8, true), (16, true), (24, false)] {
        let frames = cut(&segment().bytes(), &[at]);
        let onward = cut(&onward(segment(), 1).bytes(), &[at]);
        steps.push(if is_tiny {
            tiny(&frames[1])
        } else {
            becomes(
                frames[1].clone(),
                Counter::ForwardedDr,
                Verdict::Redirect,
                onward[1].clone(),
            )
        });
    }
    row(
        rows,
        "fragments: that overlap the TCP header, or only data",
        || plain(Method::Dr),
        steps,
    );
    let cut_short = [8, 16].map(|at| tiny(&cut(&segment().bytes(), &[at])[0]));
    row(
        rows,
        "fragments: without a whole TCP header",
        || plain(Method::Dr),
        cut_short.into(),
    );
}

/// The first fragment of a datagram that DR forwards.
fn dr_first(build: &Build, size: usize) -> Step {
    becomes(
        cut(&build.bytes(), &[size]).remove(0),
        Counter::ForwardedDr,
        Verdict::Redirect,
        cut(&onward(build.clone(), 1).bytes(), &[size]).remove(0),
    )
}

fn no_further(rows: &mut Vec<Row>) {
    let old = |build: Build| cut(&build.ttl(1).bytes(), &SIZES);
    let silent = |frame: &[u8]| dropped(frame.to_vec(), Counter::DropLaterFragment);
    let frames = old(long(CLIENT));
    row(
        rows,
        "fragments: the TTL runs out, of which the first one tells",
        || plain(Method::Dr),
        vec![
            refused(frames[0].clone(), Counter::RejectTtl, TIME_EXCEEDED, 0),
            silent(&frames[1]),
            silent(&frames[2]),
        ],
    );
    let narrow = || {
        one_real(Method::Dr, |real| {
            real.src = real.src & lb_common::packet::wire::MAC_MASK | 700 << 48;
        })
    };
    let sizes = [64, 800];
    let frames = cut(&long(CLIENT).bytes(), &sizes);
    let onward = cut(&onward(long(CLIENT), 1).bytes(), &sizes);
    let passed = |n: usize| {
        becomes(
            frames[n].clone(),
            Counter::ForwardedDr,
            Verdict::Redirect,
            onward[n].clone(),
        )
    };
    row(
        rows,
        "fragments: a later one that is too big",
        narrow,
        vec![passed(0), silent(&frames[1]), passed(2)],
    );
}
