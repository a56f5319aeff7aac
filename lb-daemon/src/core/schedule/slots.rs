//! How are 16-bit slots packed into the words of `SLOTS`?

/// Four slots to a word, the first in the low bits.
pub(super) fn pack(slots: &[u16]) -> Vec<u64> {
    slots
        .chunks(4)
        .map(|four| {
            four.iter()
                .rev()
                .fold(0, |word, &slot| word << 16 | u64::from(slot))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_packed_from_the_low_end() {
        assert_eq!(pack(&[1, 2, 3, 4, 5]), [0x0004_0003_0002_0001, 5]);
        assert!(pack(&[]).is_empty());
    }
}
