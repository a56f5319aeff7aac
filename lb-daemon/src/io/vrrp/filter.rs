//! Which packets wake us, and in which queue do they wait?
//!
//! Whoever can send on the link can send faster than we read, so what he sends must not displace what matters. The kernel
//! sorts packets by what can be seen without trust: those of other virtual routers are dropped; those that no director
//! of ours can have sent are strays, which are only counted; what the masters that we know have sent waits in a
//! queue of its own.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socket2::SockFilter;

use crate::core::vrrp::{self, Auth, Settings, Version, multicast_group};
use crate::io::packet_socket::filter as bpf;

/// As much of a packet as is let through: all of it.
const ALL: u32 = 0xFFFF;
/// The most instructions of a filter: the kernel has 4,096, and little memory for them (`net.core.optmem_max`).
const MOST: usize = 1_500;
/// Of so many peers each is looked for; among more, none.
const MOST_PEERS: usize = 32;
/// Bytes of the trailer behind what is signed.
const TRAILER: u32 = vrrp::packet::TRAILER as u32;
/// Bytes of a message before its addresses.
const HEADER: u32 = 8;

/// Where a packet waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Queue {
    /// It looks right, and comes from a master that we know.
    Master,
    /// It looks right.
    Plausible,
    /// It cannot be heeded, only counted.
    Stray,
}

impl Queue {
    /// In the order in which they are looked at.
    pub(super) const ALL: [Self; 3] = [Self::Master, Self::Plausible, Self::Stray];
}

/// What is expected on an interface, in one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    kinds: Vec<Kind>,
    masters: Vec<IpAddr>,
}

/// Virtual routers whose advertisements look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    version: Version,
    auth: Auth,
    /// They may have a trailer.
    signed: bool,
    peers: Vec<IpAddr>,
    vrids: Vec<u8>,
}

impl Expected {
    /// Advertisements of one more virtual router.
    pub(super) fn of_router(&mut self, settings: &Settings) {
        let alike = |kind: &&mut Kind| {
            (kind.version, kind.auth, kind.signed, &kind.peers)
                == (
                    settings.version,
                    settings.auth,
                    settings.signing.is_some(),
                    &settings.peers,
                )
        };
        match self.kinds.iter_mut().find(alike) {
            Some(kind) => kind.vrids.push(settings.vrid),
            None => self.kinds.push(Kind {
                version: settings.version,
                auth: settings.auth,
                signed: settings.signing.is_some(),
                peers: settings.peers.clone(),
                vrids: vec![settings.vrid],
            }),
        }
    }

    /// This director is master of a virtual router.
    pub(super) fn of_master(&mut self, source: IpAddr) {
        if !self.masters.contains(&source) {
            self.masters.push(source);
        }
    }

    /// The same, from the masters of both.
    pub(super) fn with_masters_of(&self, other: &Self) -> Self {
        let mut both = self.clone();
        other.masters.iter().for_each(|m| both.of_master(*m));
        both
    }

    /// Lets through what waits in a queue. When there is too much to look at, looks are not looked at.
    pub(super) fn filter(&self, v6: bool, queue: Queue) -> Vec<SockFilter> {
        let program = self.program(v6, queue, true);
        if program.len() <= MOST {
            program
        } else {
            self.program(v6, queue, false)
        }
    }

    fn program(&self, v6: bool, queue: Queue, looks: bool) -> Vec<SockFilter> {
        let header = if v6 { &IPV6 } else { &IPV4 };
        let end = |of| bpf::take(if of == queue { ALL } else { 0 });
        let mut program = vec![header.message(), bpf::byte_behind(1)];
        for kind in &self.kinds {
            let mut body = if looks {
                kind.looks_right(header, || end(Queue::Stray))
            } else {
                Vec::new()
            };
            for master in &self.masters {
                body.extend(header.source_is(*master, end(Queue::Master)));
            }
            body.push(end(Queue::Plausible));
            // One that is of this kind jumps over the rest of the numbers, and over the jump behind them.
            for (vrid, left) in kind.vrids.iter().zip((1..=kind.vrids.len()).rev()) {
                program.push(bpf::equal(u32::from(*vrid), near(left), 0));
            }
            program.push(bpf::skip(body.len()));
            program.extend(body);
        }
        program.push(bpf::take(0));
        program
    }
}

impl Kind {
    /// Ends with `stray` for what [`admit`](crate::core::vrrp::admit) would refuse by what can be seen here.
    fn looks_right(&self, header: &Header, stray: impl Fn() -> SockFilter) -> Vec<SockFilter> {
        let mut all = Vec::new();
        let mut must = |code: Vec<SockFilter>, test: SockFilter| {
            all.extend(code);
            all.extend([test, stray()]);
        };
        let unicast = !self.peers.is_empty();
        must(header.message_length().into(), bpf::at_least(HEADER, 1, 0));
        if !unicast {
            must(vec![bpf::byte(header.ttl)], bpf::equal(255, 1, 0));
            let group = words(multicast_group(header.family));
            for (at, word) in (header.destination..).step_by(4).zip(group) {
                must(vec![bpf::word(at)], bpf::equal(word, 1, 0));
            }
        }
        let (version, tail) = match self.version {
            Version::V2 => (2, 8),
            Version::V3 => (3, 0),
        };
        must(
            vec![bpf::byte_behind(0)],
            bpf::equal(version << 4 | 1, 1, 0),
        );
        must(vec![bpf::byte_behind(3)], bpf::equal(0, 0, 1));
        if self.version == Version::V2 {
            let number = u32::from(self.auth.number());
            must(vec![bpf::byte_behind(4)], bpf::equal(number, 1, 0));
        }
        // The addresses are as long as they are many, and what is behind them is known.
        let mut length = vec![
            bpf::byte_behind(3),
            bpf::shift_left(header.address_shift),
            bpf::store(),
        ];
        length.extend(header.message_length());
        length.extend([bpf::subtract(HEADER + tail), bpf::stored_in_x()]);
        if self.signed {
            // With a trailer or without: the mode decides.
            length.extend([bpf::equal_to_x(3, 0), bpf::subtract(TRAILER)]);
        }
        must(length, bpf::equal_to_x(1, 0));
        if let Auth::Pass(password) = self.auth {
            let [a, b, c, d, e, f, g, h] = password.bytes();
            for (at, word) in [(0, [a, b, c, d]), (4, [e, f, g, h])] {
                let behind_addresses = vec![
                    header.message(),
                    bpf::stored(),
                    bpf::add_x(),
                    bpf::into_x(),
                    bpf::word_behind(HEADER + at),
                ];
                let word = u32::from_be_bytes(word);
                must(behind_addresses, bpf::equal(word, 1, 0));
            }
        }
        if unicast && self.peers.len() <= MOST_PEERS {
            all.extend(header.source_is_of(&self.peers));
            all.push(stray());
        }
        all
    }
}

/// What a filter is shown of a packet, and where.
struct Header {
    family: IpAddr,
    ttl: u32,
    source: u32,
    destination: u32,
    /// An address has two to the power of this many bytes.
    address_shift: u32,
}

/// The packet with its IP header, whose length varies.
const IPV4: Header = Header {
    family: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    ttl: 8,
    source: 12,
    destination: 16,
    address_shift: 2,
};

/// The message alone; the IP header lies before it.
const IPV6: Header = Header {
    family: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ttl: bpf::NETWORK + 7,
    source: bpf::NETWORK + 8,
    destination: bpf::NETWORK + 24,
    address_shift: 4,
};

impl Header {
    /// Has the message's place in X.
    fn message(&self) -> SockFilter {
        match self.family {
            IpAddr::V4(_) => bpf::header_len(0),
            IpAddr::V6(_) => bpf::set_x(0),
        }
    }

    /// Has the message's place in X, and its length in A.
    fn message_length(&self) -> [SockFilter; 3] {
        [self.message(), bpf::length(), bpf::subtract_x()]
    }

    /// Does `then` if this is the source, and goes on behind it if not.
    fn source_is(&self, source: IpAddr, then: SockFilter) -> Vec<SockFilter> {
        let words = words(source);
        let behind = (0..words.len()).rev().map(|left| left * 2 + 1);
        let mut all = Vec::new();
        for ((at, word), behind) in (self.source..).step_by(4).zip(&words).zip(behind) {
            all.extend([bpf::word(at), bpf::equal(*word, 0, near(behind))]);
        }
        all.push(then);
        all
    }

    /// Skips one instruction behind this if the source is one of these.
    fn source_is_of(&self, sources: &[IpAddr]) -> Vec<SockFilter> {
        let mut all: Vec<SockFilter> = Vec::new();
        for source in sources.iter().rev() {
            let mut code = self.source_is(*source, bpf::skip(all.len() + 1));
            code.append(&mut all);
            all = code;
        }
        all
    }
}

/// An address, as a filter compares it.
pub(super) fn words(addr: IpAddr) -> Vec<u32> {
    match addr {
        IpAddr::V4(addr) => vec![addr.to_bits()],
        IpAddr::V6(addr) => {
            let bytes = addr.octets();
            let (words, _) = bytes.as_chunks::<4>();
            words.iter().map(|w| u32::from_be_bytes(*w)).collect()
        }
    }
}

/// A distance that a conditional jump can have: over at most 255 numbers, or the few words of an address.
pub(super) fn near(distance: usize) -> u8 {
    u8::try_from(distance).unwrap_or(u8::MAX)
}
