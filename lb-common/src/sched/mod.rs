//! Which real server takes a new connection: the schedulers of LVS, decision for decision.
//!
//! The rules are generic over [`Pool`], so that the XDP program, the host model of the data plane, `lbctl explain`
//! and `lbctl simulate` run the very same code. What a scheduler needs beyond the members and their loads
//! is laid out by user space in words of `SLOTS`; the module that reads a layout describes it.

mod choice;
mod cycle;
mod fallback;
pub mod hash;
mod hashed;
mod heaviest;
mod least;
mod locality;
mod pool;
mod rr;
mod scan;
pub mod threshold;
mod twos;
mod wrr;

pub use choice::Choice;
pub use cycle::{Cycle, Segment};
pub use fallback::fallback;
pub use hashed::BUCKETS;
pub use least::{expected, overhead};
pub use pool::{CHUNK, Lists, NOBODY, Pool, Step};

use crate::net::{Address, Flow};

macro_rules! schedulers {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal $label:literal;)+) => {
        /// A scheduler. The discriminant is its number in [`Plan::scheduler`](crate::abi::Plan::scheduler).
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Scheduler {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Scheduler {
            /// Every scheduler.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name that `ipvsadm -s` takes.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }

            /// The scheduler of a number in a map.
            #[inline(always)]
            pub const fn from_number(n: u8) -> Option<Self> {
                match n {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

schedulers! {
    /// Round robin: each in its turn.
    Rr = 1 "rr";
    /// Weighted round robin: in bursts, heaviest first.
    Wrr = 2 "wrr";
    /// Least connections.
    Lc = 3 "lc";
    /// Least connections for their weight.
    Wlc = 4 "wlc";
    /// Shortest expected delay.
    Sed = 5 "sed";
    /// Never queue: an idle one first, else the shortest expected delay.
    Nq = 6 "nq";
    /// Source hashing.
    Sh = 7 "sh";
    /// Destination hashing.
    Dh = 8 "dh";
    /// Locality-based least connections: a destination stays with its real server.
    Lblc = 9 "lblc";
    /// Locality-based least connections with replication: a destination has a set of real servers.
    Lblcr = 10 "lblcr";
    /// Maglev hashing.
    Mh = 11 "mh";
    /// Weighted failover: the heaviest one that is there.
    Fo = 12 "fo";
    /// Weighted overflow: the heaviest one until it has more connections than its weight.
    Ovf = 13 "ovf";
    /// The less loaded of two random ones.
    Twos = 14 "twos";
}

impl Scheduler {
    /// The scheduler of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.name() == name)
    }
}

/// What a choice may depend on besides the real servers: addresses and ports in host order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Request {
    /// The client's address; of an IPv6 address the exclusive or of its four words.
    pub client: u32,
    /// The destination address, folded likewise.
    pub destination: u32,
    /// The client's port.
    pub client_port: u16,
}

impl<A: Address> From<&Flow<A>> for Request {
    #[inline(always)]
    fn from(flow: &Flow<A>) -> Self {
        Self {
            client: flow.client.folded().to_host(),
            destination: flow.vip.folded().to_host(),
            client_port: flow.client_port.to_host(),
        }
    }
}

/// Chooses the real server for a new connection; `None` when there is none to take it.
#[inline(always)]
pub fn choose<P: Pool>(pool: &P, request: &Request) -> Option<Choice> {
    choose_as(
        Scheduler::from_number(pool.plan().scheduler)?,
        pool,
        request,
    )
}

/// Chooses as a scheduler does, whose tables the plan must have.
#[inline(always)]
pub fn choose_as<P: Pool>(scheduler: Scheduler, pool: &P, request: &Request) -> Option<Choice> {
    match scheduler {
        Scheduler::Rr => rr::choose(pool),
        Scheduler::Wrr => wrr::choose(pool),
        Scheduler::Lc => least::choose(pool, least::Lc),
        Scheduler::Wlc => least::choose(pool, least::Wlc),
        Scheduler::Sed => least::choose(pool, least::Sed),
        Scheduler::Nq => least::choose(pool, least::Nq),
        Scheduler::Sh => hashed::sh(pool, request),
        Scheduler::Dh => hashed::dh(pool, request),
        Scheduler::Lblc => locality::lblc(pool),
        Scheduler::Lblcr => locality::lblcr(pool),
        Scheduler::Mh => hashed::mh(pool, request),
        Scheduler::Fo => heaviest::fo(pool),
        Scheduler::Ovf => heaviest::ovf(pool),
        Scheduler::Twos => twos::choose(pool),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_their_scheduler() {
        for &s in Scheduler::ALL {
            assert_eq!(Scheduler::from_name(s.name()), Some(s));
            assert_eq!(Scheduler::from_number(s as u8), Some(s));
        }
        assert_eq!(Scheduler::from_number(0), None);
        assert_eq!(Scheduler::from_name(""), None);
    }
}
