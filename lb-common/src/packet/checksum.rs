//! How do Internet checksums change when a field changes?
//!
//! Ones' complement sums do not care about byte order as long as all words are read the same way, so everything
//! here adds words as they stand in the packet. 2^16 is 1 modulo 0xffff, so a 32-bit word adds the same as its two halves.

/// A ones' complement sum that has not been folded to 16 bits yet.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The sum that a checksum field stands for.
    #[inline(always)]
    pub const fn of_checksum(checksum: u16) -> Self {
        Self(!checksum as u64)
    }

    /// Adds a word.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, word: u32) -> Self {
        Self(self.0 + word as u64)
    }

    /// Replaces a word that is in the sum (RFC 1624, equation 3).
    #[inline(always)]
    #[must_use]
    pub const fn replace(self, old: u32, new: u32) -> Self {
        self.add(!old).add(new)
    }

    /// Adds the words of another sum.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, words: Self) -> Self {
        Self(self.0 + words.0)
    }

    /// Takes away words that are in the sum.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, words: Self) -> Self {
        self.add(words.checksum() as u32)
    }

    /// Replaces a 16-bit word that is in the sum.
    #[inline(always)]
    #[must_use]
    pub const fn replace16(self, old: u16, new: u16) -> Self {
        self.add(!old as u32).add(new as u32)
    }

    /// Counts the TTL down: in the packet it is the first byte of a word, so on a little-endian machine the word
    /// falls by 1, and on a big-endian one by 256.
    #[inline(always)]
    #[must_use]
    pub const fn ttl_decremented(self) -> Self {
        self.add(!u16::from_ne_bytes([1, 0]) as u32)
    }

    /// The checksum field for the sum.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        // At most a few hundred words are added, so the first fold leaves 33 bits or fewer, the second 18, the third 16 and a carry.
        let s = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let s = (s & 0xffff) + ((s >> 16) & 0xffff) + (s >> 32);
        let s = (s & 0xffff) + (s >> 16);
        let s = (s & 0xffff) + (s >> 16);
        !(s as u16)
    }
}

/// The checksum of `bytes`, from scratch; an odd last byte counts as if a zero followed.
pub fn of_bytes(sum: Sum, bytes: &[u8]) -> u16 {
    let mut sum = sum;
    let mut words = bytes.chunks_exact(2);
    for w in &mut words {
        sum = sum.add(u16::from_ne_bytes([w[0], w[1]]).into());
    }
    if let [last] = words.remainder() {
        sum = sum.add(u16::from_ne_bytes([*last, 0]).into());
    }
    sum.checksum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(
            of_bytes(Sum::default(), &bytes),
            !u16::from_ne_bytes([0xdd, 0xf2])
        );
    }

    #[test]
    fn the_corner_case_of_rfc_1624() {
        // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285, and equation 2 would give 0xffff.
        let sum = Sum::of_checksum(0xdd2f).replace16(0x5555, 0x3285);
        assert_eq!(sum.checksum(), 0x0000);
    }

    proptest! {
        #[test]
        fn replacing_a_word_is_summing_anew(mut words in proptest::collection::vec(any::<u32>(), 2..40), new: u32, at: prop::sample::Index) {
            words[0] |= 1; // A sum of only zeros has two names.
            let old_sum = words.iter().fold(Sum::default(), |s, w| s.add(*w));
            let at = 1 + at.index(words.len() - 1);
            let replaced = Sum::of_checksum(old_sum.checksum()).replace(words[at], new);
            words[at] = new;
            let anew = words.iter().fold(Sum::default(), |s, w| s.add(*w));
            prop_assert_eq!(replaced.checksum(), anew.checksum());
        }

        #[test]
        fn counting_down_the_ttl_is_summing_anew(ttl in 1u8.., proto: u8, other in 1u16..) {
            let sum = |ttl| Sum::default().add(u16::from_ne_bytes([ttl, proto]).into()).add(other.into());
            let down = Sum::of_checksum(sum(ttl).checksum()).ttl_decremented();
            prop_assert_eq!(down.checksum(), sum(ttl - 1).checksum());
        }
    }
}
