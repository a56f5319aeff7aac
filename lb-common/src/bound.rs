//! Index bounds that the kernel's verifier can see.
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
