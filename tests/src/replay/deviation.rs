//! Where does the balancer differ from IPVS, and why?

use super::director::{Seen, Setup, real_name};
use super::recording::Fate;

/// A difference that was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Deviation {
    /// IPVS drops the packets of a removed real server's connections silently until they end. Here removing drains: they go
    /// on.
    RemovedDrains,
}

impl Deviation {
    /// Why it is so.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RemovedDrains => {
                "a removed real server's connections go on until they end; IPVS drops their packets"
            }
        }
    }

    /// The difference between where a packet went and where it was to go, if it is one that was decided on.
    pub fn of_packet(seen: Seen, expect: &Fate, setup: &Setup) -> Option<Self> {
        let Seen::Real(addr) = seen else { return None };
        let is_configured = setup
            .services
            .iter()
            .flat_map(|s| &s.reals)
            .any(|r| r.id == real_name(addr));
        let was_dropped = expect.reject.as_deref() == Some("silent");
        (was_dropped && !is_configured).then_some(Self::RemovedDrains)
    }
}
