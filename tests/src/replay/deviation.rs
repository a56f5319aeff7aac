//! Where does the balancer differ from IPVS, and why?

use super::director::{Packet, Seen, Setup, real_name};
use super::recording::{Fate, Match};

/// A difference that was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Deviation {
    /// IPVS drops the packets of a removed real server's connections until they end, and leaves those of a removed service
    /// to the director's stack, which resets them. Here removing drains: they go on.
    RemovedDrains,
}

impl Deviation {
    /// Why it is so.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RemovedDrains => {
                "connections of what was removed go on until they end; IPVS drops or resets them"
            }
        }
    }

    /// The difference between where a packet went and where it was to go, if it is one that was decided on.
    pub fn of_packet(packet: &Packet, seen: Seen, expect: &Fate, setup: &Setup) -> Option<Self> {
        let Seen::Real(addr) = seen else { return None };
        let serves = |l: &Match| {
            (l.vip, l.proto) == (packet.vip.ip(), packet.proto)
                && (l.port == packet.vip.port() || l.port == 0)
        };
        let is_configured = setup
            .services
            .iter()
            .filter(|s| s.listeners().iter().any(serves))
            .flat_map(|s| &s.reals)
            .any(|r| r.id == real_name(addr));
        let was_lost = expect.real.is_none() && expect.reject.is_some();
        (was_lost && !is_configured).then_some(Self::RemovedDrains)
    }
}
