//! Walks over all eligible members, a chunk of them in each round of the loop.

use super::pool::{CHUNK, Lists, Pool, Step};
use crate::abi::{Load, Member};

/// What a walk over the eligible members does with each of them that is not overloaded.
pub(super) trait Visit: Copy {
    /// Sees one member; `false` ends the walk.
    fn visit(&mut self, index: u32, member: Member, load: Load) -> bool;
}

/// Visits the eligible members that are not overloaded, newest first.
#[inline(always)]
pub(super) fn available<P: Pool, V: Visit>(pool: &P, visit: V) -> V {
    let len = pool.plan().eligible_len;
    pool.repeat(len.div_ceil(CHUNK), Walk { visit, len }).visit
}

#[derive(Clone, Copy)]
struct Walk<V> {
    visit: V,
    len: u32,
}

impl<P: Pool, V: Visit> Step<P> for Walk<V> {
    #[inline(always)]
    fn step(&mut self, pool: &P, round: u32) -> bool {
        let Some(lists) = pool.lists() else {
            return false;
        };
        // A copy stays in registers from member to member.
        let (mut visit, len) = (self.visit, self.len);
        let first = round * CHUNK;
        let mut goes_on = true;
        for i in 0..CHUNK {
            let index = first + i;
            if index >= len {
                goes_on = false;
                break;
            }
            let member = lists.member(index);
            let load = lists.load(member.real);
            if !load.overloaded() && !visit.visit(index, member, load) {
                goes_on = false;
                break;
            }
        }
        self.visit = visit;
        goes_on
    }
}
