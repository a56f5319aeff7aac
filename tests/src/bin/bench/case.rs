//! What is measured: the lines of the result.

use std::net::Ipv4Addr;
use std::ops::Range;

use lb_common::abi::Method;
use lb_common::counter::Counter;

use crate::frame::{self, DIRECTOR_MAC, ROUTER_MAC, Segment, real_mac};
use crate::kernel::CHUNK;
use crate::product::{NO_VIP, vip};
use crate::run::Run;

/// How many new flows one repetition brings.
pub(crate) const NEW: u32 = 8 * CHUNK;

/// A program and the packets that it gets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Case {
    /// The harness itself.
    Nothing,
    /// A frame that grows, so that the harness has to cut it.
    Grow,
    /// A program that swaps the MAC addresses.
    Floor,
    /// One look-up in the kernel's plain hash map and a MAC rewrite, of a frame that is taken on trust.
    Lookup,
    /// The same of a frame that is parsed first.
    Limit,
    /// The same with an insert, of a flow that is not in the map.
    LimitNew,
    /// The same of a packet to no service: it is not in the map and goes to the stack.
    LimitNoService,
    /// Ours, of an established connection.
    Established(Method),
    /// Ours, of a flow that is not in the table.
    New,
    /// Ours, of a packet to no service.
    NoService,
}

impl Case {
    /// What is shown, in this order.
    pub(crate) const SHOWN: [Self; 10] = [
        Self::Floor,
        Self::Lookup,
        Self::Limit,
        Self::LimitNew,
        Self::LimitNoService,
        Self::Established(Method::Dr),
        Self::Established(Method::Tun),
        Self::Established(Method::Nat),
        Self::New,
        Self::NoService,
    ];

    /// What a phase of the measurement interleaves.
    pub(crate) fn phase(method: Method) -> Vec<Self> {
        let ours = Self::Established(method);
        match method {
            Method::Dr => vec![
                Self::Nothing,
                Self::Floor,
                Self::Lookup,
                Self::Limit,
                ours,
                Self::LimitNew,
                Self::New,
                Self::LimitNoService,
                Self::NoService,
            ],
            Method::Tun => vec![Self::Nothing, Self::Grow, Self::Limit, ours],
            _ => vec![Self::Nothing, Self::Limit, ours],
        }
    }

    /// What the table calls it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Nothing => "harness",
            Self::Grow => "harness, and a frame that grows",
            Self::Floor => "floor: swap MACs, TX",
            Self::Lookup => "floor + hash look-up",
            Self::Limit => "limit: parse, hash look-up, MACs, TX",
            Self::LimitNew => "limit + insert, new flow",
            Self::LimitNoService => "limit, no service",
            Self::Established(Method::Tun) => "established, TUN",
            Self::Established(Method::Nat) => "established, NAT",
            Self::Established(_) => "established, DR",
            Self::New => "new flow, DR",
            Self::NoService => "no service",
        }
    }

    /// What JSON calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Grow => "grow",
            Self::Floor => "floor",
            Self::Lookup => "lookup",
            Self::Limit => "limit",
            Self::LimitNew => "limit_new",
            Self::LimitNoService => "limit_no_service",
            Self::Established(Method::Tun) => "established_tun",
            Self::Established(Method::Nat) => "established_nat",
            Self::Established(_) => "established_dr",
            Self::New => "new",
            Self::NoService => "no_service",
        }
    }

    /// What it is compared with.
    pub(crate) const fn yardstick(self) -> Option<Self> {
        match self {
            Self::Established(_) => Some(Self::Limit),
            Self::New => Some(Self::LimitNew),
            Self::NoService => Some(Self::LimitNoService),
            _ => None,
        }
    }

    /// The most that it may take, as a share of the yardstick.
    pub(crate) const fn target(self, flows: u32) -> Option<f64> {
        let many = flows >= 1_000_000;
        match (self, flows) {
            (Self::New, _) => Some(0.9),
            (Self::NoService, _) => Some(0.8),
            (Self::Established(_), 2..=999_999) => None,
            (Self::Established(Method::Tun), _) => Some(if many { 1.0 } else { 1.3 }),
            (Self::Established(Method::Nat), _) => Some(if many { 1.1 } else { 1.4 }),
            (Self::Established(_), _) => Some(if many { 0.9 } else { 1.0 }),
            _ => None,
        }
    }

    /// Whether the program is the balancer's; else the name of the one it is.
    pub(crate) const fn program(self) -> Option<&'static str> {
        match self {
            Self::Nothing => Some("nothing"),
            Self::Grow => Some("grow"),
            Self::Floor => Some("floor"),
            Self::Lookup => Some("lookup"),
            Self::Limit | Self::LimitNoService => Some("limit"),
            Self::LimitNew => Some("limit_insert"),
            Self::Established(_) | Self::New | Self::NoService => None,
        }
    }

    const fn is_new(self) -> bool {
        matches!(self, Self::New | Self::LimitNew)
    }

    /// Which flows it goes through, when there are so many.
    pub(crate) const fn flows(self, flows: u32) -> Range<u32> {
        if self.is_new() {
            flows..flows + NEW
        } else {
            0..flows
        }
    }

    /// How many packets a repetition has: each flow at least once, and enough for a figure.
    pub(crate) fn packets(self, flows: u32) -> u32 {
        if self.is_new() {
            4 * NEW
        } else {
            flows.max(64 * CHUNK).next_multiple_of(CHUNK)
        }
    }

    /// How ours must count the packets.
    pub(crate) const fn counter(self) -> Option<Counter> {
        match self {
            Self::Established(Method::Tun) => Some(Counter::ForwardedTun),
            Self::Established(Method::Nat) => Some(Counter::ForwardedNat),
            Self::Established(_) | Self::New => Some(Counter::ForwardedDr),
            Self::NoService => Some(Counter::PassNoService),
            _ => None,
        }
    }

    /// The packets, in a phase of a method.
    pub(crate) fn run(self, method: Method, flows: u32) -> Run {
        let none = matches!(self, Self::NoService | Self::LimitNoService);
        let to: Ipv4Addr = if none { NO_VIP } else { vip(method) };
        let segment = if self.is_new() {
            Segment::Syn
        } else {
            Segment::Ack
        };
        let mut run = frame::run(to, segment);
        let flows = self.flows(flows);
        (run.first_flow, run.flow, run.end_flow) = (flows.start, flows.start, flows.end);
        match self {
            Self::Nothing | Self::NoService | Self::LimitNoService => {
                frame::expect(&mut run, DIRECTOR_MAC, ROUTER_MAC, 0);
            }
            Self::Floor => frame::expect(&mut run, ROUTER_MAC, DIRECTOR_MAC, 0),
            // What stands in front of a frame that grew is anything.
            Self::Grow => run.want_longer = 20,
            Self::Lookup | Self::Limit | Self::LimitNew | Self::Established(_) | Self::New => {
                let longer = if self == Self::Established(Method::Tun) {
                    20
                } else {
                    0
                };
                frame::expect(&mut run, real_mac(0), DIRECTOR_MAC, longer);
            }
        }
        run
    }
}
