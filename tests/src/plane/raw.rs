//! Map elements as bytes: the loader crate's typed maps want values that it knows.

#![expect(unsafe_code, reason = "bpf(2) takes pointers")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::Map;

/// A value whose bytes a map may be given.
///
/// # Safety
///
/// The type is `repr(C)` or a primitive, has no padding, and every pattern of bits is a value of it.
pub(super) unsafe trait Plain: Copy {
    /// The bytes.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the reference is to so many initialised bytes, by the trait's contract.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// The value that bytes are, if their number is right.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // SAFETY: the length is checked, and by the trait's contract any bytes are a value.
        (bytes.len() == size_of::<Self>())
            .then(|| unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

macro_rules! plain {
    ($($ty:ty),+) => {
        $(
            // SAFETY: integers only, padding explicit, sizes asserted where the type is defined.
            unsafe impl Plain for $ty {}
        )+
    };
}

plain!(
    u32,
    u64,
    lb_common::abi::Settings,
    lb_common::abi::Real,
    lb_common::abi::ServiceKey4,
    lb_common::abi::RealKey4,
    lb_common::abi::Plan,
    lb_common::abi::Generation,
    lb_common::abi::Member,
    lb_common::abi::Timeouts,
    lb_common::abi::Traffic
);

#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;

/// Writes an element.
pub(super) fn update(map: &Map, key: &[u8], value: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads `key_size` and `value_size` bytes, and the maps here are the programs' own, whose types the caller gives.
    unsafe { element(UPDATE, map, key.as_ptr(), value.as_ptr().cast_mut()) }
}

/// Reads an element into `value`.
pub(super) fn lookup(map: &Map, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    // SAFETY: as above; the kernel writes `value_size` bytes (of a per-CPU map: for each CPU).
    unsafe { element(LOOKUP, map, key.as_ptr(), value.as_mut_ptr()) }
}

/// # Safety
///
/// `key` and `value` point to as many bytes as the map's elements have.
unsafe fn element(
    command: libc::c_long,
    map: &Map,
    key: *const u8,
    value: *mut u8,
) -> io::Result<()> {
    let element = Element {
        map: fd(map)?.as_raw_fd() as u32,
        pad: 0,
        key: key as u64,
        value: value as u64,
        flags: 0,
    };
    // SAFETY: the attribute is that of the command, and its pointers are good by this function's contract.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const element,
            size_of::<Element>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn fd(map: &Map) -> io::Result<BorrowedFd<'_>> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) | Map::DevMap(data) => {
            Ok(data.fd().as_fd())
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a kind of map that tests do not write",
        )),
    }
}
