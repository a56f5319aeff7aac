//! How are words of a packet read and written, wherever they lie?
//!
//! A packet's words are aligned to nothing in particular. The compiler for BPF would take a word whose alignment it does not
//! know apart into bytes, three times the instructions and more; the machine has no need of that, and the verifier none
//! either. So on that target each access is spelled out as the one instruction that it is.

#![expect(
    unsafe_code,
    reason = "one instruction each, under the conditions of the trait"
)]

use crate::net::{Be16, Be32, Be128};

/// A number that lies in a packet, in the packet's byte order.
pub(super) trait Word: Copy {
    /// Reads the word at `base + AT`.
    ///
    /// # Safety
    ///
    /// The bytes from `base + AT` on are there to be read.
    unsafe fn load<const AT: usize>(base: *const u8) -> Self;

    /// Writes the word at `base + AT`.
    ///
    /// # Safety
    ///
    /// The bytes from `base + AT` on are there to be written.
    unsafe fn store<const AT: usize>(self, base: *mut u8);
}

impl Word for u8 {
    #[inline(always)]
    unsafe fn load<const AT: usize>(base: *const u8) -> Self {
        // SAFETY: the byte is there, by the trait's contract.
        unsafe { base.add(AT).read() }
    }

    #[inline(always)]
    unsafe fn store<const AT: usize>(self, base: *mut u8) {
        // SAFETY: the byte is there, by the trait's contract.
        unsafe { base.add(AT).write(self) }
    }
}

/// Each of its words by itself: the machine has none that is as wide.
impl Word for Be128 {
    #[inline(always)]
    unsafe fn load<const AT: usize>(base: *const u8) -> Self {
        // SAFETY: the words are among the bytes that are there, by the trait's contract.
        unsafe {
            let base = base.add(AT);
            Self([
                u32::load::<0>(base),
                u32::load::<4>(base),
                u32::load::<8>(base),
                u32::load::<12>(base),
            ])
        }
    }

    #[inline(always)]
    unsafe fn store<const AT: usize>(self, base: *mut u8) {
        let [a, b, c, d] = self.0;
        // SAFETY: the words are among the bytes that are there, by the trait's contract.
        unsafe {
            let base = base.add(AT);
            a.store::<0>(base);
            b.store::<4>(base);
            c.store::<8>(base);
            d.store::<12>(base);
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
macro_rules! word {
    ($word:ty, $in_register:ty, $class:ident, $width:literal) => {
        impl Word for $word {
            #[inline(always)]
            unsafe fn load<const AT: usize>(base: *const u8) -> Self {
                // SAFETY: the bytes are there, by the trait's contract.
                unsafe { base.add(AT).cast::<Self>().read_unaligned() }
            }

            #[inline(always)]
            unsafe fn store<const AT: usize>(self, base: *mut u8) {
                // SAFETY: the bytes are there, by the trait's contract.
                unsafe { base.add(AT).cast::<Self>().write_unaligned(self) }
            }
        }
    };
}

#[cfg(target_arch = "bpf")]
macro_rules! word {
    ($word:ty, $in_register:ty, $class:ident, $width:literal) => {
        impl Word for $word {
            #[inline(always)]
            unsafe fn load<const AT: usize>(base: *const u8) -> Self {
                let word: $in_register;
                // SAFETY: the bytes are there, by the trait's contract. The instruction only reads them.
                unsafe {
                    core::arch::asm!(
                        concat!("{word} = *(", $width, " *)({base} + {at})"),
                        word = out($class) word,
                        base = in(reg) base,
                        at = const AT,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                // SAFETY: the instruction clears the bits of the register above the word's.
                unsafe { core::hint::assert_unchecked(word <= <$in_register>::from(<$word>::MAX)) };
                word as Self
            }

            #[inline(always)]
            unsafe fn store<const AT: usize>(self, base: *mut u8) {
                // SAFETY: the bytes are there, by the trait's contract. The instruction writes nothing else.
                unsafe {
                    core::arch::asm!(
                        concat!("*(", $width, " *)({base} + {at}) = {word}"),
                        word = in($class) <$in_register>::from(self),
                        base = in(reg) base,
                        at = const AT,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
    };
}

word!(u16, u32, wreg, "u16");
word!(u32, u32, wreg, "u32");
word!(u64, u64, reg, "u64");

macro_rules! wrapper {
    ($wrapper:ty, $word:ty) => {
        impl Word for $wrapper {
            #[inline(always)]
            unsafe fn load<const AT: usize>(base: *const u8) -> Self {
                // SAFETY: the same contract.
                Self(unsafe { <$word>::load::<AT>(base) })
            }

            #[inline(always)]
            unsafe fn store<const AT: usize>(self, base: *mut u8) {
                // SAFETY: the same contract.
                unsafe { self.0.store::<AT>(base) }
            }
        }
    };
}

wrapper!(Be16, u16);
wrapper!(Be32, u32);
