//! Packets that are of no service, or not to be understood.

use lb_common::abi::Method;
use lb_common::counter::Counter;
use lb_common::packet::build::Build;
use tests::plane::Verdict;

use super::world::*;

pub(super) fn not_ours(rows: &mut Vec<Row>) {
    let malformed = |frame| passes(frame, Counter::PassMalformed);
    row(
        rows,
        "headers cut short, lengths that contradict each other",
        move || plain(Method::Dr),
        vec![
            malformed(cut(&syn(), 14)),
            malformed(cut(&syn(), 33)),
            malformed(cut(&syn(), 34)),
            malformed(cut(&syn(), 53)),
            malformed(cut(&query(), 41)),
            malformed(cut(&query().payload(b"whole"), 42)),
            malformed(patched(&syn(), 14, &[0x65])),
            malformed(patched(&syn(), 14, &[0x44])),
            malformed(patched(&syn(), 14, &[0x4f])),
            malformed(patched(&syn(), 16, &41u16.to_be_bytes())),
            malformed(patched(&syn(), 16, &39u16.to_be_bytes())),
            malformed(patched(&query(), 16, &27u16.to_be_bytes())),
            malformed(patched(&syn(), 16, &0u16.to_be_bytes())),
            // Padding behind the packet is none of these.
            becomes(
                [syn().bytes(), vec![0; 6]].concat(),
                Counter::ForwardedDr,
                Verdict::Redirect,
                [onward(syn(), 1).bytes(), vec![0; 6]].concat(),
            ),
        ],
    );
    row(
        rows,
        "not IPv4: ARP, IPv6, one and two VLAN tags",
        move || plain(Method::Dr),
        vec![
            passes(patched(&syn(), 12, &[8, 6]), Counter::PassNotIp),
            passes(patched(&syn(), 12, &[0x86, 0xdd]), Counter::PassNotIp),
            passes(vlan(&syn().bytes(), &[[0x81, 0]]), Counter::PassNotIp),
            passes(
                vlan(&syn().bytes(), &[[0x88, 0xa8], [0x81, 0]]),
                Counter::PassNotIp,
            ),
            passes(
                cut(&syn(), 14).iter().map(|_| 0).collect(),
                Counter::PassNotIp,
            ),
        ],
    );
    row(
        rows,
        "other protocols: ICMP, SCTP, IP-in-IP",
        move || plain(Method::Dr),
        vec![
            passes(patched(&syn(), 23, &[1]), Counter::PassProtocol),
            passes(patched(&syn(), 23, &[132]), Counter::PassProtocol),
            passes(patched(&syn(), 23, &[4]), Counter::PassProtocol),
        ],
    );
    let elsewhere = |frame| passes(frame, Counter::PassNoService);
    row(
        rows,
        "another port, protocol or address",
        move || plain(Method::Nat),
        vec![
            elsewhere(Build::tcp(CLIENT, "203.0.113.10:81").flags(SYN).bytes()),
            elsewhere(Build::udp(CLIENT, "203.0.113.10:80").bytes()),
            elsewhere(Build::tcp(CLIENT, "203.0.113.11:80").flags(SYN).bytes()),
            elsewhere(Build::tcp(CLIENT, "10.0.0.1:8080").flags(SYN).bytes()),
            // Broken packets that are nobody's are the stack's too.
            elsewhere(patched(
                &Build::tcp(CLIENT, "203.0.113.11:80"),
                16,
                &[0xff, 0xff],
            )),
        ],
    );
}

/// A frame with VLAN tags of these types, all with identifier 5.
pub(super) fn vlan(frame: &[u8], types: &[[u8; 2]]) -> Vec<u8> {
    let tags: Vec<u8> = types.iter().flat_map(|[a, b]| [*a, *b, 0, 5]).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}
