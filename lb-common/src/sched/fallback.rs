//! Who takes a packet of a flow that has no entry, because the connection table had no place for it.

use super::choice::Choice;
use super::pool::{Lists, Pool};

/// The member that every packet with this hash goes to, by the plan's small Maglev table.
///
/// It takes no account of loads: what matters is that all packets of a flow, on any CPU and on either director, go to
/// the same real server.
#[inline(always)]
pub fn fallback<P: Pool>(pool: &P, hash: u32) -> Option<Choice> {
    let plan = pool.plan();
    if plan.fallback_len == 0 {
        return None;
    }
    let index = pool.slot(plan.fallback_off, hash % plan.fallback_len);
    Some(Choice::of(index, pool.lists()?.member(index)))
}
