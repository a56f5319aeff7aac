//! ICMP errors: about a connection, about a tunnel, and about nothing that is known.

use lb_common::abi::Method;
use lb_common::counter::Counter;
use lb_common::packet::build::Build;
use tests::plane::{Host, Verdict};

use super::world::*;

/// A router's word about a packet.
#[derive(Clone)]
pub(super) struct Word {
    /// The packet as the router has it, in a frame.
    about: Vec<u8>,
    kind: [u8; 2],
    mtu: u16,
    /// How much of the packet is quoted at most.
    quote: usize,
    from: [u8; 4],
    to: [u8; 4],
    ttl: u8,
    /// Destination and source of the frame.
    macs: ([u8; 6], [u8; 6]),
}

const ROUTER: [u8; 4] = [192, 0, 2, 9];
const VIP_BYTES: [u8; 4] = [203, 0, 113, 10];
const RIP: [u8; 4] = [10, 0, 0, 1];
/// The director's end of tunnels.
const TUNNEL_END: [u8; 4] = [10, 0, 0, 254];

impl Word {
    /// To the packet's sender, of a router on the clients' side.
    pub(super) fn about(packet: &Build) -> Self {
        Self::about_frame(
            packet.bytes(),
            (Host::Client.director(), Host::Client.mac()),
        )
    }

    /// To the packet's sender, of a router on the real servers' side.
    pub(super) fn beyond(about: Vec<u8>) -> Self {
        Self::about_frame(about, (Host::Real.director(), Host::Real.mac()))
    }

    fn about_frame(about: Vec<u8>, macs: ([u8; 6], [u8; 6])) -> Self {
        Self {
            to: [about[26], about[27], about[28], about[29]],
            about,
            kind: FRAGMENTATION_NEEDED,
            mtu: 1400,
            quote: 548,
            from: ROUTER,
            ttl: 64,
            macs,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let quote = &self.about[14..];
        let quote = &quote[..quote.len().min(self.quote)];
        let mut icmp = [
            &self.kind[..],
            &[0, 0, 0, 0],
            &self.mtu.to_be_bytes(),
            quote,
        ]
        .concat();
        let sum = checksum(&icmp);
        icmp[2..4].copy_from_slice(&sum);
        let mut ip = vec![0x45, 0xc0];
        ip.extend((20 + icmp.len() as u16).to_be_bytes());
        ip.extend([0, 7, 0, 0, self.ttl, 1, 0, 0]);
        ip.extend(self.from);
        ip.extend(self.to);
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum);
        [&self.macs.0[..], &self.macs.1, &[8, 0], &ip, &icmp].concat()
    }

    /// As it is sent on to the real server.
    fn onward(self) -> Self {
        let [a, b, c, d, e, _] = Host::Real.mac();
        Self {
            ttl: self.ttl - 1,
            macs: ([a, b, c, d, e, 1], Host::Real.director()),
            ..self
        }
    }
}

/// What the real server sent to the client.
pub(super) fn served() -> Build {
    Build::tcp(WEB, CLIENT).payload(&[0x61; 1446])
}

fn opened(method: Method) -> Step {
    let (counter, out) = match method {
        Method::Tun => (Counter::ForwardedTun, tunnelled(syn())),
        Method::Nat => {
            let out = onward(Build::tcp(CLIENT, "10.0.0.1:8080").flags(SYN), 1);
            (Counter::ForwardedNat, out.bytes())
        }
        _ => (Counter::ForwardedDr, onward(syn(), 1).bytes()),
    };
    becomes(syn().bytes(), counter, Verdict::Redirect, out)
}

fn sent_on(word: &Word, counter: Counter, becoming: Vec<u8>) -> Step {
    becomes(word.bytes(), counter, Verdict::Redirect, becoming)
}

pub(super) fn related(rows: &mut Vec<Row>) {
    about_replies(rows);
    about_requests(rows);
    about_tunnels(rows);
    about_nothing(rows);
}

fn about_replies(rows: &mut Vec<Row>) {
    let word = Word::about(&served());
    let short = Word {
        quote: 28,
        kind: TIME_EXCEEDED,
        ..word.clone()
    };
    let quench = Word {
        kind: [4, 0],
        ..word.clone()
    };
    let dr = |word: &Word| sent_on(word, Counter::ForwardedDr, word.clone().onward().bytes());
    row(
        rows,
        "DR: an error about what the real server sent",
        move || plain(Method::Dr),
        vec![opened(Method::Dr), dr(&word), dr(&short), dr(&quench)],
    );
    let through = {
        let inner = word.clone().onward().bytes();
        let mut outer = tunnelled(syn())[14..34].to_vec();
        outer[1] = 0xc0;
        outer[2..4].copy_from_slice(&(inner.len() as u16 - 14 + 20).to_be_bytes());
        outer[6] = 0;
        outer[10..12].fill(0);
        let sum = checksum(&outer);
        outer[10..12].copy_from_slice(&sum);
        [&inner[..14], &outer, &inner[14..]].concat()
    };
    row(
        rows,
        "TUN: an error about what the real server sent",
        move || plain(Method::Tun),
        vec![
            opened(Method::Tun),
            sent_on(&Word::about(&served()), Counter::ForwardedTun, through),
        ],
    );
    // Of a TCP header the first eight bytes are quoted, so the checksum that covers the addresses is not.
    let cut = |build: &Build, to| Word {
        quote: 28,
        to,
        ..Word::about(build)
    };
    let from_real = Build::tcp("10.0.0.1:8080", CLIENT).payload(&[0x61; 1446]);
    row(
        rows,
        "NAT: an error about what the real server sent",
        move || plain(Method::Nat),
        vec![
            opened(Method::Nat),
            sent_on(
                &cut(&served(), VIP_BYTES),
                Counter::ForwardedNat,
                cut(&from_real, RIP).onward().bytes(),
            ),
        ],
    );
}

fn about_requests(rows: &mut Vec<Row>) {
    let request = |to: &str| Build::tcp(CLIENT, to).payload(&[0x62; 1446]).ttl(62);
    let word = Word {
        quote: 28,
        ..Word::beyond(request("10.0.0.1:8080").bytes())
    };
    let told = Word {
        about: request(WEB).bytes(),
        from: VIP_BYTES,
        ttl: 63,
        macs: (Host::Client.mac(), Host::Client.director()),
        ..word.clone()
    };
    let other = Word {
        about: request("10.0.0.1:8081").bytes(),
        ..word.clone()
    };
    row(
        rows,
        "NAT: an error about what the real server was sent",
        move || plain(Method::Nat),
        vec![
            opened(Method::Nat),
            sent_on(&word, Counter::ForwardedReply, told.bytes()),
            passes(other.bytes(), Counter::PassNoService),
        ],
    );
}

fn about_tunnels(rows: &mut Vec<Row>) {
    let big = || segment(ACK).payload(&[0x62; 1300]);
    let word = Word::beyond(tunnelled(big()));
    let told = |kind, mtu, quote| Word {
        about: big().ttl(63).bytes(),
        kind,
        mtu,
        quote,
        from: VIP_BYTES,
        to: [198, 51, 100, 5],
        macs: (Host::Client.mac(), Host::Client.director()),
        ..word.clone()
    };
    let answer = |word: &Word, told: Word| {
        // Made here, so it has no number of the router's.
        let mut out = told.bytes();
        out[19] = 0;
        out[24..26].fill(0);
        let sum = checksum(&out[14..34]);
        out[24..26].copy_from_slice(&sum);
        sent_on(word, Counter::RejectTunnel, out)
    };
    let unreachable = Word {
        kind: [3, 1],
        mtu: 0,
        quote: 56,
        ..word.clone()
    };
    let other_end = Word {
        about: {
            let mut about = tunnelled(big());
            about[33] = 77;
            about
        },
        ..word.clone()
    };
    row(
        rows,
        "a router's error about the tunnel to a real server",
        move || plain(Method::Tun),
        vec![
            opened(Method::Tun),
            answer(&word, told(FRAGMENTATION_NEEDED, 1380, 528)),
            answer(&unreachable, told([3, 1], 0, 36)),
            // What is quoted ends before the client's ports.
            passes(
                Word {
                    quote: 40,
                    ..word.clone()
                }
                .bytes(),
                Counter::PassNoService,
            ),
            // Another tunnel, somebody else's error.
            passes(other_end.bytes(), Counter::PassNoService),
            passes(
                Word {
                    to: [10, 0, 0, 253],
                    ..word.clone()
                }
                .bytes(),
                Counter::PassNoService,
            ),
        ],
    );
    assert_eq!(word.to, TUNNEL_END);
}

fn about_nothing(rows: &mut Vec<Row>) {
    let word = Word::about(&served());
    let with = |change: fn(&mut Word)| {
        let mut word = word.clone();
        change(&mut word);
        passes(word.bytes(), Counter::PassProtocol)
    };
    row(
        rows,
        "ICMP that is the director's own",
        move || plain(Method::Dr),
        vec![
            // No such connection yet.
            passes(word.bytes(), Counter::PassProtocol),
            opened(Method::Dr),
            // Echo request, redirect, and an error that is not for who sent the packet.
            with(|word| word.kind = [8, 0]),
            with(|word| word.kind = [5, 1]),
            with(|word| word.about[29] ^= 1),
            // Another port; a later fragment; IPv6; a quote without ports; an error that may go no further.
            with(|word| word.about[35] ^= 1),
            with(|word| word.about[21] = 9),
            with(|word| word.about[14] = 0x65),
            with(|word| word.quote = 23),
            passes(
                Word {
                    ttl: 1,
                    ..word.clone()
                }
                .bytes(),
                Counter::PassProtocol,
            ),
        ],
    );
}
