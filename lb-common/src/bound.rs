//! What the kernel's verifier is to see of a value, and what not.
//!
//! The compiler drops a mask when it knows that the bits above are zero already. The verifier may not: before Linux 6.8 it
//! forgets what it knew of a 32-bit value that was put on the stack for a while. An index that came that way makes it
//! refuse the program ("unbounded memory access"), although the program is right.

/// The bits of `x` that `MASK` has, by an instruction that is always there.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn masked<const MASK: u32>(x: u32) -> u32 {
    let mut masked = x;
    // SAFETY: the instruction works on one register.
    unsafe {
        core::arch::asm!(
            "{x} &= {mask}",
            x = inout(wreg) masked,
            mask = const MASK,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    // SAFETY: what the instruction has just done.
    unsafe { core::hint::assert_unchecked(masked & !MASK == 0) };
    masked
}

/// The bits of `x` that `MASK` has.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn masked<const MASK: u32>(x: u32) -> u32 {
    x & MASK
}

/// `x`, of which the verifier knows nothing any more; `y` is any value of which it knows nothing.
///
/// Inside a loop by `bpf_loop` it goes through the rest of a body once for each state that it can tell from the others: with
/// what a walk has found so far, that is once for every member that it may have been.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn unknown(x: u64, y: u64) -> u64 {
    let mut unknown = x;
    // SAFETY: the instructions work on one register, and leave in it what was there.
    unsafe {
        core::arch::asm!(
            "{x} ^= {y}",
            "{x} ^= {y}",
            x = inout(reg) unknown,
            y = in(reg) y,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    unknown
}

/// `x`.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) const fn unknown(x: u64, _y: u64) -> u64 {
    x
}
