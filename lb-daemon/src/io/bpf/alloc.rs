//! Which places of a map are free?

use std::collections::BTreeMap;

/// Single places of an array, lowest first.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Vec<u64>,
    len: u32,
    used: u32,
}

impl Places {
    /// `len` places, all free.
    pub(super) fn new(len: u32) -> Self {
        Self {
            taken: vec![0; len.div_ceil(64) as usize],
            len,
            used: 0,
        }
    }

    /// How many places there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// How many of them are taken.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Takes the first free place.
    pub(super) fn take(&mut self) -> Option<u32> {
        let (index, word) = self
            .taken
            .iter()
            .enumerate()
            .find(|(_, word)| **word != u64::MAX)?;
        let place = u32::try_from(index * 64).ok()? + word.trailing_ones();
        self.mark(place).then_some(place)
    }

    /// Takes a certain place; whether it was there and free.
    pub(super) fn mark(&mut self, place: u32) -> bool {
        let Some((word, bit)) = self.bit(place) else {
            return false;
        };
        let free = *word & bit == 0;
        *word |= bit;
        self.used += u32::from(free);
        free
    }

    /// Gives a place back.
    pub(super) fn free(&mut self, place: u32) {
        if let Some((word, bit)) = self.bit(place) {
            let taken = *word & bit != 0;
            *word &= !bit;
            self.used -= u32::from(taken);
        }
    }

    fn bit(&mut self, place: u32) -> Option<(&mut u64, u64)> {
        if place >= self.len {
            return None;
        }
        Some((self.taken.get_mut(place as usize / 64)?, 1 << (place % 64)))
    }
}

/// Runs of places that lie side by side.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// Free runs: start to length. No two touch.
    free: BTreeMap<u32, u32>,
}

/// A run of places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Its first place.
    pub start: u32,
    /// How many places.
    pub len: u32,
}

impl Blocks {
    /// `len` places, all free.
    pub(super) fn new(len: u32) -> Self {
        Self {
            free: BTreeMap::from([(0, len)]),
        }
    }

    /// Takes a run: of all that are long enough, the shortest. A run of nothing always is at hand.
    pub(super) fn take(&mut self, len: u32) -> Option<Block> {
        if len == 0 {
            return Some(Block::default());
        }
        let best = self
            .free
            .iter()
            .filter(|(_, free)| **free >= len)
            .min_by_key(|(_, free)| **free);
        let (&start, _) = best?;
        self.mark(Block { start, len })
            .then_some(Block { start, len })
    }

    /// Takes a certain run; whether all of it was free.
    pub(super) fn mark(&mut self, block: Block) -> bool {
        let Some(end) = block.start.checked_add(block.len) else {
            return false;
        };
        if block.len == 0 {
            return true;
        }
        let Some((&start, &len)) = self.free.range(..=block.start).next_back() else {
            return false;
        };
        if start + len < end {
            return false;
        }
        self.free.remove(&start);
        if start < block.start {
            self.free.insert(start, block.start - start);
        }
        if end < start + len {
            self.free.insert(end, start + len - end);
        }
        true
    }

    /// Gives a run back that was taken.
    pub(super) fn free(&mut self, block: Block) {
        if block.len == 0 {
            return;
        }
        let (mut start, mut end) = (block.start, block.start + block.len);
        if let Some((&before, &len)) = self.free.range(..start).next_back()
            && before + len == start
        {
            self.free.remove(&before);
            start = before;
        }
        if let Some(len) = self.free.remove(&end) {
            end += len;
        }
        self.free.insert(start, end - start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_given_lowest_first_and_again_when_free() {
        let mut places = Places::new(70);
        let all: Vec<u32> = std::iter::from_fn(|| places.take()).collect();
        assert_eq!(all, (0..70).collect::<Vec<_>>());
        assert_eq!((places.used(), places.len()), (70, 70));
        places.free(65);
        places.free(3);
        places.free(3);
        assert_eq!(places.used(), 68);
        assert_eq!(
            (places.take(), places.take(), places.take()),
            (Some(3), Some(65), None)
        );
    }

    #[test]
    fn a_place_is_marked_once_and_only_if_it_exists() {
        let mut places = Places::new(10);
        assert!(places.mark(4));
        assert!(!places.mark(4));
        assert!(!places.mark(10));
    }

    #[test]
    fn freed_blocks_grow_together() {
        let mut blocks = Blocks::new(100);
        let parts: Vec<Block> = (0..4).map(|_| blocks.take(25).unwrap()).collect();
        assert_eq!(blocks.take(1), None);
        for i in [0, 2, 1, 3] {
            blocks.free(parts[i]);
        }
        assert_eq!(blocks.take(100), Some(Block { start: 0, len: 100 }));
        assert_eq!(blocks.take(0), Some(Block::default()));
    }

    #[test]
    fn the_tightest_gap_is_taken() {
        let mut blocks = Blocks::new(100);
        assert!(blocks.mark(Block { start: 10, len: 20 }));
        assert!(!blocks.mark(Block { start: 29, len: 2 }));
        assert!(!blocks.mark(Block { start: 99, len: 2 }));
        assert!(!blocks.mark(Block {
            start: u32::MAX,
            len: 2
        }));
        assert_eq!(blocks.take(10), Some(Block { start: 0, len: 10 }));
    }

    proptest! {
        #[test]
        fn no_place_is_in_two_blocks(steps in prop::collection::vec((0u32..20, any::<prop::sample::Index>()), 1..200)) {
            let mut blocks = Blocks::new(64);
            let mut held: Vec<Block> = Vec::new();
            for (len, which) in steps {
                match blocks.take(len) {
                    Some(block) => held.push(block),
                    None => {
                        let block = held.swap_remove(which.index(held.len()));
                        blocks.free(block);
                    }
                }
                let mut seen = [false; 64];
                for place in held.iter().flat_map(|b| b.start..b.start + b.len) {
                    prop_assert!(!std::mem::replace(&mut seen[place as usize], true));
                }
            }
            held.drain(..).for_each(|b| blocks.free(b));
            let all = Block { start: 0, len: 64 };
            prop_assert!(blocks.mark(all));
        }
    }
}
