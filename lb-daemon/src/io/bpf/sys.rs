//! The few `bpf(2)` commands that the loader crate does not offer.

#![expect(
    unsafe_code,
    reason = "bpf(2) takes pointers and returns file descriptors as numbers"
)]

use std::ffi::{CString, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `enum bpf_cmd` of `linux/bpf.h`.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Command {
    MapCreate = 0,
    MapUpdate = 2,
    MapLookup = 1,
    MapDelete = 3,
    ProgLoad = 5,
    ObjGet = 7,
    ObjGetInfo = 15,
    MapLookupBatch = 24,
    LinkGetFd = 30,
    LinkGetNextId = 31,
    LinkDetach = 34,
}

/// `enum bpf_map_type`: the kinds of map that the balancer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// A hash table.
    Hash,
    /// A hash table that drops what was not asked for the longest.
    LruHash,
    /// An array.
    Array,
    /// An array with one value for each CPU.
    PerCpuArray,
    /// An array whose values are maps.
    ArrayOfMaps,
    /// Interfaces to redirect to.
    DevMap,
    /// Programs to hand packets over to.
    ProgramArray,
    /// Something that is none of ours.
    Other(u32),
}

impl MapKind {
    const fn number(self) -> u32 {
        match self {
            Self::Hash => 1,
            Self::Array => 2,
            Self::ProgramArray => 3,
            Self::PerCpuArray => 6,
            Self::LruHash => 9,
            Self::ArrayOfMaps => 12,
            Self::DevMap => 14,
            Self::Other(n) => n,
        }
    }

    const fn of(number: u32) -> Self {
        match number {
            1 => Self::Hash,
            2 => Self::Array,
            3 => Self::ProgramArray,
            6 => Self::PerCpuArray,
            9 => Self::LruHash,
            12 => Self::ArrayOfMaps,
            14 => Self::DevMap,
            n => Self::Other(n),
        }
    }
}

/// `BPF_F_RDONLY_PROG`: no program writes to the map's values.
const RDONLY_PROG: u32 = 1 << 7;

/// `BPF_F_NO_PREALLOC`: the map takes memory as it fills.
pub const NO_PREALLOC: u32 = 1 << 0;

/// `BPF_F_MMAPABLE`: the map's values can be mapped into memory.
pub const MMAPABLE: u32 = 1 << 10;

/// What a map is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Its kind.
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// How many entries there can be.
    pub entries: u32,
    /// `BPF_F_…`.
    pub flags: u32,
}

/// Makes a map. `inner` is the template of the values of a map of maps.
pub fn map_create(
    name: &str,
    shape: MapShape,
    inner: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner_map_fd: i32,
        numa_node: u32,
        map_name: [u8; 16],
    }
    let attr = Attr {
        map_type: shape.kind.number(),
        key_size: shape.key_size,
        value_size: shape.value_size,
        max_entries: shape.entries,
        map_flags: shape.flags,
        inner_map_fd: inner.map_or(0, |fd| fd.as_raw_fd()),
        numa_node: 0,
        map_name: object_name(name),
    };
    // SAFETY: `Attr` is the head of the command's attributes; it holds no pointer.
    fd(unsafe { bpf(Command::MapCreate, &attr) }?)
}

/// Reads entries of a hash table, as many as fit into `keys` and `values`, from where the last reading ended. Returns how
/// many there were, and where the next reading begins; `None` when it was the last one.
///
/// # Errors
///
/// What the kernel says, or [`InvalidInput`](io::ErrorKind::InvalidInput) if `keys` and `values` have not room for the
/// same number of entries of the map.
pub fn map_lookup_batch(
    map: BorrowedFd<'_>,
    from: Option<u32>,
    keys: &mut [u8],
    values: &mut [u8],
) -> io::Result<(u32, Option<u32>)> {
    #[repr(C)]
    struct Attr {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        map_fd: u32,
        elem_flags: u64,
        flags: u64,
    }
    let shape = map_shape(map)?;
    let room = |bytes: &[u8], size: u32| bytes.len().checked_div(size as usize);
    let count = room(keys, shape.key_size)
        .filter(|count| Some(*count) == room(values, shape.value_size))
        .and_then(|count| u32::try_from(count).ok())
        .ok_or(io::ErrorKind::InvalidInput)?;
    let mut next = 0_u32;
    let mut attr = Attr {
        in_batch: from.as_ref().map_or(0, |from| {
            std::ptr::from_ref(from).expose_provenance() as u64
        }),
        out_batch: std::ptr::from_mut(&mut next).expose_provenance() as u64,
        keys: keys.as_mut_ptr().expose_provenance() as u64,
        values: values.as_mut_ptr().expose_provenance() as u64,
        count,
        map_fd: map.as_raw_fd().cast_unsigned(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: `keys` and `values` have room for `count` entries of the map's sizes, which were asked for above; both batch
    // pointers are of words that outlive the call, as hash tables want them.
    match unsafe { bpf_mut(Command::MapLookupBatch, &mut attr) } {
        Ok(_) => Ok((attr.count, Some(next))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok((attr.count, None)),
        Err(e) => Err(e),
    }
}

/// Reads one entry of a hash table into `value`; whether there is one.
///
/// # Errors
///
/// What the kernel says, or [`InvalidInput`](io::ErrorKind::InvalidInput) if `key` and `value` are not of the map's sizes.
pub fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    #[repr(C)]
    struct Attr {
        map_fd: u32,
        pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let shape = map_shape(map)?;
    if (shape.key_size as usize, shape.value_size as usize) != (key.len(), value.len()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let attr = Attr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        pad: 0,
        key: key.as_ptr().expose_provenance() as u64,
        value: value.as_mut_ptr().expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: `key` and `value` point to as many bytes as the map's keys and values have, which was asked for above, and
    // the map is no per-CPU one, whose values would be larger: only tables of one value for a key are read with this.
    match unsafe { bpf(Command::MapLookup, &attr) } {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes an entry out of a hash table; that there is none is no error.
///
/// # Errors
///
/// What the kernel says, or [`InvalidInput`](io::ErrorKind::InvalidInput) if `key` is not of the size of the map's keys.
pub fn map_delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        map_fd: u32,
        pad: u32,
        key: u64,
    }
    if map_shape(map)?.key_size as usize != key.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let attr = Attr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        pad: 0,
        key: key.as_ptr().expose_provenance() as u64,
    };
    // SAFETY: `key` points to as many bytes as the map's keys have, which was asked for above.
    match unsafe { bpf(Command::MapDelete, &attr) } {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The kernel's id of a map or a link.
pub fn object_id(object: BorrowedFd<'_>) -> io::Result<u32> {
    let [_kind, id] = object_info(object)?;
    Ok(id)
}

/// What a map is made of.
pub fn map_shape(map: BorrowedFd<'_>) -> io::Result<MapShape> {
    // The head of `struct bpf_map_info`.
    let [kind, _id, key_size, value_size, entries, flags] = object_info(map)?;
    let kind = MapKind::of(kind);
    Ok(MapShape {
        kind,
        key_size,
        value_size,
        entries,
        // The kernel adds this one by itself, so that no program can look a device up.
        flags: if kind == MapKind::DevMap {
            flags & !RDONLY_PROG
        } else {
            flags
        },
    })
}

/// Puts a map into a map of maps.
pub fn map_set_inner(outer: BorrowedFd<'_>, index: u32, inner: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        map_fd: u32,
        pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let inner = inner.as_raw_fd();
    let attr = Attr {
        map_fd: outer.as_raw_fd().cast_unsigned(),
        pad: 0,
        key: (&raw const index).addr() as u64,
        value: (&raw const inner).addr() as u64,
        flags: 0,
    };
    // SAFETY: key and value of an array of maps are four bytes each, and both outlive the call.
    unsafe { bpf(Command::MapUpdate, &attr) }.map(drop)
}

/// Has the verifier look at an XDP program and loads it.
pub fn load_xdp(name: &str, instructions: &[u64]) -> io::Result<OwnedFd> {
    const BPF_PROG_TYPE_XDP: u32 = 6;
    #[repr(C)]
    struct Attr {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; 16],
    }
    let attr = Attr {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        insns: instructions.as_ptr().addr() as u64,
        license: c"Dual MIT/GPL".as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: object_name(name),
    };
    // SAFETY: `insns` points to `insn_cnt` words that outlive the call, `license` to a static C string.
    fd(unsafe { bpf(Command::ProgLoad, &attr) }?)
}

/// Opens what is pinned at a path: a map, a program or a link.
pub fn object_get(path: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = Attr {
        pathname: path.as_ptr().addr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: `pathname` points to a C string that outlives the call.
    fd(unsafe { bpf(Command::ObjGet, &attr) }?)
}

/// What the kernel says of an XDP link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpLinkInfo {
    /// The link's id.
    pub id: u32,
    /// The program that it runs.
    pub program: u32,
    /// The interface; 0 when it is gone or the link was detached.
    pub ifindex: u32,
}

/// Asks for a link's program and interface. `None` when it is a link of another type.
pub fn xdp_link_info(link: BorrowedFd<'_>) -> io::Result<Option<XdpLinkInfo>> {
    const BPF_LINK_TYPE_XDP: u32 = 6;
    // The head of `struct bpf_link_info`, whose union begins at its 16th byte.
    let [kind, id, program, _pad, ifindex] = object_info(link)?;
    Ok((kind == BPF_LINK_TYPE_XDP).then_some(XdpLinkInfo {
        id,
        program,
        ifindex,
    }))
}

/// Every link in the kernel, of whatever type; such as vanish meanwhile are left out.
pub fn links() -> impl Iterator<Item = OwnedFd> {
    let mut id = 0;
    std::iter::from_fn(move || {
        loop {
            id = next_link_id(id).ok()?;
            if let Ok(link) = link_by_id(id) {
                return Some(link);
            }
        }
    })
}

/// Takes a link off its interface, whoever holds it.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the attribute is the link's file descriptor, no pointer.
    unsafe { bpf(Command::LinkDetach, &link.as_raw_fd().cast_unsigned()) }.map(drop)
}

fn next_link_id(after: u32) -> io::Result<u32> {
    #[repr(C)]
    struct Attr {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attr = Attr {
        start_id: after,
        next_id: 0,
        open_flags: 0,
    };
    // SAFETY: the attributes hold no pointer; the kernel writes `next_id` into them.
    unsafe { bpf_mut(Command::LinkGetNextId, &mut attr) }?;
    Ok(attr.next_id)
}

fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the attribute is the link's id, no pointer.
    fd(unsafe { bpf(Command::LinkGetFd, &id) }?)
}

/// Asks what an object is: the first words of what the kernel answers.
fn object_info<const WORDS: usize>(object: BorrowedFd<'_>) -> io::Result<[u32; WORDS]> {
    #[repr(C)]
    struct Attr {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    // The kernel fills at most this much, whatever it knows; with less it would be content too.
    let mut info = [0_u32; 32];
    let attr = Attr {
        bpf_fd: object.as_raw_fd().cast_unsigned(),
        info_len: size_of_val(&info) as u32,
        info: info.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: `info` points to `info_len` writable bytes that outlive the call.
    unsafe { bpf(Command::ObjGetInfo, &attr) }?;
    info.first_chunk()
        .copied()
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The kernel's names of maps and programs: at most 15 bytes and a zero.
fn object_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// # Safety
///
/// `attr` must begin as the command's attributes do, and pointers in it must be good for what it does with them.
unsafe fn bpf<T>(command: Command, attr: &T) -> io::Result<c_long> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `attr`, and takes what lies beyond as zero. What they
    // mean is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as i32,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// # Safety
///
/// As [`bpf`].
unsafe fn bpf_mut<T>(command: Command, attr: &mut T) -> io::Result<c_long> {
    // SAFETY: as in `bpf`; the reference is exclusive, so that the kernel may write to it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as i32,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn fd(number: c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(number).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just opened this file descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A map that can stand in a map of maps: an array of one word.
pub fn tiny_array() -> io::Result<OwnedFd> {
    map_create(
        "lb_tiny",
        MapShape {
            kind: MapKind::Array,
            key_size: 4,
            value_size: 8,
            entries: 1,
            flags: 0,
        },
        None,
    )
}

/// An array of one map, which is `inner`'s like.
pub fn array_of_maps(inner: &OwnedFd) -> io::Result<OwnedFd> {
    map_create(
        "lb_outer",
        MapShape {
            kind: MapKind::ArrayOfMaps,
            key_size: 4,
            value_size: 4,
            entries: 1,
            flags: 0,
        },
        Some(inner.as_fd()),
    )
}
