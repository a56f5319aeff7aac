//! Memory that the daemon shares with the running program: arrays of 64-bit words.
//!
//! All `unsafe` of memory-mapped maps is here. Everything else reads and writes whole words, atomically.
//! A region backed by ordinary memory behaves the same, so the rules above it are tested without a kernel.

#![expect(
    unsafe_code,
    reason = "memory that a BPF program changes meanwhile can only be reached through pointers"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::abi::{Generation, Member, OwnMacs, Plan, Real, Settings, Timeouts};
use lb_common::atomic::Host;
use lb_common::table::{Bucket, Recorded};
use memmap2::{MmapMut, MmapOptions, MmapRaw};

/// An array of entries of whole words, shared with a running program.
#[derive(Debug)]
pub(super) struct Region {
    memory: MmapRaw,
    entries: u32,
    words: usize,
}

impl Region {
    /// Maps the values of a memory-mappable BPF array: `entries` values of `value_size` bytes.
    pub(super) fn of_map(map: impl AsFd, entries: u32, value_size: u32) -> io::Result<Self> {
        let words = words_of(value_size);
        // An array map refuses a mapping larger than its values, rounded up to pages.
        let memory = MmapOptions::new()
            .len(bytes(entries, words)?)
            .map_raw(map.as_fd().as_raw_fd())?;
        Ok(Self {
            memory,
            entries,
            words,
        })
    }

    /// Ordinary memory of the same form, all zero.
    pub(super) fn in_memory(entries: u32, value_size: u32) -> io::Result<Self> {
        let words = words_of(value_size);
        let memory = MmapRaw::from(MmapMut::map_anon(bytes(entries, words)?)?);
        Ok(Self {
            memory,
            entries,
            words,
        })
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> u32 {
        self.entries
    }

    /// The words of one entry; `None` beyond the end.
    pub(super) fn entry(&self, index: u32) -> Option<&[AtomicU64]> {
        self.words(index as usize * self.words, self.words)
    }

    /// One word, counted from the start of the region; `None` beyond the end.
    pub(super) fn word(&self, at: u32) -> Option<&AtomicU64> {
        self.words(at as usize, 1)?.first()
    }

    /// A run of words, counted from the start of the region; `None` when it does not lie within.
    pub(super) fn words(&self, from: usize, len: usize) -> Option<&[AtomicU64]> {
        let all = self.entries as usize * self.words;
        if from.checked_add(len)? > all {
            return None;
        }
        // SAFETY: the mapping holds `entries * words` words (its length was computed from them, and the kernel
        // refuses to map beyond a map's values), `from + len` does not exceed that (checked above), and it begins
        // at a page. It lives as long as `self`. Everybody, this process and the BPF program alike, changes the
        // memory by atomic operations or plain word stores of the machine, and here it is only seen as atomics.
        Some(unsafe {
            std::slice::from_raw_parts(self.memory.as_mut_ptr().cast::<AtomicU64>().add(from), len)
        })
    }
}

/// A connection table.
impl Region {
    /// The bucket of an index; `None` past the end, and if the entries are no buckets.
    pub(super) fn bucket<A: Recorded>(&self, index: u32) -> Option<&Bucket<Host, A>> {
        let words = self.entry(index)?;
        if size_of_val(words) != size_of::<Bucket<Host, A>>() {
            return None;
        }
        // SAFETY: the entry is as large as a bucket (checked above), and as aligned: the mapping begins at a page, and
        // a bucket's size is a multiple of its alignment. A bucket is atomics only, and every pattern of bits is one.
        Some(unsafe { &*words.as_ptr().cast::<Bucket<Host, A>>() })
    }
}

/// A value of a map that can be taken apart into words and put together again.
///
/// # Safety
///
/// The type is `repr(C)`, has no implicit padding, and every pattern of bits is a value of it.
pub(super) unsafe trait Record: Copy {}

// SAFETY: integers and arrays of them only, padding is explicit, and lb-common asserts the sizes.
unsafe impl Record for Settings {}
// SAFETY: as above.
unsafe impl Record for Generation {}
// SAFETY: as above.
unsafe impl Record for Plan {}
// SAFETY: as above.
unsafe impl Record for Member {}
// SAFETY: as above.
unsafe impl Record for Real {}
// SAFETY: as above.
unsafe impl Record for Timeouts {}
// SAFETY: as above.
unsafe impl Record for OwnMacs {}

/// Puts a record together from words, each read atomically. `None` when they are too few.
///
/// The record as a whole is not read atomically: read what does not change meanwhile, or words that may.
pub(super) fn load<T: Record>(words: &[AtomicU64]) -> Option<T> {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    let words = words.get(..size_of::<T>() / 8)?;
    let mut record = MaybeUninit::<T>::uninit();
    let to = record.as_mut_ptr().cast::<u64>();
    for (i, word) in words.iter().enumerate() {
        // SAFETY: `i` is below the number of words of `T`, so the write stays within `record`.
        unsafe { to.add(i).write_unaligned(word.load(Ordering::Acquire)) };
    }
    // SAFETY: every byte was written, and a `Record` has no invalid patterns.
    Some(unsafe { record.assume_init() })
}

/// The words of a record.
pub(super) fn words<T: Record>(record: &T) -> impl Iterator<Item = u64> + '_ {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    let from = std::ptr::from_ref(record).cast::<u64>();
    // SAFETY: `i` is below the number of words of `T`, all of whose bytes are initialised (no padding).
    (0..size_of::<T>() / 8).map(move |i| unsafe { from.add(i).read_unaligned() })
}

/// Array maps round the size of a value up to whole words.
const fn words_of(value_size: u32) -> usize {
    value_size.div_ceil(8) as usize
}

fn bytes(entries: u32, words: usize) -> io::Result<usize> {
    (entries as usize)
        .checked_mul(words * 8)
        .filter(|b| *b > 0)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such size"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::net::{Be32, Be128};
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn entries_are_whole_words_side_by_side() {
        let region = Region::in_memory(3, 12).unwrap();
        assert_eq!(region.entry(0).unwrap().len(), 2);
        region.entry(2).unwrap()[1].store(7, Relaxed);
        assert_eq!(region.words(5, 1).unwrap()[0].load(Relaxed), 7);
    }

    #[test]
    fn buckets_are_there_if_the_entries_have_their_size() {
        let table = Region::in_memory(4, 128).unwrap();
        assert!(table.bucket::<Be32>(3).is_some());
        assert!(table.bucket::<Be32>(4).is_none());
        assert!(table.bucket::<Be128>(0).is_none());
        assert!(
            Region::in_memory(4, 384)
                .unwrap()
                .bucket::<Be128>(3)
                .is_some()
        );
    }

    #[test]
    fn nothing_beyond_the_end_is_reached() {
        let region = Region::in_memory(3, 8).unwrap();
        assert!(region.entry(3).is_none());
        assert!(region.words(2, 2).is_none());
        assert!(region.words(usize::MAX, 2).is_none());
        assert!(region.words(3, 0).is_some());
    }

    #[test]
    fn a_record_comes_back_as_it_was_stored() {
        let real = Real {
            dst: 1,
            src: 2,
            service: 0xAABB_CCDD,
            lower: 9,
            proto: 17,
            ..Real::default()
        };
        let region = Region::in_memory(2, size_of::<Real>() as u32).unwrap();
        let entry = region.entry(1).unwrap();
        for (to, from) in entry.iter().zip(words(&real)) {
            to.store(from, Ordering::Relaxed);
        }
        assert_eq!(load::<Real>(entry), Some(real));
        assert_eq!(load::<Real>(&entry[1..]), None);
        assert_eq!(entry[0].load(Ordering::Relaxed), 1);
        assert_eq!(entry[3].load(Ordering::Relaxed) >> 32, 0xAABB_CCDD);
    }

    #[test]
    fn an_empty_region_is_refused() {
        assert!(Region::in_memory(0, 8).is_err());
    }
}
