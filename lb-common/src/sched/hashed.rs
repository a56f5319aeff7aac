//! sh, dh, mh: the real server that a hash of an address leads to.

use super::Request;
use super::choice::{Choice, Found};
use super::hash::{MH_FIRST, bucket, mh_hash};
use super::pool::{Lists, Pool, Step};
use super::scan::{self, Visit};
use crate::abi::{Load, Member, service};

/// Buckets of sh and dh.
pub const BUCKETS: u32 = 256;

/// By destination address. No other one is tried.
#[inline(always)]
pub(super) fn dh<P: Pool>(pool: &P, request: &Request) -> Option<Choice> {
    in_bucket(pool, bucket(request.destination))
}

/// By client address, and its port with `sh-port`; others are tried with `sh-fallback`.
#[inline(always)]
pub(super) fn sh<P: Pool>(pool: &P, request: &Request) -> Option<Choice> {
    let flags = pool.plan().flags;
    let home = bucket(client_key(request, flags & service::SH_PORT != 0));
    let first = in_bucket(pool, home);
    if first.is_some() || flags & service::SH_FALLBACK == 0 {
        return first;
    }
    // The kernel adds the hash to the offset and then again to the sum: it starts from twice the home bucket.
    let search = BucketSearch {
        bucket: 2 * home,
        found: Found::NONE,
    };
    pool.repeat(BUCKETS, search).found.get()
}

#[derive(Clone, Copy)]
struct BucketSearch {
    bucket: u32,
    found: Found,
}

impl<P: Pool> Step<P> for BucketSearch {
    #[inline(always)]
    fn step(&mut self, pool: &P, _round: u32) -> bool {
        self.found = Found::from(in_bucket(pool, self.bucket % BUCKETS));
        self.bucket += 1;
        !self.found.is_some()
    }
}

#[inline(always)]
fn in_bucket<P: Pool>(pool: &P, bucket: u32) -> Option<Choice> {
    let plan = pool.plan();
    if plan.eligible_len == 0 {
        return None;
    }
    if_available(pool, pool.slot(plan.slots_off, bucket))
}

/// Maglev, by client address, and its port with `mh-port`; others are tried with `mh-fallback`.
///
/// The table begins with a word that holds the number of its slots.
#[inline(always)]
pub(super) fn mh<P: Pool>(pool: &P, request: &Request) -> Option<Choice> {
    let plan = pool.plan();
    let size = pool.word(plan.slots_off) as u32;
    if plan.eligible_len == 0 || size == 0 {
        return None;
    }
    let key = client_key(request, plan.flags & service::MH_PORT != 0);
    let home = mh_hash(MH_FIRST, key) % size;
    let first = in_table(pool, home);
    if first.is_some() || plan.flags & service::MH_FALLBACK == 0 {
        return first;
    }
    // The whole table is hashed through when nobody is left, so make sure that somebody is.
    if !scan::available(pool, Any(false)).0 {
        return None;
    }
    let search = TableSearch {
        size,
        key,
        offset: home,
        found: Found::NONE,
    };
    pool.repeat(size, search).found.get()
}

#[derive(Clone, Copy)]
struct TableSearch {
    size: u32,
    key: u32,
    offset: u32,
    found: Found,
}

impl<P: Pool> Step<P> for TableSearch {
    #[inline(always)]
    fn step(&mut self, pool: &P, _round: u32) -> bool {
        let place = mh_hash(MH_FIRST, self.key.wrapping_add(self.offset)) % self.size.max(1);
        self.found = Found::from(in_table(pool, place));
        self.offset += 1;
        if self.offset >= self.size {
            self.offset = 0;
        }
        !self.found.is_some()
    }
}

/// Whether any member is available.
#[derive(Clone, Copy)]
struct Any(bool);

impl Visit for Any {
    #[inline(always)]
    fn visit(&mut self, _index: u32, _member: Member, _load: Load) -> bool {
        self.0 = true;
        false
    }
}

#[inline(always)]
fn in_table<P: Pool>(pool: &P, place: u32) -> Option<Choice> {
    if_available(
        pool,
        pool.slot(pool.plan().slots_off.wrapping_add(1), place),
    )
}

#[inline(always)]
fn if_available<P: Pool>(pool: &P, index: u32) -> Option<Choice> {
    let lists = pool.lists()?;
    let member = lists.member(index);
    let available = member.weight > 0 && !lists.load(member.real).overloaded();
    available.then_some(Choice::of(index, member))
}

/// The client as the hashes take it.
#[inline(always)]
fn client_key(request: &Request, with_port: bool) -> u32 {
    let port = if with_port { request.client_port } else { 0 };
    request.client.wrapping_add(u32::from(port))
}
