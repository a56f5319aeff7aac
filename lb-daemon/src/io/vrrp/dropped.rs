//! How many packets has a socket lost because its queue was full?

#![expect(
    unsafe_code,
    reason = "no library that we have asks for a socket's memory and drops"
)]

use std::mem::{size_of, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the kernel says of a socket's memory, and at the end of its drops (`SK_MEMINFO_*`).
type MemInfo = [u32; 9];
/// Where the drops are.
const DROPS: usize = 8;

/// The packets that a socket has lost; 0 if the kernel does not say.
pub(super) fn of(socket: BorrowedFd<'_>) -> u32 {
    let mut info: MemInfo = [0; _];
    let mut length = size_of::<MemInfo>() as libc::socklen_t;
    // SAFETY: `info` is writable for the length given, which is its size, and both outlive the call.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    debug_assert_eq!(failed, 0, "of {} bytes", size_of_val(&info));
    info.get(DROPS).copied().unwrap_or(0)
}
