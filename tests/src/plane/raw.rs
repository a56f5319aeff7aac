//! Map elements as bytes: the loader crate's typed maps want values that it knows.

#![expect(unsafe_code, reason = "bpf(2) takes pointers")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::Map;
use lb_common::atomic::Host;
use lb_common::table::Bucket;
use memmap2::MmapRaw;

use super::family::Family;

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
    lb_common::abi::CpuState,
    lb_common::net::Be32,
    lb_common::net::Be128,
    lb_common::abi::Plan,
    lb_common::abi::Generation,
    lb_common::abi::Member,
    [lb_common::abi::Member; lb_common::abi::MEMBERS_LEN as usize],
    lb_common::abi::OwnMacs,
    lb_common::abi::Timeouts,
    lb_common::abi::Traffic
);

macro_rules! plain_keys {
    ($($key:ident),+) => {
        $(
            // SAFETY: as above, its sizes asserted for both families of addresses.
            unsafe impl<A: Family> Plain for lb_common::abi::$key<A> {}
        )+
    };
}

plain_keys!(ServiceKey, RealKey, LocalityKey, TemplateKey);

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
const DELETE: libc::c_long = 3;
const NEXT_KEY: libc::c_long = 4;
const LOOKUP_BATCH: libc::c_long = 24;

#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

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

/// Reads the first `count` elements of an array at once, each of `size` bytes (of a per-CPU map: for each CPU).
pub(super) fn lookup_first(map: &Map, count: usize, size: usize) -> io::Result<Vec<u8>> {
    let mut position = 0u32;
    let mut keys = vec![0u32; count];
    let mut values = vec![0u8; count * size];
    let batch = Batch {
        from: 0,
        to: (&raw mut position) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: count as u32,
        map: fd(map)?.as_raw_fd() as u32,
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel writes a position of four bytes, and `count` keys and values, for which there is room: an array's keys are
    // of four bytes, and the caller gives the size of its values.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            LOOKUP_BATCH,
            &raw const batch,
            size_of::<Batch>(),
        )
    };
    let error = io::Error::last_os_error();
    // That there are no more is said after all were read.
    if result < 0 && error.raw_os_error() != Some(libc::ENOENT) {
        return Err(error);
    }
    Ok(values)
}

/// Takes every element out of a hash map.
pub(super) fn clear(map: &Map, key_size: usize) -> io::Result<()> {
    let mut key = vec![0u8; key_size];
    loop {
        // SAFETY: the kernel writes `key_size` bytes, which the caller gives; without a key before it, it is the first.
        match unsafe { element(NEXT_KEY, map, std::ptr::null(), key.as_mut_ptr()) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            result => result?,
        }
        // SAFETY: the kernel reads `key_size` bytes, and there is no value.
        unsafe { element(DELETE, map, key.as_ptr(), std::ptr::null_mut()) }?;
    }
}

/// Memory that may be shared with a program as values of this type.
///
/// # Safety
///
/// The type has no padding, every pattern of bits is a value of it, and it changes by atomic instructions only.
pub(super) unsafe trait Shareable {}

// SAFETY: atomic words only, its size asserted where it is defined.
unsafe impl<A: Family> Shareable for Bucket<Host, A> {}
// SAFETY: an atomic word.
unsafe impl Shareable for std::sync::atomic::AtomicU64 {}

/// An array map in our memory.
#[derive(Debug)]
pub(super) struct Shared<T> {
    memory: MmapRaw,
    values: PhantomData<T>,
}

impl<T: Shareable> Shared<T> {
    /// Maps so many values.
    pub(super) fn of(map: &Map, len: usize) -> io::Result<Self> {
        let memory = memmap2::MmapOptions::new()
            .len((len * size_of::<T>()).next_multiple_of(4096))
            .map_raw(&fd(map)?)?;
        Ok(Self {
            memory,
            values: PhantomData,
        })
    }

    /// The values, and what fills the last page.
    pub(super) fn values(&self) -> &[T] {
        let len = self.memory.len() / size_of::<T>();
        // SAFETY: so many values lie in the mapping, which is aligned to a page and lives as long as `self`; any bytes are
        // values, and they change by atomic instructions only.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), len) }
    }

    /// Writes zeros over all of it, while no program runs.
    pub(super) fn clear(&mut self) {
        // SAFETY: the mapping is ours to write, `self` is borrowed mutably, and zeros are values.
        unsafe { self.memory.as_mut_ptr().write_bytes(0, self.memory.len()) }
    }
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
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::DevMap(data)
        | Map::ProgramArray(data) => Ok(data.fd().as_fd()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a kind of map that tests do not write",
        )),
    }
}
