//! fo, ovf: the real server with the highest weight.

use super::choice::{Choice, Found};
use super::pool::Pool;
use super::scan::{self, Visit};
use crate::abi::{Load, Member};

/// Failover: the heaviest available one.
#[inline(always)]
pub(super) fn fo<P: Pool>(pool: &P) -> Option<Choice> {
    #[derive(Clone, Copy)]
    struct Fo(Heaviest);
    impl Visit for Fo {
        #[inline(always)]
        fn visit(&mut self, index: u32, member: Member, _load: Load) -> bool {
            self.0.offer(index, member);
            true
        }
    }
    scan::available(pool, Fo(Heaviest::NONE)).0.found.get()
}

/// Overflow: the heaviest one that has no more active connections than its weight: so one that is as full as its
/// weight takes one more. None when all are full.
#[inline(always)]
pub(super) fn ovf<P: Pool>(pool: &P) -> Option<Choice> {
    #[derive(Clone, Copy)]
    struct Ovf(Heaviest);
    impl Visit for Ovf {
        #[inline(always)]
        fn visit(&mut self, index: u32, member: Member, load: Load) -> bool {
            if load.active() <= u32::from(member.weight) {
                self.0.offer(index, member);
            }
            true
        }
    }
    scan::available(pool, Ovf(Heaviest::NONE)).0.found.get()
}

/// The heaviest one seen so far.
#[derive(Clone, Copy)]
struct Heaviest {
    weight: u16,
    found: Found,
}

impl Heaviest {
    const NONE: Self = Self {
        weight: 0,
        found: Found::NONE,
    };

    /// Of equals the first stays.
    #[inline(always)]
    fn offer(&mut self, index: u32, member: Member) {
        if member.weight > self.weight {
            self.weight = member.weight;
            self.found.set(index, member);
        }
    }
}
