//! lc, wlc, sed, nq: the real server with the least load.

use super::choice::Choice;
use super::pool::Pool;
use super::scan::{self, Least, Visit};
use crate::abi::{Load, Member};

/// How much more an active connection weighs than an inactive one. With 255 an active one counts 256 times, as in
/// every stock kernel up to 2025; later stable trees make it 256 (and so 257 times).
const ACTIVE_EXTRA: u64 = 255;

/// The load that lc and wlc compare: 256 for each active connection, 1 for each inactive one.
#[inline(always)]
pub const fn overhead(load: Load) -> u64 {
    load.active() as u64 * ACTIVE_EXTRA + load.total() as u64
}

/// The load that sed and nq compare: what the active connections would be with this one.
#[inline(always)]
pub const fn expected(load: Load) -> u64 {
    load.active() as u64 + 1
}

/// Least connections, whatever the weights.
#[inline(always)]
pub(super) fn lc<P: Pool>(pool: &P) -> Option<Choice> {
    #[derive(Clone, Copy)]
    struct Lc(Least);
    impl Visit for Lc {
        #[inline(always)]
        fn visit(&mut self, index: u32, member: Member, load: Load) -> bool {
            self.0.offer(index, member, 1, overhead(load));
            true
        }
    }
    scan::available(pool, Lc(Least::NONE)).0.choice()
}

/// Least connections for their weight.
#[inline(always)]
pub(super) fn wlc<P: Pool>(pool: &P) -> Option<Choice> {
    #[derive(Clone, Copy)]
    struct Wlc(Least);
    impl Visit for Wlc {
        #[inline(always)]
        fn visit(&mut self, index: u32, member: Member, load: Load) -> bool {
            self.0
                .offer(index, member, member.weight.into(), overhead(load));
            true
        }
    }
    scan::available(pool, Wlc(Least::NONE)).0.choice()
}

/// The shortest expected delay: active connections with this one, for their weight.
#[inline(always)]
pub(super) fn sed<P: Pool>(pool: &P) -> Option<Choice> {
    #[derive(Clone, Copy)]
    struct Sed(Least);
    impl Visit for Sed {
        #[inline(always)]
        fn visit(&mut self, index: u32, member: Member, load: Load) -> bool {
            self.0
                .offer(index, member, member.weight.into(), expected(load));
            true
        }
    }
    scan::available(pool, Sed(Least::NONE)).0.choice()
}

/// Never queue: the first idle one whatever its weight, else as sed.
#[inline(always)]
pub(super) fn nq<P: Pool>(pool: &P) -> Option<Choice> {
    #[derive(Clone, Copy)]
    struct Nq(Least);
    impl Visit for Nq {
        #[inline(always)]
        fn visit(&mut self, index: u32, member: Member, load: Load) -> bool {
            if load.active() == 0 {
                self.0 = Least::NONE;
            }
            self.0
                .offer(index, member, member.weight.into(), expected(load));
            load.active() != 0
        }
    }
    scan::available(pool, Nq(Least::NONE)).0.choice()
}
