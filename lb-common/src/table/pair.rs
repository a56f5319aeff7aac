//! How do a flow's two addresses lie in the table?

use core::fmt::Debug;

use crate::atomic::{Atoms, Word};
use crate::net::{Address, Be32, Be128};

/// A family of addresses whose flows the table can hold.
pub trait Recorded: Address {
    /// The client's and the virtual address, as words that are compared.
    type Pair: Copy + PartialEq + Eq + Debug;

    /// The words in a table.
    type Cells<A: Atoms>;

    /// A client's and a virtual address.
    fn pair(client: Self, vip: Self) -> Self::Pair;

    /// The client's address.
    fn client(pair: Self::Pair) -> Self;

    /// The virtual address.
    fn vip(pair: Self::Pair) -> Self;

    /// Zero if two pairs are the same, and nothing else.
    fn difference(one: Self::Pair, other: Self::Pair) -> u32;

    /// Zero if a pair is this client's, and nothing else.
    fn client_difference(pair: Self::Pair, client: Self) -> u32;

    /// Whether two pairs are the same.
    fn is_same(one: Self::Pair, other: Self::Pair) -> bool;

    /// Words of no flow.
    fn empty<A: Atoms>() -> Self::Cells<A>;

    /// Reads a pair, which may be changing meanwhile.
    fn load<A: Atoms>(cells: &Self::Cells<A>) -> Self::Pair;

    /// Writes a pair.
    fn store<A: Atoms>(cells: &Self::Cells<A>, pair: Self::Pair);
}

/// One word: the client's address in the low half, the virtual one in the high half.
impl Recorded for Be32 {
    type Pair = u64;
    type Cells<A: Atoms> = A::U64;

    #[inline(always)]
    fn pair(client: Self, vip: Self) -> u64 {
        u64::from(client.0) | u64::from(vip.0) << 32
    }

    #[inline(always)]
    fn client(pair: u64) -> Self {
        Self(pair as u32)
    }

    #[inline(always)]
    fn vip(pair: u64) -> Self {
        Self((pair >> 32) as u32)
    }

    #[inline(always)]
    fn difference(one: u64, other: u64) -> u32 {
        let differ = one ^ other;
        differ as u32 | (differ >> 32) as u32
    }

    #[inline(always)]
    fn client_difference(pair: u64, client: Self) -> u32 {
        pair as u32 ^ client.0
    }

    #[inline(always)]
    fn is_same(one: u64, other: u64) -> bool {
        one == other
    }

    fn empty<A: Atoms>() -> A::U64 {
        A::U64::new(0)
    }

    #[inline(always)]
    fn load<A: Atoms>(cells: &A::U64) -> u64 {
        cells.load()
    }

    #[inline(always)]
    fn store<A: Atoms>(cells: &A::U64, pair: u64) {
        cells.store(pair);
    }
}

/// Four words: the halves of the client's address, and those of the virtual one.
impl Recorded for Be128 {
    type Pair = [u64; 4];
    type Cells<A: Atoms> = [A::U64; 4];

    #[inline(always)]
    fn pair(client: Self, vip: Self) -> [u64; 4] {
        let ([a, b], [c, d]) = (client.halves(), vip.halves());
        [a, b, c, d]
    }

    #[inline(always)]
    fn client([a, b, ..]: [u64; 4]) -> Self {
        Self::from_halves([a, b])
    }

    #[inline(always)]
    fn vip([.., c, d]: [u64; 4]) -> Self {
        Self::from_halves([c, d])
    }

    #[inline(always)]
    fn difference([a, b, c, d]: [u64; 4], [e, f, g, h]: [u64; 4]) -> u32 {
        let differ = a ^ e | b ^ f | c ^ g | d ^ h;
        differ as u32 | (differ >> 32) as u32
    }

    #[inline(always)]
    fn client_difference([a, b, ..]: [u64; 4], client: Self) -> u32 {
        let [c, d] = client.halves();
        let differ = a ^ c | b ^ d;
        differ as u32 | (differ >> 32) as u32
    }

    #[inline(always)]
    fn is_same(one: [u64; 4], other: [u64; 4]) -> bool {
        Self::difference(one, other) == 0
    }

    fn empty<A: Atoms>() -> [A::U64; 4] {
        core::array::from_fn(|_| A::U64::new(0))
    }

    #[inline(always)]
    fn load<A: Atoms>([a, b, c, d]: &[A::U64; 4]) -> [u64; 4] {
        [a.load(), b.load(), c.load(), d.load()]
    }

    #[inline(always)]
    fn store<A: Atoms>(cells: &[A::U64; 4], pair: [u64; 4]) {
        let ([a, b, c, d], [e, f, g, h]) = (cells, pair);
        a.store(e);
        b.store(f);
        c.store(g);
        d.store(h);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::Host;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pair_of_ipv6_is_told_from_another_by_any_bit(client: u128, vip: u128, bit in 0u32..256) {
            let (client, vip) = (Be128::from_bits(client), Be128::from_bits(vip));
            let pair = Be128::pair(client, vip);
            prop_assert_eq!((Be128::client(pair), Be128::vip(pair)), (client, vip));
            prop_assert!(Be128::is_same(pair, pair));

            let mut other = pair;
            other[bit as usize / 64] ^= 1u64 << (bit % 64);
            prop_assert!(!Be128::is_same(pair, other));
            prop_assert_eq!(Be128::client_difference(other, client) == 0, bit >= 128);

            let cells = Be128::empty::<Host>();
            Be128::store::<Host>(&cells, other);
            prop_assert_eq!(Be128::load::<Host>(&cells), other);
        }
    }
}
