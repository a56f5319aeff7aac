//! fo, ovf: the real server with the highest weight.

use super::Choice;
use super::pool::Pool;
use super::scan::{self, Visit};
use crate::abi::{Load, Member};

/// Failover: the heaviest available one.
#[inline(always)]
pub(super) fn fo<P: Pool>(pool: &P) -> Option<Choice> {
    struct Fo(Option<Choice>);
    impl Visit for Fo {
        #[inline(always)]
        fn visit(&mut self, index: u32, member: Member, _load: Load) -> bool {
            offer(&mut self.0, index, member);
            true
        }
    }
    scan::available(pool, Fo(None)).0
}

/// Overflow: the heaviest one that has no more active connections than its weight: so one that is as full as its
/// weight takes one more. None when all are full.
#[inline(always)]
pub(super) fn ovf<P: Pool>(pool: &P) -> Option<Choice> {
    struct Ovf(Option<Choice>);
    impl Visit for Ovf {
        #[inline(always)]
        fn visit(&mut self, index: u32, member: Member, load: Load) -> bool {
            if load.active() <= u32::from(member.weight) {
                offer(&mut self.0, index, member);
            }
            true
        }
    }
    scan::available(pool, Ovf(None)).0
}

/// Of equals the first stays.
#[inline(always)]
fn offer(best: &mut Option<Choice>, index: u32, member: Member) {
    if best.is_none_or(|b| u32::from(member.weight) > b.weight) {
        *best = Some(Choice::of(index, member));
    }
}
