//! The kernel's atomic instructions, as the words of `lb-common`.
//!
//! The BPF target offers no atomic read-modify-write in `core::sync::atomic`, but the compiler's own operations
//! become the instructions `lock`ed in the kernel. All of them are full barriers there.

use core::cell::UnsafeCell;
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};

use lb_common::atomic::{Atoms, Word};

const ORDER: AtomicOrdering = AtomicOrdering::SeqCst;

/// The atomic words of BPF programs.
pub(crate) struct Bpf;

impl Atoms for Bpf {
    type U64 = Atomic<u64>;
    type U32 = Atomic<u32>;

    #[inline(always)]
    fn fence() {
        // Every read-modify-write that precedes it is a full barrier.
    }
}

/// A word that the program and user space change.
#[repr(transparent)]
pub(crate) struct Atomic<V>(UnsafeCell<V>);

// SAFETY: every access is one instruction, whole.
unsafe impl<V> Sync for Atomic<V> {}

impl Atomic<u64> {
    /// A word that is zero.
    pub(crate) const fn zero() -> Self {
        Self(UnsafeCell::new(0))
    }
}

macro_rules! word {
    ($value:ty) => {
        impl Word<$value> for Atomic<$value> {
            #[inline(always)]
            fn new(value: $value) -> Self {
                Self(UnsafeCell::new(value))
            }

            #[inline(always)]
            fn load(&self) -> $value {
                // SAFETY: the word is valid and aligned as `self` is; one load instruction reads it whole.
                unsafe { self.0.get().read_volatile() }
            }

            #[inline(always)]
            fn store(&self, value: $value) {
                // SAFETY: as above; one store instruction writes it whole.
                unsafe { self.0.get().write_volatile(value) }
            }

            #[inline(always)]
            fn swap(&self, value: $value) -> $value {
                // SAFETY: the word is valid and aligned as `self` is.
                unsafe { atomic_xchg::<_, ORDER>(self.0.get(), value) }
            }

            #[inline(always)]
            fn compare_exchange(&self, current: $value, new: $value) -> Result<$value, $value> {
                let (found, same) =
                    // SAFETY: the word is valid and aligned as `self` is.
                    unsafe { atomic_cxchg::<_, ORDER, ORDER>(self.0.get(), current, new) };
                if same { Ok(found) } else { Err(found) }
            }

            #[inline(always)]
            fn fetch_add(&self, value: $value) -> $value {
                // SAFETY: the word is valid and aligned as `self` is.
                unsafe { atomic_xadd::<_, _, ORDER>(self.0.get(), value) }
            }
        }
    };
}

word!(u64);
word!(u32);
