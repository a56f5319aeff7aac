//! What is known of a packet on its way, and how does it end?

use crate::conn::Tick;
use crate::counter::Counter;
use crate::net::{Be16, Be32, Be128, Flow, Proto};
use crate::packet::icmp::{Error, Kind};
use crate::packet::wire::tcp_flag;
use crate::packet::{Bytes, Ip, Network, Transport};

/// What to do with the frame.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Leave it to the director's own stack.
    Pass = 0,
    /// Drop it.
    Drop = 1,
    /// Send it by the interface it came from.
    Tx = 2,
    /// Send it by the interface in slot [`Outcome::to`] of `EGRESS`.
    Slot = 3,
    /// Send it by the interface of index [`Outcome::to`].
    Interface = 4,
}

/// How a packet ended.
///
/// It is larger than two words, lest the compiler pack the fields into words wherever one is handed on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What to do with the frame.
    pub verdict: Verdict,
    /// What to count.
    pub counter: Counter,
    /// Where to send it, if the verdict needs to say.
    pub to: u32,
    wide: [u64; 2],
}

impl Outcome {
    #[inline(always)]
    pub(super) const fn new(verdict: Verdict, counter: Counter, to: u32) -> Self {
        Self {
            verdict,
            counter,
            to,
            wide: [0; 2],
        }
    }

    /// A packet that goes no further here: dropped if the counter is one of drops, else left to the stack.
    #[inline(always)]
    pub const fn end(counter: Counter) -> Self {
        let verdict = if counter.is_drop() {
            Verdict::Drop
        } else {
            Verdict::Pass
        };
        Self::new(verdict, counter, 0)
    }
}

/// Which step a packet needs next.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// None: its outcome is known.
    Nothing = 0,
    /// To find out whether it may open a connection.
    Open = 1,
    /// A real server that a scheduler chooses.
    Schedule = 2,
    /// A real server by the flow's hash.
    Hash = 3,
    /// An entry in the connection table.
    Record = 4,
    /// To be sent to the real server that was chosen.
    Deliver = 5,
    /// An answer that it goes no further.
    Refuse = 6,
    /// The connection of which it may be a reply.
    Reply = 7,
    /// The real server that its client is kept at.
    Recall = 8,
    /// Its client kept at the real server that was chosen.
    Bind = 9,
    /// To be sent to the client of which it is a reply.
    Return = 10,
    /// The packet that it quotes, for it is ICMP.
    Quote = 11,
    /// The connection of the packet that it quotes.
    Related = 12,
}

/// A packet on its way from step to step.
///
/// It lies in memory that a BPF program hands from function to function: plain words without gaps, as the verifier wants every byte
/// written.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Journey<A: Ip = Be32> {
    pub(super) packet: Packet<A>,
    /// Which step is next.
    pub next: Next,
    /// The connection table may have had no place for the flow: then a segment within a connection is not left to the
    /// stack, which would reset it, but goes where the flow's hash says.
    pub(super) turned_away: bool,
    /// The connection table has no place for the flow now.
    pub(super) has_no_place: bool,
    /// The real server was chosen by the flow's hash.
    pub(super) is_by_hash: bool,
    /// What the sender is told if it is refused.
    pub(super) refusal: Kind,
    /// One more than the generation of the persistence template that it is under; 0 if it is under none.
    pub(super) template: u8,
    /// The most that fits, if it was too big.
    pub(super) mtu: u16,
    /// When it came.
    pub(super) now: Tick,
    /// The index of the service that it is for.
    pub(super) service: u32,
    /// The slot of the real server that was chosen, or that a reply is from.
    pub(super) slot: u32,
    /// The address that a reply is to come from.
    pub(super) vip: A,
    /// Its service keeps clients at their real server.
    pub(super) is_persistent: bool,
    /// It is scheduled by itself, and not recorded.
    pub(super) is_one_packet: bool,
    /// How often another CPU took the place where it was to be recorded.
    pub(super) contended: u8,
    /// There was no room for its client's template.
    pub(super) is_unkept: bool,
    /// The port that a reply is to come from.
    pub(super) vip_port: Be16,
    /// Where the ICMP header is, if the packet is what an error quotes.
    pub(super) icmp: u8,
    /// Where the packet's IP header is then.
    pub(super) quoted_at: u8,
    /// How it ended: [`Outcome`].
    verdict: Verdict,
    pub(super) counter: Counter,
    pad2: u16,
    to: u32,
}

const _: () = {
    assert!(size_of::<Journey>() == 72 && size_of::<Packet<Be32>>() == 32);
    assert!(size_of::<Journey<Be128>>() == 108 && size_of::<Outcome>() == 24);
};

impl<A: Ip> Journey<A> {
    /// A packet that nothing is known of.
    #[inline(always)]
    pub fn start() -> Self {
        Self {
            packet: Packet::of_len(0),
            next: Next::Nothing,
            turned_away: false,
            has_no_place: false,
            is_by_hash: false,
            refusal: Kind::PortUnreachable,
            template: 0,
            mtu: 0,
            now: Tick(0),
            service: 0,
            slot: 0,
            is_persistent: false,
            is_one_packet: false,
            vip: A::default(),
            contended: 0,
            is_unkept: false,
            vip_port: Be16(0),
            icmp: 0,
            quoted_at: 0,
            verdict: Verdict::Pass,
            counter: Counter::PassNoService,
            pad2: 0,
            to: 0,
        }
    }

    /// Whether it is the first fragment of a datagram, and on its way.
    #[inline(always)]
    pub(super) const fn is_piece(&self) -> bool {
        self.packet.transport.is_piece && matches!(self.next, Next::Deliver | Next::Return)
    }

    /// Ends the journey.
    #[inline(always)]
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.next = Next::Nothing;
        self.verdict = outcome.verdict;
        self.counter = outcome.counter;
        self.to = outcome.to;
    }

    /// How it ended.
    #[inline(always)]
    pub(super) const fn outcome(&self) -> Outcome {
        Outcome::new(self.verdict, self.counter, self.to)
    }

    /// Ends the journey with a refusal.
    #[inline(always)]
    pub(super) fn refuse(&mut self, error: Error) {
        self.next = Next::Refuse;
        self.refusal = error.kind;
        self.mtu = error.mtu;
    }
}

/// A TCP segment or UDP datagram as it came, whole or its first fragment.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packet<A> {
    pub(super) network: Network<A>,
    pub(super) transport: Transport,
}

impl<A: Ip> Packet<A> {
    /// An IP packet of this length of which nothing else is known.
    #[inline(always)]
    pub(super) fn of_len(len: u32) -> Self {
        let mut transport = Transport::NONE;
        transport.len = len;
        Self {
            network: Network {
                src: A::default(),
                dst: A::default(),
            },
            transport,
        }
    }

    #[inline(always)]
    pub(super) fn parse<B: Bytes>(frame: &B, network: Network<A>) -> Result<Self, Counter> {
        let transport = Transport::parse::<A, B>(frame)?;
        Ok(Self { network, transport })
    }

    /// The same of a packet whose transport header is right behind the IP header.
    #[inline(always)]
    pub(super) fn parse_plain<B: Bytes>(frame: &B, network: Network<A>) -> Result<Self, Counter> {
        let transport = Transport::parse_plain::<A, B>(frame)?;
        Ok(Self { network, transport })
    }

    #[inline(always)]
    pub(super) const fn source_port(&self) -> Be16 {
        Be16((u32::from_le(self.transport.ports) as u16).to_le())
    }

    #[inline(always)]
    pub(super) const fn destination_port(&self) -> Be16 {
        Be16(((u32::from_le(self.transport.ports) >> 16) as u16).to_le())
    }

    /// The flow of a packet that a client sent.
    #[inline(always)]
    pub(super) const fn flow(&self) -> Flow<A> {
        Flow {
            client: self.network.src,
            vip: self.network.dst,
            client_port: self.source_port(),
            vip_port: self.destination_port(),
            proto: self.transport.proto,
        }
    }

    /// Whether it may open a connection: any datagram, and a segment with SYN, whatever else but RST is set.
    #[inline(always)]
    pub(super) const fn opens(&self) -> bool {
        match self.transport.proto {
            Proto::Udp => true,
            Proto::Tcp => {
                self.transport.tcp_flags as u8 & (tcp_flag::SYN | tcp_flag::RST) == tcp_flag::SYN
            }
        }
    }

    /// Whether it asks for a port: any datagram, and the first segment of a client. Others may be answers to the host itself.
    #[inline(always)]
    pub(super) const fn knocks(&self) -> bool {
        let flags = self.transport.tcp_flags as u8;
        match self.transport.proto {
            Proto::Udp => true,
            Proto::Tcp => flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST) == tcp_flag::SYN,
        }
    }

    /// Whether it is a segment that breaks a connection off.
    #[inline(always)]
    pub(super) const fn is_reset(&self) -> bool {
        self.transport.tcp_flags as u8 & tcp_flag::RST != 0
    }

    /// Whether its source is no host's, or the VIP itself.
    #[inline(always)]
    pub(super) fn is_martian(&self) -> bool {
        self.network.src.is_martian() || self.network.src == self.network.dst
    }
}
